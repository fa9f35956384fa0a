//! Which blocks of a file are mapped: hold data, or might.

mod fiemap;
mod seek;

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::range::{BlockRange, BlockSize, ByteRange};
use crate::retry::uninterrupted;

/// The mapped blocks of a file.
#[derive(Debug, PartialEq, Eq)]
pub struct FileMap {
    /// The size of the file in bytes.
    pub size: u64,
    /// The size of its blocks: that of its file system.
    pub block_size: BlockSize,
    /// The mapped blocks, in order; ranges do not touch.
    pub ranges: Vec<BlockRange>,
}

/// Why the mapped blocks of a file cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file's size could not be had.
    #[error("cannot inspect '{path}'")]
    Inspect {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file system refused to say where the data is.
    #[error("cannot map '{path}' with {method} at byte {offset}")]
    Query {
        /// The file.
        path: PathBuf,
        /// What was asked.
        method: &'static str,
        /// About which place in the file.
        offset: u64,
        /// Why.
        source: io::Error,
    },
    /// The file is sparse, but its file system does not tell where the holes are.
    #[error("the file system of '{path}' cannot tell which blocks are holes")]
    Untold {
        /// The file.
        path: PathBuf,
    },
    /// The file shrank while it was mapped, or the file system told of data where there can be none.
    #[error("the file system reports no consistent map of '{path}' at byte {offset}")]
    Inconsistent {
        /// The file.
        path: PathBuf,
        /// About which place in the file.
        offset: u64,
    },
}

/// A way to ask the file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// FIEMAP: the extents as the file system keeps them. Preallocated ones count as mapped.
    Fiemap,
    /// SEEK_DATA and SEEK_HOLE.
    Seek,
}

/// The mapped blocks of `file`, which was opened from `path`: by FIEMAP, else by SEEK_HOLE.
///
/// # Errors
///
/// Where the file system knows neither, or fails.
pub fn map(file: &File, path: &Path) -> Result<FileMap, Error> {
    match map_with(Method::Fiemap, file, path) {
        Err(Error::Query { source, .. }) if is_unsupported(&source) => {
            map_with(Method::Seek, file, path).map_err(|error| match error {
                Error::Query { source, .. } if is_unsupported(&source) => Error::Untold { path: path.to_owned() },
                error => error,
            })
        }
        result => result,
    }
}

/// The mapped blocks of `file`, as `method` tells them.
///
/// # Errors
///
/// Where the file system does not know the method, or fails.
pub fn map_with(method: Method, file: &File, path: &Path) -> Result<FileMap, Error> {
    let inspect = |source| Error::Inspect { path: path.to_owned(), source };
    let metadata = file.metadata().map_err(inspect)?;
    let size = metadata.size();
    let block_size = block_size(file, metadata.blksize());
    let mut ranges = Blocks { block_size, ranges: Vec::new() };
    match method {
        Method::Fiemap => fiemap::extents(file, path, size, &mut |extent| ranges.push(extent))?,
        Method::Seek => {
            seek::extents(file, path, size, &mut |extent| ranges.push(extent))?;
            let told = ranges.ranges.first().is_none_or(|range| range.count() < block_size.blocks_in(size));
            if !told && !seek::tells_holes(path, &metadata) {
                return Err(Error::Untold { path: path.to_owned() });
            }
        }
    }
    Ok(FileMap { size, block_size, ranges: ranges.ranges })
}

/// Gathers extents as blocks: rounded outward, joined where they touch.
struct Blocks {
    block_size: BlockSize,
    ranges: Vec<BlockRange>,
}

impl Blocks {
    fn push(&mut self, extent: ByteRange) {
        let Some(range) = self.block_size.blocks_of(extent) else { return };
        match self.ranges.last_mut().map(|last| (last.joined(range), last)) {
            Some((Some(both), last)) => *last = both,
            _ => self.ranges.push(range),
        }
    }
}

/// The block size of the file's file system: FIGETBSZ (linux/fs.h), else the size that `stat` suggests.
fn block_size(file: &File, suggested: u64) -> BlockSize {
    const FALLBACK: BlockSize = BlockSize::new(4096).unwrap();
    const FIGETBSZ: libc::Ioctl = nix::request_code_none!(0, 2);
    nix::ioctl_read_bad!(figetbsz, FIGETBSZ, libc::c_int);
    let mut bytes: libc::c_int = 0;
    // SAFETY: FIGETBSZ writes one int, to a place that is one and outlives the call.
    let told = uninterrupted(|| unsafe { figetbsz(file.as_raw_fd(), &raw mut bytes) });
    let told = told.ok().and_then(|_| u64::try_from(bytes).ok());
    told.and_then(BlockSize::new).or_else(|| BlockSize::new(suggested)).unwrap_or(FALLBACK)
}

fn is_unsupported(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENOTTY | libc::ENOSYS | libc::EINVAL))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(extents: &[(u64, u64)]) -> String {
        let mut blocks = Blocks { block_size: BlockSize::new(1024).unwrap(), ranges: Vec::new() };
        extents.iter().for_each(|&(start, end)| blocks.push(ByteRange { start, end }));
        blocks.ranges.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn extents_become_blocks_rounded_outward_and_joined() {
        assert_eq!(joined(&[(0, 1024), (1024, 2048)]), "0-1");
        assert_eq!(joined(&[(100, 200), (1100, 1101), (5000, 5001)]), "0-1 4");
        assert_eq!(joined(&[(0, 1500), (1700, 2000)]), "0-1");
        assert_eq!(joined(&[(7, 7)]), "");
        assert_eq!(joined(&[(1024, 1024)]), "");
    }
}
