//! The backup of a relocated GPT, which goes to the end of a device, and the boot region that says so.
//!
//! The backup is written once all of the image is on the device and verified, and before the boot region. Image data in
//! its place is held back, and never written. Header and MBR are changed last, in memory: the checksums of the bmap are
//! those of the image as it is.

use super::error::Error;
use super::plan::Plan;
use crate::partition::{Backup, relocate};
use crate::range::ByteRange;
use crate::sink::{Kind, SinkInfo};
use crate::sys::aligned::AlignedBuf;

/// What becomes of the end and the start of a device.
pub(super) struct Relocation {
    sector_size: u32,
    capacity: u64,
    /// Where the backup goes.
    place: ByteRange,
    /// What the image has there.
    image: AlignedBuf,
    backup: AlignedBuf,
    /// What the image has where its boot region has been changed: the sectors of the MBR and the header. Empty before that.
    head: Vec<u8>,
    /// Holes of the image in which its table lies.
    holes: Vec<ByteRange>,
}

impl Relocation {
    /// The relocation that `plan` wants on a target, if it wants one. Nothing is written.
    pub(super) fn of(plan: &Plan, info: &SinkInfo) -> Result<Option<Self>, Error> {
        plan.relocated_head().map(|head| Self::new(plan, head, info)).transpose()
    }

    fn new(plan: &Plan, head: &[u8], info: &SinkInfo) -> Result<Self, Error> {
        let device = info.capacity.zip(info.sector_size).filter(|_| info.kind == Kind::BlockDevice);
        let Some((capacity, sector_size)) = device else { return Err(Error::NoDeviceEnd) };
        let buffer = |length| AlignedBuf::zeroed(length).map_err(Error::Memory);
        let mut boot_region = buffer(info.boot_region as usize)?;
        let length = head.len().min(boot_region.len());
        boot_region[..length].copy_from_slice(&head[..length]);
        let Backup { offset, bytes, primary } = relocate(&mut boot_region, sector_size, capacity)?;
        let place = ByteRange { start: offset, end: offset + bytes.len() as u64 };
        let within = |hole: ByteRange, part: ByteRange| ByteRange {
            start: hole.start.max(part.start),
            end: hole.end.min(part.end).max(hole.start.max(part.start)),
        };
        let holes = plan.holes_before(info.boot_region);
        let holes = holes.flat_map(|hole| primary.map(|part| within(hole, part))).filter(|hole| !hole.is_empty());
        let (image, backup) = (buffer(bytes.len())?, buffer(bytes.len())?);
        Ok(Self { sector_size, capacity, place, image, backup, head: Vec::new(), holes: holes.collect() })
    }

    /// Where the table lies that the image has holes in: these are zeroes in it, whatever the device has there.
    pub(super) fn holes(&self) -> &[ByteRange] {
        &self.holes
    }

    /// Where the backup goes.
    pub(super) fn place(&self) -> ByteRange {
        self.place
    }

    pub(super) fn backup(&self) -> &[u8] {
        &self.backup
    }

    /// Takes note of what the image has at `offset`, in the place of the backup; returns what of it lies before that.
    pub(super) fn hold<'a>(&mut self, data: &'a [u8], offset: u64) -> &'a [u8] {
        let (before, held) = data.split_at(self.before(offset, data.len()));
        let start = (offset + before.len() as u64).saturating_sub(self.place.start) as usize;
        if !held.is_empty() {
            self.image[start..start + held.len()].copy_from_slice(held);
        }
        before
    }

    /// The same for zeroes.
    pub(super) fn hold_zeroes(&mut self, range: ByteRange) -> ByteRange {
        let before = ByteRange { end: range.end.min(self.place.start).max(range.start), ..range };
        if before.end < range.end {
            let start = (before.end - self.place.start) as usize;
            self.image[start..start + (range.end - before.end) as usize].fill(0);
        }
        before
    }

    /// Whether the boot region has been changed.
    pub(super) fn is_settled(&self) -> bool {
        !self.head.is_empty()
    }

    /// Puts what the image has at its start into `buf`, in which the boot region has a part that begins at `offset`.
    pub(super) fn put_head(&self, buf: &mut [u8], offset: u64) {
        let head = self.head.get(offset as usize..).unwrap_or(&[]);
        let length = head.len().min(buf.len());
        buf[..length].copy_from_slice(&head[..length]);
    }

    /// Puts what the image has in the place of the backup into `buf`, whose first byte belongs at `offset`.
    pub(super) fn put_image(&self, buf: &mut [u8], offset: u64) {
        let before = self.before(offset, buf.len());
        let start = (offset + before as u64).saturating_sub(self.place.start) as usize;
        let rest = &mut buf[before..];
        if !rest.is_empty() {
            let length = rest.len();
            rest.copy_from_slice(&self.image[start..start + length]);
        }
    }

    /// How many of so many bytes at `offset`, which end with the device at the latest, lie before the backup.
    fn before(&self, offset: u64, length: usize) -> usize {
        self.place.start.saturating_sub(offset).min(length as u64) as usize
    }

    /// Changes `boot_region`, that of the image, and makes the backup, now that the image is complete.
    pub(super) fn settle(&mut self, boot_region: &mut [u8]) -> Result<(), Error> {
        self.head = boot_region[..2 * self.sector_size as usize].to_vec();
        let Backup { offset, bytes, .. } = relocate(boot_region, self.sector_size, self.capacity)?;
        // It is where it was at first, or the image is not what it was.
        if (ByteRange { start: offset, end: offset + bytes.len() as u64 }) != self.place {
            return Err(Error::Changed { offset: 0 });
        }
        self.backup.copy_from_slice(&bytes);
        Ok(())
    }
}
