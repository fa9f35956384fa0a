//! A device whose GPT `copy` has relocated: what of it the image has otherwise.

use std::sync::{Mutex, PoisonError};

use super::medium::Medium;
use super::unreadable::read_in_steps;
use crate::hashing::WINDOW;
use crate::partition::{Backup, Patch, Relocated, Seen};
use crate::range::ByteRange;

/// What of a device is put back in memory before it is compared.
pub(super) struct RelocatedGpt {
    table: Relocated,
    image_size: u64,
    /// Headers that the image has in other places.
    seen: Mutex<Vec<Seen>>,
}

/// What lies at the end of such a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackupState {
    /// The backup of its GPT.
    Right,
    /// Something else.
    Damaged,
}

/// What the image may have had in the place of what the device has.
#[derive(Clone)]
pub(super) struct Original(Vec<Patch>);

impl RelocatedGpt {
    /// Looks whether `medium`, for an image of `image_size` bytes, is such a device. One that cannot be read is for the
    /// comparison to tell of.
    pub(super) fn find(medium: &Medium, image_size: u64) -> Option<Self> {
        let Medium::Device(device) = medium else { return None };
        let capacity = device.length().ok()?;
        let mut head = vec![0; WINDOW.min(capacity) as usize];
        if device.read_at(&mut head, 0).is_err() {
            head.fill(0);
            // The table may come before what cannot be read.
            let _ = read_in_steps(&|buf, offset| device.read_at(buf, offset), &mut head, 0);
        }
        Relocated::find(head, capacity).map(|table| Self { table, image_size, seen: Mutex::default() })
    }

    /// What the image may have had, the likeliest first: there is one at least.
    pub(super) fn originals(&self) -> Vec<Original> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        self.table.originals(self.image_size, &seen).into_iter().map(Original).collect()
    }

    /// Whether the image has other `bytes` than the device, perhaps: in its header, its MBR, or where the backup is.
    pub(super) fn has_changed(&self, bytes: ByteRange) -> bool {
        let start = ByteRange { start: 0, end: 2 * u64::from(self.table.sector_size()) };
        let Backup { offset, bytes: backup, .. } = self.table.backup();
        bytes.overlaps(start) || bytes.overlaps(ByteRange { start: *offset, end: offset + backup.len() as u64 })
    }

    /// Looks for the backup that the image had, in `data` that the device has at `offset`.
    pub(super) fn look(&self, data: &[u8], offset: u64) {
        let sector_size = u64::from(self.table.sector_size());
        let first = offset.next_multiple_of(sector_size);
        let sectors = data.get((first - offset) as usize..).unwrap_or_default().chunks_exact(sector_size as usize);
        for (sector, at) in sectors.zip((first..).step_by(sector_size as usize)) {
            if let Some(seen) = self.table.see(sector, at) {
                self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
            }
        }
    }

    /// What is at the end of the device.
    pub(super) fn backup(&self, medium: &Medium) -> BackupState {
        let Backup { offset, bytes, .. } = self.table.backup();
        let mut found = vec![0; bytes.len()];
        let is_read = match medium {
            Medium::Device(device) => device.read_at(&mut found, *offset).is_ok(),
            Medium::Image { .. } | Medium::File(..) => false,
        };
        if is_read && found == *bytes { BackupState::Right } else { BackupState::Damaged }
    }
}

impl Original {
    /// Whether it is what the device has.
    pub(super) fn is_as_found(&self) -> bool {
        self.0.is_empty()
    }

    /// Puts it into `buf`, whose first byte is at `offset`.
    pub(super) fn put_back(&self, buf: &mut [u8], offset: u64) {
        let end = offset + buf.len() as u64;
        for (start, patch) in &self.0 {
            let (from, to) = ((*start).max(offset), (start + patch.len() as u64).min(end));
            if from < to {
                let patch = &patch[(from - start) as usize..(to - start) as usize];
                buf[(from - offset) as usize..(to - offset) as usize].copy_from_slice(patch);
            }
        }
    }
}
