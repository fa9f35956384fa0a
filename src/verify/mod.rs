//! Whether a device, a file or an image is what its block map says. The image is not needed, and nothing is written.

mod error;
mod medium;
mod relocated;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

pub use error::Error;
pub use relocated::BackupState;

use crate::bmap::{Bmap, Range};
use crate::digest::{ChecksumKind, Digest};
use crate::event::{Event, Notice, Observer, Outcome, Phase, TargetId};
use crate::hashing::{self, Hashing, Window};
use crate::range::{BlockRange, ByteRange};
use crate::source::Source;
use crate::sys::read_at::ReadPath;
use medium::Medium;
use relocated::{Original, RelocatedGpt};

/// So many differences come with their digests: they are for people to look at.
const WITH_DIGESTS: usize = 16;

/// What is compared with its block map.
pub struct Verify {
    map: Bmap,
    kind: ChecksumKind,
    medium: Medium,
}

/// What has come out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// How many bytes were compared.
    pub bytes: u64,
    /// How many ranges.
    pub ranges: usize,
    /// What is wrong, in order; empty if all is right.
    pub differences: Vec<Difference>,
    /// What the end of a device has whose GPT was relocated: header and MBR were compared as the image has them.
    pub relocated: Option<BackupState>,
    /// How a device was read.
    pub path: Option<ReadPath>,
    /// How long it took.
    pub time: Duration,
}

/// Adjacent ranges that are all wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Their bytes.
    pub bytes: ByteRange,
    /// Their blocks.
    pub blocks: BlockRange,
    /// How many they are.
    pub ranges: usize,
    /// What a single range must hash to, and does hash to: known for the first ones.
    pub digests: Option<(Digest, Digest)>,
}

impl Verify {
    /// Opens the image that `map` describes in `source`, which may be a device that is in use: `observer` is told.
    ///
    /// # Errors
    ///
    /// Where the map has no checksums, the source has another size or no such image, or cannot be read.
    pub fn open(map: Bmap, source: Source, observer: &dyn Observer) -> Result<Self, Error> {
        let kind = match map.checksum_kind() {
            Some(kind) => kind,
            None if map.mapped_blocks() == 0 => ChecksumKind::Sha256,
            None => return Err(Error::NoChecksums),
        };
        if let Some((device, usage)) = medium::current_use(&source) {
            observer.notice(Notice::DeviceInUse { device: &device, usage: &usage });
        }
        let medium = Medium::open(&map, source)?;
        Ok(Self { map, kind, medium })
    }

    /// The map that it is compared with.
    pub fn map(&self) -> &Bmap {
        &self.map
    }

    /// The kind of the checksums.
    pub fn checksum_kind(&self) -> ChecksumKind {
        self.kind
    }

    /// Compares all ranges; `observer` is told how far it is, as of its first target.
    ///
    /// # Errors
    ///
    /// Where the source ends early, or cannot be read. What differs is no error.
    pub fn run(self, observer: &dyn Observer) -> Result<Report, Error> {
        let (started, target) = (Instant::now(), TargetId(0));
        observer.event(Event::Phase(target, Phase::Verifying));
        let total = Some(self.map.mapped_bytes());
        let progress = |done| observer.event(Event::Progress { target, done, total });
        progress(0);
        let gpt = RelocatedGpt::find(&self.medium, self.map.image_size());
        let original = gpt.as_ref().and_then(|gpt| gpt.originals().into_iter().next());
        let mut differences = self.compare(|_| true, original.as_ref(), gpt.as_ref(), progress)?;
        let relocated = match gpt.zip(original) {
            Some((gpt, original)) => self.relocated(&gpt, original, &mut differences)?,
            None => None,
        };
        let path = self.medium.read_path();
        observer.event(Event::Target(target, Outcome::Complete));
        let (bytes, ranges, time) = (self.map.mapped_bytes(), self.map.ranges().count(), started.elapsed());
        Ok(Report { bytes, ranges, differences: merged(differences), relocated, path, time })
    }

    /// Compares the ranges that are `wanted`, as they are with `original`, and returns those that differ; what is read
    /// is shown to `gpt`. `progress` is told how many bytes have been compared.
    fn compare(
        &self,
        wanted: impl Fn(ByteRange) -> bool + Sync,
        original: Option<&Original>,
        gpt: Option<&RelocatedGpt>,
        progress: impl Fn(u64) + Sync,
    ) -> Result<Vec<Difference>, Error> {
        let ranges = self.map.ranges().map(|range| (range.bytes, range)).filter(|(bytes, _)| wanted(*bytes));
        let hashing = Hashing { ranges, kind: self.kind, access: self.medium.access() };
        let read = |window: &Window<Range<'_>>, buf: &mut [u8]| {
            self.medium.read(window, buf)?;
            let span = window.span();
            let read = &mut buf[window.position(span)];
            if let Some(gpt) = gpt {
                gpt.look(read, span.start);
            }
            if let Some(original) = original {
                original.put_back(read, span.start);
            }
            Ok(())
        };
        hashing.run(read, compare, progress).map_err(|error| match error {
            hashing::Error::Memory(error) => Error::Memory(error),
            hashing::Error::Read(error) => error,
        })
    }

    /// Of a device whose GPT seems to be relocated, finds what the image had instead: first that it was `original`,
    /// which has given these `differences`. Returns what the end of the device has, where the GPT is relocated indeed.
    fn relocated(
        &self,
        gpt: &RelocatedGpt,
        original: Original,
        differences: &mut Vec<Difference>,
    ) -> Result<Option<BackupState>, Error> {
        let others = gpt.originals();
        let is_touched = |bytes| others.iter().any(|other| other.touches(bytes));
        let mut found = original;
        if differences.iter().any(|difference| is_touched(difference.bytes)) {
            for other in &others {
                if self.compare(is_touched, Some(other), None, |_| ())?.is_empty() {
                    differences.retain(|difference| !is_touched(difference.bytes));
                    found = other.clone();
                    break;
                }
            }
        }
        Ok((!found.is_as_found()).then(|| gpt.backup(&self.medium)))
    }
}

/// The difference of a range that has the digest `found`, if that is wrong.
fn compare(Range { blocks, bytes, checksum }: Range<'_>, found: Digest) -> Option<Difference> {
    let expected = checksum.filter(|&checksum| checksum != found.as_bytes())?;
    Some(Difference { bytes, blocks, ranges: 1, digests: Some((expected.into(), found)) })
}

/// Puts wrong ranges in order, and adjacent ones together.
fn merged(mut differences: Vec<Difference>) -> Vec<Difference> {
    differences.sort_unstable_by_key(|difference| difference.bytes.start);
    differences.dedup_by(|next, difference| {
        let is_adjacent = difference.bytes.end == next.bytes.start;
        if is_adjacent && let Some(blocks) = difference.blocks.merged(next.blocks) {
            let bytes = ByteRange { end: next.bytes.end, ..difference.bytes };
            *difference = Difference { bytes, blocks, ranges: difference.ranges + 1, digests: None };
        }
        is_adjacent
    });
    differences.iter_mut().skip(WITH_DIGESTS).for_each(|difference| difference.digests = None);
    differences
}
