//! A GPT whose backup is moved to the end of a larger device, and back again in memory.
//!
//! All of it is computed from the first bytes of the disk: the backup has the entries of the primary table, and a header
//! that follows from that of the primary.

use std::io::Cursor;
use std::iter;

use super::gpt::{self, Gpt, SIGNATURE, field};
use super::mbr::BootRecord;
use super::{Error, number};
use crate::range::ByteRange;

/// Why a GPT cannot be relocated.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants say what their fields are")]
pub enum RelocateError {
    /// There is none, or its MBR does not protect it.
    #[error("the image has no GPT")]
    Missing,
    /// It is damaged: `problem`.
    #[error("the GPT of the image is damaged: {problem}")]
    Damaged { problem: &'static str },
    /// It was made for sectors of `image` bytes, and those of the device have `device`.
    #[error("the GPT of the image is for sectors of {image} bytes, the device has {device}")]
    SectorSize { image: u32, device: u32 },
    /// Its entries do not lie in the first bytes, which are written last.
    #[error("a part of the GPT lies after the first {limit} bytes of the image")]
    FarEntries { limit: usize },
    /// Of the device, `needed` bytes are taken by partitions and the primary table, and the backup does not fit after
    /// these.
    #[error("the device has no room for the backup of the GPT: {needed} bytes are in use, and it has {capacity}")]
    NoRoom { needed: u64, capacity: u64 },
}

/// The backup of a GPT, at the end of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    /// Where it begins.
    pub offset: u64,
    /// The entries, and the header in the last sector.
    pub bytes: Vec<u8>,
    /// Where what it is a backup of lies: the header, after the MBR, and the entries.
    pub primary: [ByteRange; 2],
}

/// Changes the table in `head`, the first bytes of a disk, to that of a device of `capacity` bytes, in sectors of
/// `sector_size`. Returns the backup that belongs there.
///
/// No partition changes, and as many sectors as before are kept free for the backup.
///
/// # Errors
///
/// Where there is no GPT, it is damaged, does not lie in `head`, is for other sectors, or a partition is in the way.
pub fn relocate(head: &mut [u8], sector_size: u32, capacity: u64) -> Result<Backup, RelocateError> {
    let table = Table::of(head)?;
    if table.sector_size != sector_size {
        return Err(RelocateError::SectorSize { image: table.sector_size, device: sector_size });
    }
    let (alternate, last_usable) = table.at_end_of(capacity, head.len())?;
    table.set_end(head, alternate, last_usable);
    let mut record = BootRecord::read(&mut Cursor::new(&*head), 0).ok().flatten().ok_or(RelocateError::Missing)?;
    if record.protects_all() {
        record.protect(alternate + 1);
    }
    head[..record.as_bytes().len()].copy_from_slice(record.as_bytes());
    Ok(table.backup(head, alternate))
}

/// A primary table that lies in the first bytes of a disk. Its numbers are sectors, where nothing else is said.
struct Table {
    /// In bytes.
    sector_size: u32,
    /// In bytes.
    entries: ByteRange,
    /// Where its backup's header is, perhaps.
    alternate: u64,
    last_usable: u64,
    /// The end of the partition that ends last.
    used: u64,
}

impl Table {
    fn of(head: &[u8]) -> Result<Self, RelocateError> {
        let (sector_size, header) = gpt::header_of(head)?.ok_or(RelocateError::Missing)?;
        let entries = gpt::entries_of(header, sector_size)?;
        if entries.start < 2 * u64::from(sector_size) {
            return Err(RelocateError::Damaged { problem: "its entries lie at an impossible place" });
        }
        let far = RelocateError::FarEntries { limit: head.len() };
        let within = usize::try_from(entries.end).ok().and_then(|end| head.get(entries.start as usize..end));
        let gpt = Gpt::of_entries(header, sector_size, within.ok_or(far)?.to_vec())?;
        let ends = gpt.partitions().into_iter().map(|partition| partition.bytes.end);
        Ok(Self {
            sector_size,
            entries,
            alternate: number::<8>(header, field::OTHER_LBA),
            last_usable: number::<8>(header, field::LAST_USABLE_LBA),
            used: ends.max().unwrap_or(0).div_ceil(sector_size.into()),
        })
    }

    /// How many sectors the entries take.
    fn entry_sectors(&self) -> u64 {
        self.entries.len().div_ceil(self.sector_size.into())
    }

    /// How many sectors are kept free at the end for the backup, if these are enough.
    fn reserved(&self) -> Option<u64> {
        self.alternate.checked_sub(self.last_usable).filter(|&reserved| reserved > self.entry_sectors())
    }

    /// The last sector of a device, and the last one before its backup that may be used.
    fn at_end_of(&self, capacity: u64, head_len: usize) -> Result<(u64, u64), RelocateError> {
        let sector_size = u64::from(self.sector_size);
        let used = self.used.max((head_len as u64).div_ceil(sector_size));
        let no_room = RelocateError::NoRoom { needed: used * sector_size, capacity };
        let Some(alternate) = (capacity / sector_size).checked_sub(1) else { return Err(no_room) };
        let least = self.entry_sectors() + 1;
        let last = |reserved| alternate.checked_sub(reserved).filter(|last| last + 1 >= used);
        self.reserved().and_then(last).or_else(|| last(least)).map(|last| (alternate, last)).ok_or(no_room)
    }

    /// The header in `head`, a sector.
    fn header<'a>(&self, head: &'a mut [u8]) -> &'a mut [u8] {
        let sector_size = self.sector_size as usize;
        &mut head[sector_size..2 * sector_size]
    }

    /// Says in the header where its backup is.
    fn set_end(&self, head: &mut [u8], alternate: u64, last_usable: u64) {
        let header = self.header(head);
        put(header, field::OTHER_LBA, alternate);
        put(header, field::LAST_USABLE_LBA, last_usable);
        gpt::seal(header);
    }

    /// The backup of the table in `head`, whose header is at the sector `alternate`.
    fn backup(&self, head: &[u8], alternate: u64) -> Backup {
        let sector_size = u64::from(self.sector_size);
        let start = alternate - self.entry_sectors();
        let mut bytes = head[self.entries.start as usize..self.entries.end as usize].to_vec();
        bytes.resize((self.entry_sectors() * sector_size) as usize, 0);
        let primary = ByteRange { start: 0, end: 2 * sector_size };
        let mut header = head[sector_size as usize..primary.end as usize].to_vec();
        put(&mut header, field::THIS_LBA, alternate);
        put(&mut header, field::OTHER_LBA, 1);
        put(&mut header, field::ENTRIES_LBA, start);
        gpt::seal(&mut header);
        bytes.extend(header);
        Backup { offset: start * sector_size, bytes, primary: [primary, self.entries] }
    }
}

impl From<Error> for RelocateError {
    fn from(error: Error) -> Self {
        match error {
            Error::Damaged { problem } => Self::Damaged { problem },
            // The bytes are in memory: they only end early.
            Error::Read(_) | Error::Logical { .. } => Self::Missing,
        }
    }
}

/// A table at the start of a device that says that its backup is at the device's end, as [`relocate`] leaves it.
pub struct Relocated {
    /// The first bytes of the device.
    head: Vec<u8>,
    capacity: u64,
    table: Table,
    /// What must be at the end of the device.
    backup: Backup,
}

/// Bytes that are put in the place of others: where they begin, and what they are.
pub type Patch = (u64, Vec<u8>);

/// Where an image had its backup, and the last sector that it let partitions use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    alternate: u64,
    last_usable: u64,
}

impl Relocated {
    /// The table in `head`, the first bytes of a device of `capacity` bytes; `None` where its backup is elsewhere, or it
    /// is not right.
    pub fn find(head: Vec<u8>, capacity: u64) -> Option<Self> {
        let table = Table::of(&head).ok()?;
        let at_end = table.at_end_of(capacity, head.len()).ok()?;
        (at_end.0 == table.alternate).then(|| {
            let backup = table.backup(&head, table.alternate);
            Self { head, capacity, table, backup }
        })
    }

    /// What must be at the end of the device.
    pub fn backup(&self) -> &Backup {
        &self.backup
    }

    /// The size of a sector in bytes.
    pub fn sector_size(&self) -> u32 {
        self.table.sector_size
    }

    /// What a sector at `offset` of the device says of the backup that the image had, if it is the header of that.
    pub fn see(&self, sector: &[u8], offset: u64) -> Option<Seen> {
        let sector_size = u64::from(self.table.sector_size);
        let own = &self.head[sector_size as usize..2 * sector_size as usize];
        let is_same = |field: usize, length: usize| sector[field..field + length] == own[field..field + length];
        let is_backup = sector.starts_with(SIGNATURE)
            && gpt::is_sealed(sector)
            && number::<8>(sector, field::THIS_LBA) == offset / sector_size
            && number::<8>(sector, field::OTHER_LBA) == 1
            && is_same(field::DISK_GUID, 16)
            && is_same(field::ENTRIES_CRC, 4);
        let last_usable = number::<8>(sector, field::LAST_USABLE_LBA);
        (is_backup && offset != self.capacity - sector_size)
            .then_some(Seen { alternate: offset / sector_size, last_usable })
    }

    /// What [`relocate`] may have changed of an image of `image_size` bytes: each is what the image then has in the
    /// place of what the device has. The likeliest comes first. An image had its backup at its end, or where that was
    /// `seen`; what the device has itself is among them.
    ///
    /// Only checksums tell which is right; but each becomes, when it is relocated, what the device has.
    pub fn originals(&self, image_size: u64, seen: &[Seen]) -> Vec<Vec<Patch>> {
        let Table { sector_size, alternate, last_usable, .. } = self.table;
        let reserved = alternate.saturating_sub(last_usable);
        let natural = (image_size / u64::from(sector_size))
            .checked_sub(1)
            .and_then(|alternate| Some(Seen { alternate, last_usable: alternate.checked_sub(reserved)? }));
        let mut originals = Vec::new();
        let has_room = |seen: &&Seen| seen.alternate > self.table.entry_sectors();
        for &seen in natural.iter().chain(seen).filter(has_room) {
            for head in self.heads(seen) {
                let backup = self.table.backup(&head, seen.alternate);
                let start = (0, head[..2 * sector_size as usize].to_vec());
                for tail in self.tails(image_size, Some(&backup)) {
                    originals.push(iter::once(start.clone()).chain(tail).collect());
                }
            }
        }
        let as_found = self.tails(image_size, None).into_iter().map(|tail| tail.into_iter().collect());
        // The backup of an image that is as large as the device was there before.
        let is_natural = natural.is_some_and(|natural| natural.alternate == alternate);
        let at = if is_natural { 0 } else { originals.len() };
        originals.splice(at..at, as_found);
        originals
    }

    /// The first bytes before the relocation, if the backup was `seen` there: the MBR protected all of the disk, or as
    /// much as it can, or was as it is.
    fn heads(&self, seen: Seen) -> Vec<Vec<u8>> {
        let record = || BootRecord::read(&mut Cursor::new(&self.head), 0).ok().flatten();
        let mut records = vec![record()];
        // In a hybrid record it is likely to be as it was.
        let at = if record().is_some_and(|record| record.protects_all()) { 0 } else { 1 };
        let protecting = [seen.alternate + 1, u64::MAX].map(|sectors| {
            let mut record = record()?;
            record.protect(sectors);
            Some(record)
        });
        records.splice(at..at, protecting);
        let mut heads: Vec<Vec<u8>> = Vec::new();
        for record in records.into_iter().flatten() {
            let mut head = self.head.clone();
            self.table.set_end(&mut head, seen.alternate, seen.last_usable);
            head[..record.as_bytes().len()].copy_from_slice(record.as_bytes());
            let mut again = head.clone();
            let is_right = relocate(&mut again, self.table.sector_size, self.capacity).is_ok() && again == self.head;
            if is_right && !heads.contains(&head) {
                heads.push(head);
            }
        }
        heads
    }

    /// What the image may have had at its end where the device has the backup now: its own backup, zeroes, or the same.
    fn tails(&self, image_size: u64, backup: Option<&Backup>) -> Vec<Option<Patch>> {
        let Backup { offset, bytes, .. } = &self.backup;
        let length = image_size.saturating_sub(*offset).min(bytes.len() as u64) as usize;
        if length == 0 {
            return vec![None];
        }
        let mut tails = vec![None, Some((*offset, vec![0; length]))];
        if let Some(backup) = backup {
            let mut tail = vec![0; length];
            let shift = usize::try_from(backup.offset.abs_diff(*offset)).unwrap_or(usize::MAX);
            match backup.offset <= *offset {
                true if shift < backup.bytes.len() => copy_start(&mut tail, &backup.bytes[shift..]),
                false if shift < length => copy_start(&mut tail[shift..], &backup.bytes),
                _ => {}
            }
            tails.insert(0, Some((*offset, tail)));
        }
        tails
    }
}

/// Copies as much as both have.
fn copy_start(to: &mut [u8], from: &[u8]) {
    let length = to.len().min(from.len());
    to[..length].copy_from_slice(&from[..length]);
}

fn put(header: &mut [u8], offset: usize, value: u64) {
    header[offset..offset + 8].copy_from_slice(&value.to_le_bytes());
}

#[cfg(test)]
mod tests;
