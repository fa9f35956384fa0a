//! A file of this machine.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use super::{Error, FileId, Location, Transport};

/// Opens the file at `path`, which is what `location` says.
pub(super) fn open(path: &Path, location: &Location) -> Result<(Box<dyn Transport>, Option<FileId>), Error> {
    let open_error = |source| Error::Open { location: location.clone(), source };
    let mut file = File::open(path).map_err(open_error)?;
    let metadata = file.metadata().map_err(open_error)?;
    let kind = metadata.file_type();
    if kind.is_dir() {
        return Err(Error::Directory { location: location.clone() });
    }
    let size = if kind.is_file() {
        Some(metadata.len())
    } else if kind.is_block_device() {
        Some(device_size(&mut file).map_err(open_error)?)
    } else {
        None
    };
    // Only advice: it makes the kernel read further ahead.
    let _ = posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_SEQUENTIAL);
    Ok((Box::new(LocalFile { file, size }), Some(FileId::of(&metadata))))
}

fn device_size(device: &mut File) -> io::Result<u64> {
    let size = device.seek(SeekFrom::End(0))?;
    device.rewind()?;
    Ok(size)
}

struct LocalFile {
    file: File,
    /// Known for a regular file and a block device; a FIFO has none and only goes forward.
    size: Option<u64>,
}

impl Read for LocalFile {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.file.read(buf)
    }
}

impl Transport for LocalFile {
    fn size(&self) -> Option<u64> {
        self.size
    }

    fn can_seek(&self) -> bool {
        self.size.is_some()
    }

    fn seek_to(&mut self, offset: u64) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(offset)).map(drop)
    }
}
