//! Codecs: from packed bytes to unpacked ones.
//!
//! Each has a file of its own and a row in the table of [`decoder`]. All keep the same promises: members, streams or
//! frames that follow one another are one file; the data ends where the format says so, with every checksum of the
//! format verified, and nothing but padding behind it.

mod bzip2;
mod gzip;
mod members;
mod xz;
mod zstd;

use std::io::{self, BufRead, BufReader, Read};

use super::transport::Peeked;
use super::{ForwardRead, Gaps, discard};
use crate::magic::Format;

/// What a codec reads from.
pub type Packed = BufReader<Peeked>;

/// How much packed data is read at a time.
const PACKED_LEN: usize = 256 << 10;

/// The size of the pieces in which data is unpacked that nobody wants.
const SCRATCH_LEN: usize = 128 << 10;

/// Packed data that is not what its format asks for.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// It ends too early.
    #[error("the {0} data ends too early: the file is cut off")]
    CutOff(Format),
    /// It contradicts the format or its own checksum.
    #[error("the {format} data is corrupt")]
    Corrupt {
        /// The format.
        format: Format,
        /// What the decoder says.
        source: io::Error,
    },
}

/// The decoder for `format`, which reads `packed` from its first byte on; `None` where there is none for it.
///
/// # Errors
///
/// Where the decoder cannot be set up.
pub fn decoder(format: Format, packed: Peeked, _gaps: Gaps) -> io::Result<Option<Decoded>> {
    let packed = BufReader::with_capacity(PACKED_LEN, packed);
    let codec = match format {
        Format::Gzip => gzip::decoder(packed)?,
        Format::Bzip2 => bzip2::decoder(packed)?,
        Format::Xz => xz::decoder(packed)?,
        Format::Zstd => zstd::decoder(packed)?,
        Format::Lz4 | Format::Lzop | Format::Zip | Format::Tar => return Ok(None),
    };
    Ok(Some(Decoded { format, codec, position: 0, scratch: Vec::new() }))
}

/// Unpacked data.
pub struct Decoded {
    format: Format,
    codec: Box<dyn Read + Send>,
    position: u64,
    scratch: Vec<u8>,
}

impl Decoded {
    /// Tells what is wrong with the data from what went wrong with reading it, which is left as it is.
    fn explain(&self, error: io::Error) -> io::Error {
        let format = self.format;
        match error.kind() {
            _ if error.raw_os_error().is_some() => error,
            io::ErrorKind::Interrupted => error,
            io::ErrorKind::UnexpectedEof => io::Error::new(error.kind(), Damage::CutOff(format)),
            _ => io::Error::new(io::ErrorKind::InvalidData, Damage::Corrupt { format, source: error }),
        }
    }

    fn discard(&mut self, count: u64) -> io::Result<()> {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.resize(SCRATCH_LEN, 0);
        let done = discard(self, &mut scratch, count);
        self.scratch = scratch;
        done.map(drop)
    }
}

impl Read for Decoded {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.codec.read(buf).map_err(|error| self.explain(error))?;
        self.position = self.position.saturating_add(count as u64);
        Ok(count)
    }
}

impl ForwardRead for Decoded {
    fn skip_to(&mut self, offset: u64) -> io::Result<u64> {
        self.discard(offset.saturating_sub(self.position))?;
        Ok(self.position)
    }

    fn finish(&mut self) -> io::Result<u64> {
        self.discard(u64::MAX)?;
        Ok(self.position)
    }
}

/// Passes over zeroes, with which tapes and devices are filled up; whether nothing follows them.
fn only_padding_follows(packed: &mut Packed) -> io::Result<bool> {
    loop {
        let data = match packed.fill_buf() {
            Ok(data) => data,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let (zeroes, length) = (data.iter().take_while(|&&byte| byte == 0).count(), data.len());
        packed.consume(zeroes);
        if zeroes < length || length == 0 {
            return Ok(length == 0);
        }
    }
}
