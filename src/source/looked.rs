//! Images at whose first bytes somebody has looked.

use std::io::{self, Read};

use super::{ForwardRead, read_full};
use crate::magic::PREFIX_LEN;

/// An image whose first bytes are delivered although they have been read.
pub(super) struct Looked {
    head: Vec<u8>,
    /// How much of the head has been passed.
    position: usize,
    image: Box<dyn ForwardRead>,
}

impl Looked {
    /// Looks at the first bytes of `image`, which stands at its start.
    pub(super) fn new(mut image: Box<dyn ForwardRead>) -> io::Result<Self> {
        let mut head = vec![0; PREFIX_LEN];
        let length = read_full(&mut *image, &mut head)?;
        head.truncate(length);
        Ok(Self { head, position: 0, image })
    }

    /// How many bytes there are, where all of them have been looked at.
    pub(super) fn whole(&self) -> Option<u64> {
        Some(self.head.len()).filter(|&length| length < PREFIX_LEN).map(|length| length as u64)
    }

    /// The bytes that were looked at.
    pub(super) fn head(&self) -> &[u8] {
        &self.head
    }
}

impl Read for Looked {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.head.get(self.position..) {
            Some(mut rest) if !rest.is_empty() => {
                let count = rest.read(buf)?;
                self.position = self.position.saturating_add(count);
                Ok(count)
            }
            _ => self.image.read(buf),
        }
    }
}

impl ForwardRead for Looked {
    fn skip_to(&mut self, offset: u64) -> io::Result<u64> {
        match usize::try_from(offset) {
            Ok(within) if within <= self.head.len() => {
                self.position = within;
                Ok(offset)
            }
            _ => {
                self.position = self.head.len();
                self.image.skip_to(offset)
            }
        }
    }

    fn finish(&mut self) -> io::Result<u64> {
        self.position = self.head.len();
        self.image.finish()
    }
}
