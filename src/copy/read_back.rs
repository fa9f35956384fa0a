//! What was written is read from the target again, and compared with what was to be written.

use std::sync::Arc;

use super::boot_region::BootRegion;
use super::cancel::Cancel;
use super::damage::{Classifier, Damage, Digests, Extent, Looks, Place};
use super::error::Error;
use super::fingerprints::{Fingerprints, KEPT, Purpose, WindowHasher};
use super::plan::{Plan, Step};
use crate::digest::ChecksumKind;
use crate::hashing::{Expected, Hashers, Mismatch, Part, WINDOW, Window, windows};
use crate::range::ByteRange;
use crate::sink::{ReadError, Sink};
use crate::sys::pool::{Pool, PooledBuf};

/// A target with so many wrong places is not worth reading on.
const HOPELESS: usize = 4096;

/// Nor is one with so many windows that cannot be read: each of them may take long.
const HOPELESSLY_UNREADABLE: usize = 16;

/// Reads a target back. Memory and threads are taken before anything is written.
pub(super) struct MediumCheck {
    pool: Pool,
    hashers: Hashers,
    kind: ChecksumKind,
}

/// What was not read back right.
pub(super) struct Wrong {
    pub(super) damage: Damage,
    /// What must be written or zeroed again; in order, none twice.
    pub(super) again: Vec<ByteRange>,
}

impl MediumCheck {
    /// For one of `sinks` targets of `plan`, which is read into buffers of `pool`.
    pub(super) fn new(plan: &Plan, sinks: usize, pool: Pool) -> Result<Self, Error> {
        let kind = plan.checksum_kind().unwrap_or(KEPT);
        Ok(Self { pool, hashers: Hashers::start(sinks, kind).map_err(Error::Thread)?, kind })
    }

    /// Reads what `plan`, whose size is known, has written or zeroed or leaves out, and compares it. The boot region is not
    /// written yet, and taken from memory. `progress` is told how many bytes have been read, and how many there are.
    pub(super) fn check(
        &mut self,
        plan: &Plan,
        written: &Fingerprints,
        sink: &mut dyn Sink,
        boot_region: &BootRegion,
        cancel: &Cancel,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<Option<Wrong>, Error> {
        let all = plan.with_all();
        let total = all.steps().map(|step| step.bytes().len()).sum();
        progress(0, total);
        let mut search = Search::new(plan, &all, written, self.kind);
        let mut done = 0;
        for window in windows(all.steps().map(|step| (step.bytes(), step))) {
            cancel.check()?;
            let mut buf = self.pool.take();
            let span = window.span();
            let is_read = is_read(boot_region.fill(sink, &mut buf[window.position(span)], span))?;
            let buf = Arc::new(buf);
            if is_read {
                search.compare(&window, &buf, &mut self.hashers);
            } else {
                search.note_unreadable(&window, &buf, &mut self.hashers);
            }
            search.note(self.hashers.mismatches());
            done += window.parts.iter().map(|part| part.bytes.len()).sum::<u64>();
            progress(done, total);
            if search.is_hopeless() {
                return Ok(search.conclude(Extent::Part));
            }
        }
        search.note(self.hashers.finish());
        Ok(search.conclude(Extent::All))
    }

    /// Reads what was written last, `expected` at `offset`, and compares it.
    pub(super) fn check_last(
        &self,
        sink: &mut dyn Sink,
        expected: &[u8],
        offset: u64,
    ) -> Result<Option<Damage>, Error> {
        if expected.is_empty() {
            return Ok(None); // the GPT is not relocated
        }
        let mut buf = self.pool.take();
        let found = &mut buf[..expected.len()];
        let is_read = is_read(sink.read_at(found, offset))?;
        if is_read && found == expected {
            return Ok(None);
        }
        let bytes = ByteRange { start: offset, end: offset + expected.len() as u64 };
        let digest = |data: &[u8]| {
            let mut hasher = KEPT.hasher();
            hasher.update(data);
            hasher.finish()
        };
        let digests = || Digests { bytes, kind: KEPT, expected: digest(expected), found: digest(found) };
        let digests = is_read.then(digests);
        let looks = if is_read { Looks::of(found) } else { Looks::Unreadable };
        Ok(Some(Damage::of(vec![Place { bytes, blocks: None, digests, looks }], Extent::All)))
    }
}

impl From<ReadError> for Error {
    fn from(ReadError { offset, source }: ReadError) -> Self {
        Self::ReadBack { offset, source }
    }
}

/// Whether it was read, or cannot be because of the medium. Fails for any other reason: the device has gone, for one.
fn is_read(read: Result<(), ReadError>) -> Result<bool, Error> {
    let Err(error) = read else { return Ok(true) };
    // What the block layer makes of its own errors (block/blk-core.c).
    const OF_MEDIUM: [i32; 5] = [libc::EIO, libc::ENODATA, libc::EILSEQ, libc::EREMOTEIO, libc::ETIMEDOUT];
    if !error.source.raw_os_error().is_some_and(|code| OF_MEDIUM.contains(&code)) {
        return Err(error.into());
    }
    log::debug!("cannot read back byte {}: {}", error.offset, error.source);
    Ok(false)
}

/// Collects what is wrong.
struct Search<'a> {
    plan: &'a Plan,
    /// With what the plan leaves out.
    all: &'a Plan,
    written: &'a Fingerprints,
    kind: ChecksumKind,
    classifier: Classifier<'a>,
    /// What must be zero and is not.
    not_zero: Vec<Place>,
    /// What cannot be read.
    unreadable: Vec<ByteRange>,
    /// The parts of windows whose fingerprint is wrong; the checksums of their ranges tell whether they count.
    suspects: Vec<(ByteRange, Looks)>,
    /// Wrong ranges of the bmap where these have checksums, else wrong windows.
    mismatches: Vec<Mismatch>,
}

impl<'a> Search<'a> {
    fn new(plan: &'a Plan, all: &'a Plan, written: &'a Fingerprints, kind: ChecksumKind) -> Self {
        let classifier = Classifier::new(written);
        let (not_zero, unreadable, suspects, mismatches) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { plan, all, written, kind, classifier, not_zero, unreadable, suspects, mismatches }
    }

    /// Compares what was read of a window, or has it compared by `hashers`.
    fn compare(&mut self, window: &Window<Step<'_>>, buf: &Arc<PooledBuf>, hashers: &mut Hashers) {
        let (zeroes, data): (Vec<_>, Vec<_>) = window.parts.iter().partition(|part| matches!(part.of, Step::Zero(_)));
        for Part { bytes, .. } in zeroes {
            let found = &buf[window.position(*bytes)];
            if found.iter().any(|&byte| byte != 0) {
                self.not_zero.push(Place { bytes: *bytes, blocks: None, digests: None, looks: Looks::of(found) });
            }
        }
        let [first, ..] = data.as_slice() else { return };
        let last = data[data.len() - 1];
        let span = ByteRange { start: first.bytes.start, end: last.bytes.end };
        match self.written.purpose {
            Purpose::Compare => {
                let length = data.iter().map(|part| part.bytes.len()).sum();
                let kept = self.written.get(window.index).expect("what was written has a fingerprint");
                let mut expected = Some(Expected { bytes: span, length, blocks: None, digest: kept.into() });
                for part in &data {
                    let is_last = part.bytes.end == span.end;
                    hashers.feed(buf, window.position(part.bytes), expected.take_if(|_| is_last));
                }
            }
            Purpose::Locate => {
                let data: Vec<_> = data.into_iter().filter(|part| !self.plan.leaves_out(&part.of)).collect();
                self.locate(window, &data, buf);
                feed_ranges(window, buf, hashers);
            }
        }
    }

    /// Notes a window that cannot be read, whatever is in `buf`.
    fn note_unreadable(&mut self, window: &Window<Step<'_>>, buf: &Arc<PooledBuf>, hashers: &mut Hashers) {
        self.unreadable.push(window.span());
        if self.written.purpose == Purpose::Locate {
            feed_ranges(window, buf, hashers); // a range that was begun must be ended
        }
    }

    /// Notes a window if the fingerprint of `data`, what was written to it, is wrong.
    fn locate(&mut self, window: &Window<Step<'_>>, data: &[&Part<Step<'_>>], buf: &PooledBuf) {
        let mut hasher = WindowHasher::new(Purpose::Locate);
        data.iter().for_each(|part| hasher.update(&buf[window.position(part.bytes)]));
        let found = hasher.finish();
        if data.is_empty() || self.written.get(window.index) == Some(found.as_bytes()) {
            return;
        }
        let length = data.iter().map(|part| part.bytes.len()).sum();
        let whole = self.classifier.looks(window.index, length, &found);
        for Part { bytes, .. } in data {
            let looks = match whole {
                Looks::Displaced(_) => whole,
                // Some parts may be zeroes, and others not.
                _ => Looks::of(&buf[window.position(*bytes)]),
            };
            match self.suspects.last_mut().filter(|(last, alike)| last.start >= window.start() && *alike == looks) {
                Some((last, _)) => last.end = bytes.end,
                None => self.suspects.push((*bytes, looks)),
            }
        }
    }

    fn note(&mut self, mismatches: Vec<Mismatch>) {
        self.mismatches.extend(mismatches);
    }

    fn is_hopeless(&self) -> bool {
        let most = [self.not_zero.len(), self.suspects.len(), self.mismatches.len()].into_iter().max();
        most >= Some(HOPELESS) || self.unreadable.len() >= HOPELESSLY_UNREADABLE
    }

    /// Sums up what is wrong, if anything is.
    fn conclude(mut self, extent: Extent) -> Option<Wrong> {
        self.mismatches.sort_unstable_by_key(|mismatch| mismatch.expected.bytes.start);
        let mut places = std::mem::take(&mut self.not_zero);
        let unreadable = |&bytes| Place { bytes, blocks: None, digests: None, looks: Looks::Unreadable };
        places.extend(self.unreadable.iter().map(unreadable));
        match (self.written.purpose, extent) {
            (Purpose::Compare, _) => places.extend(self.wrong_windows()),
            (Purpose::Locate, Extent::All) => places.extend(self.wrong_ranges()),
            // The range that they lie in has not been hashed to its end.
            (Purpose::Locate, Extent::Part) => {
                let place = |&(bytes, looks)| Place { bytes, blocks: None, digests: None, looks };
                places.extend(self.suspects.iter().map(place));
                places.extend(self.wrong_ranges().into_iter().filter(|_| self.suspects.is_empty()));
            }
        }
        if places.is_empty() {
            return None;
        }
        places.sort_unstable_by_key(|place| place.bytes.start);
        let again = self.again(&places);
        Some(Wrong { damage: Damage::of(places, extent), again })
    }

    fn wrong_windows(&mut self) -> Vec<Place> {
        let place = |Mismatch { expected, found }| {
            let looks = self.classifier.looks(expected.bytes.start / WINDOW, expected.length, &found);
            let bytes = expected.bytes;
            let digests = Some(Digests { bytes, kind: self.kind, expected: expected.digest, found });
            Place { bytes, blocks: None, digests, looks }
        };
        std::mem::take(&mut self.mismatches).into_iter().map(place).collect()
    }

    /// The suspects in each range whose checksum is wrong; should there be none, all of the range. The checksum of one that
    /// was not read in full says nothing.
    fn wrong_ranges(&self) -> Vec<Place> {
        let mut places = Vec::new();
        for Mismatch { expected, found } in &self.mismatches {
            let range = expected.bytes;
            let is_read = !self.unreadable.iter().any(|bytes| bytes.overlaps(range));
            let digests = is_read.then(|| Digests {
                bytes: range,
                kind: self.kind,
                expected: expected.digest.clone(),
                found: found.clone(),
            });
            let place = |bytes, looks| Place { bytes, blocks: expected.blocks, digests: digests.clone(), looks };
            let first = self.suspects.partition_point(|(suspect, _)| suspect.end <= range.start);
            let within = self.suspects[first..].iter().take_while(|(suspect, _)| suspect.start < range.end);
            let before = places.len();
            places.extend(within.map(|(suspect, looks)| {
                place(ByteRange { start: suspect.start.max(range.start), end: suspect.end.min(range.end) }, *looks)
            }));
            if places.len() == before && is_read {
                places.push(place(range, Looks::Unknown));
            }
        }
        places
    }

    /// All that the plan writes or zeroes or leaves out in the windows that have one of `places`.
    fn again(&self, places: &[Place]) -> Vec<ByteRange> {
        let mut again: Vec<ByteRange> = Vec::new();
        for window in windows(self.all.steps().map(|step| (step.bytes(), step))) {
            let whole = ByteRange { start: window.start(), end: window.start().saturating_add(WINDOW) };
            let first = places.partition_point(|place| place.bytes.end <= whole.start);
            if !places.get(first).is_some_and(|place| place.bytes.overlaps(whole)) {
                continue;
            }
            for Part { bytes, .. } in window.parts {
                match again.last_mut().filter(|last| last.end == bytes.start) {
                    Some(last) => last.end = bytes.end,
                    None => again.push(bytes),
                }
            }
        }
        again
    }
}

/// Has the ranges with a checksum hashed and compared, as far as they lie in a window.
fn feed_ranges(window: &Window<Step<'_>>, buf: &Arc<PooledBuf>, hashers: &mut Hashers) {
    for Part { bytes, of, is_last } in window.parts.iter().filter(|part| matches!(part.of, Step::Write(..))) {
        let expected = of.checksum().filter(|_| *is_last).map(|checksum| {
            let (bytes, blocks) = (of.bytes(), Some(checksum.blocks));
            Expected { bytes, length: bytes.len(), blocks, digest: checksum.digest.into() }
        });
        hashers.feed(buf, window.position(*bytes), expected);
    }
}
