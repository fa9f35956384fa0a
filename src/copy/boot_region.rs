//! The boot region of a device, held back.
//!
//! It is zeroed before anything else is written, and written after all the rest is verified and durable. A flash that
//! is interrupted in between leaves nothing that looks like a disk.

use crate::target::{ALIGNMENT, AlignedBuf, Remains, Target};

use super::{Cancel, Error};

/// The bytes at the start of a target that are written last.
pub(super) struct BootRegion {
    contents: AlignedBuf,
    /// Where the last byte that the image has in the region ends. What the image leaves out before it is zero.
    end: usize,
    state: State,
}

/// What the target has in its boot region.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Zeroes,
    /// The image's bytes, or some of them; perhaps not durable.
    Written,
}

impl BootRegion {
    /// Zeroes the boot region of `target`, if it has one, and makes that durable.
    pub(super) fn clear(target: &mut dyn Target) -> Result<Self, Error> {
        let length = usize::try_from(target.boot_region()).unwrap_or(0);
        let region = Self { contents: AlignedBuf::zeroed(length), end: 0, state: State::Zeroes };
        if length > 0 {
            target.write_all_at(&region.contents, 0)?;
            target.sync().map_err(Error::Sync)?;
        }
        Ok(region)
    }

    /// Keeps back as much of `data`, which belongs at `offset`, as lies in the region; returns how much that is.
    pub(super) fn hold(&mut self, data: &[u8], offset: u64) -> usize {
        let Ok(start) = usize::try_from(offset) else { return 0 };
        let Some(place) = self.contents.get_mut(start..) else { return 0 };
        let length = place.len().min(data.len());
        place[..length].copy_from_slice(&data[..length]);
        if length > 0 {
            self.end = start.saturating_add(length);
        }
        length
    }

    /// Makes the rest durable, then writes the region and makes that durable.
    pub(super) fn commit(&mut self, target: &mut dyn Target, cancel: &Cancel) -> Result<(), Error> {
        cancel.check()?;
        target.sync().map_err(Error::Sync)?;
        cancel.check()?;
        if self.end == 0 {
            return Ok(());
        }
        self.state = State::Written;
        // In one piece, and in whole sectors, so that it goes to the device directly: who kills the program here gets
        // all of it or nothing.
        let length = self.end.next_multiple_of(ALIGNMENT).min(self.contents.len());
        target.write_all_at(&self.contents[..length], 0)?;
        target.sync().map_err(Error::Sync)
    }

    /// After an error: zeroes again what has been written, for it may be incomplete and must not look like a disk.
    /// Returns what that leaves, or `None` where nothing had been written.
    pub(super) fn revoke(&self, target: &mut dyn Target) -> Option<Remains> {
        if self.state == State::Zeroes {
            return None;
        }
        let zeroes = AlignedBuf::zeroed(self.contents.len());
        let zeroed = target.write_all_at(&zeroes, 0).map_err(|error| error.source).and_then(|()| target.sync());
        Some(if zeroed.is_ok() { Remains::Revoked } else { Remains::Doubtful })
    }
}
