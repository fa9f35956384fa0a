//! The checksums of ranges, on all cores.
//!
//! The largest range takes longest, as only one core can hash it, so that core must not do anything else. The ranges
//! are partitioned into shards of about equal size, one for each core; the ranges of a shard are hashed one after
//! another. There is a worker for each core too, which always does the most urgent task: it hashes a buffer of the
//! shard with most bytes left, or else reads ahead for such a shard. So one core hashes the largest range while the
//! others read for it.

mod shard;

use std::cmp::Reverse;
use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Builder};

use crate::digest::{ChecksumKind, Digest};
use crate::event::{Event, Observer, Outcome, Phase, TargetId};
use crate::range::ByteRange;
use crate::sys::read_at::ReadError;
use shard::{Numbered, Shard, Task};

/// The buffers of so many shards take 32 MiB.
const MAX_SHARDS: usize = 8;

/// The digests of `ranges` of `image`, which was opened from `path`, in the same order.
pub(super) fn hash(
    image: &File,
    path: &Path,
    ranges: &[ByteRange],
    kind: ChecksumKind,
    observer: &dyn Observer,
) -> Result<Vec<Digest>, super::Error> {
    observer.event(Event::Phase(IMAGE, Phase::Hashing));
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let count = cores.min(ranges.len()).min(MAX_SHARDS);
    let shards: Result<_, _> = partition(ranges, count).into_iter().map(|ranges| Shard::new(ranges, kind)).collect();
    let scheduler = Scheduler::new(shards.map_err(|error| super::Error::Memory(io::Error::from(error)))?);
    let progress =
        HashingProgress { hashed: AtomicU64::new(0), total: ranges.iter().map(|bytes| bytes.len()).sum(), observer };
    thread::scope(|scope| {
        // Dropped once the workers have ended, or if one of them cannot be started.
        let _stop = StopOnDrop(&scheduler);
        // A shard has work for two: one reads, one hashes.
        let workers: io::Result<Vec<_>> = (0..cores.min(2 * count))
            .map(|_| Builder::new().spawn_scoped(scope, || work(image, &scheduler, &progress)))
            .collect();
        workers.map_err(super::Error::Thread)?.into_iter().try_for_each(|worker| {
            let result = worker.join().unwrap_or_else(|panic| resume_unwind(panic));
            result.map_err(|ReadError { offset, source }| super::Error::Read { path: path.to_owned(), offset, source })
        })
    })?;
    observer.event(Event::Target(IMAGE, Outcome::Complete));
    Ok(scheduler.into_digests())
}

/// Partitions the ranges into `count` shards: the largest range first, each to the shard that has least. In a shard
/// they are in the order of the file, which a disk reads fastest.
fn partition(ranges: &[ByteRange], count: usize) -> Vec<Vec<Numbered>> {
    let mut numbered: Vec<_> = ranges.iter().copied().enumerate().collect();
    numbered.sort_by_key(|(_, bytes)| Reverse(bytes.len()));
    let mut shards = vec![(0, Vec::new()); count];
    for (index, bytes) in numbered {
        if let Some((total, shard)) = shards.iter_mut().min_by_key(|(total, _)| *total) {
            *total += bytes.len();
            shard.push((index, bytes));
        }
    }
    shards.iter_mut().for_each(|(_, shard)| shard.sort_unstable_by_key(|&(index, _)| index));
    shards.into_iter().map(|(_, shard)| shard).collect()
}

/// Gives out the tasks.
struct Scheduler {
    state: Mutex<State>,
    /// Signalled when a task has been done, or all workers are to end.
    changed: Condvar,
}

struct State {
    shards: Vec<Shard>,
    /// All workers are to end.
    stopped: bool,
}

impl State {
    /// The most urgent task, and the index of its shard. Hashing comes first: reading ahead gains nothing meanwhile.
    fn take(&mut self) -> Option<(usize, Task)> {
        let mut by_urgency: Vec<_> = self.shards.iter_mut().enumerate().collect();
        by_urgency.sort_by_key(|(_, shard)| Reverse(shard.unhashed));
        let hashing = by_urgency.iter_mut().find_map(|(index, shard)| Some((*index, shard.take_hashing()?)));
        hashing.or_else(|| by_urgency.iter_mut().find_map(|(index, shard)| Some((*index, shard.take_reading()?))))
    }

    fn is_over(&self) -> bool {
        self.stopped || self.shards.iter().all(|shard| shard.unhashed == 0)
    }
}

impl Scheduler {
    fn new(shards: Vec<Shard>) -> Self {
        Self { state: Mutex::new(State { shards, stopped: false }), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a task; `None` when all are done.
    fn take(&self) -> Option<(usize, Task)> {
        let mut state = self.lock();
        while !state.is_over() {
            if let Some(task) = state.take() {
                return Some(task);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        None
    }

    /// Puts back what a task took out of a shard. That makes two tasks possible at most, of which the caller takes one,
    /// so waking one worker is enough.
    fn put_back(&self, index: usize, change: impl FnOnce(&mut Shard)) {
        change(&mut self.lock().shards[index]);
        self.changed.notify_one();
    }

    fn into_digests(self) -> Vec<Digest> {
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut digests: Vec<_> = state.shards.into_iter().flat_map(Shard::into_digests).collect();
        digests.sort_unstable_by_key(|&(index, _)| index);
        digests.into_iter().map(|(_, digest)| digest).collect()
    }
}

/// Ends all workers when one ends: after the last task, a read error or a panic.
struct StopOnDrop<'a>(&'a Scheduler);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.lock().stopped = true;
        self.0.changed.notify_all();
    }
}

/// The image, as the observer knows it.
const IMAGE: TargetId = TargetId(0);

/// Tells how much has been hashed.
struct HashingProgress<'a> {
    /// In bytes, as the total.
    hashed: AtomicU64,
    total: u64,
    observer: &'a dyn Observer,
}

impl HashingProgress<'_> {
    fn add(&self, bytes: u64) {
        let done = self.hashed.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.observer.event(Event::Progress { target: IMAGE, done, total: Some(self.total) });
    }
}

/// Does tasks until there are no more.
fn work(image: &File, scheduler: &Scheduler, progress: &HashingProgress<'_>) -> Result<(), ReadError> {
    let _stop = StopOnDrop(scheduler);
    while let Some((index, task)) = scheduler.take() {
        match task {
            Task::Hash(mut hasher, buffer) => {
                let hashed = hasher.update(&buffer);
                scheduler.put_back(index, |shard| shard.put_back_hasher(hasher, buffer, hashed));
                progress.add(hashed);
            }
            Task::Read(mut reader, mut buffer) => {
                reader.fill(image, &mut buffer)?;
                scheduler.put_back(index, |shard| shard.put_back_reader(reader, buffer));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::event::Silent;

    const MIB: u64 = 1 << 20;

    fn hash_all(data: &[u8], ranges: &[(u64, u64)]) -> Result<Vec<Digest>, super::super::Error> {
        let mut image = tempfile::tempfile().unwrap();
        image.write_all(data).unwrap();
        let ranges: Vec<_> = ranges.iter().map(|&(start, end)| ByteRange { start, end }).collect();
        hash(&image, Path::new("image"), &ranges, ChecksumKind::Sha256, &Silent)
    }

    #[test]
    fn ranges_of_all_sizes_get_their_own_digests_in_order() {
        let data: Vec<u8> = (0..7 * MIB).map(|at| ((at / 7) ^ (at / 4099)) as u8).collect();
        let small = (0..300).map(|index| (index * 5000, index * 5000 + 1 + index));
        let large = [(2 * MIB, 3 * MIB), (3 * MIB, 5 * MIB + 17), (6 * MIB, 6 * MIB + 1), (7 * MIB - 1, 7 * MIB)];
        let ranges: Vec<_> = small.chain(large).collect();
        let digests = hash_all(&data, &ranges).unwrap();
        assert_eq!(digests.len(), ranges.len());
        for ((start, end), digest) in ranges.into_iter().zip(digests) {
            let mut hasher = ChecksumKind::Sha256.hasher();
            hasher.update(&data[start as usize..end as usize]);
            assert_eq!(digest, hasher.finish(), "{start}..{end}");
        }
        assert!(hash_all(&data, &[]).unwrap().is_empty());
    }

    #[test]
    fn an_image_that_ends_early_is_an_error_with_its_offset() {
        let error = hash_all(&vec![1; 3 * MIB as usize + 5], &[(0, 100), (MIB, 9 * MIB)]).unwrap_err();
        assert!(matches!(error, super::super::Error::Read { offset, .. } if offset == 3 * MIB + 5), "{error}");
    }
}
