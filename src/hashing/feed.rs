//! Hashes on all cores what one thread reads, and compares.
//!
//! A range is hashed by one core, in the order of its bytes; the next range goes to the next core that is free.

use std::io;
use std::ops::Range;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use super::{BATCH, cores};
use crate::digest::{ChecksumKind, Digest};
use crate::range::{BlockRange, ByteRange};
use crate::sys::pool::PooledBuf;
use crate::sys::threads;

/// What some bytes must hash to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Expected {
    /// Where they are, from the first to the last; bytes in between that are not hashed do not count.
    pub(crate) bytes: ByteRange,
    /// How many of them are hashed.
    pub(crate) length: u64,
    /// The range of the bmap that they are, if they are one.
    pub(crate) blocks: Option<BlockRange>,
    /// Their digest.
    pub(crate) digest: Digest,
}

/// Bytes with another digest than they must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mismatch {
    pub(crate) expected: Expected,
    pub(crate) found: Digest,
}

/// Hashes what it is fed. Its threads end when it is dropped.
pub(crate) struct Hashers {
    kind: ChecksumKind,
    jobs: Sender<Job>,
    /// The one that is being fed, and how many bytes it has been given.
    current: Option<(Sender<Segment>, u64)>,
    /// Whether the last segment left its range open.
    is_within_range: bool,
    /// How many jobs have not been done.
    pending: usize,
    answers: Receiver<Answer>,
}

/// Ranges that one core hashes, one after another.
struct Job {
    kind: ChecksumKind,
    segments: Receiver<Segment>,
}

/// Some bytes of a range.
struct Segment {
    buf: Arc<PooledBuf>,
    span: Range<usize>,
    /// What the range must hash to, if these are its last bytes.
    end: Option<Expected>,
}

enum Answer {
    Differs(Mismatch),
    /// A job is done.
    Done,
}

impl Hashers {
    /// Starts threads for one of `readers` that share the cores.
    ///
    /// # Errors
    ///
    /// Where the machine has no thread left.
    pub(crate) fn start(readers: usize, kind: ChecksumKind) -> io::Result<Self> {
        let (jobs, queue) = channel();
        let (to_reader, answers) = channel();
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..(cores() / readers.max(1)).max(1) {
            let (queue, to_reader) = (Arc::clone(&queue), to_reader.clone());
            threads::start("hasher", move || work(&queue, &to_reader))?;
        }
        Ok(Self { kind, jobs, current: None, is_within_range: false, pending: 0, answers })
    }

    /// Hashes the bytes of `buf` in `span` next. With `end`, the range ends with them, and must have that digest.
    pub(crate) fn feed(&mut self, buf: &Arc<PooledBuf>, span: Range<usize>, end: Option<Expected>) {
        if !self.is_within_range {
            self.current.take_if(|(_, fed)| *fed >= BATCH);
        }
        self.is_within_range = end.is_none();
        let (segments, fed) = self.current.get_or_insert_with(|| {
            let (segments, queue) = channel();
            self.pending += 1;
            let _ = self.jobs.send(Job { kind: self.kind, segments: queue }); // a thread that has panicked takes none
            (segments, 0)
        });
        *fed += span.len() as u64;
        let _ = segments.send(Segment { buf: Arc::clone(buf), span, end });
    }

    /// The mismatches that have been found since the last call.
    pub(crate) fn mismatches(&mut self) -> Vec<Mismatch> {
        let answers: Vec<_> = self.answers.try_iter().collect();
        answers.into_iter().filter_map(|answer| self.note(answer)).collect()
    }

    /// Waits until all ranges have been hashed; returns the mismatches that have been found since the last call.
    pub(crate) fn finish(&mut self) -> Vec<Mismatch> {
        assert!(!self.is_within_range, "the last range has no end");
        self.current = None;
        let mut mismatches = Vec::new();
        while self.pending > 0 {
            let answer = self.answers.recv().expect("hashing does not panic");
            mismatches.extend(self.note(answer));
        }
        mismatches
    }

    fn note(&mut self, answer: Answer) -> Option<Mismatch> {
        match answer {
            Answer::Differs(mismatch) => Some(mismatch),
            Answer::Done => {
                self.pending -= 1;
                None
            }
        }
    }
}

/// Does jobs until there are no more.
fn work(queue: &Mutex<Receiver<Job>>, to_reader: &Sender<Answer>) {
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { kind, segments }) = job else { return };
        let mut hasher = kind.hasher();
        for Segment { buf, span, end } in segments {
            hasher.update(&buf[span]);
            // The buffer is free for others before anything else.
            drop(buf);
            let Some(expected) = end else { continue };
            let found = hasher.finish();
            if found != expected.digest && to_reader.send(Answer::Differs(Mismatch { expected, found })).is_err() {
                return;
            }
        }
        if to_reader.send(Answer::Done).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{WINDOW, windows};
    use super::*;
    use crate::sys::pool::Pool;

    #[test]
    fn ranges_of_all_lengths_are_compared_with_their_own_digests() {
        let data: Vec<u8> = (0..9_u32 << 20).map(|at| ((at / 7) ^ (at / 4099)) as u8).collect();
        let mut starts = vec![0_u64];
        let mut at = 0;
        for length in [1, 4096, 3 << 20, 5, 700_000, 1 << 20, 100, 100, 2_500_000].into_iter().chain(vec![300; 500]) {
            at += length;
            starts.push(at);
        }
        let ranges: Vec<_> = starts.windows(2).map(|pair| ByteRange { start: pair[0], end: pair[1] }).collect();
        let pool = Pool::new(3, WINDOW as usize).unwrap();
        let mut hashers = Hashers::start(1, ChecksumKind::Sha256).unwrap();
        for round in 0..2 {
            let digest = |number: usize, bytes: ByteRange| {
                let mut hasher = ChecksumKind::Sha256.hasher();
                hasher.update(&data[bytes.start as usize..bytes.end as usize]);
                // Each seventh is to be something else.
                hasher.update(if number % 7 == round { b"x" } else { b"" });
                hasher.finish()
            };
            let mut found = Vec::new();
            let all = ranges.iter().copied().enumerate().map(|(number, bytes)| (bytes, number));
            for window in windows(all) {
                let mut buf = pool.take();
                let start = window.start() as usize;
                let span = window.span();
                buf[span.start as usize - start..span.end as usize - start]
                    .copy_from_slice(&data[span.start as usize..span.end as usize]);
                let buf = Arc::new(buf);
                for part in &window.parts {
                    let bytes = ranges[part.of];
                    let end = Expected { bytes, length: bytes.len(), blocks: None, digest: digest(part.of, bytes) };
                    hashers.feed(&buf, window.position(part.bytes), part.is_last.then_some(end));
                }
                found.extend(hashers.mismatches());
            }
            found.extend(hashers.finish());
            found.sort_by_key(|mismatch| mismatch.expected.bytes.start);
            let expected: Vec<_> = ranges.iter().skip(round).step_by(7).copied().collect();
            assert_eq!(found.iter().map(|mismatch| mismatch.expected.bytes).collect::<Vec<_>>(), expected);
        }
    }
}
