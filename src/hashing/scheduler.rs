//! Ranges that all cores read and hash.
//!
//! A range is hashed by one core at a time, in the order of its bytes, so that the largest one takes longest. There is a
//! lane for each worker, with a range or some short ones. A worker hashes what has been read of a lane, or else reads
//! ahead for the lane that has most left: so one core hashes a large range while the others read for it.

use std::cmp::Reverse;
use std::io;
use std::iter::Peekable;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Builder};

use super::lane::{BUFFERS, Lane};
use super::windows::Window;
use super::{BATCH, WINDOW, cores};
use crate::digest::{ChecksumKind, Digest, Hasher};
use crate::range::ByteRange;
use crate::sys::aligned::AlignedBuf;

/// How the bytes can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Several threads at a time read what they need.
    Anywhere,
    /// From the first byte to the last, by one thread at a time.
    InOrder,
}

/// Why ranges could not be hashed.
#[derive(Debug)]
pub(crate) enum Error<E> {
    /// There is not enough memory.
    Memory(io::Error),
    /// They cannot be read.
    Read(E),
}

/// Ranges, of each of which a `T` is known.
pub(crate) struct Hashing<I> {
    /// In the order in which they are read: that of their bytes, unless access is anywhere. None is empty.
    pub(crate) ranges: I,
    pub(crate) kind: ChecksumKind,
    pub(crate) access: Access,
}

impl<T: Copy + Send, I: Iterator<Item = (ByteRange, T)> + Send> Hashing<I> {
    /// Hashes the ranges, and tells `found` their digests, in any order.
    ///
    /// `read` fills a buffer that has room for the whole window with the parts of it. `progress` is told how many bytes
    /// have been hashed. Once a window cannot be read, no other is; what has been read before is hashed nevertheless.
    pub(crate) fn run<E: Send>(
        self,
        read: impl Fn(&Window<T>, &mut [u8]) -> Result<(), E> + Sync,
        found: impl Fn(T, Digest) + Sync,
        progress: impl Fn(u64) + Sync,
    ) -> Result<(), Error<E>> {
        // On a single core too, one reads while the other hashes.
        let workers = cores().max(2);
        let scheduler = Scheduler::new(self, workers).map_err(Error::Memory)?;
        let work = || scheduler.work(&read, &found, &progress);
        thread::scope(|scope| {
            // Where there are no more threads, fewer do.
            let others = (1..workers).map_while(|_| Builder::new().spawn_scoped(scope, work).ok());
            others.for_each(drop);
            work();
        });
        let state = scheduler.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        state.failed.map_or(Ok(()), |(_, error)| Err(Error::Read(error)))
    }
}

/// Gives out the tasks.
struct Scheduler<T: Copy, I: Iterator, E> {
    state: Mutex<State<T, I, E>>,
    /// Signalled when there may be another task, or all workers are to end.
    changed: Condvar,
}

struct State<T: Copy, I: Iterator, E> {
    /// Those that no lane has.
    ranges: Peekable<I>,
    access: Access,
    lanes: Vec<Lane<T>>,
    free: Vec<AlignedBuf>,
    /// How many bytes have been hashed.
    hashed: u64,
    /// The start of the first window that could not be read.
    failed: Option<(u64, E)>,
    /// All workers are to end.
    stopped: bool,
}

/// What a worker can do for a lane.
enum Task<T> {
    Hash(Hasher, Window<T>, AlignedBuf),
    Read(Window<T>, AlignedBuf),
}

impl<T: Copy, I: Iterator<Item = (ByteRange, T)>, E> State<T, I, E> {
    /// The most urgent task and its lane, for a worker whose last one was `last`. What that lane has is in the cache of
    /// its core.
    fn take(&mut self, last: usize) -> Option<(usize, Task<T>)> {
        let mut by_urgency: Vec<_> = (0..self.lanes.len()).collect();
        by_urgency.sort_by_key(|&lane| (Reverse(self.lanes[lane].urgency()), lane != last));
        match self.access {
            _ if self.failed.is_some() => self.take_hashing(&by_urgency),
            // Reading ahead gains nothing while there is something to hash.
            Access::Anywhere => self.take_hashing(&by_urgency).or_else(|| {
                let hungry = by_urgency.iter().copied().find(|&lane| self.lanes[lane].is_hungry());
                let lane = hungry.or_else(|| self.open_lane())?;
                self.take_reading(lane)
            }),
            // What comes in order may come slowly, and all else waits for it.
            Access::InOrder => {
                let reading = self.take_reading_in_order();
                reading.or_else(|| self.take_hashing(&by_urgency))
            }
        }
    }

    fn take_hashing(&mut self, lanes: &[usize]) -> Option<(usize, Task<T>)> {
        lanes.iter().find_map(|&lane| {
            let (hasher, (window, buf)) = self.lanes[lane].take_hashing()?;
            Some((lane, Task::Hash(hasher, window, buf)))
        })
    }

    fn take_reading(&mut self, lane: usize) -> Option<(usize, Task<T>)> {
        let buf = self.free.pop()?;
        Some((lane, Task::Read(self.lanes[lane].take_reading()?, buf)))
    }

    fn take_reading_in_order(&mut self) -> Option<(usize, Task<T>)> {
        if self.free.is_empty() || self.lanes.iter().any(Lane::is_being_read) {
            return None;
        }
        let begun = (0..self.lanes.len()).find(|&lane| self.lanes[lane].has_unread());
        let lane = begun.or_else(|| self.open_lane())?;
        self.take_reading(lane)
    }

    /// Gives the next ranges to a lane that is done.
    fn open_lane(&mut self) -> Option<usize> {
        let done = self.lanes.iter().position(Lane::is_done)?;
        let (mut batch, mut length, mut end) = (Vec::new(), 0, 0);
        let fits = |bytes: ByteRange, length, end| length == 0 || (bytes.start >= end && length + bytes.len() <= BATCH);
        while let Some((bytes, of)) = self.ranges.next_if(|&(bytes, _)| fits(bytes, length, end)) {
            batch.push((bytes, of));
            (length, end) = (length + bytes.len(), bytes.end);
        }
        self.lanes[done].open(batch);
        Some(done).filter(|_| length > 0)
    }

    fn is_over(&mut self) -> bool {
        self.stopped
            || match self.failed {
                Some(_) => !self.lanes.iter().any(Lane::is_hashing),
                None => self.ranges.peek().is_none() && self.lanes.iter().all(Lane::is_done),
            }
    }
}

impl<T: Copy, I: Iterator<Item = (ByteRange, T)>, E> Scheduler<T, I, E> {
    fn new(Hashing { ranges, kind, access }: Hashing<I>, workers: usize) -> io::Result<Self> {
        let buffers = (0..workers * BUFFERS).map(|_| AlignedBuf::zeroed(WINDOW as usize));
        let state = State {
            ranges: ranges.peekable(),
            access,
            lanes: (0..workers).map(|_| Lane::new(kind.hasher())).collect(),
            free: buffers.collect::<io::Result<_>>()?,
            hashed: 0,
            failed: None,
            stopped: false,
        };
        Ok(Self { state: Mutex::new(state), changed: Condvar::new() })
    }

    /// Does tasks until there are no more.
    fn work(
        &self,
        read: impl Fn(&Window<T>, &mut [u8]) -> Result<(), E>,
        found: impl Fn(T, Digest),
        progress: impl Fn(u64),
    ) {
        let _stop = StopOnDrop(self);
        let mut last = 0;
        while let Some((lane, task)) = self.take(last) {
            last = lane;
            match task {
                Task::Read(window, mut buf) => match read(&window, &mut buf) {
                    Ok(()) => self.lock().lanes[lane].put_read(window, buf),
                    Err(error) => self.lock().fail(window.start(), error),
                },
                Task::Hash(mut hasher, window, buf) => {
                    let mut hashed = 0;
                    for part in &window.parts {
                        hasher.update(&buf[window.position(part.bytes)]);
                        hashed += part.bytes.len();
                        if part.is_last {
                            found(part.of, hasher.finish());
                        }
                    }
                    let mut state = self.lock();
                    state.lanes[lane].put_hashed(hasher, hashed);
                    state.free.push(buf);
                    state.hashed += hashed;
                    // Others wait meanwhile: it must never be told less than before.
                    progress(state.hashed);
                }
            }
        }
    }

    /// Waits for a task; `None` when all are done.
    fn take(&self, last: usize) -> Option<(usize, Task<T>)> {
        let mut state = self.lock();
        while !state.is_over() {
            if let Some(task) = state.take(last) {
                // There may be one for another worker as well, which does the same.
                self.changed.notify_one();
                return Some(task);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        None
    }

    fn lock(&self) -> MutexGuard<'_, State<T, I, E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Copy, I: Iterator, E> State<T, I, E> {
    /// Takes note of an error, unless one of an earlier window is known.
    fn fail(&mut self, start: u64, error: E) {
        if self.failed.as_ref().is_none_or(|(first, _)| start < *first) {
            self.failed = Some((start, error));
        }
    }
}

/// Ends all workers when one ends: after the last task, an error or a panic.
struct StopOnDrop<'a, T: Copy, I: Iterator, E>(&'a Scheduler<T, I, E>);

impl<T: Copy, I: Iterator, E> Drop for StopOnDrop<'_, T, I, E> {
    fn drop(&mut self) {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner).stopped = true;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::time::Duration;

    use super::*;

    const MIB: u64 = 1 << 20;

    /// Ranges of all lengths, with holes between some of them.
    fn ranges() -> Vec<ByteRange> {
        let lengths = [1, 4096, 3 << 20, 5, 700_000, 1 << 20, 100, 100, 9_500_000].into_iter().chain(vec![3000; 500]);
        let mut end = 0;
        let place = |(number, length): (u64, u64)| {
            let start = end + number % 3 * 1000;
            end = start + length;
            ByteRange { start, end }
        };
        (0..).zip(lengths).map(place).collect()
    }

    fn hashing(ranges: &[ByteRange], access: Access) -> Hashing<impl Iterator<Item = (ByteRange, usize)> + Send> {
        Hashing { ranges: ranges.iter().copied().zip(0..), kind: ChecksumKind::Sha256, access }
    }

    #[test]
    fn each_range_gets_its_own_digest() {
        let in_order = ranges();
        let mut out_of_order = in_order.clone();
        out_of_order.rotate_right(300);
        let length = in_order[in_order.len() - 1].end;
        let data: Vec<u8> = (0..length).map(|at| ((at / 7) ^ (at / 4099)) as u8).collect();
        for (access, ranges) in
            [(Access::Anywhere, &in_order), (Access::InOrder, &in_order), (Access::Anywhere, &out_of_order)]
        {
            let (reached, told) = (Mutex::new(0), Mutex::new(0));
            let read = |window: &Window<usize>, buf: &mut [u8]| {
                if access == Access::InOrder {
                    let mut reached = reached.try_lock().expect("one thread reads");
                    assert!(*reached <= window.span().start, "it goes back to {}", window.span().start);
                    *reached = window.span().end;
                }
                for part in &window.parts {
                    let data = &data[part.bytes.start as usize..part.bytes.end as usize];
                    buf[window.position(part.bytes)].copy_from_slice(data);
                }
                Ok::<_, ()>(())
            };
            let progress = |done| assert!(std::mem::replace(&mut *told.lock().unwrap(), done) < done);
            let found = Mutex::new(Vec::new());
            let add = |index, digest| found.lock().unwrap().push((index, digest));
            hashing(ranges, access).run(read, add, progress).unwrap();
            let mut found = found.into_inner().unwrap();
            found.sort_by_key(|&(index, _)| index);
            let digest = |(index, bytes): (usize, &ByteRange)| {
                let mut hasher = ChecksumKind::Sha256.hasher();
                hasher.update(&data[bytes.start as usize..bytes.end as usize]);
                (index, hasher.finish())
            };
            let expected = ranges.iter().enumerate().map(digest);
            assert!(found.into_iter().eq(expected), "{access:?}");
            assert_eq!(*told.lock().unwrap(), ranges.iter().map(|bytes| bytes.len()).sum::<u64>());
        }
        let none = hashing(&[], Access::Anywhere).run(|_, _| Ok::<_, ()>(()), |_, _| unreachable!(), |_| {});
        assert!(none.is_ok());
    }

    #[test]
    fn the_first_window_that_cannot_be_read_is_told() {
        let ranges = ranges();
        // It fails before those that are read at the same time, or after them.
        for (access, fails_last) in [(Access::Anywhere, true), (Access::Anywhere, false), (Access::InOrder, true)] {
            let read = |window: &Window<usize>, _: &mut [u8]| {
                let is_first = window.start() == 3 * MIB;
                if window.start() < 3 * MIB {
                    return Ok(());
                }
                thread::sleep(Duration::from_millis(if is_first == fails_last { 100 } else { 0 }));
                Err(window.start())
            };
            let failed = hashing(&ranges, access).run(read, |_, _| {}, |_| {});
            assert!(matches!(failed, Err(Error::Read(start)) if start == 3 * MIB), "{access:?}");
        }
    }

    #[test]
    fn what_was_read_before_an_error_is_hashed() {
        let ranges: Vec<_> = (0..9).map(|number| ByteRange { start: number * MIB, end: (number + 1) * MIB }).collect();
        let found = Mutex::new(Vec::new());
        let add = |index, _| {
            thread::sleep(Duration::from_millis(20));
            found.lock().unwrap().push(index);
        };
        let read = |window: &Window<usize>, _: &mut [u8]| if window.index < 6 { Ok(()) } else { Err(()) };
        assert!(hashing(&ranges, Access::InOrder).run(read, add, |_| {}).is_err());
        let mut found = found.into_inner().unwrap();
        found.sort_unstable();
        assert_eq!(found, [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_panic_is_not_waited_for() {
        let ranges = ranges();
        let found = |index, _| assert_ne!(index, 5, "on purpose");
        let run = || hashing(&ranges, Access::Anywhere).run(|_, _| Ok::<_, ()>(()), found, |_| {}).is_ok();
        assert!(catch_unwind(AssertUnwindSafe(run)).is_err());
    }
}
