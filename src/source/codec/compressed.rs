//! The input of decoders: buffered, and with errors that can be told from their own.

use std::io::{self, BufRead, BufReader, Read};

use crate::sys::eintr::retry_on_eintr;

/// How much compressed data is read at a time, in bytes.
const COMPRESSED_LEN: usize = 256 << 10;

/// Compressed data, as a decoder reads it.
pub type Compressed = BufReader<TagIoErrors<Box<dyn Read + Send>>>;

/// The compressed data that `reader` delivers from where it stands.
pub(in crate::source) fn compressed(reader: impl Read + Send + 'static) -> Compressed {
    BufReader::with_capacity(COMPRESSED_LEN, TagIoErrors(Box::new(reader)))
}

/// Passes bytes on as they are, and errors as [`ReadFailed`].
pub struct TagIoErrors<R>(R);

/// An error that is not the decoder's own: the data could not be read.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct ReadFailed(io::Error);

impl<R: Read> Read for TagIoErrors<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf).map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted => error,
            kind => io::Error::new(kind, ReadFailed(error)),
        })
    }
}

/// The error of reading that a decoder has passed on, as it was; else, as `Err`, the decoder's own.
pub(in crate::source) fn read_error(error: io::Error) -> Result<io::Error, io::Error> {
    match error.kind() {
        io::ErrorKind::Interrupted => Ok(error),
        _ => error.downcast::<ReadFailed>().map(|ReadFailed(error)| error),
    }
}

/// Passes over zeroes, with which tapes and devices pad a file; returns whether nothing follows them.
pub(in crate::source) fn only_padding_follows(compressed: &mut impl BufRead) -> io::Result<bool> {
    loop {
        let (zeroes, length) = retry_on_eintr(|| {
            let data = compressed.fill_buf()?;
            Ok::<_, io::Error>((data.iter().take_while(|&&byte| byte == 0).count(), data.len()))
        })?;
        compressed.consume(zeroes);
        if zeroes < length || length == 0 {
            return Ok(length == 0);
        }
    }
}

/// Passes over the next `length` bytes of `data`, which must be there.
pub(in crate::source) fn skip(data: &mut impl BufRead, length: u64) -> io::Result<()> {
    let skipped = io::copy(&mut data.take(length), &mut io::sink())?;
    if skipped == length { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// The next `N` bytes of `data`.
pub(in crate::source) fn array<const N: usize>(data: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    data.read_exact(&mut bytes)?;
    Ok(bytes)
}
