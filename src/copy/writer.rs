//! One target's way from the first byte to the verdict.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::boot_region::BootRegion;
use super::cancel::Cancel;
use super::capacity;
use super::damage::Extent;
use super::discarded;
use super::error::Error;
use super::fingerprints::Fingerprints;
use super::pipeline::{Chunk, Message, ToWriter};
use super::plan::{Plan, Step};
use super::read_back::{MediumCheck, Wrong};
use super::retry::{Asking, RETRIES, Wanted};
use super::verdict::{Failure, Summary, Verdict};
use crate::event::{Event, Observer, Outcome, Phase, TargetId};
use crate::range::ByteRange;
use crate::sink::{Kind, Sink, SinkInfo};

/// How long the writer waits for a chunk before it looks whether it shall stop.
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// How many bytes are zeroed between two looks whether to stop: a device may write as many zeroes.
const ZERO_STRIDE: u64 = 4 << 20;

/// Writes to one sink.
pub(super) struct Writer {
    pub(super) id: TargetId,
    pub(super) plan: Arc<Plan>,
    pub(super) sink: Box<dyn Sink>,
    pub(super) info: SinkInfo,
    pub(super) boot_region: BootRegion,
    /// Where what was written is read back.
    pub(super) read_back: Option<MediumCheck>,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) cancel: Cancel,
}

impl Writer {
    /// Writes what comes through `chunks`, makes it durable, then bootable. What is read back wrong is asked for again.
    pub(super) fn run(mut self, chunks: Receiver<ToWriter>, asking: Asking) -> Verdict {
        let started = Instant::now();
        let copied = self.copy(chunks, asking);
        if copied.is_ok() {
            discarded::tell_contents(&self.plan, &mut *self.sink, self.id, &*self.observer);
        }
        let outcome = if copied.is_ok() { Outcome::Complete } else { Outcome::Failed };
        let cleared = copied.as_ref().err().and_then(|_| self.boot_region.revoke(&mut *self.sink));
        let state = self.sink.finish(outcome);
        self.observer.event(Event::Target(self.id, outcome));
        match copied {
            Ok(bytes) => Ok(Summary { bytes, time: started.elapsed() }),
            Err(error) => Err(Failure { error, state: cleared.unwrap_or(state) }),
        }
    }

    /// Returns how many bytes of the image have been written.
    fn copy(&mut self, chunks: Receiver<ToWriter>, asking: Asking) -> Result<u64, Arc<Error>> {
        self.prepare()?;
        let plan = Arc::clone(&self.plan);
        let Written { bytes, fingerprints } = self.write(&plan, &plan, chunks)?;
        self.sync()?;
        let Some((mut read_back, fingerprints)) = self.read_back.take().zip(fingerprints) else {
            self.boot_region.commit(&mut *self.sink, &self.cancel)?;
            return Ok(bytes);
        };
        // The size is known in any case now.
        let plan = Plan::clone(&plan).of_size(Some(bytes));
        self.verify(&plan, &mut read_back, &fingerprints, asking)?;
        self.commit_verified(&read_back)?;
        self.observer.event(Event::ReadBack { target: self.id, bytes, path: self.sink.read_path() });
        Ok(bytes)
    }

    /// Reads back what `plan` has written, until all of it is right. It is always all: on a device that wraps around,
    /// what is written again overwrites something else.
    fn verify(
        &mut self,
        plan: &Plan,
        read_back: &mut MediumCheck,
        written: &Arc<Fingerprints>,
        asking: Asking,
    ) -> Result<(), Arc<Error>> {
        while let Some(Wrong { damage, again }) = self.check(plan, read_back, written)? {
            if damage.extent == Extent::Part {
                return Err(Error::Medium(damage).into());
            }
            let again = plan.only(again);
            let wanted = Wanted { plan: again.clone(), written: Arc::clone(written) };
            let Some(pass) = asking.ask(wanted, &self.cancel)? else { return Err(Error::Medium(damage).into()) };
            self.observer.event(Event::Retry { target: self.id, bytes: damage.bytes });
            self.write(&pass.plan, &again, pass.chunks)?;
            self.sync()?;
        }
        Ok(())
    }

    fn check(
        &mut self,
        plan: &Plan,
        read_back: &mut MediumCheck,
        written: &Fingerprints,
    ) -> Result<Option<Wrong>, Error> {
        let (target, observer) = (self.id, &self.observer);
        observer.event(Event::Phase(target, Phase::Verifying));
        let total = Some(plan.steps().map(|step| step.bytes().len()).sum());
        let progress = |done| observer.event(Event::Progress { target, done, total });
        progress(0);
        read_back.check(plan, written, &mut *self.sink, &self.boot_region, &self.cancel, progress)
    }

    /// Writes the boot region until it is read back right. It is in memory, so that no source is needed.
    fn commit_verified(&mut self, read_back: &MediumCheck) -> Result<(), Error> {
        for attempt in 0.. {
            self.boot_region.commit(&mut *self.sink, &self.cancel)?;
            match read_back.check_boot_region(&mut *self.sink, &self.boot_region)? {
                None => break,
                Some(damage) if attempt == RETRIES => return Err(Error::Medium(damage)),
                Some(damage) => self.observer.event(Event::Retry { target: self.id, bytes: damage.bytes }),
            }
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Error> {
        self.observer.event(Event::Phase(self.id, Phase::Synchronizing));
        self.cancel.check()?;
        self.sink.sync().map_err(Error::Sync)
    }

    fn prepare(&mut self) -> Result<(), Error> {
        self.cancel.check()?;
        if self.is_device() && self.plan.image_size() == Some(0) {
            return Err(Error::Empty);
        }
        if self.read_back.is_some() {
            capacity::check(&mut *self.sink, &self.cancel)?;
        }
        // Before the boot region is zeroed: a device that cannot discard is left as it was.
        let boot_region = &mut self.boot_region;
        discarded::discard(&self.plan, &mut *self.sink, &self.cancel, || boot_region.rest_changed())?;
        self.sink.prepare(self.plan.image_size()).map_err(Error::Prepare)?;
        self.boot_region.clear(&mut *self.sink)
    }

    fn is_device(&self) -> bool {
        self.info.kind == Kind::BlockDevice
    }

    /// Takes the steps of `plan`, until the image is complete, and writes what `own` has of it: in a further pass, other
    /// targets may need more of the image.
    pub(super) fn write(&mut self, plan: &Plan, own: &Plan, chunks: Receiver<ToWriter>) -> Result<Written, Arc<Error>> {
        self.observer.event(Event::Phase(self.id, Phase::Copying));
        let mut bytes = 0;
        self.tell_progress(bytes, own);
        for step in plan.steps() {
            match step {
                Step::Zero(range) => own.parts(range).into_iter().try_for_each(|part| self.zero(part))?,
                Step::Write(range, _) => loop {
                    let chunk = match self.next(&chunks)? {
                        Next::Chunk(chunk) => chunk,
                        Next::End(fingerprints) => {
                            assert!(plan.image_size().is_none(), "the chunks ended before the plan");
                            self.check_not_empty(bytes)?;
                            return Ok(Written { bytes, fingerprints });
                        }
                    };
                    bytes += self.write_chunk(&chunk, own)?;
                    self.tell_progress(bytes, own);
                    if chunk.bytes().end == range.end {
                        break;
                    }
                },
            }
        }
        // The source may still turn out to be incomplete.
        let Next::End(fingerprints) = self.next(&chunks)? else { panic!("there are chunks after the plan") };
        assert!(own.total().is_none_or(|total| total == bytes), "{bytes} bytes, the plan has {:?}", own.total());
        Ok(Written { bytes, fingerprints })
    }

    /// An image of unknown size ends where its source does, but a device gets none without a byte.
    fn check_not_empty(&self, written: u64) -> Result<(), Error> {
        if self.is_device() && written == 0 { Err(Error::Empty) } else { Ok(()) }
    }

    /// The next chunk, or the end once the image is complete.
    fn next(&mut self, chunks: &Receiver<ToWriter>) -> Result<Next, Arc<Error>> {
        loop {
            self.cancel.check()?;
            match chunks.recv_timeout(POLL_INTERVAL) {
                Ok(Message::Chunk(chunk)) => return Ok(Next::Chunk(chunk)),
                Ok(Message::End(fingerprints)) => return Ok(Next::End(fingerprints)),
                // The signal may have ended the program that the image comes from as well: then it is what stopped the
                // copy.
                Ok(Message::Failed(error)) if self.cancel.reason().is_some() && error.is_of_source() => {
                    return Err(Error::Cancelled.into());
                }
                Ok(Message::Failed(error)) => return Err(error),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(Error::NoResult.into()),
            }
        }
    }

    /// Writes what `plan` writes of a chunk; returns how many bytes that are.
    fn write_chunk(&mut self, chunk: &Chunk, plan: &Plan) -> Result<u64, Error> {
        if let Some(capacity) = self.info.capacity.filter(|&capacity| capacity < chunk.bytes().end) {
            return Err(Error::Full { capacity });
        }
        let mut written = 0;
        for part in plan.parts(chunk.bytes()) {
            let start = (part.start - chunk.offset) as usize;
            let data = &chunk.data()[start..start + part.len() as usize];
            let (rest, offset) = self.boot_region.hold(data, part.start);
            if !rest.is_empty() {
                self.sink.write_at(rest, offset)?;
            }
            written += part.len();
        }
        Ok(written)
    }

    fn zero(&mut self, range: ByteRange) -> Result<(), Error> {
        for bytes in strides(self.boot_region.hold_zeroes(range), ZERO_STRIDE) {
            self.cancel.check()?;
            self.sink.zero(bytes)?;
        }
        Ok(())
    }

    fn tell_progress(&self, done: u64, plan: &Plan) {
        self.observer.event(Event::Progress { target: self.id, done, total: plan.total() });
    }
}

/// What has been written, or is held back for the boot region.
pub(super) struct Written {
    /// How many bytes of the image.
    pub(super) bytes: u64,
    /// Their fingerprints, where these are kept.
    pub(super) fingerprints: Option<Arc<Fingerprints>>,
}

/// What comes from the source.
enum Next {
    Chunk(Arc<Chunk>),
    End(Option<Arc<Fingerprints>>),
}

/// `range`, cut at multiples of `stride`.
pub(super) fn strides(range: ByteRange, stride: u64) -> impl Iterator<Item = ByteRange> {
    let mut start = range.start;
    std::iter::from_fn(move || {
        let end = range.end.min((start / stride + 1).saturating_mul(stride));
        (start < range.end).then(|| ByteRange { start: std::mem::replace(&mut start, end), end })
    })
}
