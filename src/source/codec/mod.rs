//! Codecs: from compressed bytes to decompressed ones.
//!
//! Each has a file of its own and a row in the table of `decoder`. All keep the same promises: members, streams or
//! frames that follow one another are one file; the data ends where the format says so, and nothing but padding comes
//! after it, or what the format's own program passes over, too ([`Trailing`]). The checksums of the format are verified,
//! but where every byte that counts has a better one ([`ReadPolicy::SkipHoles`]): there some are not verified, and
//! unwanted data is left out.

mod block_reader;
mod bzip2;
mod compressed;
mod concatenated;
#[cfg(fuzzing)]
pub mod fuzzing;
mod gzip;
mod lz4;
mod lzma;
mod lzo1x;
mod lzop;
mod memory_limit;
mod subset;
mod trailing;
mod xz;
mod xz_index;
mod zstd;

use std::collections::VecDeque;
use std::io::{self, Read};

pub(super) use compressed::{Compressed, array, compressed, only_padding_follows, skip};
pub(super) use subset::read_at;
pub use trailing::Trailing;

use super::archive::SeveralImages;
use super::decode_error::{DecodeError, unsupported};
use super::detect::{Format, HEAD_LEN};
use super::peek::{Peek, StoredFile};
use super::transport::{Seek, Transport};
use super::{ForwardRead, ReadPolicy, Skipping, discard, read_full};
use crate::range::ByteRange;
use subset::{Index, Subset};

/// Decompresses `file`, which is of `format` and not an archive, from its first byte on. The first bytes are
/// decompressed here: whatever memory and threads that takes, the decoder then has.
///
/// # Errors
///
/// Where the decoder cannot be set up, the file cannot be read, or its first bytes cannot be decompressed.
pub fn open(format: Format, mut file: StoredFile, policy: &ReadPolicy, trailing: Trailing) -> io::Result<Decoded> {
    match (index(format, &mut file, policy)?, policy) {
        (Some(index), ReadPolicy::SkipHoles { wanted }) => {
            let Subset { parts, decoded, size } = index.subset(wanted);
            let codec = decoder(format, compressed(parts.of(file)), policy, trailing);
            // Without a single block there is nothing that a decoder could begin with.
            let codec = if decoded.is_empty() { codec } else { codec.and_then(begun) };
            let codec = codec.map_err(|error| explained(format, error))?;
            let (size, ranges) = (Some(size), decoded.into());
            Ok(Decoded { size, ranges, skipping: Skipping::LeavesOut, ..Decoded::whole(format, codec) })
        }
        (index, _) => {
            let codec = decoder(format, compressed(file), policy, trailing).and_then(begun);
            let codec = codec.map_err(|error| explained(format, error))?;
            Ok(Decoded { size: index.map(|index| index.size()), ..Decoded::whole(format, codec) })
        }
    }
}

/// A codec that has begun: its first bytes are there.
fn begun(codec: Box<dyn Read + Send>) -> io::Result<Box<dyn Read + Send>> {
    Ok(Box::new(Peek::new(codec)?))
}

/// Decompresses a file that is held in memory, where it is compressed; `None` where it becomes more than `limit` bytes.
///
/// # Errors
///
/// Where it is damaged, or an archive.
pub fn decode_all(file: Vec<u8>, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let Some(format) = Format::of(&file) else { return Ok(Some(file)) };
    let compressed = compressed(io::Cursor::new(file));
    let codec = decoder(format, compressed, &ReadPolicy::ReadAll, Trailing::Refuse)
        .map_err(|error| explained(format, error))?;
    let decoded = Decoded::whole(format, codec);
    let mut bytes = Vec::new();
    let length = decoded.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(Some(bytes).filter(|_| length as u64 <= limit))
}

/// The table of decoders.
fn decoder(
    format: Format,
    compressed: Compressed,
    policy: &ReadPolicy,
    trailing: Trailing,
) -> io::Result<Box<dyn Read + Send>> {
    match format {
        Format::Gzip => gzip::decoder(compressed, trailing),
        Format::Bzip2 => bzip2::decoder(compressed, trailing),
        Format::Xz => xz::decoder(compressed),
        Format::Lzma => lzma::decoder(compressed),
        Format::Zstd => zstd::decoder(compressed),
        Format::Lz4 => Ok(lz4::decoder(compressed, policy)),
        Format::Lzop => Ok(lzop::decoder(compressed, trailing)),
        Format::Zip | Format::Tar => Err(unsupported("it is an archive")),
    }
}

/// The index of `file`, if it has one that can be read at no great cost.
fn index(format: Format, file: &mut StoredFile, policy: &ReadPolicy) -> io::Result<Option<Index>> {
    let info = file.info();
    let Some(size) = info.seekable_size() else { return Ok(None) };
    let index = match (format, policy) {
        // Only the size is of use then, and on a server it would cost more than it is worth.
        (Format::Xz, ReadPolicy::ReadAll) if info.seek == Seek::Costly => return Ok(None),
        (Format::Xz, _) => xz::index(file, size)?,
        // The decoder skips the index and does not check it, so that its size is not used without checksums.
        (Format::Zstd, ReadPolicy::SkipHoles { .. }) => zstd::index(file, size)?,
        _ => return Ok(None),
    };
    // The ranges count from the start of the image, which is unknown until a tar has been read to its first file.
    let index = match (index, policy) {
        (Some(_), ReadPolicy::SkipHoles { .. }) if begins_with_tar(format, file)? => None,
        (index, _) => index,
    };
    file.seek_to(0)?;
    Ok(index)
}

/// Whether the decompressed data of `file` is a tar. An error of decompression is left to the decoder proper.
fn begins_with_tar(format: Format, file: &mut StoredFile) -> io::Result<bool> {
    file.seek_to(0)?;
    let mut head = [0; HEAD_LEN];
    let decompressed = match format {
        Format::Xz => read_full(&mut xz::sequential(file)?, &mut head),
        _ => read_full(&mut zstd::sequential(file)?, &mut head),
    };
    Ok(decompressed.is_ok() && Format::of(&head) == Some(Format::Tar))
}

/// Turns a decoder's own error into a [`DecodeError`]; an error that is not about the data is returned as it was.
pub(super) fn explained(format: Format, error: io::Error) -> io::Error {
    if error.get_ref().is_some_and(|cause| cause.is::<SeveralImages>()) {
        return error;
    }
    compressed::read_error(error).unwrap_or_else(|error| DecodeError::from_decoder(format, error).into())
}

/// The decompressed bytes of a file.
pub struct Decoded {
    format: Format,
    codec: Box<dyn Read + Send>,
    position: u64,
    /// The ranges of the image that the codec delivers, one after another: of a subset only some.
    ranges: VecDeque<ByteRange>,
    size: Option<u64>,
    skipping: Skipping,
}

impl Decoded {
    /// All that `codec` delivers, which decompresses `format`.
    pub(super) fn whole(format: Format, codec: Box<dyn Read + Send>) -> Self {
        let (ranges, skipping) = (VecDeque::from([ByteRange::ALL]), Skipping::Reads);
        Self { format, codec, position: 0, ranges, size: None, skipping }
    }

    /// How many bytes there are, where an index says so.
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// How many bytes the codec delivers from the position on: 0 in a hole.
    fn available(&mut self) -> u64 {
        while self.ranges.front().is_some_and(|held| held.end <= self.position) {
            self.ranges.pop_front();
        }
        let held = self.ranges.front().filter(|held| held.start <= self.position);
        held.map_or(0, |held| held.end.saturating_sub(self.position))
    }

    /// Where the hole at the position ends, but not beyond `offset`.
    fn end_of_hole(&self, offset: u64) -> u64 {
        let next = self.ranges.front().map(|held| held.start).or(self.size).unwrap_or(offset);
        next.min(offset)
    }
}

impl Read for Decoded {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let length = usize::try_from(self.available()).unwrap_or(usize::MAX).min(buf.len());
        let count = self.codec.read(buf.split_at_mut(length).0).map_err(|error| explained(self.format, error))?;
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
                discard(self, wanted)?;
            } else {
                self.position = self.end_of_hole(offset);
            }
            if self.position == from {
                break;
            }
        }
        Ok(self.position)
    }

    fn skipping(&self) -> Skipping {
        self.skipping
    }

    fn finish(&mut self) -> io::Result<u64> {
        self.skip_to(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

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

    #[test]
    fn small_files_are_decompressed_up_to_a_limit() {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&[7; 1000]).unwrap();
        let file = encoder.finish().unwrap();
        assert_eq!(decode_all(file.clone(), 1000).unwrap(), Some(vec![7; 1000]));
        assert_eq!(decode_all(file.clone(), 999).unwrap(), None);
        assert!(decode_all(file[..file.len() - 1].to_vec(), 1000).is_err());
        assert_eq!(decode_all(b"<bmap".to_vec(), 1000).unwrap(), Some(b"<bmap".to_vec()));
    }

    #[test]
    fn errors_of_reading_are_not_taken_for_damage() {
        let cases: [(Format, &[u8]); 7] = [
            (Format::Gzip, b"\x1f\x8b\x08\0\0\0\0\0\0\x03"),
            (Format::Bzip2, b"BZh91AY&SY"),
            (Format::Xz, b"\xfd7zXZ\0\0\x04\xe6\xd6\xb4\x46"),
            (Format::Lzma, b"\x5d\0\0\x80\0\xff\xff\xff\xff\xff\xff\xff\xff\0"),
            (Format::Zstd, b"\x28\xb5\x2f\xfd"),
            (Format::Lz4, b"\x04\x22\x4d\x18"),
            (Format::Lzop, b"\x89LZO\0\r\n\x1a\n"),
        ];
        for (format, data) in cases {
            let compressed = compressed(Failing(io::Cursor::new(data)));
            let codec = decoder(format, compressed, &ReadPolicy::ReadAll, Trailing::Refuse).unwrap();
            let mut decoded = Decoded::whole(format, codec);
            let error = decoded.read(&mut [0; 10]).unwrap_err();
            assert!(error.get_ref().is_some_and(|cause| cause.is::<LineCut>()), "{format}: {error:?}");
        }
    }
}
