//! One target's way from the first byte to the verdict.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::boot_region::BootRegion;
use super::pipeline::{Chunk, Message, ToWriter};
use super::plan::{Plan, Step};
use super::{Cancel, Error, Failure, Summary, Verdict};
use crate::event::{Event, Observer, Outcome, Phase, TargetId};
use crate::range::ByteRange;
use crate::sink::{Kind, Sink, SinkInfo};

/// How long the writer waits for a chunk before it looks whether it shall stop.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// The longest range that is zeroed or discarded between two looks whether to stop, in bytes.
const STRIDE: u64 = 64 << 20;

/// Writes to one sink.
pub(super) struct Writer {
    pub(super) id: TargetId,
    pub(super) plan: Arc<Plan>,
    pub(super) sink: Box<dyn Sink>,
    pub(super) info: SinkInfo,
    pub(super) boot_region: BootRegion,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) cancel: Cancel,
    /// Bytes of the image that have been written, or are held back for the boot region.
    pub(super) written: u64,
}

impl Writer {
    /// Writes what comes through `chunks`, makes it durable, then bootable.
    pub(super) fn run(mut self, chunks: &Receiver<ToWriter>) -> Verdict {
        let started = Instant::now();
        let copied = self.copy(chunks);
        let outcome = if copied.is_ok() { Outcome::Complete } else { Outcome::Failed };
        let cleared = copied.as_ref().err().and_then(|_| self.boot_region.revoke(&mut *self.sink));
        let state = self.sink.finish(outcome);
        self.observer.event(Event::Target(self.id, outcome));
        match copied {
            Ok(()) => Ok(Summary { bytes: self.written, time: started.elapsed() }),
            Err(error) => Err(Failure { error, state: cleared.unwrap_or(state) }),
        }
    }

    fn copy(&mut self, chunks: &Receiver<ToWriter>) -> Result<(), Arc<Error>> {
        self.prepare()?;
        self.observer.event(Event::Phase(self.id, Phase::Copying));
        self.tell_progress();
        self.write(chunks)?;
        self.observer.event(Event::Phase(self.id, Phase::Synchronizing));
        Ok(self.boot_region.commit(&mut *self.sink, &self.cancel)?)
    }

    fn prepare(&mut self) -> Result<(), Error> {
        self.cancel.check()?;
        if self.is_device() && self.plan.image_size() == Some(0) {
            return Err(Error::Empty);
        }
        // Before the boot region is zeroed: a device that cannot discard is left as it was. A file's holes are holes already.
        if let Some(capacity) = self.info.capacity {
            for hole in Arc::clone(&self.plan).discards() {
                let within = ByteRange { start: hole.start, end: hole.end.min(capacity) };
                self.in_strides(within, |sink, bytes| Ok(sink.discard(bytes)?))?;
            }
        }
        self.sink.prepare(self.plan.image_size()).map_err(Error::Prepare)?;
        self.boot_region.clear(&mut *self.sink)
    }

    fn is_device(&self) -> bool {
        self.info.kind == Kind::BlockDevice
    }

    /// Takes the steps of the plan, until the image is complete.
    fn write(&mut self, chunks: &Receiver<ToWriter>) -> Result<(), Arc<Error>> {
        let plan = Arc::clone(&self.plan);
        for step in plan.steps() {
            match step {
                Step::Zero(range) => {
                    let rest = self.boot_region.hold_zeroes(range);
                    self.in_strides(rest, |sink, bytes| Ok(sink.zero(bytes)?))?;
                }
                Step::Write(range, _) => loop {
                    // An image of unknown size ends where its source does.
                    let Some(chunk) = self.next(chunks)? else { return self.check_not_empty() };
                    self.write_chunk(&chunk)?;
                    if chunk.bytes().end == range.end {
                        break;
                    }
                },
            }
        }
        // The source may still turn out to be incomplete.
        while self.next(chunks)?.is_some() {}
        Ok(())
    }

    fn check_not_empty(&self) -> Result<(), Arc<Error>> {
        if self.is_device() && self.written == 0 { Err(Error::Empty.into()) } else { Ok(()) }
    }

    /// The next chunk; `None` once the image is complete.
    fn next(&mut self, chunks: &Receiver<ToWriter>) -> Result<Option<Arc<Chunk>>, Arc<Error>> {
        loop {
            self.cancel.check()?;
            match chunks.recv_timeout(POLL_INTERVAL) {
                Ok(Message::Chunk(chunk)) => return Ok(Some(chunk)),
                Ok(Message::End) => return Ok(None),
                // The signal may have ended the program that the image comes from as well: then it is what stopped the copy.
                Ok(Message::Failed(error)) if self.cancel.reason().is_some() && error.is_of_source() => {
                    return Err(Error::Cancelled.into());
                }
                Ok(Message::Failed(error)) => return Err(error),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => panic!("the source's threads ended without saying how"),
            }
        }
    }

    fn write_chunk(&mut self, chunk: &Chunk) -> Result<(), Error> {
        if let Some(capacity) = self.info.capacity.filter(|&capacity| capacity < chunk.bytes().end) {
            return Err(Error::Full { capacity });
        }
        for part in self.plan.parts(chunk.bytes()) {
            let start = (part.start - chunk.offset) as usize;
            let data = &chunk.data()[start..start + part.len() as usize];
            let (rest, offset) = self.boot_region.hold(data, part.start);
            if !rest.is_empty() {
                self.sink.write_at(rest, offset)?;
            }
            self.written += part.len();
        }
        self.tell_progress();
        Ok(())
    }

    fn tell_progress(&self) {
        let (target, done, total) = (self.id, self.written, self.plan.total());
        self.observer.event(Event::Progress { target, done, total });
    }

    fn in_strides(
        &mut self,
        range: ByteRange,
        mut work: impl FnMut(&mut dyn Sink, ByteRange) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut start = range.start;
        while start < range.end {
            self.cancel.check()?;
            let end = range.end.min(start.saturating_add(STRIDE));
            work(&mut *self.sink, ByteRange { start, end })?;
            start = end;
        }
        Ok(())
    }
}
