//! Looks at the first bytes of a reader, and delivers them nevertheless.

use std::fs::File;
use std::io::{self, Read};

use super::detect::HEAD_LEN;
use super::transport::{Info, Transport};
use super::{ForwardRead, Skipping, read_full};
use crate::range::ByteRange;

/// A reader whose first bytes have been looked at.
pub struct Peek<R> {
    head: Vec<u8>,
    /// How many bytes of the head have been delivered.
    delivered: usize,
    rest: R,
}

/// A file as it is stored, whose first bytes are known.
pub type StoredFile = Peek<Box<dyn Transport>>;

impl<R: Read> Peek<R> {
    /// Looks at the first bytes of `reader`, which stands at its start.
    ///
    /// # Errors
    ///
    /// Where `reader` fails.
    pub fn new(mut reader: R) -> io::Result<Self> {
        let mut head = vec![0; HEAD_LEN];
        let length = read_full(&mut reader, &mut head)?;
        head.truncate(length);
        Ok(Self::of(head, reader))
    }

    /// The reader that delivers `head` first, which has been read before, and then what `rest` delivers.
    pub(super) fn of(head: Vec<u8>, rest: R) -> Self {
        Self { head, delivered: 0, rest }
    }

    /// The same bytes, where `wrap` makes another reader of what delivers those after the head.
    pub(super) fn map<S>(self, wrap: impl FnOnce(R) -> S) -> Peek<S> {
        let Self { head, delivered, rest } = self;
        Peek { head, delivered, rest: wrap(rest) }
    }

    /// The first [`HEAD_LEN`] bytes, or as many as there are.
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// How many bytes there are, where all of them are in the head.
    pub fn whole_size(&self) -> Option<u64> {
        (self.head.len() < HEAD_LEN).then_some(self.head.len() as u64)
    }
}

impl<R: Read> Read for Peek<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let (_, mut left) = self.head.split_at(self.delivered);
        match left.read(buf)? {
            0 => self.rest.read(buf),
            count => {
                self.delivered = self.delivered.saturating_add(count);
                Ok(count)
            }
        }
    }
}

impl ForwardRead for Peek<Box<dyn ForwardRead>> {
    fn skip_to(&mut self, offset: u64) -> io::Result<u64> {
        let within = usize::try_from(offset).ok().filter(|&offset| offset <= self.head.len());
        self.delivered = within.unwrap_or(self.head.len());
        if within.is_some() { Ok(offset) } else { self.rest.skip_to(offset) }
    }

    fn skipping(&self) -> Skipping {
        self.rest.skipping()
    }

    fn finish(&mut self) -> io::Result<u64> {
        self.rest.finish()
    }
}

impl Transport for StoredFile {
    fn info(&self) -> Info {
        self.rest.info()
    }

    fn seek_to(&mut self, offset: u64) -> io::Result<()> {
        self.rest.seek_to(offset)?;
        self.delivered = self.head.len();
        Ok(())
    }

    fn fetch_only(&mut self, wanted: &[ByteRange]) {
        self.rest.fetch_only(wanted);
    }

    fn pipe(&self) -> io::Result<Option<File>> {
        self.rest.pipe()
    }

    fn check_unchanged(&self) -> io::Result<()> {
        self.rest.check_unchanged()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Raw;

    fn file(length: usize) -> StoredFile {
        let bytes: Vec<u8> = (0..length).map(|at| at as u8).collect();
        Peek::new(Box::new(io::Cursor::new(bytes)) as _).unwrap()
    }

    #[test]
    fn what_was_looked_at_is_delivered() {
        for length in [0, 10, HEAD_LEN, HEAD_LEN + 10] {
            let mut bytes = Vec::new();
            let mut file = file(length);
            assert_eq!(file.head().len(), length.min(HEAD_LEN));
            assert_eq!(file.whole_size(), Some(length as u64).filter(|_| length < HEAD_LEN));
            file.read_to_end(&mut bytes).unwrap();
            assert!(bytes.iter().enumerate().all(|(at, &byte)| byte == at as u8) && bytes.len() == length);
        }
    }

    #[test]
    fn places_in_the_head_and_after_it_are_reached() {
        let byte_at = |offset: u64| {
            let mut image = Peek::new(Box::new(Raw::new(file(2000))) as Box<dyn ForwardRead>).unwrap();
            assert_eq!(image.skip_to(offset).unwrap(), offset);
            let mut byte = [0];
            image.read_exact(&mut byte).unwrap();
            byte[0]
        };
        for offset in [0, 300, HEAD_LEN as u64 - 1, HEAD_LEN as u64, 1500] {
            assert_eq!(byte_at(offset), offset as u8);
        }
        let mut file = file(2000);
        file.seek_to(3).unwrap();
        let mut byte = [0];
        file.read_exact(&mut byte).unwrap();
        assert_eq!(byte, [3]);
    }
}
