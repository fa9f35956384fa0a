//! A character device as target: /dev/null, for a dry run.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::{Error, Remains, Target, WriteError, open_error, write_all_at};

pub(super) struct CharacterDevice {
    file: File,
}

impl CharacterDevice {
    /// Opens the device, without waiting for what is at its other end, such as a modem.
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
                let what = "a character device that has no places to write to, such as a terminal";
                Err(Error::WrongKind { path: path.to_owned(), what })
            }
            Err(source) => Err(open_error(path, source)),
        }
    }
}

impl Target for CharacterDevice {
    fn begin(&mut self, _size: Option<u64>) -> io::Result<()> {
        Ok(())
    }

    fn write_all_at(&mut self, buf: &[u8], offset: u64) -> Result<(), WriteError> {
        write_all_at(&self.file, buf, offset)
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

    fn capacity(&self) -> Option<u64> {
        None
    }

    fn boot_region(&self) -> u64 {
        0
    }

    fn finish(&mut self) {}

    fn abandon(&mut self) -> Remains {
        Remains::Nothing
    }
}
