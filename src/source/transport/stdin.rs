//! Standard input.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;

use super::file::device_size;
use super::{Error, FileId, Info, Location, Opened, Transport};
use crate::source::pipe;

/// Opens standard input. It is not buffered, as it is read in large chunks.
pub(super) fn open(location: &Location) -> Result<Opened, Error> {
    let open_error = |source| Error::Open { location: location.clone(), source };
    let mut file = File::from(io::stdin().as_fd().try_clone_to_owned().map_err(open_error)?);
    let metadata = file.metadata().map_err(open_error)?;
    if metadata.is_dir() {
        return Err(Error::Directory { location: location.clone() });
    }
    // A file that the kernel generates, as in /proc, has no length and yet contents.
    let left = |position| metadata.len().checked_sub(position).filter(|&left| left > 0);
    let size = match file.stream_position() {
        Ok(position) if metadata.is_file() => left(position),
        Ok(0) if metadata.file_type().is_block_device() => Some(device_size(&mut file).map_err(open_error)?),
        _ => None,
    };
    Ok((Box::new(Stdin { file, size }), Some(FileId::of(&metadata))))
}

struct Stdin {
    file: File,
    /// The bytes from its position on, where it is a regular file; those of a block device that is read from its start.
    size: Option<u64>,
}

impl Read for Stdin {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.file.read(buf)
    }
}

impl Transport for Stdin {
    fn info(&self) -> Info {
        Info { size: self.size, ..Info::default() }
    }

    fn pipe(&self) -> io::Result<Option<File>> {
        pipe::duplicate(&self.file)
    }
}
