//! What a target holds instead of what was written to it.

use std::fmt;

use super::fingerprints::{Fingerprints, WindowHasher};
use crate::digest::{ChecksumKind, Digest};
use crate::hashing::WINDOW;
use crate::range::{BlockRange, ByteRange};

/// How many places are told of.
const MAX_PLACES: usize = 10;

/// How many fingerprints are looked for among all others: that takes a while on a large device.
const MAX_SEARCHES: usize = 256;

/// What was read back wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The first places, in order.
    pub places: Vec<Place>,
    /// How many there are in all.
    pub count: usize,
    /// How many bytes the places have in all.
    pub bytes: u64,
    /// How much of the target has been read.
    pub extent: Extent,
}

/// How much of a target was read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All that was written.
    All,
    /// So much of it was wrong that the rest was not looked at.
    Part,
}

/// Consecutive bytes of which some are wrong in each MiB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The bytes, from the start of the target.
    pub bytes: ByteRange,
    /// The range of the bmap that they lie in, where its checksum is what was compared.
    pub blocks: Option<BlockRange>,
    /// What that range, or the first MiB of these bytes, must hash to and does; `None` where they cannot be read.
    pub digests: Option<Digests>,
    /// What is there instead.
    pub looks: Looks,
}

/// Digests that should be the same.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Digests {
    /// From the first to the last of the bytes that are hashed.
    pub bytes: ByteRange,
    pub kind: ChecksumKind,
    pub expected: Digest,
    pub found: Digest,
}

/// What wrong bytes look like, which tells what kind of fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looks {
    /// They are all zero, as where nothing was ever written.
    Zeroes,
    /// They are all 0xff, as in erased flash memory.
    Ones,
    /// They belong so many bytes further on (or back, if negative): a write went to a wrong address.
    Displaced(i64),
    /// They cannot be read.
    Unreadable,
    /// None of these.
    Unknown,
}

impl Looks {
    /// What `found` looks like by itself.
    pub(super) fn of(found: &[u8]) -> Self {
        let is_all = |wanted| found.iter().all(|&byte| byte == wanted);
        match () {
            () if is_all(0) => Self::Zeroes,
            () if is_all(0xff) => Self::Ones,
            () => Self::Unknown,
        }
    }
}

impl fmt::Display for Looks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zeroes => f.write_str("all zeroes"),
            Self::Ones => f.write_str("all ones"),
            Self::Displaced(by) if *by > 0 => write!(f, "what belongs {by} bytes further on"),
            Self::Displaced(by) => write!(f, "what belongs {} bytes before", by.unsigned_abs()),
            Self::Unreadable => f.write_str("cannot be read"),
            Self::Unknown => f.write_str("something else"),
        }
    }
}

impl Damage {
    /// Sums up `places`, of which there is at least one; they are in order.
    pub(super) fn of(mut places: Vec<Place>, extent: Extent) -> Self {
        places.dedup_by(|next, place| {
            let is_one =
                place.bytes.end == next.bytes.start && place.looks == next.looks && place.blocks == next.blocks;
            if is_one {
                place.bytes.end = next.bytes.end;
            }
            is_one
        });
        let (count, bytes) = (places.len(), places.iter().map(|place| place.bytes.len()).sum());
        places.truncate(MAX_PLACES);
        Self { places, count, bytes, extent }
    }
}

/// Tells what wrong bytes look like from their fingerprint alone.
pub(super) struct Classifier<'a> {
    kept: &'a Fingerprints,
    searches: usize,
    /// How far the last ones were displaced; the next mostly are as far.
    displacement: i64,
}

impl<'a> Classifier<'a> {
    pub(super) fn new(kept: &'a Fingerprints) -> Self {
        Self { kept, searches: 0, displacement: 0 }
    }

    /// What `length` bytes of a window look like whose fingerprint is `found`.
    pub(super) fn looks(&mut self, window: u64, length: u64, found: &Digest) -> Looks {
        if *found == self.fingerprint_of(0, length) {
            return Looks::Zeroes;
        }
        if *found == self.fingerprint_of(0xff, length) {
            return Looks::Ones;
        }
        match self.origin(window, found) {
            Some(origin) => {
                self.displacement = origin as i64 - window as i64;
                Looks::Displaced(self.displacement * WINDOW as i64)
            }
            None => Looks::Unknown,
        }
    }

    /// The window that has this fingerprint.
    fn origin(&mut self, window: u64, found: &Digest) -> Option<u64> {
        let near = window.checked_add_signed(self.displacement);
        if let Some(near) = near.filter(|&near| self.kept.get(near) == Some(found.as_bytes())) {
            return Some(near);
        }
        if self.searches == MAX_SEARCHES {
            return None;
        }
        self.searches += 1;
        self.kept.find(found)
    }

    fn fingerprint_of(&self, byte: u8, length: u64) -> Digest {
        let mut hasher = WindowHasher::new(self.kept.purpose);
        let bytes = [byte; 4096];
        let mut left = length as usize;
        while left > 0 {
            let step = left.min(bytes.len());
            hasher.update(&bytes[..step]);
            left -= step;
        }
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::fingerprints::{Purpose, Recorder};
    use super::*;

    #[test]
    fn wrong_bytes_are_told_by_what_they_look_like() {
        for purpose in [Purpose::Compare, Purpose::Locate] {
            let mut recorder = Recorder::new(purpose);
            for window in 0..40 {
                let start = window * WINDOW;
                recorder.add(ByteRange { start, end: start + 50 }, &[window as u8 + 1; 50]).unwrap();
            }
            let kept = recorder.finish().unwrap();
            let mut classifier = Classifier::new(&kept);
            let mut looks = |window, byte| {
                let mut hasher = WindowHasher::new(purpose);
                hasher.update(&[byte; 50]);
                classifier.looks(window, 50, &hasher.finish())
            };
            assert_eq!(looks(7, 0), Looks::Zeroes);
            assert_eq!(looks(7, 0xff), Looks::Ones);
            assert_eq!(looks(7, 28), Looks::Displaced(20 << 20));
            assert_eq!(looks(8, 29), Looks::Displaced(20 << 20));
            assert_eq!(looks(30, 11), Looks::Displaced(-20 << 20));
            assert_eq!(looks(7, 99), Looks::Unknown);
        }
    }

    #[test]
    fn places_that_touch_and_look_alike_are_one() {
        let place = |start: u64, looks| {
            let bytes = ByteRange { start: start * WINDOW, end: (start + 1) * WINDOW };
            let (kind, digest) = (ChecksumKind::Sha256, Digest::from(start.to_be_bytes().as_slice()));
            let digests = Some(Digests { bytes, kind, expected: digest.clone(), found: digest });
            Place { bytes, blocks: None, digests, looks }
        };
        let places: Vec<_> = [0, 1, 3, 4].into_iter().map(|start| place(start, Looks::Zeroes)).collect();
        let others = (5..30).step_by(2).map(|start| place(start, Looks::Unknown));
        let damage = Damage::of(places.into_iter().chain(others).collect(), Extent::All);
        assert_eq!((damage.count, damage.bytes, damage.places.len()), (15, 17 * WINDOW, 10));
        assert_eq!(damage.places[0].bytes, ByteRange { start: 0, end: 2 * WINDOW });
        assert_eq!(damage.places[1].bytes.end, 5 * WINDOW);
        // The digests are those of the first.
        let hashed = damage.places[1].digests.as_ref().unwrap().bytes;
        assert_eq!(hashed, ByteRange { start: 3 * WINDOW, end: 4 * WINDOW });
    }

    #[test]
    fn places_in_two_ranges_of_the_bmap_are_two() {
        let place = |number: u64| Place {
            bytes: ByteRange { start: number * WINDOW, end: (number + 1) * WINDOW },
            blocks: BlockRange::new(number * 256, (number + 1) * 256),
            digests: None,
            looks: Looks::Zeroes,
        };
        assert_eq!(Damage::of(vec![place(3), place(4)], Extent::All).count, 2);
    }
}
