//! What is wrong, told for adjacent ranges together: a bmap may have a million ranges, and all may be wrong.

use std::collections::BTreeMap;

use super::relocated::RelocatedGpt;
use crate::bmap::Range;
use crate::digest::Digest;
use crate::range::{BlockRange, ByteRange};
use crate::sys::read_at::ReadError;

/// So many ranges that differ come with their digests: they are for people to look at.
const WITH_DIGESTS: usize = 16;

/// Of so many differences, adjacent ones are put together; after that, whenever there are twice as many.
const MERGED_FROM: usize = 1000;

/// Adjacent ranges that are all wrong in the same way.
#[derive(Debug)]
pub struct Difference {
    /// Their bytes.
    pub bytes: ByteRange,
    /// Their blocks.
    pub blocks: BlockRange,
    /// How many they are.
    pub ranges: usize,
    /// What is wrong with them.
    pub fault: Fault,
}

/// What is wrong with ranges.
#[derive(Debug)]
pub enum Fault {
    /// Their bytes are others. What a single range must hash to, and does hash to, is known for the first ones.
    Differs(Option<Box<(Digest, Digest)>>),
    /// They cannot be read; this is the first error.
    Unreadable(ReadError),
}

impl Difference {
    /// Whether its bytes cannot be read.
    pub fn is_unreadable(&self) -> bool {
        matches!(self.fault, Fault::Unreadable(_))
    }
}

/// Collects what is wrong, in any order.
pub(super) struct Differences<'a> {
    found: Vec<Difference>,
    merge_at: usize,
    /// What the first ranges that differ must hash to, and do hash to, by their first bytes.
    digests: BTreeMap<u64, Box<(Digest, Digest)>>,
    /// What it has changed may yet turn out to be right: such ranges are kept apart until the end.
    gpt: Option<&'a RelocatedGpt>,
}

impl<'a> Differences<'a> {
    /// Those of a device whose GPT was relocated, or of anything else.
    pub(super) fn new(gpt: Option<&'a RelocatedGpt>) -> Self {
        Self { found: Vec::new(), merge_at: MERGED_FROM, digests: BTreeMap::new(), gpt }
    }

    /// Adds a range that cannot be read.
    pub(super) fn add_unreadable(&mut self, range: Range<'_>, error: ReadError) {
        self.add(range, Fault::Unreadable(error));
    }

    /// Adds a range that hashes to `found`, and not to `expected`.
    pub(super) fn add_differing(&mut self, range: Range<'_>, expected: Digest, found: Digest) {
        self.digests.insert(range.bytes.start, Box::new((expected, found)));
        if self.digests.len() > WITH_DIGESTS {
            self.digests.pop_last();
        }
        self.add(range, Fault::Differs(None));
    }

    fn add(&mut self, Range { bytes, blocks, .. }: Range<'_>, fault: Fault) {
        self.found.push(Difference { bytes, blocks, ranges: 1, fault });
        if self.found.len() >= self.merge_at {
            merge(&mut self.found, self.gpt);
            self.merge_at = (2 * self.found.len()).max(MERGED_FROM);
        }
    }

    /// All that was found, in order.
    pub(super) fn finish(self) -> Vec<Difference> {
        let Self { mut found, mut digests, .. } = self;
        merge(&mut found, None);
        for Difference { bytes, ranges, fault, .. } in &mut found {
            if let (1, Fault::Differs(known)) = (*ranges, fault) {
                *known = digests.remove(&bytes.start);
            }
        }
        found
    }

    /// Whether any range is wrong that `gpt` has changed.
    pub(super) fn has_changed(&self, gpt: &RelocatedGpt) -> bool {
        self.found.iter().any(|difference| gpt.has_changed(difference.bytes))
    }

    /// Forgets those ranges.
    pub(super) fn remove_changed(&mut self, gpt: &RelocatedGpt) {
        self.found.retain(|difference| !gpt.has_changed(difference.bytes));
    }
}

/// Puts differences in order, and adjacent ones of a kind together, but for those that `gpt` has changed.
fn merge(found: &mut Vec<Difference>, gpt: Option<&RelocatedGpt>) {
    let is_apart = |bytes| gpt.is_some_and(|gpt| gpt.has_changed(bytes));
    found.sort_unstable_by_key(|difference| difference.bytes.start);
    found.dedup_by(|next, difference| {
        let is_one = difference.bytes.end == next.bytes.start
            && difference.is_unreadable() == next.is_unreadable()
            && !is_apart(difference.bytes)
            && !is_apart(next.bytes);
        if is_one && let Some(blocks) = difference.blocks.merged(next.blocks) {
            difference.bytes.end = next.bytes.end;
            difference.blocks = blocks;
            difference.ranges += next.ranges;
        }
        is_one
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: u64 = 4096;

    fn range(number: u64) -> Range<'static> {
        let bytes = ByteRange { start: number * BLOCK, end: (number + 1) * BLOCK };
        Range { blocks: BlockRange::new(number, number + 1).unwrap(), bytes, checksum: None }
    }

    fn digest(byte: u8) -> Digest {
        [byte; 32].as_slice().into()
    }

    #[test]
    fn adjacent_ranges_of_a_kind_are_one_in_whatever_order_they_come() {
        let mut differences = Differences::new(None);
        for number in (0..10_000).rev().filter(|number| number % 1000 != 999) {
            differences.add_differing(range(number), digest(1), digest(2));
            assert!(differences.found.len() <= MERGED_FROM, "{number}");
        }
        let error = ReadError { offset: 999 * BLOCK, source: std::io::ErrorKind::Other.into() };
        differences.add_unreadable(range(999), error);
        let found = differences.finish();
        let blocks: Vec<_> = found.iter().map(|found| (found.blocks.to_string(), found.ranges)).collect();
        assert_eq!(blocks[..3], [("0-998".into(), 999), ("999".into(), 1), ("1000-1998".into(), 999)]);
        assert_eq!((found.len(), found[1].bytes), (11, range(999).bytes));
        assert!(matches!(found[1].fault, Fault::Unreadable(ReadError { offset: 4_091_904, .. })));
    }

    #[test]
    fn digests_are_kept_of_the_first_ranges() {
        let mut differences = Differences::new(None);
        for number in (0..5000).rev() {
            differences.add_differing(range(2 * number), digest(number as u8), digest(2));
        }
        let found = differences.finish();
        assert_eq!(found.len(), 5000);
        for (number, Difference { fault, .. }) in found.iter().enumerate() {
            let Fault::Differs(digests) = fault else { panic!("it was read") };
            let expected = (number < WITH_DIGESTS).then(|| Box::new((digest(number as u8), digest(2))));
            assert_eq!(*digests, expected, "{number}");
        }
    }
}
