//! Standard input.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;

use super::{Error, FileId, Location, Transport};

/// Opens standard input. It is read without a buffer of its own, for what reads it reads large pieces.
pub(super) fn open(location: &Location) -> Result<(Box<dyn Transport>, Option<FileId>), Error> {
    let open_error = |source| Error::Open { location: location.clone(), source };
    let file = File::from(io::stdin().as_fd().try_clone_to_owned().map_err(open_error)?);
    let metadata = file.metadata().map_err(open_error)?;
    if metadata.is_dir() {
        return Err(Error::Directory { location: location.clone() });
    }
    Ok((Box::new(Stdin(file)), Some(FileId::of(&metadata))))
}

struct Stdin(File);

impl Read for Stdin {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl Transport for Stdin {
    fn size(&self) -> Option<u64> {
        None
    }

    fn can_seek(&self) -> bool {
        false
    }

    fn seek_to(&mut self, _offset: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
