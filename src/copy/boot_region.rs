//! The boot region of a device, held back.
//!
//! It is zeroed before anything else is written, and written after all the rest is verified and durable. A flash that
//! is interrupted in between leaves nothing that looks like a disk.

use crate::range::ByteRange;
use crate::target::{AlignedBuf, Target};

use super::{Cancel, Error};

/// The bytes at the start of a target that are written last.
pub(super) struct BootRegion {
    contents: AlignedBuf,
    /// The parts of the contents that the image has, in order; they do not touch.
    held: Vec<ByteRange>,
}

impl BootRegion {
    /// Zeroes the boot region of `target`, if it has one, and makes that durable.
    pub(super) fn clear(target: &mut dyn Target) -> Result<Self, Error> {
        let length = usize::try_from(target.boot_region()).unwrap_or(0);
        let region = Self { contents: AlignedBuf::zeroed(length), held: Vec::new() };
        if length > 0 {
            target.write_all_at(&region.contents, 0)?;
            target.sync().map_err(Error::Sync)?;
        }
        Ok(region)
    }

    /// Keeps back as much of `data`, which belongs at `offset`, as lies in the region; returns how much that is.
    pub(super) fn hold(&mut self, data: &[u8], offset: u64) -> usize {
        let Some(place) = usize::try_from(offset).ok().and_then(|offset| self.contents.get_mut(offset..)) else {
            return 0;
        };
        let length = place.len().min(data.len());
        place[..length].copy_from_slice(&data[..length]);
        let bytes = ByteRange { start: offset, end: offset.saturating_add(length as u64) };
        match self.held.last_mut() {
            Some(last) if last.end == bytes.start => last.end = bytes.end,
            _ if length > 0 => self.held.push(bytes),
            _ => {}
        }
        length
    }

    /// Makes the rest durable, then writes the region and makes that durable.
    pub(super) fn commit(self, target: &mut dyn Target, cancel: &Cancel) -> Result<(), Error> {
        cancel.check()?;
        target.sync().map_err(Error::Sync)?;
        if self.held.is_empty() {
            return cancel.check();
        }
        cancel.check()?;
        self.write(target).inspect_err(|_| {
            // A region that is half written, or perhaps not durable, must not look like a disk. That fails where the
            // device is gone; the error that is reported is the first one.
            let zeroes = AlignedBuf::zeroed(self.contents.len());
            let _ = target.write_all_at(&zeroes, 0).map(|()| target.sync());
        })
    }

    fn write(&self, target: &mut dyn Target) -> Result<(), Error> {
        for bytes in &self.held {
            let (Ok(start), Ok(end)) = (usize::try_from(bytes.start), usize::try_from(bytes.end)) else { continue };
            target.write_all_at(&self.contents[start..end], bytes.start)?;
        }
        target.sync().map_err(Error::Sync)
    }
}
