//! Which blocks of a file its file system has mapped.

mod fiemap;
mod seek;

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::range::{BlockRange, BlockSize, ByteRange};
use crate::sys::eintr::retry_on_eintr;

/// The mapped blocks of a file.
#[derive(Debug, PartialEq, Eq)]
pub struct FileMap {
    /// The size of the file in bytes.
    pub size: u64,
    /// The block size of the file system.
    pub block_size: BlockSize,
    /// The mapped blocks, in order; ranges are not adjacent.
    pub ranges: Vec<BlockRange>,
}

/// Why the mapped blocks of the file at `path` are unknown.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the variants say what their fields are")]
pub enum Error {
    /// `stat` failed.
    #[error("cannot inspect '{path}'")]
    Inspect { path: PathBuf, source: io::Error },
    /// The system call `method` failed for the byte at `offset`.
    #[error("cannot map '{path}' with {method} at byte {offset}")]
    Query { path: PathBuf, method: &'static str, offset: u64, source: io::Error },
    /// The file is sparse, but its file system does not report holes.
    #[error("the file system of '{path}' cannot tell which blocks are holes")]
    Unsupported { path: PathBuf },
    /// The file shrank while it was mapped, or the file system reported data that ends before it begins. `offset` is
    /// where, in bytes.
    #[error("the file system reports no consistent map of '{path}' at byte {offset}")]
    Inconsistent { path: PathBuf, offset: u64 },
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
/// Among others [`Error::Unsupported`], where the file system supports neither.
pub fn map(file: &File, path: &Path) -> Result<FileMap, Error> {
    match map_with(Method::Fiemap, file, path) {
        Err(Error::Query { source, .. }) if is_unsupported(&source) => {
            map_with(Method::Seek, file, path).map_err(|error| match error {
                Error::Query { source, .. } if is_unsupported(&source) => Error::Unsupported { path: path.to_owned() },
                error => error,
            })
        }
        result => result,
    }
}

/// The mapped blocks of `file`, by one method alone.
///
/// # Errors
///
/// Among others, where the file system does not support the method.
pub fn map_with(method: Method, file: &File, path: &Path) -> Result<FileMap, Error> {
    let inspect = |source| Error::Inspect { path: path.to_owned(), source };
    let metadata = file.metadata().map_err(inspect)?;
    let size = metadata.size();
    let block_size = block_size(file, metadata.blksize());
    let mut mapped = MappedBlocks { block_size, ranges: Vec::new() };
    match method {
        Method::Fiemap => fiemap::extents(file, path, size, &mut |extent| mapped.push(extent))?,
        Method::Seek => {
            seek::extents(file, path, size, &mut |extent| mapped.push(extent))?;
            let has_holes = mapped.ranges.first().is_none_or(|range| range.count() < block_size.blocks_in(size));
            if !has_holes && !seek::reports_holes(path, &metadata) {
                return Err(Error::Unsupported { path: path.to_owned() });
            }
        }
    }
    Ok(FileMap { size, block_size, ranges: mapped.ranges })
}

/// Collects extents as blocks: rounded outward, merged where they overlap or are adjacent.
struct MappedBlocks {
    block_size: BlockSize,
    ranges: Vec<BlockRange>,
}

impl MappedBlocks {
    fn push(&mut self, extent: ByteRange) {
        let Some(range) = self.block_size.blocks_of(extent) else { return };
        match self.ranges.last_mut().map(|last| (last.merged(range), last)) {
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
    // SAFETY: FIGETBSZ writes one int, and `bytes` is one that outlives the call.
    let result = retry_on_eintr(|| unsafe { figetbsz(file.as_raw_fd(), &raw mut bytes) });
    let reported = result.ok().and_then(|_| u64::try_from(bytes).ok());
    reported.and_then(BlockSize::new).or_else(|| BlockSize::new(suggested)).unwrap_or(FALLBACK)
}

fn is_unsupported(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENOTTY | libc::ENOSYS | libc::EINVAL))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(extents: &[(u64, u64)]) -> String {
        let mut blocks = MappedBlocks { block_size: BlockSize::new(1024).unwrap(), ranges: Vec::new() };
        extents.iter().for_each(|&(start, end)| blocks.push(ByteRange { start, end }));
        blocks.ranges.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn extents_become_blocks_rounded_outward_and_merged() {
        assert_eq!(merged(&[(0, 1024), (1024, 2048)]), "0-1");
        assert_eq!(merged(&[(100, 200), (1100, 1101), (5000, 5001)]), "0-1 4");
        assert_eq!(merged(&[(0, 1500), (1700, 2000)]), "0-1");
        assert_eq!(merged(&[(7, 7)]), "");
        assert_eq!(merged(&[(1024, 1024)]), "");
    }
}
