//! One target's way from the first byte to the verdict.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::boot_region::BootRegion;
use super::cancel::Cancel;
use super::error::Error;
use super::pipeline::{Chunk, Message, ToWriter};
use super::plan::{Plan, Step};
use super::verdict::{Failure, Summary, Verdict};
use crate::event::{Event, Observer, Outcome, Phase, TargetId};
use crate::range::ByteRange;
use crate::sink::{Kind, Sink, SinkInfo};

/// How long the writer waits for a chunk before it looks whether it shall stop.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// How many bytes are zeroed between two looks whether to stop: a device may write as many zeroes.
const ZERO_STRIDE: u64 = 4 << 20;

/// How many bytes are discarded between two looks whether to stop.
const DISCARD_STRIDE: u64 = 256 << 20;

/// Writes to one sink.
pub(super) struct Writer {
    pub(super) id: TargetId,
    pub(super) plan: Arc<Plan>,
    pub(super) sink: Box<dyn Sink>,
    pub(super) info: SinkInfo,
    pub(super) boot_region: BootRegion,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) cancel: Cancel,
}

impl Writer {
    /// Writes what comes through `chunks`, makes it durable, then bootable.
    pub(super) fn run(mut self, chunks: Receiver<ToWriter>) -> Verdict {
        let started = Instant::now();
        let copied = self.copy(&chunks);
        // Other writers wait for the chunks that are left in there.
        drop(chunks);
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
    fn copy(&mut self, chunks: &Receiver<ToWriter>) -> Result<u64, Arc<Error>> {
        self.prepare()?;
        self.observer.event(Event::Phase(self.id, Phase::Copying));
        let written = self.write(&Arc::clone(&self.plan), chunks)?;
        self.observer.event(Event::Phase(self.id, Phase::Synchronizing));
        self.boot_region.commit(&mut *self.sink, &self.cancel)?;
        Ok(written)
    }

    fn prepare(&mut self) -> Result<(), Error> {
        self.cancel.check()?;
        if self.is_device() && self.plan.image_size() == Some(0) {
            return Err(Error::Empty);
        }
        // Before the boot region is zeroed: a device that cannot discard is left as it was. A file's holes are holes
        // already.
        if let Some(capacity) = self.info.capacity {
            for hole in Arc::clone(&self.plan).discards() {
                for bytes in strides(ByteRange { start: hole.start, end: hole.end.min(capacity) }, DISCARD_STRIDE) {
                    self.cancel.check()?;
                    self.sink.discard(bytes)?;
                    self.boot_region.rest_changed();
                }
            }
        }
        self.sink.prepare(self.plan.image_size()).map_err(Error::Prepare)?;
        self.boot_region.clear(&mut *self.sink)
    }

    fn is_device(&self) -> bool {
        self.info.kind == Kind::BlockDevice
    }

    /// Takes the steps of `plan`, until the image is complete; returns how many bytes of it have been written, or are
    /// held back for the boot region.
    pub(super) fn write(&mut self, plan: &Plan, chunks: &Receiver<ToWriter>) -> Result<u64, Arc<Error>> {
        let mut written = 0;
        self.tell_progress(written, plan);
        for step in plan.steps() {
            match step {
                Step::Zero(range) => self.zero(range)?,
                Step::Write(range, _) => loop {
                    let Some(chunk) = self.next(chunks)? else {
                        assert!(plan.image_size().is_none(), "the chunks ended before the plan");
                        return self.check_not_empty(written);
                    };
                    written += self.write_chunk(&chunk, plan)?;
                    self.tell_progress(written, plan);
                    if chunk.bytes().end == range.end {
                        break;
                    }
                },
            }
        }
        // The source may still turn out to be incomplete.
        assert!(self.next(chunks)?.is_none(), "there are chunks after the plan");
        assert!(plan.total().is_none_or(|total| total == written), "{written} bytes, the plan has {:?}", plan.total());
        Ok(written)
    }

    /// An image of unknown size ends where its source does, but a device gets none without a byte.
    fn check_not_empty(&self, written: u64) -> Result<u64, Arc<Error>> {
        if self.is_device() && written == 0 { Err(Error::Empty.into()) } else { Ok(written) }
    }

    /// The next chunk; `None` once the image is complete.
    fn next(&mut self, chunks: &Receiver<ToWriter>) -> Result<Option<Arc<Chunk>>, Arc<Error>> {
        loop {
            self.cancel.check()?;
            match chunks.recv_timeout(POLL_INTERVAL) {
                Ok(Message::Chunk(chunk)) => return Ok(Some(chunk)),
                Ok(Message::End) => return Ok(None),
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

/// `range`, cut at multiples of `stride`.
fn strides(range: ByteRange, stride: u64) -> impl Iterator<Item = ByteRange> {
    let mut start = range.start;
    std::iter::from_fn(move || {
        let end = range.end.min((start / stride + 1).saturating_mul(stride));
        (start < range.end).then(|| ByteRange { start: std::mem::replace(&mut start, end), end })
    })
}
