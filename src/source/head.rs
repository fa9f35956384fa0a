//! Looks at the start of an image, and delivers it nevertheless.

use std::io::{self, ErrorKind, Read};

use super::{ForwardRead, Skipping};
use crate::range::ByteRange;

/// An image whose first bytes have been looked at. An error among them comes when they are read.
pub(crate) struct Head {
    bytes: Vec<u8>,
    /// How many of them have been delivered.
    delivered: usize,
    /// What came instead of more of them.
    fault: Option<io::Error>,
    rest: Box<dyn ForwardRead>,
}

impl Head {
    /// Looks at these parts of `image`, which stands at its start; they are in order, and only they and what follows them
    /// may be read later.
    pub(crate) fn read(mut image: Box<dyn ForwardRead>, parts: Vec<ByteRange>) -> Self {
        let (mut bytes, mut fault) = (Vec::new(), None);
        for part in parts {
            match read_part(&mut *image, part, &mut bytes) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    fault = Some(error);
                    break;
                }
            }
        }
        Self { bytes, delivered: 0, fault, rest: image }
    }

    /// The bytes, as far as the parts reach; zeroes between these.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What came instead of more bytes: it does not come later then.
    pub(crate) fn take_fault(&mut self) -> Option<io::Error> {
        self.fault.take()
    }

    /// Goes on after the bytes, where no error came.
    fn rest(&mut self) -> io::Result<&mut dyn ForwardRead> {
        self.fault.take().map_or(Ok(&mut *self.rest), Err)
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

impl Read for Head {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let (_, mut left) = self.bytes.split_at(self.delivered);
        match left.read(buf)? {
            0 if !buf.is_empty() => self.rest()?.read(buf),
            count => {
                self.delivered = self.delivered.saturating_add(count);
                Ok(count)
            }
        }
    }
}

impl ForwardRead for Head {
    fn skip_to(&mut self, offset: u64) -> io::Result<u64> {
        match usize::try_from(offset).ok().filter(|&offset| offset <= self.bytes.len()) {
            Some(within) => {
                self.delivered = within;
                Ok(offset)
            }
            None => {
                self.delivered = self.bytes.len();
                self.rest()?.skip_to(offset)
            }
        }
    }

    fn skipping(&self) -> Skipping {
        self.rest.skipping()
    }

    fn finish(&mut self) -> io::Result<u64> {
        self.rest()?.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Raw;
    use crate::source::peek::Peek;
    use crate::source::transport::Transport;

    fn image(source: impl Transport + 'static, parts: &[(u64, u64)]) -> Head {
        let stored = Peek::of(Vec::new(), Box::new(source) as Box<dyn Transport>);
        let parts = parts.iter().map(|&(start, end)| ByteRange { start, end }).collect();
        Head::read(Box::new(Raw::new(stored)), parts)
    }

    #[test]
    fn all_of_the_image_is_delivered_from_wherever_it_is_read() {
        for length in [0_usize, 60, 100, 2000] {
            let bytes: Vec<u8> = (0..length).map(|at| at as u8).collect();
            for start in [0, 50, 100, 1500].into_iter().filter(|&start| start <= length) {
                let mut image = image(io::Cursor::new(bytes.clone()), &[(0, 100)]);
                assert_eq!(image.as_bytes(), &bytes[..length.min(100)]);
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
        assert_eq!(image.as_bytes(), expected);
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
            assert!(image.as_bytes().len() <= 20);
            assert_eq!(image.skip_to(100).unwrap(), 20);
        }
    }
}
