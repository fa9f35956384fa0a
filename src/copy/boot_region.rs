//! The boot region of a device, held back.
//!
//! It is zeroed before anything else is written, and written after all the rest is verified and durable. A flash that
//! is interrupted in between leaves nothing that looks like a disk.

use std::io;

use super::plan::Unmapped;
use super::{Cancel, Error};
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
    state: State,
}

/// What the target has in its boot region.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// What it had before, or zeroes.
    NotWritten,
    /// The contents, or some of them; perhaps not durable.
    Written,
}

impl BootRegion {
    /// The boot region of `sink`, in memory; with [`Unmapped::Discard`] nothing of what it held is kept. Nothing is written.
    pub(super) fn read(
        sink: &mut dyn Sink,
        target: TargetId,
        unmapped: Unmapped,
        observer: &dyn Observer,
    ) -> Result<Self, Error> {
        let length = sink.info().boot_region;
        let buffer = || AlignedBuf::zeroed(length as usize).map_err(Error::Memory);
        let (mut contents, zeroes) = (buffer()?, buffer()?);
        if length > 0
            && unmapped != Unmapped::Discard
            && let Err(error) = sink.read_at(&mut contents, 0)
        {
            contents.fill(0);
            observer.notice(Notice::BootRegionUnreadable { target, length, error: &error.source });
        }
        Ok(Self { contents, zeroes, state: State::NotWritten })
    }

    /// Zeroes the region in `sink`, if it has one, and makes that durable.
    pub(super) fn clear(&self, sink: &mut dyn Sink) -> Result<(), Error> {
        if !self.zeroes.is_empty() {
            sink.write_at(&self.zeroes, 0)?;
            sink.sync().map_err(Error::Sync)?;
        }
        Ok(())
    }

    /// Keeps back as much of `data`, which belongs at `offset`, as lies in the region; returns the rest and where it belongs.
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

    /// Makes the rest durable, then writes the region and makes that durable.
    pub(super) fn commit(&mut self, sink: &mut dyn Sink, cancel: &Cancel) -> Result<(), Error> {
        cancel.check()?;
        sink.sync().map_err(Error::Sync)?;
        cancel.check()?;
        if self.contents.is_empty() {
            return Ok(());
        }
        self.state = State::Written;
        // In one write, so that it goes to the device directly: whoever is killed here has written all of it or nothing.
        sink.write_at(&self.contents, 0)?;
        sink.sync().map_err(Error::Sync)
    }

    /// After an error: zeroes again what has been written, for it may be incomplete and must not look like a disk.
    /// Returns what that leaves, or `None` where nothing had been written.
    pub(super) fn revoke(&self, sink: &mut dyn Sink) -> Option<TargetState> {
        if self.state == State::NotWritten {
            return None;
        }
        let cleared: io::Result<()> =
            sink.write_at(&self.zeroes, 0).map_err(|error| error.source).and_then(|()| sink.sync());
        Some(if cleared.is_ok() { TargetState::BootRegionCleared } else { TargetState::MaybeBootable })
    }
}
