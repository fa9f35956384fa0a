//! What the target holds, read ahead of what is to be written, so that only what differs is.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};

use super::cancel::Cancel;
use super::error::Error;
use super::pass::strides;
use super::plan::Plan;
use super::writer::POLL_INTERVAL;
use crate::hashing::{WINDOW, windows};
use crate::range::ByteRange;
use crate::sink::{ReadPath, TargetReader};
use crate::sys::memory;
use crate::sys::pool::{Pool, PooledBuf};
use crate::sys::threads;

/// How many buffers there are, for all sinks together; each has one at least.
const BUFFERS: usize = 16;

/// The unit that is written if any byte of it differs, in bytes: about what flash memory takes at once.
const UNIT: u64 = 64 << 10;

/// The buffers in which one of `sinks` targets is looked at: which ranges it holds, then what differs, then what is read
/// back.
pub(super) fn buffers(sinks: usize) -> Result<Pool, Error> {
    Pool::new((memory::buffers(BUFFERS) / sinks).max(1), WINDOW as usize).map_err(Error::Memory)
}

/// What a target holds where a plan writes, in the order of the plan.
pub(super) struct Held {
    pool: Pool,
    begin: SyncSender<(Arc<Plan>, TargetReader)>,
    windows: Receiver<HeldWindow>,
    /// The last one that was received.
    current: Option<HeldWindow>,
    /// How the target is read, once that has begun.
    path: Option<ReadPath>,
}

/// What lies between two multiples of [`WINDOW`].
struct HeldWindow {
    index: u64,
    buf: PooledBuf,
    /// What of it has been read: nothing if the target failed there.
    bytes: ByteRange,
}

impl Held {
    /// Takes a thread that reads a target into buffers of `pool`. Nothing is read before [`Self::begin`].
    pub(super) fn start(pool: Pool) -> Result<Self, Error> {
        let (begin, begun) = sync_channel::<(Arc<Plan>, _)>(1);
        let (sender, windows) = sync_channel(BUFFERS);
        let buffers = pool.clone();
        let read = move || {
            if let Ok((plan, reader)) = begun.recv() {
                read(&plan, reader, &buffers, &sender);
            }
        };
        threads::start("comparer", read).map_err(Error::Thread)?;
        Ok(Self { pool, begin, windows, current: None, path: None })
    }

    /// Begins to read where `plan` writes.
    pub(super) fn begin(&mut self, plan: Arc<Plan>, reader: TargetReader) {
        self.path = Some(reader.path);
        let _ = self.begin.send((plan, reader)); // a thread that has panicked reads nothing: all differs
    }

    /// Ends the reading; returns how the target was read, if it was, and a buffer that is free then.
    pub(super) fn end(self) -> (Option<ReadPath>, PooledBuf) {
        let (path, pool) = (self.path, self.pool.clone());
        drop(self);
        (path, pool.take())
    }

    /// What of `data`, which belongs at `offset` in one window and not before what was compared earlier, the target
    /// does not hold.
    pub(super) fn differences(&mut self, data: &[u8], offset: u64, cancel: &Cancel) -> Result<Vec<ByteRange>, Error> {
        let bytes = ByteRange { start: offset, end: offset + data.len() as u64 };
        self.advance_to(offset / WINDOW, cancel)?;
        let mut differences: Vec<ByteRange> = Vec::new();
        for unit in strides(bytes, UNIT) {
            let wanted = &data[(unit.start - offset) as usize..(unit.end - offset) as usize];
            if self.current.as_ref().is_some_and(|window| window.holds(wanted, unit)) {
                continue;
            }
            match differences.last_mut().filter(|last| last.end == unit.start) {
                Some(last) => last.end = unit.end,
                None => differences.push(unit),
            }
        }
        Ok(differences)
    }

    fn advance_to(&mut self, index: u64, cancel: &Cancel) -> Result<(), Error> {
        while self.current.as_ref().is_none_or(|window| window.index < index) {
            self.current = None; // its buffer is needed
            match self.windows.recv_timeout(POLL_INTERVAL) {
                Ok(window) => self.current = Some(window),
                Err(RecvTimeoutError::Timeout) => cancel.check_waiting()?,
                // The target ends before it.
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        Ok(())
    }
}

impl HeldWindow {
    fn holds(&self, data: &[u8], bytes: ByteRange) -> bool {
        let start = self.index * WINDOW;
        let is_read =
            self.index == bytes.start / WINDOW && self.bytes.start <= bytes.start && bytes.end <= self.bytes.end;
        is_read && self.buf[(bytes.start - start) as usize..(bytes.end - start) as usize] == *data
    }
}

/// Reads where `plan` writes or zeroes, up to the end of the target. What cannot be read must be written: a disk may
/// replace a sector that is.
fn read(plan: &Plan, mut reader: TargetReader, pool: &Pool, windows_read: &SyncSender<HeldWindow>) {
    let end = reader.length;
    let steps = plan.steps().map(|step| step.bytes()).map(|bytes| ByteRange { end: bytes.end.min(end), ..bytes });
    let steps = steps.filter(|bytes| !bytes.is_empty()).map(|bytes| (bytes, ()));
    for window in windows(steps) {
        let (mut buf, mut bytes) = (pool.take(), window.span());
        if let Err(error) = (reader.read_at)(&mut buf[window.position(bytes)], bytes.start) {
            log::debug!("cannot compare what is at byte {}: {}", error.offset, error.source);
            bytes.end = bytes.start;
        }
        if windows_read.send(HeldWindow { index: window.index, buf, bytes }).is_err() {
            return;
        }
    }
}
