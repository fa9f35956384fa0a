//! Blocks and bytes, and the only conversions between them.
//!
//! Everything in memory is half-open (`start..end`). The inclusive form of the bmap file exists only in
//! [`BlockRange::from_inclusive`] and [`BlockRange::last`].

use std::fmt;
use std::num::NonZeroU64;

/// The size of a block in bytes, at least 1. It need not be a power of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BlockSize(NonZeroU64);

impl BlockSize {
    /// A block size of `bytes`; `None` for zero.
    pub const fn new(bytes: u64) -> Option<Self> {
        match NonZeroU64::new(bytes) {
            Some(bytes) => Some(Self(bytes)),
            None => None,
        }
    }

    /// The size in bytes.
    pub fn bytes(self) -> u64 {
        self.0.get()
    }

    /// How many blocks it takes to hold `bytes` bytes; the last one may be partial.
    pub fn blocks_in(self, bytes: u64) -> u64 {
        bytes.div_ceil(self.bytes())
    }

    /// The blocks that `bytes` touches: the range rounded outward; `None` if there are none.
    pub fn blocks_of(self, bytes: ByteRange) -> Option<BlockRange> {
        BlockRange::new(bytes.start / self.0, self.blocks_in(bytes.end)).filter(|_| !bytes.is_empty())
    }
}

/// Consecutive blocks, `start..end`, counted from the start of the image. Never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BlockRange {
    start: u64,
    end: u64,
}

impl BlockRange {
    /// The blocks `start..end`; `None` if there are none.
    pub fn new(start: u64, end: u64) -> Option<Self> {
        (start < end).then_some(Self { start, end })
    }

    /// The blocks from `first` to `last`, both included; `None` if `last` comes before `first` or is 2⁶⁴ − 1.
    pub fn from_inclusive(first: u64, last: u64) -> Option<Self> {
        Self::new(first, last.checked_add(1)?)
    }

    /// The first block.
    pub fn start(self) -> u64 {
        self.start
    }

    /// The block after the last.
    pub fn end(self) -> u64 {
        self.end
    }

    /// The last block, included.
    pub fn last(self) -> u64 {
        self.end - 1
    }

    /// How many blocks there are, at least one.
    pub fn count(self) -> u64 {
        self.end - self.start
    }

    /// The bytes of these blocks in an image of `image_size` bytes, whose last block may be partial.
    pub fn bytes(self, block_size: BlockSize, image_size: u64) -> ByteRange {
        // Past 2⁶⁴ only for a partial last block, which ends with the image.
        let offset = |block: u64| block.saturating_mul(block_size.bytes()).min(image_size);
        ByteRange { start: offset(self.start), end: offset(self.end) }
    }

    /// This range and `next` as one, if `next` begins inside it or where it ends; else `None`.
    pub fn merged(self, next: BlockRange) -> Option<Self> {
        (self.start <= next.start && next.start <= self.end)
            .then(|| Self { start: self.start, end: self.end.max(next.end) })
    }
}

/// As in the bmap file: `first-last`, or `first` for a single block.
impl fmt::Display for BlockRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.count() == 1 { write!(f, "{}", self.start) } else { write!(f, "{}-{}", self.start, self.last()) }
    }
}

/// Consecutive bytes, `start..end`, counted from the start of the image. Empty if `end` is not after `start`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ByteRange {
    /// The first byte.
    pub start: u64,
    /// The byte after the last.
    pub end: u64,
}

impl ByteRange {
    /// From the first byte to the last that any file or device could have.
    pub const ALL: Self = Self { start: 0, end: u64::MAX };

    /// How many bytes there are.
    pub fn len(self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Whether any byte is in both.
    pub fn overlaps(self, other: Self) -> bool {
        self.start.max(other.start) < self.end.min(other.end)
    }

    /// These bytes, which count from the start of `window`, counted from where the window's own bytes are counted from.
    /// What lies past its end is cut off.
    pub fn within(self, window: Self) -> Self {
        // The end of `ALL` is out of range in any window.
        let offset = |offset: u64| window.start.saturating_add(offset).min(window.end);
        Self { start: offset(self.start), end: offset(self.end) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bs(bytes: u64) -> BlockSize {
        BlockSize::new(bytes).unwrap()
    }

    #[test]
    fn bytes_are_rounded_outward_to_blocks() {
        let touched = |start, end| bs(4096).blocks_of(ByteRange { start, end }).unwrap().to_string();
        assert_eq!(touched(0, 1), "0");
        assert_eq!(touched(4095, 4097), "0-1");
        assert_eq!(touched(4096, 8192), "1");
        assert_eq!(touched(10, 12289), "0-3");
        for nothing in [0, 7, 4096] {
            assert_eq!(bs(4096).blocks_of(ByteRange { start: nothing, end: nothing }), None);
        }
    }

    #[test]
    fn the_last_block_may_be_partial() {
        let range = BlockRange::from_inclusive(2, 3).unwrap();
        assert_eq!(range.bytes(bs(512), 2000), ByteRange { start: 1024, end: 2000 });
        assert_eq!(range.bytes(bs(512), 2048), ByteRange { start: 1024, end: 2048 });
    }

    #[test]
    fn numbers_at_the_limit_neither_wrap_nor_panic() {
        assert_eq!(BlockRange::from_inclusive(0, u64::MAX), None);
        assert_eq!(BlockRange::from_inclusive(5, 4), None);
        let range = BlockRange::from_inclusive(u64::MAX - 2, u64::MAX - 1).unwrap();
        assert_eq!(range.bytes(bs(u64::MAX), u64::MAX).end, u64::MAX);
        assert_eq!(bs(1).blocks_in(u64::MAX), u64::MAX);
    }

    #[test]
    fn bytes_overlap_where_one_is_in_both() {
        let bytes = |start, end| ByteRange { start, end };
        assert!(bytes(0, 2).overlaps(bytes(1, 3)) && bytes(1, 2).overlaps(ByteRange::ALL));
        assert!(!bytes(0, 2).overlaps(bytes(2, 3)) && !bytes(2, 2).overlaps(ByteRange::ALL));
    }

    #[test]
    fn bytes_of_a_window_do_not_reach_beyond_it() {
        let bytes = |start, end| ByteRange { start, end };
        assert_eq!(bytes(1, 3).within(bytes(10, 20)), bytes(11, 13));
        assert_eq!(ByteRange::ALL.within(bytes(10, 20)), bytes(10, 20));
        assert!(bytes(15, 16).within(bytes(10, 20)).is_empty());
    }

    #[test]
    fn adjacent_or_overlapping_ranges_are_merged() {
        let range = |start, end| BlockRange::new(start, end).unwrap();
        assert_eq!(range(1, 3).merged(range(3, 5)), Some(range(1, 5)));
        assert_eq!(range(1, 9).merged(range(3, 5)), Some(range(1, 9)));
        assert_eq!(range(1, 3).merged(range(4, 5)), None);
    }
}
