//! The data of a file by SEEK_DATA and SEEK_HOLE (lseek(2)).

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::unistd::Whence;

use super::Error;
use crate::range::ByteRange;
use crate::sys::paths::parent_dir;

/// Calls `each` for every extent of data in the file's first `size` bytes, in order.
pub(super) fn extents(file: &File, path: &Path, size: u64, each: &mut dyn FnMut(ByteRange)) -> Result<(), Error> {
    let query = |method, offset, whence| {
        lseek(file, offset, whence).map_err(|source| Error::Query { path: path.to_owned(), method, offset, source })
    };
    let mut hole = 0;
    while hole < size {
        let Some(data) = query("SEEK_DATA", hole, Whence::SeekData)?.filter(|&data| data < size) else { break };
        // Every file ends with a hole, so there is one, unless the file has just shrunk.
        let end = query("SEEK_HOLE", data, Whence::SeekHole)?.map(|end| end.min(size));
        let Some(end) = end.filter(|&end| end > data) else {
            return Err(Error::Inconsistent { path: path.to_owned(), offset: data });
        };
        each(ByteRange { start: data, end });
        hole = end;
    }
    Ok(())
}

/// Whether the file system reports holes at all, for a file in which it reported none.
///
/// For a file system without SEEK_HOLE of its own, the kernel reports everything as data. This is such a one if the
/// file occupies less than its size, unless data is compressed; then a probe, a file that is one hole, decides.
pub(super) fn reports_holes(path: &Path, metadata: &Metadata) -> bool {
    const SECTOR: u64 = 512; // the unit of st_blocks, stat(2)
    let occupied = metadata.blocks() * SECTOR;
    let rounding = metadata.blksize();
    occupied + rounding >= metadata.size() || probe(path).unwrap_or(false)
}

/// Whether a file that is one hole, in the directory of `path`, is reported as such.
fn probe(path: &Path) -> io::Result<bool> {
    const SIZE: u64 = 1 << 20;
    let unnamed = OpenOptions::new().read(true).write(true).custom_flags(libc::O_TMPFILE).open(parent_dir(path))?;
    unnamed.set_len(SIZE)?;
    Ok(lseek(&unnamed, 0, Whence::SeekData)?.is_none())
}

/// The offset that `whence` finds from `offset` on; `None` where there is none (ENXIO).
fn lseek(file: &File, offset: u64, whence: Whence) -> io::Result<Option<u64>> {
    let offset = libc::off64_t::try_from(offset).map_err(|_| Errno::EOVERFLOW)?;
    match nix::unistd::lseek64(file, offset, whence) {
        Ok(found) => Ok(u64::try_from(found).ok()),
        Err(Errno::ENXIO) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
