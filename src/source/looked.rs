//! Images at whose first bytes somebody has looked.

use std::io::{self, Read};

use super::ForwardRead;
use super::head::Head;
use crate::magic::PREFIX_LEN;

/// An image whose first bytes are delivered although they have been read.
pub(super) struct Looked {
    head: Head,
    image: Box<dyn ForwardRead>,
}

impl Looked {
    /// Looks at the first bytes of `image`, which stands at its start.
    pub(super) fn new(mut image: Box<dyn ForwardRead>) -> io::Result<Self> {
        Ok(Self { head: Head::of(&mut *image, PREFIX_LEN)?, image })
    }

    /// How many bytes there are, where all of them have been looked at.
    pub(super) fn whole(&self) -> Option<u64> {
        self.head.whole()
    }

    /// The bytes that were looked at.
    pub(super) fn head(&self) -> &[u8] {
        self.head.bytes()
    }
}

impl Read for Looked {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.head.read(buf)? {
            0 => self.image.read(buf),
            count => Ok(count),
        }
    }
}

impl ForwardRead for Looked {
    fn skip_to(&mut self, offset: u64) -> io::Result<u64> {
        if self.head.skip_to(offset) { Ok(offset) } else { self.image.skip_to(offset) }
    }

    fn finish(&mut self) -> io::Result<u64> {
        self.image.finish()
    }
}
