//! What becomes of every byte of a target.

use std::iter;

use crate::bmap::{Bmap, Range};
use crate::digest::ChecksumKind;
use crate::range::{BlockRange, ByteRange};
use crate::sink::InputFile;
use crate::source::{self, ForwardRead, Pipe, ReadPolicy, Source, Unpacked};

/// Whether checksums are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    /// Every range that has one.
    Checksums,
    /// None.
    Skip,
}

/// What becomes of the bytes that the image leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmapped {
    /// A device keeps what it had there; in a file they are holes.
    Keep,
    /// They read as zeroes afterwards.
    Zero,
    /// A device is told that it need not keep them, nor what lies after the image.
    Discard,
}

/// What becomes of every byte of a target, and the only place that decides what of the image may be skipped.
#[derive(Clone, Debug)]
pub struct Plan {
    map: Option<Bmap>,
    /// The size of the image in bytes, where it is known.
    size: Option<u64>,
    verify: Verify,
    unmapped: Unmapped,
    /// The bytes to write, in order, where that is not all that the map has.
    only: Option<Vec<ByteRange>>,
}

/// A step of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// These bytes of the image are written, once the checksum, if there is one to compare, is right.
    Write(ByteRange, Option<Checksum<'a>>),
    /// These bytes of the target become zeroes.
    Zero(ByteRange),
}

/// What the bytes of some blocks must hash to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Checksum<'a> {
    pub(super) blocks: BlockRange,
    pub(super) kind: ChecksumKind,
    pub(super) digest: &'a [u8],
}

impl Plan {
    /// Writes what `map` lists, and nothing else of the image.
    pub fn mapped(map: Bmap, verify: Verify, unmapped: Unmapped) -> Self {
        Self { size: Some(map.image_size()), map: Some(map), verify, unmapped, only: None }
    }

    /// Writes all of the image, to its end.
    pub fn whole() -> Self {
        Self { map: None, size: None, verify: Verify::Skip, unmapped: Unmapped::Keep, only: None }
    }

    /// The plan of a second pass, which writes only these bytes again: they are in order, none twice. The ranges that
    /// they lie in are read and verified in full.
    #[cfg_attr(not(test), expect(dead_code, reason = "what was read back wrong is going to be written again"))]
    pub(super) fn only(&self, mut bytes: Vec<ByteRange>) -> Self {
        bytes.retain(|bytes| !bytes.is_empty());
        assert!(bytes.is_sorted_by(|one, next| one.end <= next.start), "{bytes:?}");
        Self { only: Some(bytes), ..self.clone() }
    }

    /// Opens the image in `source`. What of it is read is up to the plan: what no checksum vouches for is read to its
    /// clean end.
    ///
    /// # Errors
    ///
    /// Where the source has another size than the map says, is an archive without the image, or cannot be read or
    /// decompressed; without a map also where it is something else than a disk image.
    pub fn open(self, source: Source) -> Result<Image, source::Error> {
        let input = source.id().zip(source.location().local_path());
        let input = input.map(|(id, path)| InputFile { role: "image", id, path: path.to_owned() });
        let pipe = source.pipe()?;
        let Unpacked { reader, size } = source.unpack(self.size, self.read_policy())?;
        Ok(Image { plan: self.of_size(size), reader, input, pipe })
    }

    /// The same plan, now that the source says how large the image is.
    pub(super) fn of_size(self, size: Option<u64>) -> Self {
        Self { size: self.size.or(size), ..self }
    }

    /// The map, where there is one.
    pub fn map(&self) -> Option<&Bmap> {
        self.map.as_ref()
    }

    /// The size of the image in bytes, where it is known.
    pub fn image_size(&self) -> Option<u64> {
        self.size
    }

    /// How many bytes are written, where that is known.
    pub fn total(&self) -> Option<u64> {
        match (&self.only, &self.map) {
            (Some(only), _) => Some(only.iter().map(|bytes| bytes.len()).sum()),
            (None, Some(map)) => Some(map.mapped_bytes()),
            (None, None) => self.size,
        }
    }

    /// Whether a checksum is compared for every byte that is written. If not, only the format's own checks and the
    /// clean end of the source tell that the image is complete.
    pub(super) fn covers_all(&self) -> bool {
        let Some(map) = &self.map else { return false };
        self.verify == Verify::Checksums && (map.checksum_kind().is_some() || map.mapped_blocks() == 0)
    }

    fn read_policy(&self) -> ReadPolicy {
        if self.covers_all() { ReadPolicy::SkipHoles { wanted: self.writes().collect() } } else { ReadPolicy::ReadAll }
    }

    /// What the target is told to forget before anything is written; the last range has no end.
    pub(super) fn discards(&self) -> impl Iterator<Item = ByteRange> {
        let map = self.map.as_ref().filter(|_| self.unmapped == Unmapped::Discard && self.only.is_none());
        let after = |map: &Bmap| ByteRange { start: map.image_size(), end: u64::MAX };
        map.into_iter().flat_map(move |map| holes(map).chain([after(map)])).filter(|bytes| !bytes.is_empty())
    }

    /// What is written and zeroed, in the order of the bytes. Where the size of the image is not known, the last range
    /// ends where the source does.
    pub(super) fn steps(&self) -> Box<dyn Iterator<Item = Step<'_>> + '_> {
        let Some(map) = &self.map else {
            let all = ByteRange { start: 0, end: self.size.unwrap_or(u64::MAX) };
            return Box::new((!all.is_empty()).then_some(Step::Write(all, None)).into_iter());
        };
        let compared = map.checksum_kind().filter(|_| self.verify == Verify::Checksums);
        let write = move |range| write_step(range, compared);
        match (&self.only, self.unmapped) {
            (Some(only), _) => Box::new(map.ranges().filter(|range| touches(only, range.bytes)).map(write)),
            (None, Unmapped::Keep | Unmapped::Discard) => Box::new(map.ranges().map(write)),
            (None, Unmapped::Zero) => {
                let mut ranges = map.ranges();
                let steps = holes(map).flat_map(move |hole| {
                    let zero = (!hole.is_empty()).then_some(Step::Zero(hole));
                    zero.into_iter().chain(ranges.next().map(write))
                });
                Box::new(steps)
            }
        }
    }

    /// The bytes of the image that are read.
    pub(super) fn writes(&self) -> impl Iterator<Item = ByteRange> {
        self.steps().filter_map(|step| match step {
            Step::Write(bytes, _) => Some(bytes),
            Step::Zero(_) => None,
        })
    }

    /// Those of `bytes` that are written.
    pub(super) fn parts(&self, bytes: ByteRange) -> Vec<ByteRange> {
        let Some(only) = &self.only else { return vec![bytes] };
        let first = only.partition_point(|wanted| wanted.end <= bytes.start);
        let touched = only[first..].iter().take_while(|wanted| wanted.start < bytes.end);
        touched
            .map(|wanted| ByteRange { start: wanted.start.max(bytes.start), end: wanted.end.min(bytes.end) })
            .collect()
    }

    pub(super) fn unmapped(&self) -> Unmapped {
        self.unmapped
    }
}

fn write_step(range: Range<'_>, compared: Option<ChecksumKind>) -> Step<'_> {
    let checksum = compared.zip(range.checksum);
    let checksum = checksum.map(|(kind, digest)| Checksum { blocks: range.blocks, kind, digest });
    Step::Write(range.bytes, checksum)
}

/// The holes of `map`, perhaps empty: before each of its ranges, and after the last.
fn holes(map: &Bmap) -> impl Iterator<Item = ByteRange> {
    let starts = iter::once(0).chain(map.ranges().map(|range| range.bytes.end));
    let ends = map.ranges().map(|range| range.bytes.start).chain(iter::once(map.image_size()));
    starts.zip(ends).map(|(start, end)| ByteRange { start, end })
}

fn touches(only: &[ByteRange], bytes: ByteRange) -> bool {
    let first = only.partition_point(|wanted| wanted.end <= bytes.start);
    only.get(first).is_some_and(|wanted| wanted.overlaps(bytes))
}

/// An image that is open, and the plan by which it is read.
pub struct Image {
    pub(super) plan: Plan,
    pub(super) reader: Box<dyn ForwardRead>,
    pub(super) input: Option<InputFile>,
    /// The pipe that the reader reads, if it does.
    pub(super) pipe: Option<Pipe>,
}

impl Image {
    /// What is going to be done with it.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Its size in bytes, where it is known.
    pub fn size(&self) -> Option<u64> {
        self.plan.size
    }

    /// The file that it is read from, where that is one of this machine: no target may share bytes with it.
    pub fn inputs(&self) -> Vec<InputFile> {
        self.input.clone().into_iter().collect()
    }
}
