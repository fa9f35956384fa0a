//! The block map: which blocks of an image hold data, and their checksums.
//!
//! A [`Bmap`] is valid once it exists: its ranges are sorted, disjoint and inside the image, and its checksums fit
//! their kind. Nothing downstream checks that again.

mod emit;
mod error;
mod parse;

use std::fmt;

pub use error::ParseError;

use crate::digest::{ChecksumKind, Digest};
use crate::range::{BlockRange, BlockSize, ByteRange};

/// The largest bmap file that is read, in bytes.
pub const MAX_FILE_SIZE: u64 = 256 << 20;

/// The version of the bmap format, `major.minor`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// Older readers cannot read a file with a larger one.
    pub major: u64,
    /// A larger one only adds what older readers may ignore.
    pub minor: u64,
}

impl Version {
    /// The version that is written.
    pub const CURRENT: Self = Self::new(2, 0);

    /// Version `major.minor`.
    pub const fn new(major: u64, minor: u64) -> Self {
        Self { major, minor }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The checksums of all ranges of a map, in their order.
///
/// The digests lie side by side in one buffer: a map may have a million of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checksums {
    kind: ChecksumKind,
    digests: Vec<u8>,
}

impl Checksums {
    /// An empty list of checksums of `kind`.
    pub fn new(kind: ChecksumKind) -> Self {
        Self { kind, digests: Vec::new() }
    }

    /// Appends the checksum of the next range, which must be of their kind.
    pub fn push(&mut self, digest: &Digest) {
        self.digests.extend_from_slice(digest.as_bytes());
    }

    /// Their kind.
    pub fn kind(&self) -> ChecksumKind {
        self.kind
    }

    fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.digests.chunks_exact(self.kind.digest_len())
    }
}

/// A mapped range with its checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range<'a> {
    /// The range in blocks.
    pub blocks: BlockRange,
    /// The same range in bytes of the image; a partial last block ends with the image.
    pub bytes: ByteRange,
    /// The digest of these bytes, of the map's [`Bmap::checksum_kind`].
    pub checksum: Option<&'a [u8]>,
}

/// A valid block map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bmap {
    version: Version,
    image_size: u64,
    block_size: BlockSize,
    mapped_blocks: u64,
    ranges: Vec<BlockRange>,
    checksums: Option<Checksums>,
    has_empty_checksums: bool,
}

/// Why values are not a valid block map.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the variants say what their fields are")]
pub enum Invalid {
    /// `range` ends past the image, which has `blocks` blocks.
    #[error("range {range} lies past the end of the image, which has {blocks} blocks")]
    PastTheEnd { range: BlockRange, blocks: u64 },
    /// `range` starts before `previous`, the range before it in the list.
    #[error("range {range} is out of order, it comes after {previous}")]
    OutOfOrder { range: BlockRange, previous: BlockRange },
    /// `range` shares blocks with `previous`, the range before it in the list.
    #[error("range {range} overlaps range {previous}")]
    Overlap { range: BlockRange, previous: BlockRange },
    /// The numbers of checksums and of ranges differ.
    #[error("there are {checksums} checksums for {ranges} ranges")]
    ChecksumCount { checksums: usize, ranges: usize },
}

impl Bmap {
    /// A map of the current version, for an image of `image_size` bytes.
    ///
    /// # Errors
    ///
    /// Where `ranges` are not sorted, disjoint and inside the image, or `checksums` are not one for each.
    pub fn new(
        image_size: u64,
        block_size: BlockSize,
        ranges: Vec<BlockRange>,
        checksums: Option<Checksums>,
    ) -> Result<Self, Invalid> {
        let blocks = block_size.blocks_in(image_size);
        let mut mapped_blocks: u64 = 0;
        let mut previous: Option<BlockRange> = None;
        for &range in &ranges {
            if range.end() > blocks {
                return Err(Invalid::PastTheEnd { range, blocks });
            }
            match previous {
                Some(previous) if range.start() < previous.start() => {
                    return Err(Invalid::OutOfOrder { range, previous });
                }
                Some(previous) if range.start() < previous.end() => return Err(Invalid::Overlap { range, previous }),
                _ => {}
            }
            mapped_blocks += range.count();
            previous = Some(range);
        }
        match checksums.as_ref().map(|checksums| checksums.iter().len()) {
            Some(checksums) if checksums != ranges.len() => {
                return Err(Invalid::ChecksumCount { checksums, ranges: ranges.len() });
            }
            _ => {}
        }
        let (version, has_empty_checksums) = (Version::CURRENT, false);
        Ok(Self { version, image_size, block_size, mapped_blocks, ranges, checksums, has_empty_checksums })
    }

    /// The version of the file that the map was read from, else the one that is written.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The size of the image in bytes.
    pub fn image_size(&self) -> u64 {
        self.image_size
    }

    /// The size of a block.
    pub fn block_size(&self) -> BlockSize {
        self.block_size
    }

    /// How many blocks the image has, mapped or not; the last one may be partial.
    pub fn blocks(&self) -> u64 {
        self.block_size.blocks_in(self.image_size)
    }

    /// How many blocks are mapped.
    pub fn mapped_blocks(&self) -> u64 {
        self.mapped_blocks
    }

    /// How many bytes are mapped, and so written by a copy: a partial last block counts only as far as the image goes.
    pub fn mapped_bytes(&self) -> u64 {
        self.ranges().map(|range| range.bytes.len()).sum()
    }

    /// The kind of the checksums, if the map has them.
    pub fn checksum_kind(&self) -> Option<ChecksumKind> {
        self.checksums.as_ref().map(Checksums::kind)
    }

    /// Whether the file that the map was read from has checksum elements or attributes without any digits, as some
    /// tools write them. They are taken as absent.
    pub fn has_empty_checksums(&self) -> bool {
        self.has_empty_checksums
    }

    /// The mapped ranges, in the order of the image.
    pub fn ranges(&self) -> impl Iterator<Item = Range<'_>> {
        let mut checksums = self.checksums.as_ref().map(Checksums::iter);
        self.ranges.iter().map(move |&blocks| Range {
            blocks,
            bytes: blocks.bytes(self.block_size, self.image_size),
            checksum: checksums.as_mut().and_then(Iterator::next),
        })
    }

    /// Whether all of `bytes` is mapped.
    pub fn maps(&self, bytes: ByteRange) -> bool {
        let mut mapped_to = bytes.start;
        for range in self.ranges().skip_while(|range| range.bytes.end <= bytes.start) {
            if range.bytes.start > mapped_to {
                break;
            }
            mapped_to = range.bytes.end;
        }
        mapped_to >= bytes.end
    }

    /// Parses the bytes of a bmap file of any version up to 2.x, and verifies the file's own checksum.
    ///
    /// # Errors
    ///
    /// Where the file is not a valid bmap.
    pub fn parse(file: &[u8]) -> Result<Self, ParseError> {
        parse::parse(file)
    }

    /// Writes the map as a bmap file of the current version.
    ///
    /// # Errors
    ///
    /// Besides those of `out`, where the file would be larger than [`MAX_FILE_SIZE`].
    pub fn emit(&self, out: &mut dyn std::io::Write) -> std::io::Result<()> {
        emit::emit(self, MAX_FILE_SIZE, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(ranges: &[(u64, u64)]) -> Result<Bmap, Invalid> {
        let ranges = ranges.iter().map(|&(first, last)| BlockRange::from_inclusive(first, last).unwrap()).collect();
        Bmap::new(10_000, BlockSize::new(1000).unwrap(), ranges, None)
    }

    #[test]
    fn only_sorted_disjoint_ranges_inside_the_image_make_a_map() {
        assert_eq!(build(&[(0, 1), (2, 2), (9, 9)]).unwrap().mapped_blocks(), 4);
        assert!(matches!(build(&[(0, 10)]), Err(Invalid::PastTheEnd { blocks: 10, .. })));
        assert!(matches!(build(&[(3, 5), (5, 6)]), Err(Invalid::Overlap { .. })));
        assert!(matches!(build(&[(3, 5), (3, 3)]), Err(Invalid::Overlap { .. })));
        assert!(matches!(build(&[(3, 5), (1, 2)]), Err(Invalid::OutOfOrder { .. })));
    }

    #[test]
    fn bytes_are_mapped_where_no_hole_is_among_them() {
        let map = build(&[(0, 1), (2, 2), (4, 5)]).unwrap();
        let maps = |start, end| map.maps(ByteRange { start, end });
        assert!(maps(0, 3000) && maps(2500, 3000) && maps(4000, 4001) && maps(3500, 3500));
        assert!(!maps(0, 3001) && !maps(2999, 4001) && !maps(3000, 3001) && !maps(5999, 6001) && !maps(9000, 9001));
    }

    #[test]
    fn a_partial_last_block_counts_as_far_as_it_goes() {
        let ranges = vec![BlockRange::from_inclusive(1, 2).unwrap()];
        let map = Bmap::new(2500, BlockSize::new(1000).unwrap(), ranges, None).unwrap();
        assert_eq!((map.blocks(), map.mapped_blocks(), map.mapped_bytes()), (3, 2, 1500));
    }
}
