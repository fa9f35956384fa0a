//! Finds where blocks may begin: their magic, at any bit.
//!
//! The magic may also occur inside a block, by chance or on purpose. So what is found here is only a candidate: whether
//! it is a block is known once the block before has been decoded, and has ended there.

#![expect(
    clippy::arithmetic_side_effects,
    reason = "positions are bits of a file, far below 2^64, and are only subtracted from later ones"
)]

use std::io::{self, BufRead};

use super::bits::BitReader;
use super::block::{BLOCK_MAGIC, END_MAGIC, MAGIC_BITS};

/// An upper bound for the compressed length of a block in bytes: 900,000 symbols of 20 bits, and 60 kB for its header.
pub(super) const MAX_COMPRESSED: usize = 5 << 19;

/// The longest section in bytes: without a magic, it is cut off once it is longer than any block.
const MAX_SECTION: usize = MAX_COMPRESSED + (64 << 10);

/// How many bytes at the end of what has been read are not searched until more is read, as a magic may not yet be
/// complete.
const UNSEARCHED: usize = 16;

/// The compressed data from one magic to the next.
pub(super) struct Section {
    /// What it begins with. `None` at the start of the file, and after a section that has been cut off.
    pub(super) magic: Option<Magic>,
    /// Its first bit, counted from the start of the file.
    pub(super) start: u64,
    /// The first bit after it, which is the first one of the next section.
    pub(super) end: u64,
    /// The bytes that its bits lie in: the first and the last may be shared with the neighbours.
    pub(super) bytes: Vec<u8>,
}

/// The two magics of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Magic {
    /// A block begins with it.
    Block,
    /// The trailer of a stream begins with it.
    EndOfStream,
}

/// Cuts compressed data into sections.
pub(super) struct Scanner<R> {
    compressed: R,
    /// Data that has been read.
    bytes: Vec<u8>,
    /// Index of the first byte of the next section. The bytes before it are removed all at once, before more is read,
    /// as sections may be as short as a magic.
    start: usize,
    /// How many bytes of the file come before that one.
    offset: u64,
    /// What the next section begins with.
    magic: Option<Magic>,
    /// The first bit of the next section, counted from the start of its first byte.
    shift: u64,
    /// The pair of bytes that is searched next, counted from the start of the section.
    searched: usize,
    is_at_end: bool,
    filter: Filter,
}

impl<R: BufRead> Scanner<R> {
    pub(super) fn new(compressed: R) -> Self {
        Self {
            compressed,
            bytes: Vec::new(),
            start: 0,
            offset: 0,
            magic: None,
            shift: 0,
            searched: 0,
            is_at_end: false,
            filter: Filter::new(),
        }
    }

    /// Cuts off the next section; `None` at the end of the data.
    pub(super) fn next_section(&mut self) -> io::Result<Option<Section>> {
        loop {
            if let Some((magic, bit)) = self.find() {
                return Ok(Some(self.cut(Some(magic), bit)));
            }
            let length = pending(&self.bytes, self.start).len();
            if length >= MAX_SECTION {
                // A magic may have begun shortly before the end.
                return Ok(Some(self.cut(None, (MAX_SECTION - UNSEARCHED) as u64 * 8)));
            }
            if self.is_at_end {
                let end = length as u64 * 8;
                return Ok((end > self.shift).then(|| self.cut(None, end)));
            }
            self.read()?;
        }
    }

    fn read(&mut self) -> io::Result<()> {
        self.bytes.drain(..self.start);
        self.start = 0;
        match self.compressed.fill_buf() {
            Ok([]) => self.is_at_end = true,
            Ok(data) => {
                let length = data.len().min(MAX_SECTION.saturating_sub(self.bytes.len()));
                self.bytes.extend_from_slice(data.get(..length).unwrap_or_default());
                self.compressed.consume(length);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Finds the next magic, and its first bit, counted from the start of the section's first byte.
    fn find(&mut self) -> Option<(Magic, u64)> {
        // The section's own magic is not looked for.
        let first = if self.magic.is_some() { self.shift + 1 } else { self.shift };
        let bytes = pending(&self.bytes, self.start);
        let last_pair = bytes.len().saturating_sub(if self.is_at_end { 1 } else { UNSEARCHED });
        while self.searched < last_pair {
            if self.filter.passes(bytes, self.searched)
                && let Some(found) = magic_around(bytes, self.searched, first)
            {
                return Some(found);
            }
            self.searched += STRIDE;
        }
        None
    }

    /// Cuts off the section that ends at `bit`, counted as by [`Scanner::find`], where one with `magic` begins.
    fn cut(&mut self, magic: Option<Magic>, bit: u64) -> Section {
        let (whole, shift) = ((bit / 8) as usize, bit % 8);
        let bytes = pending(&self.bytes, self.start).get(..bit.div_ceil(8) as usize).unwrap_or_default().to_vec();
        self.start += whole;
        let before = self.offset * 8;
        let section = Section { magic: self.magic, start: before + self.shift, end: before + bit, bytes };
        (self.magic, self.shift) = (magic, shift);
        self.offset += whole as u64;
        self.searched = self.searched.saturating_sub(whole);
        section
    }
}

/// The bytes from `start` on.
fn pending(bytes: &[u8], start: usize) -> &[u8] {
    bytes.get(start..).unwrap_or_default()
}

/// How far apart the pairs of bytes are that are searched. A magic fills at least five whole bytes, and so at least one
/// of four pairs that follow one another.
const STRIDE: usize = 4;

/// Which pairs of bytes can lie within a magic: a bit for each pair.
struct Filter(Box<[u64; 1 << 10]>);

impl Filter {
    #[expect(clippy::indexing_slicing, reason = "ten bits are an index")]
    fn new() -> Self {
        let mut pairs = Box::new([0; 1 << 10]);
        for magic in [BLOCK_MAGIC, END_MAGIC] {
            // The last of the pairs ends 0 to 7 bits before the magic does, the others 8, 16 and 24 bits earlier.
            for shift in 0..8 * STRIDE {
                let pair = magic >> shift & 0xffff;
                pairs[(pair >> 6) as usize] |= 1 << (pair & 63);
            }
        }
        Self(pairs)
    }

    /// Whether the pair of bytes at `index` may lie within a magic.
    #[expect(clippy::indexing_slicing, reason = "ten bits are an index")]
    #[inline(always)]
    fn passes(&self, bytes: &[u8], index: usize) -> bool {
        match bytes.get(index..).and_then(|rest| rest.first_chunk::<2>()) {
            Some(pair) => {
                let pair = u16::from_be_bytes(*pair);
                self.0[usize::from(pair >> 6)] >> (pair & 63) & 1 == 1
            }
            None => false,
        }
    }
}

/// The first magic that begins at the bit `first` or later, and in which the pair of bytes at `index` lies.
fn magic_around(bytes: &[u8], index: usize, first: u64) -> Option<(Magic, u64)> {
    let last = index as u64 * 8;
    (last.saturating_sub(8 * STRIDE as u64)..=last).filter(|&start| start >= first).find_map(|start| {
        let mut bits = BitReader::new(bytes, start);
        let magic = bits.read(MAGIC_BITS);
        match magic {
            _ if bits.is_past_end() => None,
            BLOCK_MAGIC => Some((Magic::Block, start)),
            END_MAGIC => Some((Magic::EndOfStream, start)),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bits, the first one of each byte the most significant.
    #[derive(Default)]
    struct Writer(Vec<bool>);

    impl Writer {
        fn put(&mut self, value: u64, count: u32) {
            self.0.extend((0..count).rev().map(|bit| value >> bit & 1 == 1));
        }

        fn bytes(&self) -> Vec<u8> {
            let byte = |bits: &[bool]| (0..8).fold(0, |byte, bit| byte << 1 | u8::from(bits.get(bit) == Some(&true)));
            self.0.chunks(8).map(byte).collect()
        }
    }

    /// The sections of `data`, of which at most `portion` bytes are read at a time.
    fn sections(data: &[u8], portion: usize) -> Vec<Section> {
        let mut scanner = Scanner::new(io::BufReader::with_capacity(portion, data));
        std::iter::from_fn(|| scanner.next_section().unwrap()).collect()
    }

    #[test]
    fn magics_are_found_at_any_bit_and_across_any_border() {
        for shift in 0..40 {
            let mut writer = Writer::default();
            let mut expected = vec![(None, 0)];
            for (distance, magic, expected_magic) in [
                (32 + shift, BLOCK_MAGIC, Some(Magic::Block)),
                (100 + 3 * shift, BLOCK_MAGIC, Some(Magic::Block)),
                (0, END_MAGIC, Some(Magic::EndOfStream)),
                (32, BLOCK_MAGIC, Some(Magic::Block)),
            ] {
                (0..distance).for_each(|bit| writer.put((bit / 3) & 1, 1));
                expected.push((expected_magic, writer.0.len() as u64));
                writer.put(magic, MAGIC_BITS);
            }
            let data = writer.bytes();
            for portion in [1, 2, 3, 5, 1000] {
                let sections = sections(&data, portion);
                let found: Vec<_> = sections.iter().map(|section| (section.magic, section.start)).collect();
                assert_eq!(found, expected, "shift {shift}, portions of {portion}");
                for section in &sections {
                    let start = (section.start / 8) as usize;
                    assert_eq!(section.bytes, data[start..start + section.bytes.len()]);
                }
            }
        }
    }

    #[test]
    fn a_long_stretch_without_a_magic_is_cut_and_loses_none() {
        for before in MAX_SECTION - 40..MAX_SECTION + 10 {
            let mut data = vec![0; before];
            data.extend(&BLOCK_MAGIC.to_be_bytes()[2..]);
            let sections = sections(&data, 256 << 10);
            let last = sections.last().unwrap();
            assert_eq!((last.magic, last.start), (Some(Magic::Block), before as u64 * 8));
            assert!(sections.iter().all(|section| section.bytes.len() <= MAX_SECTION));
            assert_eq!(sections.iter().map(|section| section.bytes.len()).sum::<usize>(), data.len());
        }
    }
}
