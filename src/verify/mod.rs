//! Whether a device, a file or an image is what its block map says. The image is not needed, and nothing is written.

mod error;
mod medium;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

pub use error::Error;

use crate::bmap::{Bmap, Range};
use crate::digest::{ChecksumKind, Digest};
use crate::event::{Event, Notice, Observer, Outcome, Phase, TargetId};
use crate::hashing::{self, Hashing};
use crate::range::{BlockRange, ByteRange};
use crate::source::Source;
use crate::sys::read_at::ReadPath;
use medium::Medium;

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
        let ranges = self.map.ranges().map(|range| (range.bytes, range));
        let hashing = Hashing { ranges, kind: self.kind, access: self.medium.access() };
        let differences = hashing.run(|window, buf| self.medium.read(window, buf), compare, progress);
        let differences = differences.map_err(|error| match error {
            hashing::Error::Memory(error) => Error::Memory(error),
            hashing::Error::Read(error) => error,
        })?;
        let path = self.medium.read_path();
        observer.event(Event::Target(target, Outcome::Complete));
        let (bytes, ranges, time) = (self.map.mapped_bytes(), self.map.ranges().count(), started.elapsed());
        Ok(Report { bytes, ranges, differences: merged(differences), path, time })
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
