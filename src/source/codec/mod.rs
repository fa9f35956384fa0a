//! Codecs: from packed bytes to unpacked ones.
//!
//! Each has a file of its own and a row in the table of [`open`]. All keep the same promises: members, streams or frames
//! that follow one another are one file; the data ends where the format says so, and nothing but padding is behind it. The
//! checksums of the format are verified, but where every byte that counts has a better one ([`Gaps::MayJump`]): there some are
//! left alone, as is what nobody wants.

mod blocks;
mod bzip2;
mod excerpt;
#[cfg(fuzzing)]
pub mod fuzzing;
mod gzip;
mod lz4;
mod lzo1x;
mod lzop;
mod members;
mod memory;
mod packed;
mod xz;
mod xz_index;
mod zstd;

use std::collections::VecDeque;
use std::io::{self, Read};

pub(super) use excerpt::read_at;
pub(super) use packed::{Packed, array, only_padding_follows, packed, skip};

use super::damage::{Damage, unsupported};
use super::transport::{Peeked, Transport};
use super::{ForwardRead, Gaps, SCRATCH_LEN, discard, read_full};
use crate::magic::{Format, PREFIX_LEN};
use crate::range::ByteRange;
use excerpt::{Excerpt, Index};

/// Unpacks `file`, which is of `format`, from its first byte on; of archives, what they are made of is not a codec's.
///
/// # Errors
///
/// Where the decoder cannot be set up, or the file cannot be read.
pub fn open(format: Format, mut file: Peeked, gaps: &Gaps) -> io::Result<Decoded> {
    match (index(format, &mut file, gaps)?, gaps) {
        (Some(index), Gaps::MayJump { wanted }) => {
            let Excerpt { parts, holds, size } = index.excerpt(wanted);
            let codec = decoder(format, packed::from_reader(Box::new(parts.of(file))), gaps)?;
            Ok(Decoded { size: Some(size), holds: holds.into(), ..Decoded::whole(format, codec) })
        }
        (index, _) => {
            let codec = decoder(format, packed(file), gaps)?;
            Ok(Decoded { size: index.map(|index| index.size()), ..Decoded::whole(format, codec) })
        }
    }
}

/// The table of decoders.
fn decoder(format: Format, packed: Packed, gaps: &Gaps) -> io::Result<Box<dyn Read + Send>> {
    match format {
        Format::Gzip => gzip::decoder(packed),
        Format::Bzip2 => bzip2::decoder(packed),
        Format::Xz => xz::decoder(packed),
        Format::Zstd => zstd::decoder(packed),
        Format::Lz4 => Ok(lz4::decoder(packed, gaps)),
        Format::Lzop => Ok(lzop::decoder(packed)),
        Format::Zip | Format::Tar => Err(unsupported("it is an archive")),
    }
}

/// What lies where in `file`, if it has an index that says so and can be had.
fn index(format: Format, file: &mut Peeked, gaps: &Gaps) -> io::Result<Option<Index>> {
    let Some(size) = file.size().filter(|_| file.can_seek()) else { return Ok(None) };
    let index = match (format, gaps) {
        // Only the size is of use then, and on a server it would cost more than it is worth.
        (Format::Xz, Gaps::MustRead) if file.seeks_at_a_cost() => return Ok(None),
        (Format::Xz, _) => xz::index(file, size)?,
        // To its decoder that is a frame to be skipped, whatever it says.
        (Format::Zstd, Gaps::MayJump { .. }) => zstd::index(file, size)?,
        _ => return Ok(None),
    };
    // The ranges count from the start of the image, which is unknown until a tar has been read to its first file.
    let index = match (index, gaps) {
        (Some(_), Gaps::MayJump { .. }) if begins_with_tar(format, file)? => None,
        (index, _) => index,
    };
    file.seek_to(0)?;
    Ok(index)
}

/// Whether the unpacked data of `file` is a tar. Where it cannot be unpacked, that is found out again.
fn begins_with_tar(format: Format, file: &mut Peeked) -> io::Result<bool> {
    file.seek_to(0)?;
    let mut head = [0; PREFIX_LEN];
    let unpacked = match format {
        Format::Xz => read_full(&mut xz::sequential(file)?, &mut head),
        _ => read_full(&mut zstd::sequential(file)?, &mut head),
    };
    Ok(unpacked.is_ok() && Format::of(&head) == Some(Format::Tar))
}

/// Tells what is wrong with data of `format` from what went wrong with reading it, which is left as it is.
pub(super) fn explained(format: Format, error: io::Error) -> io::Error {
    packed::read_error(error).unwrap_or_else(|error| Damage::from_decoder(format, error).into())
}

/// Unpacked data.
pub struct Decoded {
    format: Format,
    codec: Box<dyn Read + Send>,
    position: u64,
    /// The ranges that the codec delivers, one after another: of an excerpt only some.
    holds: VecDeque<ByteRange>,
    size: Option<u64>,
    scratch: Vec<u8>,
}

impl Decoded {
    /// All that `codec` delivers, which unpacks `format`.
    pub(super) fn whole(format: Format, codec: Box<dyn Read + Send>) -> Self {
        let everything = ByteRange { start: 0, end: u64::MAX };
        Self { format, codec, position: 0, holds: VecDeque::from([everything]), size: None, scratch: Vec::new() }
    }

    /// How many bytes there are, where an index says so.
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// How many bytes the codec delivers next of what lies at this place: 0 where that is left out.
    fn available(&mut self) -> u64 {
        while self.holds.front().is_some_and(|held| held.end <= self.position) {
            self.holds.pop_front();
        }
        let held = self.holds.front().filter(|held| held.start <= self.position);
        held.map_or(0, |held| held.end.saturating_sub(self.position))
    }

    /// Where to go on from what is left out, but not beyond `offset`.
    fn end_of_gap(&self, offset: u64) -> u64 {
        let next = self.holds.front().map(|held| held.start).or(self.size).unwrap_or(offset);
        next.min(offset)
    }
}

impl Read for Decoded {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let length = usize::try_from(self.available()).unwrap_or(usize::MAX).min(buf.len());
        let buf = buf.get_mut(..length).unwrap_or_default();
        let count = self.codec.read(buf).map_err(|error| explained(self.format, error))?;
        self.position = self.position.saturating_add(count as u64);
        Ok(count)
    }
}

impl ForwardRead for Decoded {
    fn skip_to(&mut self, offset: u64) -> io::Result<u64> {
        while self.position < offset {
            let wanted = self.available().min(offset.saturating_sub(self.position));
            let from = self.position;
            if wanted > 0 {
                let mut scratch = std::mem::take(&mut self.scratch);
                scratch.resize(SCRATCH_LEN, 0);
                let done = discard(self, &mut scratch, wanted);
                self.scratch = scratch;
                done?;
            } else {
                self.position = self.end_of_gap(offset);
            }
            if self.position == from {
                break;
            }
        }
        Ok(self.position)
    }

    fn finish(&mut self) -> io::Result<u64> {
        self.skip_to(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Delivers some bytes, and then fails.
    struct Failing(io::Cursor<&'static [u8]>);

    #[derive(Debug, thiserror::Error)]
    #[error("the line is cut")]
    struct LineCut;

    impl Read for Failing {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            match self.0.read(buf)? {
                0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, LineCut)),
                count => Ok(count),
            }
        }
    }

    impl Transport for Failing {
        fn size(&self) -> Option<u64> {
            None
        }

        fn can_seek(&self) -> bool {
            false
        }

        fn seek_to(&mut self, _offset: u64) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    #[test]
    fn errors_of_reading_are_not_taken_for_damage() {
        let cases: [(Format, &[u8]); 6] = [
            (Format::Gzip, b"\x1f\x8b\x08\0\0\0\0\0\0\x03"),
            (Format::Bzip2, b"BZh91AY&SY"),
            (Format::Xz, b"\xfd7zXZ\0\0\x04\xe6\xd6\xb4\x46"),
            (Format::Zstd, b"\x28\xb5\x2f\xfd"),
            (Format::Lz4, b"\x04\x22\x4d\x18"),
            (Format::Lzop, b"\x89LZO\0\r\n\x1a\n"),
        ];
        for (format, data) in cases {
            let file = Peeked::new(Box::new(Failing(io::Cursor::new(data))), data.len()).unwrap();
            let mut decoded = open(format, file, &Gaps::MustRead).unwrap();
            let error = decoded.read(&mut [0; 10]).unwrap_err();
            assert!(error.get_ref().is_some_and(|cause| cause.is::<LineCut>()), "{format}: {error:?}");
        }
    }
}
