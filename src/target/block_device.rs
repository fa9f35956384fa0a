//! A block device as target.
//!
//! It is written to directly, past the page cache, where offset, length and memory lie on its sectors; the unaligned rest
//! goes through the cache. One descriptor serves both, for O_EXCL holds the device for that descriptor alone.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::aligned::ALIGNMENT;
use super::regular_file::write_all_at;
use super::writeback::Writeback;
use super::{Error, Remains, Target, WriteError};
use crate::file_id::FileId;
use crate::range::ByteRange;

/// The boot region: where partition tables, boot loaders and the first superblock lie.
const BOOT_REGION: u64 = 1 << 20;

pub(super) struct BlockDevice {
    file: File,
    capacity: u64,
    /// The size of a logical sector in bytes.
    sector: u64,
    access: Access,
    writeback: Writeback,
}

/// How the descriptor writes at the moment.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Direct,
    /// Through the page cache, until the next aligned write.
    Buffered,
    /// Through the page cache for good: the device does not take O_DIRECT.
    OnlyBuffered,
}

impl BlockDevice {
    /// Opens the device, and keeps everyone else from mounting or claiming it.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let access = |action, source| Error::Access { path: path.to_owned(), action, source };
        let mut file = OpenOptions::new().write(true).custom_flags(libc::O_EXCL).open(path).map_err(|source| {
            if source.raw_os_error() == Some(libc::EBUSY) {
                Error::Busy { path: path.to_owned(), source }
            } else {
                access("open", source)
            }
        })?;
        let capacity = file.seek(SeekFrom::End(0)).map_err(|source| access("inspect", source))?;
        let sector = sector_size(&file).map_err(|source| access("inspect", source))?;
        Ok(Self { file, capacity, sector, access: Access::Buffered, writeback: Writeback::default() })
    }

    /// Writes the bytes that lie on sectors, from the first on; returns how many there were.
    fn write_direct(&mut self, buf: &[u8], offset: u64) -> Result<usize, WriteError> {
        let sector = usize::try_from(self.sector).unwrap_or(ALIGNMENT);
        let aligned = offset.is_multiple_of(self.sector) && buf.as_ptr().addr().is_multiple_of(sector);
        let length = buf.len().checked_rem(sector).filter(|_| aligned).map_or(0, |rest| buf.len().saturating_sub(rest));
        let Some(whole) = buf.get(..length).filter(|whole| !whole.is_empty()) else { return Ok(0) };
        if !self.switch_to(Access::Direct) {
            return Ok(0);
        }
        match write_all_at(&self.file, whole, offset) {
            // Some drivers notice only now that they cannot.
            Err(error) if error.source.raw_os_error() == Some(libc::EINVAL) => {
                self.switch_to(Access::OnlyBuffered);
                Ok(0)
            }
            result => result.map(|()| length),
        }
    }

    fn write_buffered(&mut self, buf: &[u8], offset: u64) -> Result<(), WriteError> {
        self.switch_to(Access::Buffered);
        write_all_at(&self.file, buf, offset)?;
        let bytes = ByteRange { start: offset, end: offset.saturating_add(buf.len() as u64) };
        self.writeback.written(&self.file, bytes).map_err(|source| WriteError { offset, source })
    }

    /// Changes the way of writing, unless the device knows only one; returns whether it is now the one wanted.
    fn switch_to(&mut self, wanted: Access) -> bool {
        if self.access == wanted || self.access == Access::OnlyBuffered {
            return self.access == wanted;
        }
        let flags = if wanted == Access::Direct { OFlag::O_DIRECT } else { OFlag::empty() };
        self.access = match fcntl(&self.file, FcntlArg::F_SETFL(flags)) {
            Ok(_) => wanted,
            Err(_) => Access::OnlyBuffered,
        };
        self.access == wanted
    }
}

impl Target for BlockDevice {
    fn begin(&mut self, _size: Option<u64>) -> io::Result<()> {
        Ok(())
    }

    fn write_all_at(&mut self, buf: &[u8], offset: u64) -> Result<(), WriteError> {
        let done = self.write_direct(buf, offset)?;
        match buf.get(done..) {
            Some(rest) if !rest.is_empty() => self.write_buffered(rest, offset.saturating_add(done as u64)),
            _ => Ok(()),
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_all()
    }

    fn capacity(&self) -> Option<u64> {
        Some(self.capacity)
    }

    fn boot_region(&self) -> u64 {
        BOOT_REGION.min(self.capacity)
    }

    fn finish(&mut self) {}

    fn abandon(&mut self) -> Remains {
        Remains::Invalid
    }
}

/// The size of a logical sector, by BLKSSZGET (linux/fs.h).
fn sector_size(device: &File) -> io::Result<u64> {
    nix::ioctl_read_bad!(blksszget, libc::BLKSSZGET, libc::c_int);
    let mut bytes: libc::c_int = 0;
    // SAFETY: BLKSSZGET writes one int, to a place that is one and outlives the call.
    unsafe { blksszget(device.as_raw_fd(), &raw mut bytes) }?;
    u64::try_from(bytes).ok().filter(|&bytes| bytes > 0).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The file behind a loop device.
pub(super) fn backing_file(metadata: &Metadata) -> Option<FileId> {
    if !metadata.file_type().is_block_device() {
        return None;
    }
    let number = metadata.rdev();
    let (major, minor) = (libc::major(number), libc::minor(number));
    let name = fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/loop/backing_file")).ok()?;
    fs::metadata(PathBuf::from(name.trim_end_matches('\n'))).ok().as_ref().map(FileId::of)
}
