//! A block: a header, Huffman codes, and the symbols that make up the last column of its text's sorted rotations.

use super::bits::Bits;
use super::bwt::{Chain, SLOTS};
use super::crc::Crc;
use super::huffman::{Code, MAX_LENGTH, MAX_SYMBOLS};
use super::mtf::Recent;
use super::random;
use super::runs::Runs;

/// What a block begins with.
pub(super) const BLOCK_MAGIC: u64 = 0x3141_5926_5359;

/// What the trailer of a stream begins with.
pub(super) const END_MAGIC: u64 = 0x1772_4538_5090;

/// The length of either in bits.
pub(super) const MAGIC_BITS: u32 = 48;

/// How many bytes of text a block has for each unit of its stream's level.
pub(super) const LEVEL_LEN: usize = 100_000;

/// The longest text of a block in bytes, that of level 9.
pub(super) const MAX_LEN: usize = 9 * LEVEL_LEN;

/// The shortest block in bytes of packed data, and less: 174 bits, with one byte in use, two codes and two symbols.
pub(super) const MIN_PACKED: usize = 21;

/// How many symbols are told by one code before the next is chosen.
const GROUP_LEN: usize = 50;

/// A decoded block.
pub(super) struct Block {
    /// Its text, whose runs are not yet expanded.
    pub(super) text: Vec<u8>,
    /// The checksum of the expanded text, which has been verified.
    pub(super) crc: u32,
    /// The bit behind it, counted as its start is.
    pub(super) end: u64,
}

/// Why a block cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Flaw {
    /// The data ends in the midst of it.
    #[error("a block is cut off")]
    CutOff,
    /// Its header makes no sense.
    #[error("the header of a block is not valid")]
    Header,
    /// The lengths of its code words make no code.
    #[error("a Huffman code is not valid")]
    Code,
    /// Its symbols are none of the code's, or too many.
    #[error("the symbols of a block are not valid")]
    Symbols,
    /// Its text ends within a run.
    #[error("a run in a block has no length")]
    Run,
    /// Its checksum is wrong.
    #[error("the checksum of a block is wrong")]
    Checksum,
}

/// Decodes blocks, and keeps the memory for it.
pub(super) struct Decoder {
    /// The last column of the sorted rotations.
    column: Vec<u8>,
    chain: Chain,
    selectors: Vec<u8>,
    /// Six codes; the others make a number of three bits always an index.
    codes: Box<[Code; 8]>,
    scratch: Vec<u8>,
}

/// How much text is expanded at a time for its checksum: little enough for a core's first cache.
const SCRATCH_LEN: usize = 16 << 10;

impl Decoder {
    pub(super) fn new() -> Self {
        Self {
            column: vec![0; SLOTS],
            chain: Chain::new(),
            selectors: Vec::new(),
            codes: Box::new([const { Code::empty() }; 8]),
            scratch: vec![0; SCRATCH_LEN],
        }
    }

    /// Decodes the block that begins, with its magic, at the bit `start` of `data`.
    pub(super) fn decode(&mut self, data: &[u8], start: u64) -> Result<Block, Flaw> {
        let mut bits = Bits::new(data, start);
        let decoded = self.decode_from(&mut bits);
        // Behind the end of the data nothing tells what a flaw is.
        if bits.overran() { Err(Flaw::CutOff) } else { decoded }
    }

    fn decode_from(&mut self, bits: &mut Bits<'_>) -> Result<Block, Flaw> {
        bits.take(MAGIC_BITS);
        let crc = bits.take(32) as u32;
        let randomised = bits.flag();
        let origin = bits.take(24) as usize;
        let (recent, used) = bytes_in_use(bits)?;
        self.read_codes(bits, used.saturating_add(2))?;

        let mut counts = [0; 256];
        let column = self.column.first_chunk_mut::<SLOTS>().ok_or(Flaw::Symbols)?;
        let end_of_block = (used as u16).saturating_add(1);
        let length = symbols(bits, &self.codes, &self.selectors, end_of_block, recent, column, &mut counts)?;
        let end = bits.position();
        if bits.overran() || origin >= length {
            return Err(Flaw::Header);
        }
        let mut text = self.chain.invert(column, length, &counts, origin).ok_or(Flaw::Symbols)?;
        if randomised {
            random::restore(&mut text);
        }
        if self.checksum(&text)? != crc {
            return Err(Flaw::Checksum);
        }
        Ok(Block { text, crc, end })
    }

    /// Reads which code comes when, and the codes, each of so many `symbols`.
    fn read_codes(&mut self, bits: &mut Bits<'_>, symbols: usize) -> Result<(), Flaw> {
        let count = bits.take(3) as usize;
        let selectors = bits.take(15) as usize;
        if !(2..=6).contains(&count) || selectors == 0 {
            return Err(Flaw::Header);
        }
        self.selectors.clear();
        let mut recent: [u8; 6] = [0, 1, 2, 3, 4, 5];
        for _ in 0..selectors {
            bits.refill();
            let place = bits.window().leading_ones() as usize;
            if place >= count {
                return Err(Flaw::Header);
            }
            bits.skip((place as u32).saturating_add(1));
            recent.get_mut(..=place).ok_or(Flaw::Header)?.rotate_right(1);
            self.selectors.push(recent[0]);
        }
        self.codes.iter_mut().take(count).try_for_each(|code| {
            let mut lengths = [0; MAX_SYMBOLS];
            let lengths = lengths.get_mut(..symbols).ok_or(Flaw::Header)?;
            read_lengths(bits, lengths)?;
            code.assign(lengths).ok_or(Flaw::Code)
        })
    }

    /// The checksum of the expanded text.
    fn checksum(&mut self, text: &[u8]) -> Result<u32, Flaw> {
        let (mut crc, mut runs) = (Crc::default(), Runs::default());
        loop {
            match runs.expand(text, &mut self.scratch) {
                0 if runs.lacks_count(text) => return Err(Flaw::Run),
                0 => return Ok(crc.finish()),
                count => crc.consume(self.scratch.get_mut(..count).unwrap_or_default()),
            }
        }
    }
}

/// Which bytes the text has, in ascending order, and how many that are: a bit for each 16 of them that has any, then their
/// bits.
fn bytes_in_use(bits: &mut Bits<'_>) -> Result<(Recent, usize), Flaw> {
    let mut bytes = [0; 256];
    let mut used: usize = 0;
    let sixteens = bits.take(16);
    for sixteen in (0..16).filter(|sixteen| sixteens << sixteen & 0x8000 != 0) {
        let ones = bits.take(16);
        for one in (0..16).filter(|one| ones << one & 0x8000 != 0) {
            *bytes.get_mut(used).ok_or(Flaw::Header)? = sixteen << 4 | one;
            used = used.saturating_add(1);
        }
    }
    if used == 0 { Err(Flaw::Header) } else { Ok((Recent::new(&bytes), used)) }
}

/// Reads the lengths of code words: each is the one before it, after steps of one up or down.
fn read_lengths(bits: &mut Bits<'_>, lengths: &mut [u8]) -> Result<(), Flaw> {
    let mut length = bits.take(5) as u32;
    for place in lengths {
        loop {
            if !(1..=MAX_LENGTH).contains(&length) {
                return Err(Flaw::Code);
            }
            if !bits.flag() {
                break;
            }
            length = if bits.flag() { length.wrapping_sub(1) } else { length.wrapping_add(1) };
        }
        *place = length as u8;
    }
    Ok(())
}

/// Decodes the symbols of a block into its last column; returns how long that is. It has each byte as often as `counts`
/// says.
fn symbols(
    bits: &mut Bits<'_>,
    codes: &[Code; 8],
    selectors: &[u8],
    end_of_block: u16,
    recent: Recent,
    column: &mut [u8; SLOTS],
    counts: &mut [u32; 256],
) -> Result<usize, Flaw> {
    let mut column = Column { bytes: column, length: 0, counts, recent };
    // A copy of their own keeps the bits in registers.
    let mut input = *bits;
    let result = column.gather(&mut input, codes, selectors, end_of_block);
    *bits = input;
    result.map(|()| column.length)
}

/// A last column that is growing.
struct Column<'a> {
    bytes: &'a mut [u8; SLOTS],
    length: usize,
    counts: &'a mut [u32; 256],
    recent: Recent,
}

impl Column<'_> {
    #[expect(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        reason = "a run and its weight stay below twice the longest text, and bytes are indices"
    )]
    #[inline(always)]
    fn gather(
        &mut self,
        bits: &mut Bits<'_>,
        codes: &[Code; 8],
        selectors: &[u8],
        end_of_block: u16,
    ) -> Result<(), Flaw> {
        let (mut run, mut weight) = (0, 1);
        for &selector in selectors {
            let code = &codes[usize::from(selector & 7)];
            for _ in 0..GROUP_LEN {
                if bits.valid() < MAX_LENGTH {
                    bits.refill();
                }
                let symbol = code.symbol(bits).ok_or(Flaw::Symbols)?;
                if symbol <= 1 {
                    // A digit of the run's length, the lowest first; digits are 1 and 2 rather than 0 and 1.
                    run += weight << symbol;
                    weight <<= 1;
                    if run > MAX_LEN {
                        return Err(Flaw::Symbols);
                    }
                    continue;
                }
                if run > 0 {
                    self.push_run(run)?;
                    (run, weight) = (0, 1);
                }
                if symbol == end_of_block {
                    return Ok(());
                }
                let byte = self.recent.take((symbol - 1) as u8);
                *self.bytes[..MAX_LEN].get_mut(self.length).ok_or(Flaw::Symbols)? = byte;
                self.counts[usize::from(byte)] += 1;
                self.length += 1;
            }
        }
        Err(Flaw::Symbols)
    }

    /// The latest byte once more, `run` times.
    #[expect(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        reason = "length and run are at most that of the longest text, and a byte is an index"
    )]
    #[inline(always)]
    fn push_run(&mut self, run: usize) -> Result<(), Flaw> {
        let byte = self.recent.first();
        let end = self.length + run;
        self.bytes[..MAX_LEN].get_mut(self.length..end).ok_or(Flaw::Symbols)?.fill(byte);
        self.counts[usize::from(byte)] += run as u32;
        self.length = end;
        Ok(())
    }
}
