//! Standard input.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;

use super::{Error, FileId, Location, Opened, Transport};
use crate::source::pipe;

/// Opens standard input. It is not buffered, as it is read in large chunks.
pub(super) fn open(location: &Location) -> Result<Opened, Error> {
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
    fn pipe(&self) -> io::Result<Option<File>> {
        pipe::duplicate(&self.0)
    }
}
