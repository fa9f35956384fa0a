//! The descriptor of a block device.
//!
//! It reads and writes directly, past the page cache, where offset, length and memory lie on sectors of the device; the
//! unaligned rest goes through the cache. One descriptor serves both, for O_EXCL holds the device for that descriptor
//! alone.

use std::fs::File;

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::positioned::write_all_at;
use super::writeback::Writeback;
use super::{ReadError, ReadPath, WriteError};
use crate::range::ByteRange;
use crate::sys::read_at::{direct_len, drop_cached_device, read_all_at, read_direct};

pub(super) struct DeviceFile {
    file: File,
    /// The size of a logical sector in bytes, a power of two.
    sector: usize,
    access: Access,
    /// How it has been read.
    read_path: ReadPath,
    writeback: Writeback,
}

/// How the descriptor reads and writes at the moment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Direct,
    /// Through the page cache, until the next aligned write.
    Buffered,
    /// Through the page cache for good: the device does not take O_DIRECT.
    OnlyBuffered,
}

impl DeviceFile {
    /// A device with sectors of `sector` bytes, whose descriptor has this access.
    pub(super) fn new(file: File, sector: u32, access: Access) -> Self {
        let (sector, read_path, writeback) = (sector as usize, ReadPath::Direct, Writeback::default());
        Self { file, sector, access, read_path, writeback }
    }

    /// For all that is not reading and writing.
    pub(super) fn as_file(&self) -> &File {
        &self.file
    }

    /// How it has been read.
    pub(super) fn read_path(&self) -> ReadPath {
        self.read_path
    }

    pub(super) fn write_at(&mut self, data: &[u8], offset: u64) -> Result<(), WriteError> {
        let done = self.write_direct(data, offset)?;
        match data.split_at(done) {
            (_, []) => Ok(()),
            (_, rest) => self.write_buffered(rest, offset + done as u64),
        }
    }

    pub(super) fn read_at(&mut self, buf: &mut [u8], offset: u64) -> Result<(), ReadError> {
        if self.switch_to(Access::Direct) {
            match read_direct(&self.file, self.sector, buf, offset) {
                Err(error) if error.source.raw_os_error() == Some(libc::EINVAL) => {
                    self.switch_to(Access::OnlyBuffered);
                }
                result => return result,
            }
        }
        self.read_path = self.read_path.max(drop_cached_device(&self.file));
        read_all_at(&self.file, buf, offset)
    }

    /// Writes the bytes that lie on sectors, from the first on; returns how many there were.
    fn write_direct(&mut self, buf: &[u8], offset: u64) -> Result<usize, WriteError> {
        let (whole, _) = buf.split_at(direct_len(buf, offset, self.sector));
        if whole.is_empty() || !self.switch_to(Access::Direct) {
            return Ok(0);
        }
        match write_all_at(&self.file, whole, offset) {
            // Some drivers notice only now that they cannot.
            Err(error) if error.source.raw_os_error() == Some(libc::EINVAL) => {
                self.switch_to(Access::OnlyBuffered);
                Ok(0)
            }
            result => result.map(|()| whole.len()),
        }
    }

    fn write_buffered(&mut self, buf: &[u8], offset: u64) -> Result<(), WriteError> {
        self.switch_to(Access::Buffered);
        write_all_at(&self.file, buf, offset)?;
        let bytes = ByteRange { start: offset, end: offset.saturating_add(buf.len() as u64) };
        self.writeback.written(&self.file, bytes)
    }

    /// Changes the access, unless the device knows only one; returns whether it is now the one wanted.
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

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::sys::aligned::AlignedBuf;

    #[test]
    fn reads_need_not_lie_on_sectors() {
        let pattern: Vec<_> = (0..3_u32 << 20).map(|at| (at / 3) as u8).collect();
        for access in [Access::Buffered, Access::OnlyBuffered] {
            let file = tempfile::tempfile().unwrap();
            write_all_at(&file, &pattern, 0).unwrap();
            let mut device = DeviceFile::new(file, 512, access);
            for (offset, length) in [(0, 3 << 20), (1, (3 << 20) - 2), (511, 2), (512, 700), (3, 5), (4096, 0)] {
                let mut buf = AlignedBuf::zeroed(length).unwrap();
                device.read_at(&mut buf, offset).unwrap();
                assert!(buf[..] == pattern[offset as usize..][..length], "{length} bytes at {offset}");
                let mut unaligned = vec![0; length + 1];
                device.read_at(&mut unaligned[1..], offset).unwrap();
                assert!(unaligned[1..] == pattern[offset as usize..][..length], "{length} bytes at {offset}");
            }
            let error = device.read_at(&mut [0; 10], (3 << 20) - 4).unwrap_err();
            assert_eq!((error.offset, error.source.kind()), (3 << 20, io::ErrorKind::UnexpectedEof));
        }
    }
}
