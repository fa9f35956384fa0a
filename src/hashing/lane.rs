//! Ranges that are hashed one after another, by one worker at a time.

use std::collections::VecDeque;
use std::iter::Peekable;

use super::windows::{Window, Windows};
use crate::digest::Hasher;
use crate::range::ByteRange;
use crate::sys::aligned::AlignedBuf;

/// How many buffers wait for the hasher of a lane: more reading ahead gains nothing.
const AHEAD: usize = 2;

/// How many buffers a lane needs: one is being hashed.
pub(super) const BUFFERS: usize = AHEAD + 1;

/// Lanes that differ by less than this, in bytes, are as urgent as each other.
const URGENT: u64 = 16 << 20;

/// Ranges, of each of which a `T` is known.
type Ranges<T> = std::vec::IntoIter<(ByteRange, T)>;

/// A window and its bytes.
type Filled<T> = (Window<T>, AlignedBuf);

/// What has been read and what is left of some ranges.
pub(super) struct Lane<T: Copy> {
    /// What has not been read.
    unread: Peekable<Windows<T, Ranges<T>>>,
    /// The starts of the windows that are being read or have been, in order; with their bytes once they have been.
    waiting: VecDeque<(u64, Option<Filled<T>>)>,
    /// Taken out by the worker that hashes.
    hasher: Option<Hasher>,
    /// How many bytes have not been hashed.
    unhashed: u64,
}

impl<T: Copy> Lane<T> {
    /// A lane without ranges.
    pub(super) fn new(hasher: Hasher) -> Self {
        let unread = Windows::new(Vec::new().into_iter()).peekable();
        Self { unread, waiting: VecDeque::new(), hasher: Some(hasher), unhashed: 0 }
    }

    /// Takes on `ranges`, in a lane that is done.
    pub(super) fn open(&mut self, ranges: Vec<(ByteRange, T)>) {
        self.unhashed = ranges.iter().map(|(bytes, _)| bytes.len()).sum();
        self.unread = Windows::new(ranges.into_iter()).peekable();
    }

    pub(super) fn is_done(&self) -> bool {
        self.unhashed == 0
    }

    /// The more is left, the more urgent it is, as only one core can hash it.
    pub(super) fn urgency(&self) -> u64 {
        self.unhashed / URGENT
    }

    pub(super) fn has_unread(&mut self) -> bool {
        self.unread.peek().is_some()
    }

    /// Whether its hasher may soon have nothing to do.
    pub(super) fn is_hungry(&mut self) -> bool {
        self.waiting.len() < AHEAD && self.has_unread()
    }

    pub(super) fn is_being_read(&self) -> bool {
        self.waiting.iter().any(|(_, filled)| filled.is_none())
    }

    /// Whether something is being hashed, or could be.
    pub(super) fn is_hashing(&self) -> bool {
        self.hasher.is_none() || self.waiting.front().is_some_and(|(_, filled)| filled.is_some())
    }

    /// What is to be read next, and given to [`Self::put_read`].
    pub(super) fn take_reading(&mut self) -> Option<Window<T>> {
        let window = self.unread.next()?;
        self.waiting.push_back((window.span().start, None));
        Some(window)
    }

    /// Takes what has been read.
    pub(super) fn put_read(&mut self, window: Window<T>, buf: AlignedBuf) {
        let start = window.span().start;
        let place = self.waiting.iter_mut().find(|(waiting, _)| *waiting == start);
        place.expect("it is being read").1 = Some((window, buf));
    }

    /// The hasher and what it must hash next, if it is free and that has been read.
    pub(super) fn take_hashing(&mut self) -> Option<(Hasher, Filled<T>)> {
        self.hasher.as_ref()?;
        let (_, filled) = self.waiting.pop_front_if(|(_, filled)| filled.is_some())?;
        Some((self.hasher.take()?, filled?))
    }

    /// Puts back the hasher, which has hashed so many bytes.
    pub(super) fn put_hashed(&mut self, hasher: Hasher, hashed: u64) {
        self.hasher = Some(hasher);
        self.unhashed -= hashed;
    }
}
