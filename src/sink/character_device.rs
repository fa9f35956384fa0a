//! A character device as target: /dev/null, for a dry run.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::claim::open_error;
use super::positioned::write_all_at;
use super::{Error, Kind, ReadError, ReadPath, Sink, SinkInfo, TargetState, WriteError};
use crate::event::Outcome;
use crate::range::ByteRange;

pub(super) struct CharacterDevice {
    file: File,
}

impl CharacterDevice {
    /// Opens the device, without waiting for its other end, such as a modem.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let opened = OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(path);
        let inspected = opened.and_then(|mut file| {
            // Writes do wait.
            fcntl(&file, FcntlArg::F_SETFL(OFlag::empty()))?;
            file.stream_position()?;
            Ok(file)
        });
        match inspected {
            Ok(file) => Ok(Self { file }),
            Err(error) if error.kind() == io::ErrorKind::NotSeekable => {
                let what = "a character device that cannot seek, such as a terminal";
                Err(Error::WrongKind { path: path.to_owned(), what })
            }
            Err(source) => Err(open_error(path, source)),
        }
    }
}

impl Sink for CharacterDevice {
    fn info(&self) -> SinkInfo {
        SinkInfo::of(Kind::CharacterDevice)
    }

    fn prepare(&mut self, _size: Option<u64>) -> io::Result<()> {
        Ok(())
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

    fn zero(&mut self, _range: ByteRange) -> Result<(), WriteError> {
        Ok(())
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
