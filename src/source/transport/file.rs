//! A file of this machine.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::Path;
use std::time::SystemTime;

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use super::{Error, FileId, Info, Location, Opened, Transport};
use crate::source::{pipe, transport};

/// Opens the file at `path`, whose name in messages is `location`.
pub(super) fn open(path: &Path, location: &Location) -> Result<Opened, Error> {
    let open_error = |source| Error::Open { location: location.clone(), source };
    let mut file = File::open(path).map_err(open_error)?;
    let metadata = file.metadata().map_err(open_error)?;
    let kind = metadata.file_type();
    if kind.is_dir() {
        return Err(Error::Directory { location: location.clone() });
    }
    let size = if kind.is_file() {
        length_of(&file, metadata.len())
    } else if kind.is_block_device() {
        Some(device_size(&mut file).map_err(open_error)?)
    } else {
        None
    };
    // Only advice: it makes the kernel read further ahead.
    let _ = posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_SEQUENTIAL);
    let modified = metadata.is_file().then(|| metadata.modified()).transpose().map_err(open_error)?;
    Ok((Box::new(LocalFile { file, size, modified }), Some(FileId::of(&metadata))))
}

/// The size of a regular file whose metadata says `length`. A file that the kernel generates, as in /proc, says 0 and
/// has contents: its size is unknown.
fn length_of(file: &File, length: u64) -> Option<u64> {
    let is_empty = || file.read_at(&mut [0], 0).is_ok_and(|count| count == 0);
    Some(length).filter(|&length| length > 0 || is_empty())
}

/// The size in bytes of a device that stands at its start.
pub(super) fn device_size(device: &mut File) -> io::Result<u64> {
    let size = device.seek(SeekFrom::End(0))?;
    device.rewind()?;
    Ok(size)
}

struct LocalFile {
    file: File,
    /// `None` for what only goes forward, such as a FIFO.
    size: Option<u64>,
    /// The modification time of a regular file when it was opened.
    modified: Option<SystemTime>,
}

impl Read for LocalFile {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.file.read(buf)
    }
}

impl Transport for LocalFile {
    fn info(&self) -> Info {
        let seek = if self.size.is_some() { transport::Seek::Free } else { transport::Seek::No };
        Info { size: self.size, seek, stats: None }
    }

    fn seek_to(&mut self, offset: u64) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(offset)).map(drop)
    }

    fn pipe(&self) -> io::Result<Option<File>> {
        pipe::duplicate(&self.file)
    }

    fn check_unchanged(&self) -> io::Result<()> {
        match self.modified {
            Some(modified) if self.file.metadata()?.modified()? != modified => Err(io::Error::other(
                "its time has changed since it was opened: it may have been written to while it was copied",
            )),
            _ => Ok(()),
        }
    }
}
