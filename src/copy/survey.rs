//! Which ranges of the map the targets hold already: those need not even be fetched.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread;

use super::cancel::Cancel;
use super::error::Error;
use super::plan::{Checksum, Plan, Step};
use crate::digest::ChecksumKind;
use crate::event::{Event, Observer, Phase, TargetId};
use crate::hashing::{Expected, Hashers, Part, WINDOW, windows};
use crate::range::ByteRange;
use crate::sink::Sink;
use crate::sys::memory;
use crate::sys::pool::Pool;

/// Longer ranges are not hashed first, in bytes: where a little of one differs, all of it would be read twice.
const LONGEST: u64 = 64 << 20;

/// How many buffers there are, for all sinks together; each has two at least.
const BUFFERS: usize = 16;

/// A range and what it must hash to.
type Candidate<'a> = (ByteRange, Checksum<'a>);

/// The ranges of `plan`, in order, that each of `sinks` holds. Nothing is written.
pub(super) fn right_ranges(
    plan: &Plan,
    sinks: &mut [Box<dyn Sink>],
    cancel: &Cancel,
    observer: &dyn Observer,
) -> Result<Vec<ByteRange>, Error> {
    let Some(kind) = plan.checksum_kind() else { return Ok(Vec::new()) };
    let candidates = || {
        plan.steps().filter_map(|step| match step {
            Step::Write(bytes, Some(checksum)) if bytes.len() <= LONGEST => Some((bytes, checksum)),
            _ => None,
        })
    };
    let total = candidates().map(|(bytes, _)| bytes.len()).sum();
    let count = sinks.len();
    let wrong = thread::scope(|scope| {
        let threads: Vec<_> = sinks
            .iter_mut()
            .enumerate()
            .map(|(index, sink)| {
                let survey = Survey { kind, target: TargetId(index), total, cancel, observer };
                let run = move || survey.run(candidates(), &mut **sink, count);
                thread::Builder::new().name("survey".to_owned()).spawn_scoped(scope, run).map_err(Error::Thread)
            })
            .collect();
        let mut wrong = BTreeSet::new();
        for thread in threads {
            wrong.extend(thread?.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        Ok::<_, Error>(wrong)
    })?;
    Ok(candidates().map(|(bytes, _)| bytes).filter(|bytes| !wrong.contains(&bytes.start)).collect())
}

/// How one target is looked at.
struct Survey<'a> {
    kind: ChecksumKind,
    target: TargetId,
    /// How many bytes are hashed.
    total: u64,
    cancel: &'a Cancel,
    observer: &'a dyn Observer,
}

impl Survey<'_> {
    /// The starts of those of `candidates` that `sink` does not hold.
    fn run<'a>(
        &self,
        candidates: impl Iterator<Item = Candidate<'a>>,
        sink: &mut dyn Sink,
        sinks: usize,
    ) -> Result<BTreeSet<u64>, Error> {
        let pool = Pool::new((memory::buffers(BUFFERS) / sinks).max(2), WINDOW as usize).map_err(Error::Memory)?;
        let mut hashers = Hashers::start(sinks, self.kind).map_err(Error::Thread)?;
        let mut wrong = BTreeSet::new();
        self.observer.event(Event::Phase(self.target, Phase::Comparing));
        let mut done = 0;
        self.tell(done);
        for window in windows(candidates.map(|candidate| (candidate.0, candidate))) {
            self.cancel.check()?;
            let mut buf = pool.take();
            let span = window.span();
            let is_read = sink.read_at(&mut buf[window.position(span)], span.start).is_ok();
            let buf = Arc::new(buf);
            for part in &window.parts {
                let (range, _) = part.of;
                if !is_read || !sink.is_stored(part.bytes) {
                    wrong.insert(range.start);
                }
                // What is known to be wrong need not be hashed, but a range that was begun must be ended.
                let position = if wrong.contains(&range.start) { 0..0 } else { window.position(part.bytes) };
                hashers.feed(&buf, position, expected(part));
                done += part.bytes.len();
            }
            wrong.extend(hashers.mismatches().into_iter().map(|mismatch| mismatch.expected.bytes.start));
            self.tell(done);
        }
        wrong.extend(hashers.finish().into_iter().map(|mismatch| mismatch.expected.bytes.start));
        Ok(wrong)
    }

    fn tell(&self, done: u64) {
        self.observer.event(Event::Progress { target: self.target, done, total: Some(self.total) });
    }
}

fn expected(part: &Part<Candidate<'_>>) -> Option<Expected> {
    let (bytes, checksum) = part.of;
    let expected =
        Expected { bytes, length: bytes.len(), blocks: Some(checksum.blocks), digest: checksum.digest.into() };
    Some(expected).filter(|_| part.is_last)
}
