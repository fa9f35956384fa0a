//! What was written to each MiB, kept as a digest: what is read back later must have the same one.

use std::hash::Hasher as _;
use std::io;

use twox_hash::XxHash64;

use crate::digest::{ChecksumKind, Digest, Hasher};
use crate::hashing::WINDOW;
use crate::range::ByteRange;

/// The digest where there is no checksum to compare.
pub(super) const KEPT: ChecksumKind = ChecksumKind::Sha256;

/// How much memory is taken at once, in bytes.
const GROWTH: usize = 1 << 20;

/// What kind of digest is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It decides whether what was read back is right: SHA-256.
    Compare,
    /// A checksum decides. The digest tells in which MiB a range is wrong: XXH64, which costs next to nothing.
    Locate,
}

impl Purpose {
    fn len(self) -> usize {
        match self {
            Self::Compare => KEPT.digest_len(),
            Self::Locate => size_of::<u64>(),
        }
    }
}

/// Hashes a MiB.
pub(super) enum WindowHasher {
    Compare(Hasher),
    Locate(XxHash64),
}

impl WindowHasher {
    pub(super) fn new(purpose: Purpose) -> Self {
        match purpose {
            Purpose::Compare => Self::Compare(KEPT.hasher()),
            Purpose::Locate => Self::Locate(XxHash64::with_seed(0)),
        }
    }

    pub(super) fn update(&mut self, data: &[u8]) {
        match self {
            Self::Compare(hasher) => hasher.update(data),
            Self::Locate(hasher) => hasher.write(data),
        }
    }

    pub(super) fn finish(self) -> Digest {
        match self {
            Self::Compare(mut hasher) => hasher.finish(),
            Self::Locate(hasher) => Digest::from(hasher.finish().to_be_bytes().as_slice()),
        }
    }
}

/// The digest of each window that was written to: of the bytes that were, in their order.
///
/// They lie side by side in one buffer, at most 32 bytes for a MiB.
pub(super) struct Fingerprints {
    pub(super) purpose: Purpose,
    /// Consecutive windows: the first, and the number of its digest.
    runs: Vec<(u64, usize)>,
    digests: Vec<u8>,
}

impl Fingerprints {
    fn push(&mut self, window: u64, digest: &Digest) -> io::Result<()> {
        let number = self.digests.len() / self.purpose.len();
        if self.runs.last().is_none_or(|&(first, start)| first + (number - start) as u64 != window) {
            self.runs.try_reserve(1)?;
            self.runs.push((window, number));
        }
        if self.digests.capacity() - self.digests.len() < self.purpose.len() {
            self.digests.try_reserve_exact(GROWTH)?;
        }
        self.digests.extend_from_slice(digest.as_bytes());
        Ok(())
    }

    /// The digest of a window, if it was written to.
    pub(super) fn get(&self, window: u64) -> Option<&[u8]> {
        let run = self.runs.partition_point(|&(first, _)| first <= window).checked_sub(1)?;
        let (first, number) = self.runs[run];
        let end = self.runs.get(run + 1).map_or(self.digests.len() / self.purpose.len(), |&(_, next)| next);
        let number = number.checked_add(usize::try_from(window - first).ok()?)?;
        (number < end).then(|| self.at(number))
    }

    /// A window with this digest.
    pub(super) fn find(&self, digest: &Digest) -> Option<u64> {
        let number = self.digests.chunks_exact(self.purpose.len()).position(|kept| kept == digest.as_bytes())?;
        let run = self.runs.partition_point(|&(_, start)| start <= number) - 1;
        let (first, start) = self.runs[run];
        Some(first + (number - start) as u64)
    }

    /// A window that has another digest in `other`, though both have it.
    pub(super) fn difference(&self, other: &Self) -> Option<u64> {
        let windows = self.runs.iter().enumerate().flat_map(|(run, &(first, start))| {
            let end = self.runs.get(run + 1).map_or(self.digests.len() / self.purpose.len(), |&(_, next)| next);
            (start..end).map(move |number| (first + (number - start) as u64, number))
        });
        let mut differences =
            windows.filter(|&(window, number)| other.get(window).is_some_and(|there| there != self.at(number)));
        differences.next().map(|(window, _)| window)
    }

    fn at(&self, number: usize) -> &[u8] {
        let length = self.purpose.len();
        &self.digests[number * length..(number + 1) * length]
    }
}

/// Keeps the fingerprints of what passes.
pub(super) struct Recorder {
    kept: Fingerprints,
    /// The window that is being hashed.
    current: Option<(u64, WindowHasher)>,
}

impl Recorder {
    pub(super) fn new(purpose: Purpose) -> Self {
        Self { kept: Fingerprints { purpose, runs: Vec::new(), digests: Vec::new() }, current: None }
    }

    /// Takes in `data`, which belongs at `bytes`, in one window and not before what was taken in earlier.
    pub(super) fn add(&mut self, bytes: ByteRange, data: &[u8]) -> io::Result<()> {
        let window = bytes.start / WINDOW;
        if self.current.as_ref().is_some_and(|(current, _)| *current != window) {
            self.close()?;
        }
        let purpose = self.kept.purpose;
        self.current.get_or_insert_with(|| (window, WindowHasher::new(purpose))).1.update(data);
        Ok(())
    }

    fn close(&mut self) -> io::Result<()> {
        match self.current.take() {
            Some((window, hasher)) => self.kept.push(window, &hasher.finish()),
            None => Ok(()),
        }
    }

    pub(super) fn finish(mut self) -> io::Result<Fingerprints> {
        self.close()?;
        Ok(self.kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(purpose: Purpose, windows: &[(u64, &[u8])]) -> Fingerprints {
        let mut recorder = Recorder::new(purpose);
        for &(window, data) in windows {
            let start = window * WINDOW;
            let (head, tail) = data.split_at(1);
            recorder.add(ByteRange { start, end: start + 1 }, head).unwrap();
            recorder.add(ByteRange { start: start + 9, end: start + 8 + data.len() as u64 }, tail).unwrap();
        }
        recorder.finish().unwrap()
    }

    #[test]
    fn fingerprints_are_found_by_window_and_by_digest() {
        for purpose in [Purpose::Compare, Purpose::Locate] {
            let data: [(u64, &[u8]); 5] = [(0, b"zero"), (1, b"one"), (2, b"two"), (7, b"seven"), (9, b"nine")];
            let kept = record(purpose, &data);
            for (window, data) in data {
                let mut hasher = WindowHasher::new(purpose);
                hasher.update(data);
                let digest = hasher.finish();
                assert_eq!(kept.get(window), Some(digest.as_bytes()), "{window}");
                assert_eq!(kept.find(&digest), Some(window));
            }
            for window in [3, 6, 8, 10, 9 + (1 << 32), u64::MAX] {
                assert_eq!(kept.get(window), None, "{window}");
            }
            assert_eq!(kept.digests.len(), data.len() * purpose.len());
            let again = [(2, b"two".as_slice()), (3, b"more"), (9, b"nine")];
            assert_eq!(record(purpose, &again).difference(&kept), None);
            assert_eq!(record(purpose, &[again[0], (9, b"none")]).difference(&kept), Some(9));
        }
        assert_eq!(record(Purpose::Compare, &[]).get(0), None);
    }
}
