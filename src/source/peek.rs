//! Looks at the first bytes of a reader, and delivers them nevertheless.

use std::fs::File;
use std::io::{self, ErrorKind, Read};

use super::detect::HEAD_LEN;
use super::transport::{Info, Transport};
use super::{ForwardRead, Skipping, read_full};
use crate::range::ByteRange;

/// A reader whose first bytes have been looked at.
pub struct Peek<R> {
    head: Vec<u8>,
    /// How many bytes of the head have been delivered.
    delivered: usize,
    /// What came instead of more of them.
    fault: Option<io::Error>,
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
        Self { head, delivered: 0, fault: None, rest }
    }

    /// The same bytes, where `wrap` makes another reader of what delivers those after the head.
    pub(super) fn map<S>(self, wrap: impl FnOnce(R) -> S) -> Peek<S> {
        let Self { head, delivered, fault, rest } = self;
        Peek { head, delivered, fault, rest: wrap(rest) }
    }

    /// The bytes that have been looked at: the first [`HEAD_LEN`], or as many as there are.
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// How many bytes there are, where all of them are in the head.
    pub fn whole_size(&self) -> Option<u64> {
        (self.head.len() < HEAD_LEN).then_some(self.head.len() as u64)
    }

    /// Goes on after the head, where no error came.
    fn rest(&mut self) -> io::Result<&mut R> {
        self.fault.take().map_or(Ok(&mut self.rest), Err)
    }
}

impl Peek<Box<dyn ForwardRead>> {
    /// Looks at these parts of `image`, which stands at its start; they are in order, and only they and what follows them
    /// may be read later. Between them the head is zero. An error among them comes when they are read.
    pub(crate) fn parts(mut image: Box<dyn ForwardRead>, parts: Vec<ByteRange>) -> Self {
        let mut head = Vec::new();
        let read = parts.into_iter().try_for_each(|part| match read_part(&mut *image, part, &mut head) {
            Ok(true) => Ok(()),
            Ok(false) => Err(None),
            Err(error) => Err(Some(error)),
        });
        Self { fault: read.err().flatten(), ..Self::of(head, image) }
    }

    /// What came instead of more of the head: it does not come later then.
    pub(crate) fn take_fault(&mut self) -> Option<io::Error> {
        self.fault.take()
    }
}

/// Adds a part of `image` to the bytes before it; `false` where the image ends before the part does.
fn read_part(image: &mut dyn ForwardRead, part: ByteRange, bytes: &mut Vec<u8>) -> io::Result<bool> {
    let index = |offset| usize::try_from(offset).map_err(io::Error::other);
    if part.start > bytes.len() as u64 && image.skip_to(part.start)? < part.start {
        return Ok(false);
    }
    let start = index(part.start)?;
    bytes.resize(index(part.end)?, 0);
    let mut filled = start;
    let result = loop {
        match bytes.get_mut(filled..).filter(|rest| !rest.is_empty()).map(|rest| image.read(rest)) {
            None => return Ok(true),
            Some(Ok(0)) => break Ok(false),
            Some(Ok(count)) => filled = filled.saturating_add(count),
            Some(Err(error)) if error.kind() == ErrorKind::Interrupted => {}
            Some(Err(error)) => break Err(error),
        }
    };
    bytes.truncate(filled);
    result
}

impl<R: Read> Read for Peek<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let (_, mut left) = self.head.split_at(self.delivered);
        match left.read(buf)? {
            0 if !buf.is_empty() => self.rest()?.read(buf),
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
        if within.is_some() { Ok(offset) } else { self.rest()?.skip_to(offset) }
    }

    fn skipping(&self) -> Skipping {
        self.rest.skipping()
    }

    fn finish(&mut self) -> io::Result<u64> {
        self.rest()?.finish()
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

    fn image(source: impl Transport + 'static, parts: &[(u64, u64)]) -> Peek<Box<dyn ForwardRead>> {
        let stored = Peek::of(Vec::new(), Box::new(source) as Box<dyn Transport>);
        let parts = parts.iter().map(|&(start, end)| ByteRange { start, end }).collect();
        Peek::parts(Box::new(Raw::new(stored)), parts)
    }

    #[test]
    fn all_of_the_image_is_delivered_from_wherever_it_is_read() {
        for length in [0_usize, 60, 100, 2000] {
            let bytes: Vec<u8> = (0..length).map(|at| at as u8).collect();
            for start in [0, 50, 100, 1500].into_iter().filter(|&start| start <= length) {
                let mut image = image(io::Cursor::new(bytes.clone()), &[(0, 100)]);
                assert_eq!(image.head(), &bytes[..length.min(100)]);
                assert_eq!(image.skip_to(start as u64).unwrap(), start as u64);
                let mut found = Vec::new();
                image.read_to_end(&mut found).unwrap();
                assert_eq!(found, bytes[start..]);
                assert_eq!(image.finish().unwrap(), length as u64);
            }
        }
    }

    #[test]
    fn only_the_parts_are_looked_at() {
        let bytes: Vec<u8> = (0..200).map(|at: u8| at + 1).collect();
        let mut image = image(io::Cursor::new(bytes.clone()), &[(10, 20), (20, 30), (50, 60)]);
        let mut expected = vec![0; 60];
        [10..30, 50..60].into_iter().for_each(|part| expected[part.clone()].copy_from_slice(&bytes[part]));
        assert_eq!(image.head(), expected);
        for (start, end) in [(10, 30), (50, 70), (100, 110)] {
            assert_eq!(image.skip_to(start as u64).unwrap(), start as u64);
            let mut found = vec![0; end - start];
            image.read_exact(&mut found).unwrap();
            assert_eq!(found, bytes[start..end]);
        }
    }

    #[test]
    fn an_image_that_ends_before_a_part_is_told_as_it_is() {
        for parts in [[(0, 10), (15, 30)], [(0, 10), (25, 30)]] {
            let mut image = image(io::Cursor::new(vec![1; 20]), &parts);
            assert!(image.head().len() <= 20);
            assert_eq!(image.skip_to(100).unwrap(), 20);
        }
    }
}
