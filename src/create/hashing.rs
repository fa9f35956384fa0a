//! The checksums of ranges, on all cores.
//!
//! What takes longest is one core hashing the largest range, so nothing may keep a core from that. The ranges are dealt
//! out to as many streams as there are cores, evenly; the bytes of a stream are hashed one after another. A worker, of
//! which there are as many as well, does what is most urgent: it hashes what has been read of the stream that has most
//! left, else reads ahead for such a stream. So one core hashes the largest range while the others read for it, and no
//! thread stands in another's way.

use std::collections::{TryReserveError, VecDeque};
use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::os::unix::fs::FileExt;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Builder, ScopedJoinHandle};

use crate::digest::{ChecksumKind, Digest, Hasher};
use crate::range::ByteRange;

/// How much is read at a time, in bytes: little enough to be still in a cache when it is hashed, and enough to
/// make the hand-over cheap.
const BATCH_LEN: usize = 1 << 20;

/// How many batches there are for each stream.
const BATCHES: usize = 4;

/// How many streams there are at most: their batches shall fit into 32 MiB.
const MAX_STREAMS: usize = 8;

/// What cannot be read: the offset, and why.
type ReadError = (u64, io::Error);

/// The digests of `ranges` of `image`, which was opened from `path`, in the same order.
pub(super) fn hash(
    image: &File,
    path: &Path,
    ranges: &[ByteRange],
    kind: ChecksumKind,
) -> Result<Vec<Digest>, super::Error> {
    let read_error = |(offset, source)| super::Error::Read { path: path.to_owned(), offset, source };
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let count = cores.min(ranges.len()).min(MAX_STREAMS);
    let streams: Result<_, _> = deal(ranges, count).into_iter().map(|ranges| Stream::new(ranges, kind)).collect();
    let board = Board::new(streams.map_err(|error| super::Error::Memory(error.into()))?);
    thread::scope(|scope| {
        let mut workers = Vec::new();
        // No more than one can hash and one read for each stream.
        for _ in 0..cores.min(count.saturating_mul(2)) {
            let worker = Builder::new().spawn_scoped(scope, || work(image, &board));
            workers.push(worker.inspect_err(|_| board.fail()).map_err(super::Error::Thread)?);
        }
        let result = |worker: ScopedJoinHandle<'_, _>| worker.join().unwrap_or_else(|panic| resume_unwind(panic));
        workers.into_iter().try_for_each(|worker| result(worker).map_err(read_error))
    })?;
    let tasks = board.tasks.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut digests: Vec<_> = tasks.streams.into_iter().flat_map(|stream| stream.digests).collect();
    digests.sort_unstable_by_key(|&(index, _)| index);
    Ok(digests.into_iter().map(|(_, digest)| digest).collect())
}

/// The place of a range among all, and the range.
type Numbered = (usize, ByteRange);

/// Deals the ranges out to `count` hands, the largest first, each to the hand that has least. In a hand they lie in the
/// order of the file, which a disk reads fastest.
fn deal(ranges: &[ByteRange], count: usize) -> Vec<VecDeque<Numbered>> {
    let mut numbered: Vec<_> = ranges.iter().copied().enumerate().collect();
    numbered.sort_by_key(|(_, bytes)| std::cmp::Reverse(bytes.len()));
    let mut hands = vec![(0u64, VecDeque::new()); count];
    for (index, bytes) in numbered {
        if let Some((total, hand)) = hands.iter_mut().min_by_key(|(total, _)| *total) {
            *total = total.saturating_add(bytes.len());
            hand.push_back((index, bytes));
        }
    }
    let in_order = |mut hand: VecDeque<Numbered>| {
        hand.make_contiguous().sort_unstable_by_key(|&(index, _)| index);
        hand
    };
    hands.into_iter().map(|(_, hand)| in_order(hand)).collect()
}

/// Ranges that are hashed one after another.
struct Stream {
    /// How many bytes are still to be hashed.
    left: u64,
    /// What is still to be read. A worker that reads takes it away.
    unread: Option<VecDeque<Numbered>>,
    /// What has been read.
    ready: VecDeque<Batch>,
    /// What can be read into.
    spare: Vec<Batch>,
    /// A worker that hashes takes it away.
    hasher: Option<Hasher>,
    digests: Vec<(usize, Digest)>,
}

/// Data of ranges that follow one another in a stream: a part of a large one, or several small ones.
struct Batch {
    buf: Vec<u8>,
    parts: Vec<Part>,
}

impl Batch {
    fn new() -> Result<Self, TryReserveError> {
        let mut buf = Vec::new();
        buf.try_reserve_exact(BATCH_LEN)?;
        buf.resize(BATCH_LEN, 0);
        Ok(Self { buf, parts: Vec::new() })
    }
}

/// Data of one range.
struct Part {
    length: usize,
    /// Which range ends with it, if one does.
    ends: Option<usize>,
}

/// What a worker can do for a stream.
enum Task {
    Hash(Hasher, Batch),
    Read(VecDeque<Numbered>, Batch),
}

impl Stream {
    fn new(ranges: VecDeque<Numbered>, kind: ChecksumKind) -> Result<Self, TryReserveError> {
        Ok(Self {
            left: ranges.iter().map(|(_, bytes)| bytes.len()).sum(),
            unread: Some(ranges),
            ready: VecDeque::new(),
            spare: (0..BATCHES).map(|_| Batch::new()).collect::<Result<_, _>>()?,
            hasher: Some(kind.hasher()),
            digests: Vec::new(),
        })
    }

    fn take_hashing(&mut self) -> Option<Task> {
        let hasher = self.hasher.take_if(|_| !self.ready.is_empty())?;
        self.ready.pop_front().map(|batch| Task::Hash(hasher, batch))
    }

    fn take_reading(&mut self) -> Option<Task> {
        let unread = self.unread.take_if(|unread| !unread.is_empty() && !self.spare.is_empty())?;
        self.spare.pop().map(|batch| Task::Read(unread, batch))
    }
}

/// What the workers share.
struct Board {
    tasks: Mutex<Tasks>,
    /// There may be a task for one who waits.
    changed: Condvar,
}

struct Tasks {
    streams: Vec<Stream>,
    /// A worker could not be started, could not read, or has panicked.
    failed: bool,
}

impl Tasks {
    /// The most urgent task, and the number of its stream: there is nothing to gain from reading while there is something
    /// to hash.
    fn take(&mut self) -> Option<(usize, Task)> {
        let mut by_urgency: Vec<_> = self.streams.iter_mut().enumerate().collect();
        by_urgency.sort_by_key(|(_, stream)| std::cmp::Reverse(stream.left));
        let hashing = by_urgency.iter_mut().find_map(|(number, stream)| Some((*number, stream.take_hashing()?)));
        hashing.or_else(|| by_urgency.iter_mut().find_map(|(number, stream)| Some((*number, stream.take_reading()?))))
    }

    fn are_over(&self) -> bool {
        self.failed || self.streams.iter().all(|stream| stream.left == 0)
    }
}

impl Board {
    fn new(streams: Vec<Stream>) -> Self {
        Self { tasks: Mutex::new(Tasks { streams, failed: false }), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Tasks> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A task, once there is one; `None` where none will come.
    fn take(&self) -> Option<(usize, Task)> {
        let mut tasks = self.lock();
        while !tasks.are_over() {
            if let Some(task) = tasks.take() {
                return Some(task);
            }
            tasks = self.changed.wait(tasks).unwrap_or_else(PoisonError::into_inner);
        }
        None
    }

    /// Puts back what a task has taken from a stream. That makes way for two tasks at most, of which the caller takes one.
    fn update(&self, number: usize, change: impl FnOnce(&mut Stream)) {
        let mut tasks = self.lock();
        tasks.streams.get_mut(number).map(change);
        if tasks.are_over() { self.changed.notify_all() } else { self.changed.notify_one() }
    }

    /// Leaves nothing to do.
    fn fail(&self) {
        self.lock().failed = true;
        self.changed.notify_all();
    }
}

/// Lets nobody wait for a worker that has panicked.
struct Watched<'a>(&'a Board);

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.fail();
        }
    }
}

/// Does tasks until there are no more.
fn work(image: &File, board: &Board) -> Result<(), ReadError> {
    let _watched = Watched(board);
    while let Some((number, task)) = board.take() {
        match task {
            Task::Hash(mut hasher, mut batch) => {
                let (length, digests) = digest(&mut hasher, &mut batch);
                board.update(number, |stream| {
                    stream.left = stream.left.saturating_sub(length);
                    stream.digests.extend(digests);
                    stream.hasher = Some(hasher);
                    stream.spare.push(batch);
                });
            }
            Task::Read(mut unread, mut batch) => {
                read(image, &mut unread, &mut batch).inspect_err(|_| board.fail())?;
                board.update(number, |stream| {
                    stream.unread = Some(unread);
                    stream.ready.push_back(batch);
                });
            }
        }
    }
    Ok(())
}

/// Hashes a batch, which is then empty; returns how many bytes it had, and the digests of the ranges that ended in it.
#[expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "the parts of a batch lie in its buffer, one behind the other"
)]
fn digest(hasher: &mut Hasher, batch: &mut Batch) -> (u64, Vec<(usize, Digest)>) {
    let mut digests = Vec::new();
    let mut begin = 0;
    for Part { length, ends } in batch.parts.drain(..) {
        hasher.update(&batch.buf[begin..begin + length]);
        begin += length;
        digests.extend(ends.map(|index| (index, hasher.finish())));
    }
    (begin as u64, digests)
}

/// Fills an empty batch with the beginning of `unread`.
#[expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a part is no longer than the room in its batch, nor than what is left of its range"
)]
fn read(image: &File, unread: &mut VecDeque<Numbered>, batch: &mut Batch) -> Result<(), ReadError> {
    let mut filled = 0;
    while let Some((index, bytes)) = unread.front_mut().filter(|_| filled < BATCH_LEN) {
        let room = BATCH_LEN - filled;
        let length = usize::try_from(bytes.len()).map_or(room, |left| left.min(room));
        read_exact_at(image, &mut batch.buf[filled..filled + length], bytes.start)?;
        filled += length;
        bytes.start += length as u64;
        let ends = bytes.is_empty().then_some(*index);
        batch.parts.push(Part { length, ends });
        if ends.is_some() {
            unread.pop_front();
        }
    }
    Ok(())
}

/// Fills `buf` from `offset` on. An error comes with the offset where it happened.
#[expect(clippy::arithmetic_side_effects, clippy::indexing_slicing, reason = "no more is read than there is room for")]
fn read_exact_at(image: &File, buf: &mut [u8], offset: u64) -> Result<(), ReadError> {
    let mut filled = 0;
    while filled < buf.len() {
        let at = offset + filled as u64;
        match image.read_at(&mut buf[filled..], at) {
            Ok(0) => return Err((at, io::ErrorKind::UnexpectedEof.into())),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err((at, error)),
        }
    }
    Ok(())
}
