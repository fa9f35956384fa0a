//! lzop: its container, as version 1.04 writes it, around blocks of LZO1X. The checksums of its header and of its
//! blocks, compressed and decompressed, are verified where it has them.

use std::io::{self, Read};

use super::block_reader::{BlockDecoder, BlockReader, first};
use super::compressed::array;
use super::{Compressed, Trailing, lzo1x};
use crate::source::decode_error::{corrupt, unsupported};

const MAGIC: [u8; 9] = *b"\x89LZO\0\r\n\x1a\n";

/// The newest version of the container that is known.
const VERSION: u16 = 0x1040;
/// The version that brought in the level, the version needed and 64 bits of time.
const VERSION_0_94: u16 = 0x0940;

/// Bits of the header's flags.
mod flag {
    pub const ADLER32_DECOMPRESSED: u32 = 1 << 0;
    pub const ADLER32_COMPRESSED: u32 = 1 << 1;
    pub const EXTRA_FIELD: u32 = 1 << 6;
    pub const CRC32_DECOMPRESSED: u32 = 1 << 8;
    pub const CRC32_COMPRESSED: u32 = 1 << 9;
    pub const FILTER: u32 = 1 << 11;
    pub const CRC32_HEADER: u32 = 1 << 12;
}

/// The largest block that is decompressed, in bytes, so that memory stays bounded; lzop makes blocks of 256 KiB.
const BLOCK_MAX: usize = 8 << 20;

pub(super) fn decoder(compressed: Compressed, trailing: Trailing) -> Box<dyn Read + Send> {
    Box::new(BlockReader::new(Lzop { compressed, trailing, flags: None, input: Vec::new() }))
}

struct Lzop {
    compressed: Compressed,
    trailing: Trailing,
    /// Of the part that is being decompressed.
    flags: Option<u32>,
    /// The compressed block.
    input: Vec<u8>,
}

impl BlockDecoder for Lzop {
    fn next(&mut self, room: &mut Vec<u8>) -> io::Result<Option<usize>> {
        loop {
            let Some(flags) = self.flags else {
                if !self.trailing.member_follows(&mut self.compressed, &MAGIC)? {
                    return Ok(None);
                }
                self.flags = Some(header(&mut self.compressed)?);
                continue;
            };
            match self.block(flags, room)? {
                0 => self.flags = None,
                length => return Ok(Some(length)),
            }
        }
    }
}

impl Lzop {
    /// Decompresses a block; returns its length, or 0 if it was the mark at a part's end.
    fn block(&mut self, flags: u32, room: &mut Vec<u8>) -> io::Result<usize> {
        let length = length(&mut self.compressed)?;
        if length == 0 {
            return Ok(0);
        }
        let compressed_length = self::length(&mut self.compressed)?;
        let is_stored = compressed_length == length;
        if compressed_length > length {
            return Err(corrupt("a block is larger compressed than decompressed"));
        }
        let decompressed_sums =
            Checksums::parse(&mut self.compressed, flags, flag::ADLER32_DECOMPRESSED, flag::CRC32_DECOMPRESSED)?;
        let compressed_sums = match is_stored {
            true => Checksums::default(),
            false => Checksums::parse(&mut self.compressed, flags, flag::ADLER32_COMPRESSED, flag::CRC32_COMPRESSED)?,
        };
        let output = first(room, length)?;
        if is_stored {
            self.compressed.read_exact(output)?;
        } else {
            let input = first(&mut self.input, compressed_length)?;
            self.compressed.read_exact(input)?;
            compressed_sums.check(input)?;
            let decompressed = lzo1x::decompress(input, output).map_err(|error| corrupt(error.to_string()))?;
            if decompressed != length {
                return Err(corrupt(format!("a block decompresses to {decompressed} bytes, not to {length}")));
            }
        }
        decompressed_sums.check(output)?;
        Ok(length)
    }
}

/// The length of a block, in bytes.
fn length(compressed: &mut Compressed) -> io::Result<usize> {
    let length = u32::from_be_bytes(array(compressed)?);
    usize::try_from(length)
        .ok()
        .filter(|&length| length <= BLOCK_MAX)
        .ok_or_else(|| corrupt(format!("a block has {length} bytes, at most {BLOCK_MAX} are allowed")))
}

/// The checksums of a block, where there are any.
#[derive(Default)]
struct Checksums {
    adler32: Option<u32>,
    crc32: Option<u32>,
}

impl Checksums {
    fn parse(compressed: &mut Compressed, flags: u32, adler32: u32, crc32: u32) -> io::Result<Self> {
        let mut read =
            |flag| if flags & flag == 0 { Ok(None) } else { array(compressed).map(u32::from_be_bytes).map(Some) };
        Ok(Self { adler32: read(adler32)?, crc32: read(crc32)? })
    }

    fn check(&self, data: &[u8]) -> io::Result<()> {
        let matches = self.adler32.is_none_or(|sum| sum == simd_adler32::adler32(&data))
            && self.crc32.is_none_or(|sum| sum == crc32fast::hash(data));
        if matches { Ok(()) } else { Err(corrupt("the checksum of a block is wrong")) }
    }
}

/// Reads the header of a part; returns its flags.
fn header(compressed: &mut Compressed) -> io::Result<u32> {
    if array(compressed)? != MAGIC {
        return Err(corrupt("something follows that is no lzop data"));
    }
    let mut header = Header { compressed, bytes: Vec::new() };
    let version = u16::from_be_bytes(header.array()?);
    let _version_of_library: [u8; 2] = header.array()?;
    let version_needed = if version >= VERSION_0_94 { u16::from_be_bytes(header.array()?) } else { version };
    let [method] = header.array()?;
    if version >= VERSION_0_94 {
        let _level: [u8; 1] = header.array()?;
    }
    let flags = u32::from_be_bytes(header.array()?);
    let filter = if flags & flag::FILTER == 0 { 0 } else { u32::from_be_bytes(header.array()?) };
    let _mode: [u8; 4] = header.array()?;
    let _time: [u8; 4] = header.array()?;
    if version >= VERSION_0_94 {
        let _time_high: [u8; 4] = header.array()?;
    }
    let [name_length] = header.array()?;
    header.skip(usize::from(name_length))?;
    header.check(flags)?;
    if flags & flag::EXTRA_FIELD != 0 {
        let mut extra = Header { compressed, bytes: Vec::new() };
        let length = u32::from_be_bytes(extra.array()?);
        extra.skip(
            usize::try_from(length).ok().filter(|&length| length <= BLOCK_MAX).ok_or_else(|| {
                corrupt(format!("an extra field has {length} bytes, at most {BLOCK_MAX} are allowed"))
            })?,
        )?;
        extra.check(flags)?;
    }
    match method {
        _ if version_needed > VERSION => Err(unsupported("it was made by a newer version of lzop")),
        // LZO1X-1, LZO1X-1(15) and LZO1X-999: all are LZO1X to the decoder.
        1..=3 if filter == 0 => Ok(flags),
        1..=3 => Err(unsupported(format!("it was compressed with filter {filter}"))),
        _ => Err(unsupported(format!("it was compressed by method {method}"))),
    }
}

/// A header while it is read.
struct Header<'a> {
    compressed: &'a mut Compressed,
    /// What the checksum covers.
    bytes: Vec<u8>,
}

impl Header<'_> {
    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let bytes = array(self.compressed)?;
        self.bytes.extend(bytes);
        Ok(bytes)
    }

    fn skip(&mut self, length: usize) -> io::Result<()> {
        let got = self.compressed.by_ref().take(length as u64).read_to_end(&mut self.bytes)?;
        if got == length { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    fn check(self, flags: u32) -> io::Result<()> {
        let computed = match flags & flag::CRC32_HEADER {
            0 => simd_adler32::adler32(&self.bytes.as_slice()),
            _ => crc32fast::hash(&self.bytes),
        };
        let stored = u32::from_be_bytes(array(self.compressed)?);
        if stored == computed { Ok(()) } else { Err(corrupt("the checksum of a header is wrong")) }
    }
}
