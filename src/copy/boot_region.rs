//! The boot region of a device, held back.
//!
//! It is zeroed before anything else is written, and written after all the rest is verified and durable. A flash that
//! is interrupted in between leaves nothing that looks like a disk. The backup of a GPT that is relocated is held back with
//! it, and written just before it.

use std::io;
use std::sync::Arc;

use super::WritePolicy;
use super::cancel::Cancel;
use super::error::Error;
use super::pace::{Holds, Pulse};
use super::plan::Plan;
use super::relocation::Relocation;
use crate::event::{Notice, Observer, TargetId};
use crate::hashing::WINDOW;
use crate::range::ByteRange;
use crate::sink::{BOOT_REGION, ReadError, Sink, TargetState};
use crate::sys::aligned::AlignedBuf;

/// The bytes at the start of a target that are written last.
pub(super) struct BootRegion {
    /// What is going to be there: what the target held where the image has nothing, and the image.
    contents: AlignedBuf,
    /// At least as many, for all targets, and there from the start: when they are needed, there may be no memory left.
    zeroes: Arc<AlignedBuf>,
    /// What of the region was found not to be zero, in whole sectors.
    not_zero: ByteRange,
    /// How much of it is written once it is zero: with [`WritePolicy::Changed`] what is going to be something else.
    write: WritePolicy,
    /// Is told what the target holds, as far as the region decides that.
    pulse: Pulse,
    /// Where the GPT is relocated.
    relocation: Option<Relocation>,
}

// What is written last is read back into the buffer of a window, and the zeroes of the region are compared with windows.
const _: () = assert!(BOOT_REGION == WINDOW);

/// A multiple of the logical sectors that devices have, in bytes.
const SECTOR: usize = 4096;

/// What is written last, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Last {
    /// The backup of a relocated GPT.
    BackupGpt,
    BootRegion,
}

impl BootRegion {
    /// Takes memory for a region of so many bytes, at most as many as there are `zeroes`.
    pub(super) fn new(
        length: u64,
        zeroes: &Arc<AlignedBuf>,
        relocation: Option<Relocation>,
        pulse: Pulse,
    ) -> Result<Self, Error> {
        let contents = AlignedBuf::zeroed(length as usize).map_err(Error::Memory)?;
        let (zeroes, not_zero) = (Arc::clone(zeroes), ByteRange { start: 0, end: length });
        Ok(Self { contents, zeroes, not_zero, write: WritePolicy::All, pulse, relocation })
    }

    /// Reads the region of `sink`, without what `plan` discards, nor of the table of a GPT that is relocated. Nothing is
    /// written.
    pub(super) fn read(&mut self, sink: &mut dyn Sink, target: TargetId, plan: &Plan, observer: &dyn Observer) {
        let length = self.contents.len() as u64;
        let read = if length > 0 { sink.read_at(&mut self.contents, 0) } else { Ok(()) };
        match read {
            Ok(()) => self.not_zero = not_zero(&self.contents),
            Err(error) => {
                self.contents.fill(0);
                observer.notice(Notice::BootRegionUnreadable { target, length, error: &error.source });
            }
        }
        plan.discards().for_each(|hole| self.room(hole).fill(0));
        for hole in self.relocation.iter().flat_map(Relocation::holes) {
            self.contents[hole.start as usize..hole.end as usize].fill(0);
        }
    }

    /// Takes note that something outside of the region is going to change.
    pub(super) fn rest_changes(&self) {
        self.pulse.set_holds(Holds::Misleading);
    }

    /// Takes note that it has not: all is as it was found.
    pub(super) fn nothing_changed(&self) {
        self.pulse.set_holds(Holds::AsFound);
    }

    /// Zeroes the region in `sink`, if it has one, or what of it is not zero, and makes that durable.
    pub(super) fn clear(&mut self, sink: &mut dyn Sink, write: WritePolicy) -> Result<(), Error> {
        self.write = write;
        self.pulse.set_holds(Holds::Misleading);
        let ByteRange { start, end } = match write {
            WritePolicy::All => ByteRange { start: 0, end: self.contents.len() as u64 },
            WritePolicy::Changed => self.not_zero,
        };
        if start < end {
            sink.write_at(&self.zeroes()[start as usize..end as usize], start)?;
        }
        if !self.contents.is_empty() {
            sink.sync().map_err(Error::Sync)?;
        }
        self.pulse.set_holds(Holds::Invalid);
        Ok(())
    }

    /// Zeroes the place of the backup of a GPT that is relocated. That need not be durable before something else is.
    pub(super) fn clear_backup(&self, sink: &mut dyn Sink) -> Result<(), Error> {
        let (backup, offset) = self.last(Last::BackupGpt);
        if !backup.is_empty() {
            sink.write_at(&self.zeroes[..backup.len()], offset)?;
        }
        Ok(())
    }

    /// Keeps back as much of `data`, which belongs at `offset`, as lies in the region or in the place of the backup of a
    /// GPT; returns the rest and where it belongs.
    pub(super) fn hold<'a>(&mut self, data: &'a [u8], offset: u64) -> (&'a [u8], u64) {
        // Once the GPT has been changed, what comes in a further pass is what is there, but for that.
        let is_settled = self.relocation.as_ref().is_some_and(Relocation::is_settled);
        let held = self.room(ByteRange { start: offset, end: offset + data.len() as u64 });
        let length = held.len();
        if !is_settled {
            held.copy_from_slice(&data[..length]);
        }
        let (rest, offset) = (&data[length..], offset + length as u64);
        (self.relocation.as_mut().map_or(rest, |relocation| relocation.hold(rest, offset)), offset)
    }

    /// Zeroes what of `range` lies there; returns the rest, and how many bytes that were not zero have been, in whole
    /// sectors.
    pub(super) fn hold_zeroes(&mut self, range: ByteRange) -> (ByteRange, u64) {
        let held = self.room(range);
        let zeroed = held.chunks(SECTOR).filter(|sector| is_set(sector)).map(|sector| sector.len() as u64).sum();
        held.fill(0);
        let rest = ByteRange { start: range.start + held.len() as u64, end: range.end };
        (self.relocation.as_mut().map_or(rest, |relocation| relocation.hold_zeroes(rest)), zeroed)
    }

    /// The part of the region where the first bytes of `range` belong.
    fn room(&mut self, range: ByteRange) -> &mut [u8] {
        let length = self.contents.len() as u64;
        &mut self.contents[range.start.min(length) as usize..range.end.min(length) as usize]
    }

    /// Whether `bytes` lie in the region.
    fn has(&self, bytes: ByteRange) -> bool {
        bytes.end <= self.contents.len() as u64
    }

    /// Fills `buf` with what is going to be at `bytes`, as far as they lie in the region, and else with what `sink` has
    /// there.
    pub(super) fn fill_held(&self, sink: &mut dyn Sink, buf: &mut [u8], bytes: ByteRange) -> Result<(), ReadError> {
        if self.has(bytes) {
            buf.copy_from_slice(&self.contents[bytes.start as usize..bytes.end as usize]);
            return Ok(());
        }
        sink.read_at(buf, bytes.start)
    }

    /// Fills `buf` with what the image has at `bytes`, as far as it is held back, and else with what `sink` has there.
    pub(super) fn fill(&self, sink: &mut dyn Sink, buf: &mut [u8], bytes: ByteRange) -> Result<(), ReadError> {
        self.fill_held(sink, buf, bytes)?;
        match &self.relocation {
            Some(relocation) if self.has(bytes) => relocation.put_head(buf, bytes.start),
            Some(relocation) => relocation.put_image(buf, bytes.start),
            None => {}
        }
        Ok(())
    }

    /// Makes what is written last, now that all of the image has come.
    pub(super) fn settle(&mut self) -> Result<(), Error> {
        self.relocation.as_mut().map_or(Ok(()), |relocation| relocation.settle(&mut self.contents))
    }

    /// What is written last, or was, and where; perhaps nothing.
    pub(super) fn last(&self, last: Last) -> (&[u8], u64) {
        match (last, &self.relocation) {
            (Last::BackupGpt, Some(relocation)) => (relocation.backup(), relocation.place().start),
            (Last::BackupGpt, None) => (&[], 0),
            (Last::BootRegion, _) => (&self.contents, 0),
        }
    }

    /// What lies between the region and the backup of a relocated GPT, or all that follows the region.
    pub(super) fn rest(&self) -> ByteRange {
        let end = self.relocation.as_ref().map_or(u64::MAX, |relocation| relocation.place().start);
        ByteRange { start: self.contents.len() as u64, end }
    }

    /// Whether `sink` holds what is written last, which is read into `buf`.
    pub(super) fn is_right(&self, sink: &mut dyn Sink, buf: &mut [u8]) -> bool {
        [Last::BootRegion, Last::BackupGpt].into_iter().all(|last| {
            let (expected, offset) = self.last(last);
            let found = &mut buf[..expected.len()];
            // Without a GPT that is relocated, there is nothing to read.
            expected.is_empty() || (sink.read_at(found, offset).is_ok() && found == expected)
        })
    }

    /// Zeroes, as many as the region has bytes.
    pub(super) fn zeroes(&self) -> &[u8] {
        &self.zeroes[..self.contents.len()]
    }

    /// Has all of the region written, or zeroed, from now on: the medium does not hold what it was told to.
    pub(super) fn distrust(&mut self) {
        self.write = WritePolicy::All;
        self.pulse.set_holds(Holds::Misleading);
    }

    /// Writes what is written last, of that the one or the other, and makes it durable, as the rest must be. Of the
    /// region it may be only what is not zero.
    pub(super) fn commit(&mut self, last: Last, sink: &mut dyn Sink, cancel: &Cancel) -> Result<(), Error> {
        cancel.check()?;
        let (data, offset) = self.last(last);
        if data.is_empty() {
            return Ok(());
        }
        let ByteRange { start, end } = match (last, self.write) {
            (Last::BootRegion, WritePolicy::Changed) => not_zero(data),
            _ => ByteRange { start: 0, end: data.len() as u64 },
        };
        if last == Last::BootRegion {
            self.pulse.set_holds(Holds::Misleading);
        }
        // In one write, so that it goes to the device directly: whoever is killed here has written all of it or
        // nothing.
        if start < end {
            let data = &self.last(last).0[start as usize..end as usize];
            sink.write_at(data, offset + start)?;
        }
        sink.sync().map_err(Error::Sync)
    }

    /// After an error: zeroes the region where it may be misleading. Returns what that leaves; `None` where there is no
    /// region, or it has not been touched.
    pub(super) fn revoke(&self, sink: &mut dyn Sink) -> Option<TargetState> {
        match self.pulse.holds() {
            Holds::Invalid if !self.contents.is_empty() => Some(TargetState::BootRegionZero),
            Holds::Misleading if !self.contents.is_empty() => {
                let cleared: io::Result<()> =
                    sink.write_at(self.zeroes(), 0).map_err(|error| error.source).and_then(|()| sink.sync());
                if cleared.is_err() {
                    return Some(TargetState::MaybeBootable);
                }
                self.pulse.set_holds(Holds::Invalid);
                Some(TargetState::BootRegionCleared)
            }
            _ => None,
        }
    }
}

/// From the first to the last sector of `contents` that is not zero.
fn not_zero(contents: &[u8]) -> ByteRange {
    let first = contents.chunks(SECTOR).position(is_set).unwrap_or(0) * SECTOR;
    let end = contents.chunks(SECTOR).rposition(is_set).map_or(0, |last| (last + 1) * SECTOR).min(contents.len());
    ByteRange { start: first as u64, end: end as u64 }
}

fn is_set(sector: &[u8]) -> bool {
    sector.iter().any(|&byte| byte != 0)
}
