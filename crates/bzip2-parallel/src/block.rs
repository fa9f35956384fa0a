//! A block: a header, Huffman codes, and the symbols of its last column (see [`bwt`](super::bwt)).

use super::bits::BitReader;
use super::bwt::{InverseBwt, ROWS};
use super::crc::Crc;
use super::error::FormatError;
use super::huffman::{HuffmanCode, MAX_LENGTH, MAX_SYMBOLS};
use super::mtf::MtfList;
use super::randomised;
use super::run_lengths::RunExpander;
use super::symbols::Column;

/// What a block begins with: pi in binary-coded decimals.
pub(super) const BLOCK_MAGIC: u64 = 0x3141_5926_5359;

/// What the trailer of a stream begins with: the square root of pi.
pub(super) const END_MAGIC: u64 = 0x1772_4538_5090;

/// The length of either in bits.
pub(super) const MAGIC_BITS: u32 = 48;

/// How many bytes a block may have for each level of its stream, before its runs are expanded.
pub(super) const LEVEL_LEN: usize = 100_000;

/// The longest block in bytes, before its runs are expanded: that of level 9.
pub(super) const MAX_LEN: usize = 9 * LEVEL_LEN;

/// A lower bound for the compressed length of a block in bytes. The shortest one has 174 bits, with one byte that
/// occurs, two Huffman codes and two symbols.
pub(super) const MIN_COMPRESSED: usize = 21;

/// How much of a block is expanded at a time for its checksum, in bytes: little enough for a core's first cache.
const SCRATCH_LEN: usize = 16 << 10;

/// A decoded block.
pub(super) struct Block {
    /// Its bytes, before their runs are expanded.
    pub(super) bytes: Vec<u8>,
    /// The checksum of the expanded bytes, which has been verified.
    pub(super) crc: u32,
    /// The first bit after it, counted as its start is.
    pub(super) end: u64,
}

/// Why a block cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BlockError {
    /// The data ends before the block does.
    CutOff,
    /// The header is not valid.
    Header,
    /// The lengths of code words do not make a Huffman code.
    HuffmanCode,
    /// Bits that are no code word, or too many symbols.
    Symbols,
    /// The block ends where the length of a run should follow.
    RunLength,
    /// The checksum is wrong.
    Checksum,
}

impl BlockError {
    /// The error of a block that begins in byte `at` of the compressed data.
    pub(super) fn at(self, at: u64) -> FormatError {
        match self {
            Self::CutOff => FormatError::CutOff,
            Self::Header => FormatError::BlockHeader { at },
            Self::HuffmanCode => FormatError::HuffmanCode { at },
            Self::Symbols => FormatError::Symbols { at },
            Self::RunLength => FormatError::RunLength { at },
            Self::Checksum => FormatError::BlockChecksum { at },
        }
    }
}

/// Decodes one block after another, and keeps the memory for it.
pub(super) struct BlockDecoder {
    /// The last column of the sorted rotations.
    column: Vec<u8>,
    inverse_bwt: InverseBwt,
    /// For each group of symbols, which code it is in.
    selectors: Vec<u8>,
    /// At most six are used; with eight, any number of three bits is an index.
    codes: Box<[HuffmanCode; 8]>,
    scratch: Vec<u8>,
}

impl BlockDecoder {
    pub(super) fn new() -> Self {
        Self {
            column: vec![0; ROWS],
            inverse_bwt: InverseBwt::new(),
            selectors: Vec::new(),
            codes: Box::new([const { HuffmanCode::empty() }; 8]),
            scratch: vec![0; SCRATCH_LEN],
        }
    }

    /// Decodes the block that begins, with its magic, at the bit `start` of `data`.
    pub(super) fn decode(&mut self, data: &[u8], start: u64) -> Result<Block, BlockError> {
        let mut bits = BitReader::new(data, start);
        let decoded = self.decode_from(&mut bits);
        // Past the end of the data there are zeroes, and an error in them means nothing.
        if bits.is_past_end() { Err(BlockError::CutOff) } else { decoded }
    }

    fn decode_from(&mut self, bits: &mut BitReader<'_>) -> Result<Block, BlockError> {
        bits.read(MAGIC_BITS);
        let crc = bits.read(32) as u32;
        let randomised = bits.read_flag();
        let orig_ptr = bits.read(24) as usize;
        let (bytes, count) = read_bytes_in_use(bits)?;
        self.read_codes(bits, count.saturating_add(2))?;

        let store = self.column.first_chunk_mut::<ROWS>().ok_or(BlockError::Symbols)?;
        let mut column = Column::new(store, MtfList::new(&bytes));
        let end_of_block = (count as u16).saturating_add(1);
        column.read(bits, &self.codes, &self.selectors, end_of_block)?;
        let Column { length, counts, .. } = column;
        let end = bits.position();
        if bits.is_past_end() || orig_ptr >= length {
            return Err(BlockError::Header);
        }
        let mut bytes = self.inverse_bwt.invert(store, length, &counts, orig_ptr).ok_or(BlockError::Symbols)?;
        if randomised {
            randomised::restore(&mut bytes);
        }
        if self.checksum(&bytes)? != crc {
            return Err(BlockError::Checksum);
        }
        Ok(Block { bytes, crc, end })
    }

    /// Reads the selectors, and the codes, each of so many `symbols`.
    fn read_codes(&mut self, bits: &mut BitReader<'_>, symbols: usize) -> Result<(), BlockError> {
        let count = bits.read(3) as usize;
        let selectors = bits.read(15) as usize;
        if !(2..=6).contains(&count) || selectors == 0 {
            return Err(BlockError::Header);
        }
        self.selectors.clear();
        // Selectors are moved to the front as bytes are, and their indices written in unary.
        let mut list: [u8; 6] = [0, 1, 2, 3, 4, 5];
        for _ in 0..selectors {
            bits.refill();
            let index = bits.window().leading_ones() as usize;
            if index >= count {
                return Err(BlockError::Header);
            }
            bits.skip((index as u32).saturating_add(1));
            list.get_mut(..=index).ok_or(BlockError::Header)?.rotate_right(1);
            self.selectors.push(list[0]);
        }
        self.codes.iter_mut().take(count).try_for_each(|code| {
            let mut lengths = [0; MAX_SYMBOLS];
            let lengths = lengths.get_mut(..symbols).ok_or(BlockError::Header)?;
            read_lengths(bits, lengths)?;
            code.build(lengths).ok_or(BlockError::HuffmanCode)
        })
    }

    /// The checksum of a block, whose `bytes` are expanded for it.
    fn checksum(&mut self, bytes: &[u8]) -> Result<u32, BlockError> {
        let (mut crc, mut expander) = (Crc::default(), RunExpander::default());
        loop {
            match expander.expand(bytes, &mut self.scratch) {
                0 if expander.lacks_count(bytes) => return Err(BlockError::RunLength),
                0 => return Ok(crc.finish()),
                count => crc.update(self.scratch.get_mut(..count).unwrap_or_default()),
            }
        }
    }
}

/// Reads which bytes occur in the block: a bit for each 16 of them, set if any does, then 16 bits for each such 16.
/// Returns them in ascending order, and how many there are.
fn read_bytes_in_use(bits: &mut BitReader<'_>) -> Result<([u8; 256], usize), BlockError> {
    let mut bytes = [0; 256];
    let mut count: usize = 0;
    let sixteens = bits.read(16);
    for sixteen in (0..16).filter(|sixteen| sixteens << sixteen & 0x8000 != 0) {
        let ones = bits.read(16);
        for one in (0..16).filter(|one| ones << one & 0x8000 != 0) {
            *bytes.get_mut(count).ok_or(BlockError::Header)? = sixteen << 4 | one;
            count = count.saturating_add(1);
        }
    }
    if count == 0 { Err(BlockError::Header) } else { Ok((bytes, count)) }
}

/// Reads the lengths of code words: each is the one before it, after any number of steps up or down.
fn read_lengths(bits: &mut BitReader<'_>, lengths: &mut [u8]) -> Result<(), BlockError> {
    let mut length = bits.read(5) as u32;
    for entry in lengths {
        loop {
            if !(1..=MAX_LENGTH).contains(&length) {
                return Err(BlockError::HuffmanCode);
            }
            if !bits.read_flag() {
                break;
            }
            length = if bits.read_flag() { length.wrapping_sub(1) } else { length.wrapping_add(1) };
        }
        *entry = length as u8;
    }
    Ok(())
}
