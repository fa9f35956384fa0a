//! The pipe that an image comes through.
//!
//! A program that writes to a pipe is killed (SIGPIPE) once its reader has gone, and a script with
//! `set -o pipefail` takes that for a failure. So what is not needed is read all the same.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileTypeExt;

use super::{SCRATCH_LEN, discard};

/// Another descriptor of `file`, where that is a pipe or a socket.
pub(super) fn duplicate(file: &File) -> io::Result<Option<File>> {
    let kind = file.metadata()?.file_type();
    if kind.is_fifo() || kind.is_socket() { file.try_clone().map(Some) } else { Ok(None) }
}

/// The pipe that an image comes through, beside the reader that has it, too.
pub(crate) struct Pipe {
    pub(super) file: File,
    pub(super) contents: Contents,
}

/// What comes through a pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Contents {
    /// The image as it is.
    Image,
    /// The image in another form, whose length is not known.
    Encoded,
}

impl Pipe {
    /// Reads and drops what follows byte `offset` of an image of `image_size` bytes, up to the end of the image; of a
    /// compressed one as many bytes. A pipe that goes on after that may be endless. `on_read` is called again and again.
    pub(crate) fn drain(mut self, offset: u64, image_size: u64, mut on_read: impl FnMut()) {
        let mut left = match self.contents {
            Contents::Image => image_size.saturating_sub(offset),
            Contents::Encoded => image_size,
        };
        // Whatever is wrong with these bytes, they are not wanted.
        while let Ok(count @ 1..) = discard(&mut self.file, left.min(SCRATCH_LEN as u64)) {
            left = left.saturating_sub(count);
            on_read();
        }
    }
}
