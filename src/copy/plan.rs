//! What becomes of every byte of a target.

use std::iter;
use std::sync::Arc;

use crate::bmap::{Bmap, Range};
use crate::digest::ChecksumKind;
use crate::partition::{Gpt, HEAD_LEN};
use crate::range::{BlockRange, ByteRange};
use crate::sink::{BOOT_REGION, InputFile};
use crate::source::{self, ForwardRead, Peek, Pipe, ReadPolicy, Source, Unpacked};

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

/// Where the backup of the image's GPT goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackupGpt {
    /// Where the image has it, if it has one.
    AsInImage,
    /// To the end of the device; the primary header and the protective MBR say so.
    AtDeviceEnd,
}

/// What becomes of every byte of a target, and the only place that decides what of the image may be skipped.
#[derive(Clone, Debug)]
pub struct Plan {
    map: Option<Arc<Bmap>>,
    /// The size of the image in bytes, where it is known.
    size: Option<u64>,
    verify: Verify,
    unmapped: Unmapped,
    backup_gpt: BackupGpt,
    /// The first bytes of the image, where its GPT is relocated: zeroes where it has holes.
    head: Arc<[u8]>,
    /// The bytes to write, in order, where that is not all that the map has.
    only: Option<Vec<ByteRange>>,
    /// Ranges of the map that all targets hold already, in order: they are neither read nor written.
    right: Arc<[ByteRange]>,
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

impl<'a> Step<'a> {
    pub(super) fn bytes(&self) -> ByteRange {
        match *self {
            Self::Write(bytes, _) | Self::Zero(bytes) => bytes,
        }
    }

    pub(super) fn checksum(&self) -> Option<Checksum<'a>> {
        match *self {
            Self::Write(_, checksum) => checksum,
            Self::Zero(_) => None,
        }
    }
}

impl Plan {
    /// Writes what `map` lists, and nothing else of the image.
    pub fn mapped(map: Bmap, verify: Verify, unmapped: Unmapped) -> Self {
        Self { size: Some(map.image_size()), map: Some(Arc::new(map)), verify, unmapped, ..Self::whole() }
    }

    /// Writes all of the image, to its end.
    pub fn whole() -> Self {
        Self {
            map: None,
            size: None,
            verify: Verify::Skip,
            unmapped: Unmapped::Keep,
            backup_gpt: BackupGpt::AsInImage,
            head: Arc::default(),
            only: None,
            right: Arc::default(),
        }
    }

    /// The same plan, with the backup of the image's GPT where `backup_gpt` says.
    pub fn with_backup_gpt(self, backup_gpt: BackupGpt) -> Self {
        Self { backup_gpt, ..self }
    }

    /// The plan of a further pass, which writes or zeroes only these bytes again: they are in order, none twice. The
    /// ranges with a checksum that they lie in are read and verified in full.
    pub(super) fn only(&self, mut bytes: Vec<ByteRange>) -> Self {
        bytes.retain(|bytes| !bytes.is_empty());
        assert!(bytes.is_sorted_by(|one, next| one.end <= next.start), "{bytes:?}");
        Self { only: Some(bytes), ..self.clone() }
    }

    /// The same plan without `right`: ranges of the map, in order, that all targets hold already.
    pub(super) fn without(self, right: Vec<ByteRange>) -> Self {
        Self { right: right.into(), ..self }
    }

    /// The same plan with those ranges.
    pub(super) fn with_all(&self) -> Self {
        Self { right: Arc::default(), ..self.clone() }
    }

    /// Whether the range of a step is left out because all targets hold it.
    pub(super) fn leaves_out(&self, step: &Step<'_>) -> bool {
        matches!(step, Step::Write(bytes, _) if self.is_right(*bytes))
    }

    /// How many bytes are left out because all targets hold them.
    pub(super) fn left_out(&self) -> u64 {
        self.left_out_before(u64::MAX)
    }

    /// How many of these lie before `end`.
    pub(super) fn left_out_before(&self, end: u64) -> u64 {
        self.right.iter().map(|bytes| bytes.end.min(end) - bytes.start.min(end)).sum()
    }

    /// Whether `range` is left out.
    fn is_right(&self, range: ByteRange) -> bool {
        self.right.binary_search_by_key(&range.start, |bytes| bytes.start).is_ok()
    }

    /// The same plan, where holes become zeroes whatever else becomes of them.
    pub(super) fn zeroing_holes(&self) -> Self {
        Self { unmapped: Unmapped::Zero, ..self.clone() }
    }

    /// A pass that does what several do of the same copy, all of which are the first or none. It zeroes holes if any of
    /// them does.
    pub(super) fn union<'a>(plans: impl IntoIterator<Item = &'a Self> + Clone) -> Option<Self> {
        let first = plans.clone().into_iter().next()?;
        let is_right = |bytes: &&ByteRange| plans.clone().into_iter().all(|plan| plan.is_right(**bytes));
        let right = first.right.iter().filter(is_right).copied().collect();
        let zeroes = plans.clone().into_iter().any(|plan| plan.unmapped == Unmapped::Zero);
        let union = if zeroes { first.zeroing_holes() } else { first.clone() }.without(right);
        if first.only.is_none() {
            return Some(union);
        }
        let mut all: Vec<_> = plans.into_iter().filter_map(|plan| plan.only.as_ref()).flatten().copied().collect();
        all.sort_unstable_by_key(|bytes| bytes.start);
        all.dedup_by(|next, bytes| {
            let touches = next.start <= bytes.end;
            bytes.end = if touches { bytes.end.max(next.end) } else { bytes.end };
            touches
        });
        Some(union.only(all))
    }

    /// Opens the image in `source`. What of it is read is up to the plan: what no checksum vouches for is read to its
    /// clean end.
    ///
    /// # Errors
    ///
    /// Where the source has another size than the map says, is an archive without the image, or cannot be read or
    /// decompressed; without a map also where it is something else than a disk image. Where its GPT is relocated, also
    /// where the first bytes cannot be read.
    pub fn open(self, source: Source) -> Result<Image, source::Error> {
        let input = source.id().zip(source.location().local_path());
        let input = input.map(|(id, path)| InputFile { role: "image", id, path: path.to_owned() });
        let (pipe, reopen, image_size) = (source.pipe()?, source.reopen(), self.size);
        let location = source.location().clone();
        let Unpacked { reader, size, .. } = source.unpack(image_size, self.read_policy())?;
        let reopen = reopen.map(|open| -> Reopen {
            Box::new(move |plan: &Plan| Ok(open()?.unpack(image_size, plan.read_policy())?.reader))
        });
        let mut head = Peek::parts(reader, self.head_parts());
        let gpt_sectors = Gpt::sector_size_of(head.head());
        let plan = match self.backup_gpt {
            BackupGpt::AsInImage => self,
            BackupGpt::AtDeviceEnd => {
                head.take_fault().map_or(Ok(()), |source| Err(source::Error::Read { location, source }))?;
                self.of_head(head.head())
            }
        };
        Ok(Image { plan: plan.of_size(size), reader: Box::new(head), reopen, input, pipe, gpt_sectors })
    }

    /// What is looked at beforehand at the start of the image: nothing that is not read anyway.
    fn head_parts(&self) -> Vec<ByteRange> {
        let end = match self.backup_gpt {
            BackupGpt::AsInImage => HEAD_LEN as u64,
            // All of a GPT that is relocated lies in what is written last.
            BackupGpt::AtDeviceEnd => BOOT_REGION,
        };
        let parts = self.writes().take_while(|bytes| bytes.start < end);
        parts.map(|bytes| ByteRange { end: bytes.end.min(end), ..bytes }).collect()
    }

    /// The same plan, now that the first bytes of the image are known.
    pub(super) fn of_head(self, head: &[u8]) -> Self {
        Self { head: head.into(), ..self }
    }

    /// The first bytes of the image, where its GPT is relocated.
    pub(super) fn relocated_head(&self) -> Option<&[u8]> {
        (self.backup_gpt == BackupGpt::AtDeviceEnd).then_some(&*self.head)
    }

    /// The holes of the image before `end`.
    pub(super) fn holes_before(&self, end: u64) -> impl Iterator<Item = ByteRange> {
        self.map.as_deref().into_iter().flat_map(holes).take_while(move |hole| hole.start < end)
    }

    /// The same plan, now that the source says how large the image is.
    pub(super) fn of_size(self, size: Option<u64>) -> Self {
        Self { size: self.size.or(size), ..self }
    }

    /// The map, where there is one.
    pub fn map(&self) -> Option<&Bmap> {
        self.map.as_deref()
    }

    /// The size of the image in bytes, where it is known.
    pub fn image_size(&self) -> Option<u64> {
        self.size
    }

    /// How many bytes are written, where that is known.
    pub fn total(&self) -> Option<u64> {
        match (&self.only, &self.map) {
            (Some(_), _) => Some(self.writes().flat_map(|bytes| self.parts(bytes)).map(ByteRange::len).sum()),
            (None, Some(map)) => Some(map.mapped_bytes() - self.left_out()),
            (None, None) => self.size,
        }
    }

    /// How many bytes are written or zeroed, where that is known.
    pub(super) fn work(&self) -> Option<u64> {
        let zeroed: u64 =
            self.steps().filter(|step| matches!(step, Step::Zero(_))).map(|step| step.bytes().len()).sum();
        Some(self.total()? + zeroed)
    }

    /// Whether a checksum of the map is compared for every byte that is written.
    pub(super) fn has_checksums(&self) -> bool {
        let Some(map) = &self.map else { return false };
        self.verify == Verify::Checksums && (map.checksum_kind().is_some() || map.mapped_blocks() == 0)
    }

    /// Whether every byte that is written is compared with something. If not, only the format's own checks and the
    /// clean end of the source tell that the image is complete. A further pass is compared with the first one.
    pub(super) fn covers_all(&self) -> bool {
        self.has_checksums() || self.only.is_some()
    }

    /// The kind of the checksums that are compared.
    pub(super) fn checksum_kind(&self) -> Option<ChecksumKind> {
        self.map.as_ref()?.checksum_kind().filter(|_| self.verify == Verify::Checksums)
    }

    pub(super) fn read_policy(&self) -> ReadPolicy {
        if self.covers_all() { ReadPolicy::SkipHoles { wanted: self.writes().collect() } } else { ReadPolicy::ReadAll }
    }

    /// What the target is told to forget before anything is written; the last range has no end.
    pub(super) fn discards(&self) -> impl Iterator<Item = ByteRange> {
        let map = self.map.as_deref().filter(|_| self.unmapped == Unmapped::Discard && self.only.is_none());
        let after = |map: &Bmap| ByteRange { start: map.image_size(), end: u64::MAX };
        map.into_iter().flat_map(move |map| holes(map).chain([after(map)])).filter(|bytes| !bytes.is_empty())
    }

    /// What is written and zeroed, in the order of the bytes. Where the size of the image is not known, the last range
    /// ends where the source does.
    pub(super) fn steps(&self) -> Box<dyn Iterator<Item = Step<'_>> + '_> {
        let all = self.all_steps().filter(|step| !self.leaves_out(step));
        let Some(only) = &self.only else { return Box::new(all) };
        Box::new(all.flat_map(move |step| match step {
            Step::Write(bytes, Some(_)) => {
                if touches(only, bytes) {
                    vec![step]
                } else {
                    Vec::new()
                }
            }
            Step::Write(bytes, None) => self.parts(bytes).into_iter().map(|part| Step::Write(part, None)).collect(),
            Step::Zero(bytes) => self.parts(bytes).into_iter().map(Step::Zero).collect(),
        }))
    }

    /// The steps of the first pass.
    fn all_steps(&self) -> Box<dyn Iterator<Item = Step<'_>> + '_> {
        let Some(map) = &self.map else {
            let all = ByteRange { start: 0, end: self.size.unwrap_or(u64::MAX) };
            return Box::new((!all.is_empty()).then_some(Step::Write(all, None)).into_iter());
        };
        let compared = self.checksum_kind();
        let write = move |range| write_step(range, compared);
        match self.unmapped {
            Unmapped::Keep | Unmapped::Discard => Box::new(map.ranges().map(write)),
            Unmapped::Zero => {
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

    /// Those of `bytes` that are written, or zeroed.
    pub(super) fn parts(&self, bytes: ByteRange) -> Vec<ByteRange> {
        let Some(only) = &self.only else { return vec![bytes] };
        let first = only.partition_point(|wanted| wanted.end <= bytes.start);
        let touched = only[first..].iter().take_while(|wanted| wanted.start < bytes.end);
        touched
            .map(|wanted| ByteRange { start: wanted.start.max(bytes.start), end: wanted.end.min(bytes.end) })
            .collect()
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

/// Opens the image again, for a plan of a further pass.
pub(super) type Reopen = Box<dyn Fn(&Plan) -> Result<Box<dyn ForwardRead>, source::Error> + Send + Sync>;

/// An image that is open, and the plan by which it is read.
pub struct Image {
    pub(super) plan: Plan,
    pub(super) reader: Box<dyn ForwardRead>,
    /// `None` where it can be read once only, as from standard input.
    pub(super) reopen: Option<Reopen>,
    pub(super) input: Option<InputFile>,
    /// The pipe that the reader reads, if it does.
    pub(super) pipe: Option<Pipe>,
    /// The size in bytes of the sectors that its GPT was made for, if it has one.
    pub(super) gpt_sectors: Option<u32>,
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
