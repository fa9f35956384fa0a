//! A character device as target, for a dry run: /dev/null, or one of the same kind.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

use super::claim::{open_error, refuse_replaced};
use super::positioned::write_all_at;
use super::{Error, FileId, Kind, ReadError, ReadPath, Sink, SinkInfo, TargetReader, TargetState, WriteError};
use crate::event::Outcome;
use crate::range::ByteRange;

pub(super) struct CharacterDevice {
    file: File,
}

impl CharacterDevice {
    /// Opens the device, if it is still the one that has been `inspected`.
    pub(super) fn open(path: &Path, inspected: FileId) -> Result<Self, Error> {
        let file = OpenOptions::new().write(true).open(path).map_err(|source| open_error(path, source))?;
        refuse_replaced(path, inspected, &file)?;
        Ok(Self { file })
    }
}

impl Sink for CharacterDevice {
    fn info(&self) -> SinkInfo {
        SinkInfo::of(Kind::CharacterDevice)
    }

    fn prepare(&mut self, _size: Option<u64>) -> io::Result<()> {
        Ok(())
    }

    fn reader(&self) -> io::Result<TargetReader> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn write_at(&mut self, data: &[u8], offset: u64) -> Result<(), WriteError> {
        write_all_at(&self.file, data, offset)
    }

    fn read_at(&mut self, _buf: &mut [u8], offset: u64) -> Result<(), ReadError> {
        Err(ReadError { offset, source: io::ErrorKind::Unsupported.into() })
    }

    fn read_path(&self) -> ReadPath {
        ReadPath::Cache
    }

    fn zero(&mut self, _range: ByteRange) -> Result<u64, WriteError> {
        Ok(0)
    }

    fn discard(&mut self, range: ByteRange) -> Result<(), WriteError> {
        Err(WriteError { offset: range.start, source: io::ErrorKind::Unsupported.into() })
    }

    /// Such a device keeps nothing, and most of them say so.
    fn sync(&mut self) -> io::Result<()> {
        match self.file.sync_all() {
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS | libc::EOPNOTSUPP)) => {
                Ok(())
            }
            result => result,
        }
    }

    fn finish(self: Box<Self>, _outcome: Outcome) -> TargetState {
        TargetState::NotApplicable
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_not_been_inspected_is_not_written_to() {
        let [null, other] = ["/dev/null", "/dev/zero"].map(Path::new);
        let inspected = FileId::of(&null.metadata().unwrap());
        assert!(CharacterDevice::open(null, inspected).is_ok());
        assert!(matches!(CharacterDevice::open(other, inspected), Err(Error::Replaced { .. })));
    }
}
