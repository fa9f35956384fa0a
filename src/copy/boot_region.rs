//! The boot region of a device, held back.
//!
//! It is zeroed before anything else is written, and written after all the rest is verified and durable. A flash that
//! is interrupted in between leaves nothing that looks like a disk.

use std::io;

use super::Write;
use super::cancel::Cancel;
use super::error::Error;
use super::plan::Plan;
use crate::event::{Notice, Observer, TargetId};
use crate::range::ByteRange;
use crate::sink::{Sink, TargetState};
use crate::sys::aligned::AlignedBuf;

/// The bytes at the start of a target that are written last.
pub(super) struct BootRegion {
    /// What is going to be there: what the target held where the image has nothing, and the image.
    contents: AlignedBuf,
    /// As long, and there from the start: when they are needed, there may be no memory left.
    zeroes: AlignedBuf,
    /// What of the region was found not to be zero, in whole sectors.
    not_zero: ByteRange,
    /// How much of it is written once it is zero: with [`Write::Changed`] what is going to be something else.
    write: Write,
    state: State,
}

/// What the boot region of the target is good for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// It is as it was found, with all the rest, or zero.
    Safe,
    /// It may look like that of a disk, which the rest of the target is not: it was written and may not be durable, or
    /// the rest has been discarded.
    Misleading,
}

impl BootRegion {
    /// The boot region of `sink`, in memory, without what `plan` discards. Nothing is written.
    pub(super) fn read(
        sink: &mut dyn Sink,
        target: TargetId,
        plan: &Plan,
        observer: &dyn Observer,
    ) -> Result<Self, Error> {
        let length = sink.info().boot_region;
        let buffer = || AlignedBuf::zeroed(length as usize).map_err(Error::Memory);
        let (mut contents, zeroes) = (buffer()?, buffer()?);
        let mut not_zero = ByteRange { start: 0, end: length };
        let read = if length > 0 { sink.read_at(&mut contents, 0) } else { Ok(()) };
        match read {
            Ok(()) => not_zero = self::not_zero(&contents),
            // What is not in the plan because the target holds it was read before, and is needed.
            Err(error) if plan.left_out_before(length) > 0 => return Err(Error::ReadTarget(error.source)),
            Err(error) => {
                contents.fill(0);
                observer.notice(Notice::BootRegionUnreadable { target, length, error: &error.source });
            }
        }
        let mut boot_region = Self { contents, zeroes, not_zero, write: Write::All, state: State::Safe };
        plan.discards().for_each(|hole| boot_region.room(hole).fill(0));
        Ok(boot_region)
    }

    /// Takes note that something outside of the region is not what it was.
    pub(super) fn rest_changed(&mut self) {
        self.state = State::Misleading;
    }

    /// Zeroes the region in `sink`, if it has one, or what of it is not zero, and makes that durable.
    pub(super) fn clear(&mut self, sink: &mut dyn Sink, write: Write) -> Result<(), Error> {
        self.write = write;
        let ByteRange { start, end } = match write {
            Write::All => ByteRange { start: 0, end: self.zeroes.len() as u64 },
            Write::Changed => self.not_zero,
        };
        if start < end {
            sink.write_at(&self.zeroes[start as usize..end as usize], start)?;
        }
        if !self.zeroes.is_empty() {
            sink.sync().map_err(Error::Sync)?;
        }
        self.state = State::Safe;
        Ok(())
    }

    /// Keeps back as much of `data`, which belongs at `offset`, as lies in the region; returns the rest and where it
    /// belongs.
    pub(super) fn hold<'a>(&mut self, data: &'a [u8], offset: u64) -> (&'a [u8], u64) {
        let held = self.room(ByteRange { start: offset, end: offset + data.len() as u64 });
        let length = held.len();
        held.copy_from_slice(&data[..length]);
        (&data[length..], offset + length as u64)
    }

    /// Zeroes what of `range` lies in the region; returns the rest.
    pub(super) fn hold_zeroes(&mut self, range: ByteRange) -> ByteRange {
        let held = self.room(range);
        held.fill(0);
        ByteRange { start: range.start + held.len() as u64, end: range.end }
    }

    /// The part of the region where the first bytes of `range` belong.
    fn room(&mut self, range: ByteRange) -> &mut [u8] {
        let length = self.contents.len() as u64;
        &mut self.contents[range.start.min(length) as usize..range.end.min(length) as usize]
    }

    /// What is going to be there, or is there after [`Self::commit`].
    pub(super) fn contents(&self) -> &[u8] {
        &self.contents
    }

    /// What is going to be at `bytes`, where these lie in the region.
    pub(super) fn held(&self, bytes: ByteRange) -> Option<&[u8]> {
        (bytes.end <= self.contents.len() as u64).then(|| &self.contents[bytes.start as usize..bytes.end as usize])
    }

    /// Whether `sink` holds in the region what is going to be there.
    pub(super) fn is_right(&self, sink: &mut dyn Sink) -> Result<bool, Error> {
        let mut found = AlignedBuf::zeroed(self.contents.len()).map_err(Error::Memory)?;
        Ok(sink.read_at(&mut found, 0).is_ok() && found[..] == self.contents[..])
    }

    /// Zeroes, as many as the region has bytes.
    pub(super) fn zeroes(&self) -> &[u8] {
        &self.zeroes
    }

    /// Has all of the region written from now on: the medium does not hold what it was told to.
    pub(super) fn distrust(&mut self) {
        self.write = Write::All;
    }

    /// Writes the region, or what of it is not zero, and makes that durable, as the rest must be.
    pub(super) fn commit(&mut self, sink: &mut dyn Sink, cancel: &Cancel) -> Result<(), Error> {
        cancel.check()?;
        if self.contents.is_empty() {
            return Ok(());
        }
        self.state = State::Misleading;
        let ByteRange { start, end } = match self.write {
            Write::All => ByteRange { start: 0, end: self.contents.len() as u64 },
            Write::Changed => not_zero(&self.contents),
        };
        // In one write, so that it goes to the device directly: whoever is killed here has written all of it or
        // nothing.
        if start < end {
            sink.write_at(&self.contents[start as usize..end as usize], start)?;
        }
        sink.sync().map_err(Error::Sync)
    }

    /// After an error: zeroes the region where it is misleading. Returns what that leaves, or `None` where it is not.
    pub(super) fn revoke(&self, sink: &mut dyn Sink) -> Option<TargetState> {
        if self.state == State::Safe {
            return None;
        }
        let cleared: io::Result<()> =
            sink.write_at(&self.zeroes, 0).map_err(|error| error.source).and_then(|()| sink.sync());
        Some(if cleared.is_ok() { TargetState::BootRegionCleared } else { TargetState::MaybeBootable })
    }
}

/// From the first to the last sector of `contents` that is not zero.
fn not_zero(contents: &[u8]) -> ByteRange {
    /// A multiple of the logical sectors that devices have, in bytes.
    const SECTOR: usize = 4096;
    let is_set = |sector: &[u8]| sector.iter().any(|&byte| byte != 0);
    let first = contents.chunks(SECTOR).position(is_set).unwrap_or(0) * SECTOR;
    let end = contents.chunks(SECTOR).rposition(is_set).map_or(0, |last| (last + 1) * SECTOR).min(contents.len());
    ByteRange { start: first as u64, end: end as u64 }
}
