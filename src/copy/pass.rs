//! One pass over the image: what comes of it is written.

use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;

use super::cancel::take_signals;
use super::error::Error;
use super::fingerprints::Fingerprints;
use super::pipeline::{Chunk, ToWriter};
use super::plan::{Plan, Step};
use super::queue::Incoming;
use super::writer::{POLL_INTERVAL, Writer};
use crate::event::{Event, Phase};
use crate::hashing::WINDOW;
use crate::range::ByteRange;
use crate::sink::ReadPath;

/// How many bytes are zeroed between two looks whether to stop: a device may write as many zeroes.
const ZERO_STRIDE: u64 = 4 << 20;

impl Writer {
    /// Takes the steps of `plan`, until the image is complete, and writes what `own` has of it: in a further pass, other
    /// targets may need more of the image.
    pub(super) fn write(&mut self, plan: &Plan, own: &Plan, chunks: Incoming) -> Result<Written, Arc<Error>> {
        self.observer.event(Event::Phase(self.id, Phase::Copying));
        let (mut amount, total) = (Amount::default(), own.work());
        self.tell_progress(&amount, total);
        for step in plan.steps() {
            match step {
                Step::Zero(range) => {
                    own.parts(range).into_iter().try_for_each(|part| self.zero(part, &mut amount, total))?;
                }
                Step::Write(range, _) => loop {
                    let chunk = match self.next(&chunks)? {
                        Next::Chunk(chunk) => chunk,
                        Next::End(fingerprints) => {
                            assert!(plan.image_size().is_none(), "the chunks ended before the plan");
                            self.check_not_empty(amount.bytes)?;
                            return Ok(Written { amount, fingerprints });
                        }
                    };
                    self.write_chunk(&chunk, own, &mut amount)?;
                    self.tell_progress(&amount, total);
                    if chunk.bytes().end == range.end {
                        break;
                    }
                },
            }
        }
        // The source may still turn out to be incomplete.
        let Next::End(fingerprints) = self.next(&chunks)? else { panic!("there are chunks after the plan") };
        let Amount { bytes, .. } = amount;
        assert!(own.total().is_none_or(|total| total == bytes), "{bytes} bytes, the plan has {:?}", own.total());
        Ok(Written { amount, fingerprints })
    }

    /// An image of unknown size ends where its source does, but a device gets none without a byte.
    fn check_not_empty(&self, written: u64) -> Result<(), Error> {
        if self.is_device() && written == 0 { Err(Error::Empty) } else { Ok(()) }
    }

    /// The next chunk, or the end once the image is complete.
    fn next(&mut self, chunks: &Incoming) -> Result<Next, Arc<Error>> {
        self.pulse.waits_for_chunk();
        let next = self.wait_for_next(chunks);
        self.pulse.beat()?;
        next
    }

    fn wait_for_next(&self, chunks: &Incoming) -> Result<Next, Arc<Error>> {
        loop {
            self.cancel.check_waiting()?;
            let message = chunks.recv_timeout(POLL_INTERVAL);
            if matches!(message, Ok(ToWriter::End(_) | ToWriter::Failed(_))) {
                // A signal may have ended the program that the image comes from as well: then it is what stopped the
                // copy.
                take_signals();
            }
            match message {
                Ok(ToWriter::Chunk(chunk)) => return Ok(Next::Chunk(chunk)),
                Ok(ToWriter::End(fingerprints)) => return Ok(Next::End(fingerprints)),
                Ok(ToWriter::Failed(error)) if self.cancel.reason().is_some() && error.is_of_source() => {
                    return Err(Error::Cancelled.into());
                }
                Ok(ToWriter::Failed(error)) => return Err(error),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(Error::NoResult.into()),
            }
        }
    }

    /// Writes what `plan` writes of a chunk, and adds it to `amount`.
    fn write_chunk(&mut self, chunk: &Chunk, plan: &Plan, amount: &mut Amount) -> Result<(), Error> {
        if let Some(capacity) = self.info.capacity.filter(|&capacity| capacity < chunk.bytes().end) {
            return Err(Error::Full { capacity });
        }
        for part in plan.parts(chunk.bytes()) {
            let start = (part.start - chunk.offset) as usize;
            let data = &chunk.data()[start..start + part.len() as usize];
            let (rest, offset) = self.boot_region.hold(data, part.start);
            amount.bytes += part.len();
            amount.held_back += part.len() - rest.len() as u64;
            for different in self.differences(rest, offset)? {
                self.begin()?;
                let start = (different.start - offset) as usize;
                self.sink.write_at(&rest[start..start + different.len() as usize], different.start)?;
                self.pulse.beat()?;
                amount.written += different.len();
            }
        }
        Ok(())
    }

    /// What of `data`, which belongs at `offset`, must be written.
    fn differences(&mut self, data: &[u8], offset: u64) -> Result<Vec<ByteRange>, Error> {
        let bytes = ByteRange { start: offset, end: offset + data.len() as u64 };
        match &mut self.held {
            _ if bytes.is_empty() => Ok(Vec::new()),
            Some(held) if self.sink.is_stored(bytes) => held.differences(data, offset, &self.cancel),
            _ => Ok(vec![bytes]),
        }
    }

    /// Zeroes `range`, and tells how far that is.
    fn zero(&mut self, range: ByteRange, amount: &mut Amount, total: Option<u64>) -> Result<(), Error> {
        let (rest, zeroed) = self.boot_region.hold_zeroes(range);
        amount.zeroed += zeroed;
        amount.zeroes += range.len() - rest.len();
        let is_compared = self.held.is_some() && self.is_device();
        for bytes in strides(rest, if is_compared { WINDOW } else { ZERO_STRIDE }) {
            self.cancel.check()?;
            let differences = match &mut self.held {
                Some(held) if is_compared => {
                    let zeroes = &self.boot_region.zeroes()[..bytes.len() as usize];
                    held.differences(zeroes, bytes.start, &self.cancel)?
                }
                // A file whose holes are holes already stays as it is.
                Some(_) if self.sink.is_hole(bytes) => Vec::new(),
                _ => vec![bytes],
            };
            for different in differences {
                self.begin()?;
                amount.zeroed += self.sink.zero(different)?;
            }
            amount.zeroes += bytes.len();
            self.tell_progress(amount, total);
        }
        Ok(())
    }

    fn tell_progress(&self, amount: &Amount, total: Option<u64>) {
        self.observer.event(Event::Progress { target: self.id, done: amount.bytes + amount.zeroes, total });
    }
}

/// What has been written, or is held back for the boot region.
pub(super) struct Written {
    pub(super) amount: Amount,
    /// Their fingerprints, where these are kept.
    pub(super) fingerprints: Option<Arc<Fingerprints>>,
}

/// How many bytes of the image have come, and what became of them.
#[derive(Clone, Copy, Default)]
pub(super) struct Amount {
    pub(super) bytes: u64,
    /// How many of them have been written; the target held the others already, or they are held back.
    pub(super) written: u64,
    /// How many are held back for the boot region.
    pub(super) held_back: u64,
    /// How many bytes besides these have become zeroes, or were.
    pub(super) zeroes: u64,
    /// How many of them were not known to be zero.
    pub(super) zeroed: u64,
    /// How many bytes were discarded.
    pub(super) discarded: u64,
    /// How all of it was read back, if it was.
    pub(super) read_back: Option<ReadPath>,
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
