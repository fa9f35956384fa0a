//! Whether a device, a file or an image is what its block map says. The image is not needed, and nothing is written.

mod error;
mod medium;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

pub use error::Error;

use crate::bmap::Bmap;
use crate::digest::{ChecksumKind, Digest};
use crate::event::{Event, Notice, Observer, Outcome, Phase, TargetId};
use crate::hashing::{Expected, Hashers, Mismatch, WINDOW, windows};
use crate::range::{BlockRange, ByteRange};
use crate::source::Source;
use crate::sys::pool::Pool;
use crate::sys::read_at::ReadPath;
use medium::Medium;

/// How many MiB are being read and hashed at a time.
const BUFFERS: usize = 16;

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
    pub fn run(mut self, observer: &dyn Observer) -> Result<Report, Error> {
        let (started, target) = (Instant::now(), TargetId(0));
        let pool = Pool::new(BUFFERS, WINDOW as usize).map_err(Error::Memory)?;
        let mut hashers = Hashers::start(1, self.kind).map_err(Error::Thread)?;
        observer.event(Event::Phase(target, Phase::Verifying));
        let total = Some(self.map.mapped_bytes());
        let (mut bytes, mut mismatches) = (0, Vec::new());
        observer.event(Event::Progress { target, done: 0, total });
        for window in windows(self.map.ranges().map(|range| (range.bytes, range))) {
            let mut buf = pool.take();
            self.medium.read(&window, &mut buf)?;
            let buf = Arc::new(buf);
            for part in &window.parts {
                let end = part.of.checksum.filter(|_| part.is_last).map(|digest| Expected {
                    bytes: part.of.bytes,
                    length: part.of.bytes.len(),
                    blocks: Some(part.of.blocks),
                    digest: digest.into(),
                });
                hashers.feed(&buf, window.position(part.bytes), end);
                bytes += part.bytes.len();
            }
            mismatches.extend(hashers.mismatches().into_iter().filter_map(note));
            observer.event(Event::Progress { target, done: bytes, total });
        }
        mismatches.extend(hashers.finish().into_iter().filter_map(note));
        let path = self.medium.read_path();
        observer.event(Event::Target(target, Outcome::Complete));
        let (ranges, time) = (self.map.ranges().count(), started.elapsed());
        Ok(Report { bytes, ranges, differences: merged(mismatches), path, time })
    }
}

fn note(Mismatch { expected, found }: Mismatch) -> Option<Difference> {
    let Expected { bytes, blocks, digest, .. } = expected;
    Some(Difference { bytes, blocks: blocks?, ranges: 1, digests: Some((digest, found)) })
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
