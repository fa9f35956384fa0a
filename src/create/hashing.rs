//! The checksums of ranges, on all cores.
//!
//! What takes longest is one core hashing the largest range, so nothing else may keep it from that: each thread that
//! hashes has another one that reads ahead for it.

use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::os::unix::fs::FileExt;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, Builder};

use crate::digest::{ChecksumKind, Digest};
use crate::range::ByteRange;

/// How much is read at a time, in bytes: little enough to be still in a core's cache when it is hashed.
const BATCH_LEN: usize = 256 << 10;

/// How many batches a thread reads ahead.
const BATCHES: usize = 4;

/// What cannot be read: the offset, and why.
pub(super) type ReadError = (u64, io::Error);

/// The digests of `ranges` of `image`, in the same order.
pub(super) fn hash(image: &File, ranges: &[ByteRange], kind: ChecksumKind) -> Result<Vec<Digest>, ReadError> {
    let queue = Queue::new(ranges);
    let workers = thread::available_parallelism().map_or(1, NonZeroUsize::get).min(ranges.len());
    let mut digests = Vec::with_capacity(ranges.len());
    thread::scope(|scope| -> Result<(), ReadError> {
        let mut threads = Vec::with_capacity(workers);
        for _ in 0..workers {
            let (to_hasher, batches) = sync_channel(BATCHES);
            let (give_back, pool) = channel();
            (0..BATCHES).for_each(|_| drop(give_back.send(Batch::new())));
            let queue = &queue;
            let failed = |error| {
                queue.clear();
                (0, error)
            };
            let reader = Builder::new().spawn_scoped(scope, move || read(image, queue, &pool, &to_hasher));
            let reader = reader.map_err(failed)?;
            let hasher = Builder::new().spawn_scoped(scope, move || digest(kind, &batches, &give_back));
            threads.push((reader, hasher.map_err(failed)?));
        }
        for (reader, hasher) in threads {
            digests.extend(hasher.join().unwrap_or_else(|panic| resume_unwind(panic)));
            reader.join().unwrap_or_else(|panic| resume_unwind(panic))?;
        }
        Ok(())
    })?;
    digests.sort_unstable_by_key(|&(index, _)| index);
    Ok(digests.into_iter().map(|(_, digest)| digest).collect())
}

/// The ranges, the largest first, so that no core is alone with one at the end.
struct Queue {
    ranges: Vec<(usize, ByteRange)>,
    next: AtomicUsize,
}

impl Queue {
    fn new(ranges: &[ByteRange]) -> Self {
        let mut ranges: Vec<_> = ranges.iter().copied().enumerate().collect();
        ranges.sort_by_key(|(_, bytes)| std::cmp::Reverse(bytes.len()));
        Self { ranges, next: AtomicUsize::new(0) }
    }

    /// A range that nobody has taken, and which one it is.
    fn take(&self) -> Option<(usize, ByteRange)> {
        self.ranges.get(self.next.fetch_add(1, Ordering::Relaxed)).copied()
    }

    /// Leaves nothing to take.
    fn clear(&self) {
        self.next.store(self.ranges.len(), Ordering::Relaxed);
    }
}

/// Data of ranges that follow one another in the queue: a part of a large one, or several small ones.
struct Batch {
    buf: Vec<u8>,
    parts: Vec<Part>,
}

/// Data of one range.
struct Part {
    length: usize,
    /// Which range ends with it, if one does.
    ends: Option<usize>,
}

impl Batch {
    fn new() -> Self {
        Self { buf: vec![0; BATCH_LEN], parts: Vec::new() }
    }
}

/// Reads ranges from the queue into batches from `pool`, and hands those on.
#[expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a part is no longer than the room in its batch, nor than what is left of its range"
)]
fn read(image: &File, queue: &Queue, pool: &Receiver<Batch>, hasher: &SyncSender<Batch>) -> Result<(), ReadError> {
    let mut current: Option<Batch> = None;
    let mut room = 0;
    while let Some((index, bytes)) = queue.take() {
        let mut offset = bytes.start;
        while offset < bytes.end {
            if room == 0 {
                current.take().map(|full| hasher.send(full));
                room = BATCH_LEN;
            }
            let Some(batch) = current.take().or_else(|| pool.recv().ok()) else { return Ok(()) };
            let batch = current.insert(batch);
            let length = usize::try_from(bytes.end - offset).map_or(room, |left| left.min(room));
            let begin = BATCH_LEN - room;
            read_exact_at(image, &mut batch.buf[begin..begin + length], offset).inspect_err(|_| queue.clear())?;
            offset += length as u64;
            room -= length;
            batch.parts.push(Part { length, ends: (offset == bytes.end).then_some(index) });
        }
    }
    current.map(|last| hasher.send(last));
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

/// Hashes batches, and gives them back to `pool`.
#[expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "the parts of a batch lie in its buffer, one behind the other"
)]
fn digest(kind: ChecksumKind, batches: &Receiver<Batch>, pool: &Sender<Batch>) -> Vec<(usize, Digest)> {
    let mut hasher = kind.hasher();
    let mut digests = Vec::new();
    for mut batch in batches {
        let mut begin = 0;
        for Part { length, ends } in batch.parts.drain(..) {
            hasher.update(&batch.buf[begin..begin + length]);
            begin += length;
            if let Some(index) = ends {
                digests.push((index, hasher.finish()));
            }
        }
        let _ = pool.send(batch); // the reader may be done
    }
    digests
}
