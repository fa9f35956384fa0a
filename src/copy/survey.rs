//! Which ranges of the map a target holds already: what all targets hold need not even be fetched.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::boot_region::BootRegion;
use super::cancel::Cancel;
use super::error::Error;
use super::plan::{Checksum, Plan, Step};
use crate::event::{Event, Observer, Phase, TargetId};
use crate::hashing::{Expected, Hashers, Part, windows};
use crate::range::ByteRange;
use crate::sink::Sink;
use crate::sys::pool::Pool;

/// Longer ranges are not hashed first, in bytes: where a little of one differs, all of it would be read twice.
const LONGEST: u64 = 64 << 20;

/// A range and what it must hash to.
type Candidate<'a> = (ByteRange, Checksum<'a>);

/// How one of `sinks` targets is looked at, in buffers of `pool`.
pub(super) struct Survey {
    pub(super) target: TargetId,
    pub(super) sinks: usize,
    pub(super) pool: Pool,
}

impl Survey {
    /// The ranges of `plan`, in order, that `sink` holds. What is there of its boot region has been read; it is not read
    /// again, as what is left out must be what is written there later.
    pub(super) fn right_ranges(
        &self,
        plan: &Plan,
        sink: &mut dyn Sink,
        boot_region: &BootRegion,
        cancel: &Cancel,
        observer: &dyn Observer,
    ) -> Result<Vec<ByteRange>, Error> {
        let Some(kind) = plan.checksum_kind() else { return Ok(Vec::new()) };
        let mut hashers = Hashers::start(self.sinks, kind).map_err(Error::Thread)?;
        let mut wrong = BTreeSet::new();
        let total = Some(candidates(plan).map(|(bytes, _)| bytes.len()).sum());
        let tell = |done| observer.event(Event::Progress { target: self.target, done, total });
        observer.event(Event::Phase(self.target, Phase::Comparing));
        let mut done = 0;
        tell(done);
        for window in windows(candidates(plan).map(|candidate| (candidate.0, candidate))) {
            cancel.check()?;
            let mut buf = self.pool.take();
            let span = window.span();
            let is_read = boot_region.fill_held(sink, &mut buf[window.position(span)], span).is_ok();
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
            tell(done);
        }
        wrong.extend(hashers.finish().into_iter().map(|mismatch| mismatch.expected.bytes.start));
        Ok(candidates(plan).map(|(bytes, _)| bytes).filter(|bytes| !wrong.contains(&bytes.start)).collect())
    }
}

fn candidates(plan: &Plan) -> impl Iterator<Item = Candidate<'_>> {
    plan.steps().filter_map(|step| match step {
        Step::Write(bytes, Some(checksum)) if bytes.len() <= LONGEST => Some((bytes, checksum)),
        _ => None,
    })
}

fn expected(part: &Part<Candidate<'_>>) -> Option<Expected> {
    let (bytes, checksum) = part.of;
    let expected =
        Expected { bytes, length: bytes.len(), blocks: Some(checksum.blocks), digest: checksum.digest.into() };
    Some(expected).filter(|_| part.is_last)
}
