//! Looks at the start of an image, and delivers it nevertheless.

use std::io::{self, ErrorKind, Read};

use super::{ForwardRead, Skipping};

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
    /// Looks at the first `length` bytes of `image`, which stands at its start, or as many as there are.
    pub(crate) fn read(mut image: Box<dyn ForwardRead>, length: usize) -> Self {
        let mut bytes = vec![0; length];
        let (mut filled, mut fault) = (0_usize, None);
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match image.read(rest) {
                Ok(0) => break,
                Ok(count) => filled = filled.saturating_add(count),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    fault = Some(error);
                    break;
                }
            }
        }
        bytes.truncate(filled);
        Self { bytes, delivered: 0, fault, rest: image }
    }

    /// The bytes.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Goes on after the bytes, where no error came.
    fn rest(&mut self) -> io::Result<&mut dyn ForwardRead> {
        self.fault.take().map_or(Ok(&mut *self.rest), Err)
    }
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

    fn image(source: impl Transport + 'static) -> Head {
        let stored = Peek::of(Vec::new(), Box::new(source) as Box<dyn Transport>);
        Head::read(Box::new(Raw::new(stored)), 100)
    }

    #[test]
    fn all_of_the_image_is_delivered_from_wherever_it_is_read() {
        for length in [0_usize, 60, 100, 2000] {
            let bytes: Vec<u8> = (0..length).map(|at| at as u8).collect();
            for start in [0, 50, 100, 1500].into_iter().filter(|&start| start <= length) {
                let mut image = image(io::Cursor::new(bytes.clone()));
                assert_eq!(image.as_bytes(), &bytes[..length.min(100)]);
                assert_eq!(image.skip_to(start as u64).unwrap(), start as u64);
                let mut found = Vec::new();
                image.read_to_end(&mut found).unwrap();
                assert_eq!(found, bytes[start..]);
                assert_eq!(image.finish().unwrap(), length as u64);
            }
        }
    }
}
