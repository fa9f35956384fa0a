//! The master boot record, and the chain of extended boot records that logical partitions lie in.

use std::io::{self, Read, Seek};

use super::{Partition, PartitionType, number, read_at};
use crate::range::ByteRange;

/// The size of a sector in bytes: the table does not say it, and images are made for this one.
pub(super) const SECTOR: u32 = 512;

const ENTRIES: usize = 446;
const ENTRY_LEN: usize = 16;

/// How many logical partitions are looked for: a chain may be a circle. The kernel stops at as many in all.
const MAX_LOGICAL: u32 = 256;

/// The type of the entry that protects a GPT.
const PROTECTIVE: u8 = 0xee;

/// The first sector of a disk.
pub(super) struct BootRecord([u8; SECTOR as usize]);

/// A used entry of a boot record; its numbers are sectors.
#[derive(Clone, Copy)]
struct Entry {
    kind: u8,
    start: u64,
    length: u64,
}

impl Entry {
    fn is_extended(self) -> bool {
        matches!(self.kind, 0x05 | 0x0f | 0x85)
    }

    fn partition(self, number: u32, origin: u64) -> Partition {
        let start = origin + self.start;
        let bytes = ByteRange { start: start * u64::from(SECTOR), end: (start + self.length) * u64::from(SECTOR) };
        Partition { number, bytes, kind: PartitionType::Id(self.kind), name: String::new() }
    }
}

impl BootRecord {
    /// The record at `offset`; `None` where there is none, but the boot sector of a file system perhaps.
    pub(super) fn read<R: Read + Seek>(source: &mut R, offset: u64) -> io::Result<Option<Self>> {
        let mut record = Self([0; SECTOR as usize]);
        let is_record = read_at(source, &mut record.0, offset)? && record.0.ends_with(&[0x55, 0xaa]);
        let has_boot_flags = (0..4).all(|slot| matches!(record.0[ENTRIES + slot * ENTRY_LEN], 0x00 | 0x80));
        Ok((is_record && has_boot_flags).then_some(record))
    }

    /// Whether a GPT counts.
    pub(super) fn is_protective(&self) -> bool {
        self.entries().any(|(_, entry)| entry.kind == PROTECTIVE)
    }

    /// Whether the entry that protects a GPT is for all of the disk. In a hybrid record it may end where another entry
    /// starts.
    pub(super) fn protects_all(&self) -> bool {
        let end = self.protective().map(|(_, entry)| entry.start + entry.length);
        end.is_some_and(|end| self.entries().all(|(_, entry)| entry.start < end))
    }

    /// Makes that entry end with a disk of so many sectors, as far as its 32 bits reach.
    pub(super) fn protect(&mut self, sectors: u64) {
        if let Some((slot, entry)) = self.protective() {
            let length = u32::try_from(sectors.saturating_sub(entry.start)).unwrap_or(u32::MAX);
            self.0[ENTRIES + slot as usize * ENTRY_LEN + 12..][..4].copy_from_slice(&length.to_le_bytes());
        }
    }

    /// The last entry that protects a GPT: some hybrid records have two.
    fn protective(&self) -> Option<(u32, Entry)> {
        self.entries().filter(|(_, entry)| entry.kind == PROTECTIVE).max_by_key(|(_, entry)| entry.start)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The partitions that are in the record itself.
    pub(super) fn partitions(&self) -> Vec<Partition> {
        self.entries().map(|(slot, entry)| entry.partition(slot + 1, 0)).collect()
    }

    /// Adds the logical partitions of the disk, up to the first record of the chain that cannot be read: each has an
    /// entry for a partition, counted from that record, and one that leads to the next record, counted from the start of
    /// the extended partition.
    pub(super) fn add_logical<R: Read + Seek>(
        &self,
        source: &mut R,
        partitions: &mut Vec<Partition>,
    ) -> io::Result<()> {
        let Some(extended) = self.extended() else { return Ok(()) };
        let mut at = extended.start;
        for _ in 0..MAX_LOGICAL {
            let Some(record) = Self::read(source, at * u64::from(SECTOR))? else { return Ok(()) };
            let next_number = partitions.last().map_or(5, |last| (last.number + 1).max(5));
            if let Some((_, entry)) = record.entries().find(|(_, entry)| !entry.is_extended()) {
                partitions.push(entry.partition(next_number, at));
            }
            let Some(next) = record.extended() else { return Ok(()) };
            at = extended.start + next.start;
        }
        Ok(())
    }

    /// The first entry that leads to an extended boot record.
    fn extended(&self) -> Option<Entry> {
        self.entries().map(|(_, entry)| entry).find(|entry| entry.is_extended())
    }

    /// The used entries, each with its slot from 0.
    fn entries(&self) -> impl Iterator<Item = (u32, Entry)> {
        let entry = |slot: u32| {
            let bytes = &self.0[ENTRIES + slot as usize * ENTRY_LEN..][..ENTRY_LEN];
            Entry { kind: bytes[4], start: number::<4>(bytes, 8), length: number::<4>(bytes, 12) }
        };
        (0..4).map(move |slot| (slot, entry(slot))).filter(|(_, entry)| entry.kind != 0 && entry.length > 0)
    }
}
