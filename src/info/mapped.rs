//! How much of some bytes of an image is mapped, asked for many of them.

use crate::bmap::Bmap;
use crate::range::ByteRange;

/// The mapped bytes of an image, summed up. One that asks has its answer in logarithmic time, however many ranges there
/// are.
pub struct Mapped {
    ranges: Vec<ByteRange>,
    /// How many bytes the ranges before each have.
    before: Vec<u64>,
    total: u64,
}

/// How much is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// All: there is no hole.
    All,
    /// A part.
    Part,
    /// Nothing: it is a hole.
    None,
}

impl Mapped {
    /// Sums up what `map` lists.
    pub fn of(map: &Bmap) -> Self {
        let ranges: Vec<_> = map.ranges().map(|range| range.bytes).collect();
        let mut total = 0;
        let mut before = Vec::with_capacity(ranges.len());
        for range in &ranges {
            before.push(total);
            total += range.len();
        }
        Self { ranges, before, total }
    }

    /// How many of these bytes are mapped.
    pub fn bytes_in(&self, bytes: ByteRange) -> u64 {
        self.before(bytes.end).saturating_sub(self.before(bytes.start))
    }

    /// How much of these bytes is mapped; all of none.
    pub fn share_of(&self, bytes: ByteRange) -> Share {
        match self.bytes_in(bytes) {
            mapped if mapped == bytes.len() => Share::All,
            0 => Share::None,
            _ => Share::Part,
        }
    }

    /// How many bytes before `end` are mapped.
    fn before(&self, end: u64) -> u64 {
        let next = self.ranges.partition_point(|range| range.end <= end);
        match self.ranges.get(next) {
            Some(range) => self.before[next] + end.saturating_sub(range.start),
            None => self.total,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::range::{BlockRange, BlockSize};

    #[test]
    fn what_is_mapped_is_counted_to_the_byte() {
        let ranges = [(0, 1), (2, 2), (4, 5)].map(|(first, last)| BlockRange::from_inclusive(first, last).unwrap());
        let map = Bmap::new(10_500, BlockSize::new(1000).unwrap(), ranges.to_vec(), None).unwrap();
        let mapped = Mapped::of(&map);
        let bytes = |start, end| ByteRange { start, end };
        let cases = [
            (bytes(0, 3000), 3000, Share::All),
            (bytes(500, 3500), 2500, Share::Part),
            (bytes(3000, 4000), 0, Share::None),
            (bytes(3999, 4001), 1, Share::Part),
            (bytes(0, u64::MAX), 5000, Share::Part),
            (bytes(9000, 20_000), 0, Share::None),
            (bytes(7, 7), 0, Share::All),
        ];
        for (bytes, count, share) in cases {
            assert_eq!((mapped.bytes_in(bytes), mapped.share_of(bytes)), (count, share), "{bytes:?}");
        }
    }
}
