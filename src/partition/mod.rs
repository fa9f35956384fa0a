//! Partition tables of images and devices: GPT, and MBR with logical partitions.
//!
//! They are read as Linux reads them (block/partitions in the kernel): a GPT counts only where the MBR has a protective
//! entry for it, and an MBR only where its boot flags are ones.

mod gpt;
mod mbr;
mod relocate;
mod types;

use std::fmt;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};

pub use gpt::{Gpt, Guid, HEAD_LEN};
pub use relocate::{Backup, Patch, RelocateError, Relocated, Seen, relocate};

use crate::range::ByteRange;
use mbr::BootRecord;

/// The partitions of a disk, by their numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionTable {
    /// How the table is stored.
    pub scheme: Scheme,
    /// The size in bytes of the sectors that the table counts in.
    pub sector_size: u32,
    /// Those in use, by number.
    pub partitions: Vec<Partition>,
}

impl PartitionTable {
    /// The table of a disk that `source` holds from its byte 0; `None` where there is none.
    ///
    /// # Errors
    ///
    /// Where the source cannot be read, or its GPT is damaged.
    pub fn read<R: Read + Seek>(source: &mut R) -> Result<Option<Self>, Error> {
        let Some(record) = BootRecord::read(source, 0)? else { return Ok(None) };
        // The sectors that follow belong to the table only if there is a GPT: else they may be unreadable.
        if record.is_protective()
            && let Some(gpt) = Gpt::read(source)?
        {
            let (sector_size, partitions) = (gpt.sector_size(), gpt.partitions());
            return Ok(Some(Self { scheme: Scheme::Gpt, sector_size, partitions }));
        }
        let mut table = Self { scheme: Scheme::Mbr, sector_size: mbr::SECTOR, partitions: record.partitions() };
        if let Err(source) = record.add_logical(source, &mut table.partitions) {
            return Err(Error::Logical { table, source });
        }
        // A boot sector without any entry is that of a boot loader or a file system.
        Ok(Some(table).filter(|table| !table.partitions.is_empty()))
    }

    /// The partition with this number, as the kernel counts them: `sda2` has number 2.
    pub fn partition(&self, number: u32) -> Option<&Partition> {
        self.partitions.iter().find(|partition| partition.number == number)
    }
}

/// How a partition table is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// GUID Partition Table (UEFI specification, chapter 5).
    Gpt,
    /// Master boot record.
    Mbr,
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gpt => "GPT",
            Self::Mbr => "MBR",
        })
    }
}

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// From 1; the logical partitions of an MBR have numbers from 5.
    pub number: u32,
    /// Where it lies. The table may say more than the disk has.
    pub bytes: ByteRange,
    /// What it is for.
    pub kind: PartitionType,
    /// The name that a GPT gives it, perhaps empty.
    pub name: String,
}

/// What a partition is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartitionType {
    /// The type of a GPT.
    Guid(Guid),
    /// The type of an MBR.
    Id(u8),
}

impl PartitionType {
    /// Whether it holds hashes or signatures of dm-verity, of which every byte counts, zeroes too.
    pub fn is_verity(self) -> bool {
        matches!(self, Self::Guid(guid) if types::is_verity(guid))
    }
}

/// In words where it is a common one, else its number.
impl fmt::Display for PartitionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (types::name(*self), self) {
            (Some(name), _) => f.write_str(name),
            (None, Self::Guid(guid)) => write!(f, "{guid}"),
            (None, Self::Id(id)) => write!(f, "0x{id:02x}"),
        }
    }
}

/// Why a partition table cannot be used.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the variants say what their fields are")]
pub enum Error {
    /// It cannot be read.
    #[error("cannot read the partition table")]
    Read(#[from] io::Error),
    /// Of an MBR, not all extended boot records can be read; `table` is what was found before.
    #[error("cannot read the logical ones")]
    Logical { table: PartitionTable, source: io::Error },
    /// It begins as a GPT does, but `problem`.
    #[error("the GPT is damaged: {problem}")]
    Damaged { problem: &'static str },
}

/// Fills `buf` from `offset` on; `false` where the source ends before.
fn read_at<R: Read + Seek>(source: &mut R, buf: &mut [u8], offset: u64) -> io::Result<bool> {
    source.seek(SeekFrom::Start(offset))?;
    match source.read_exact(buf) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// The little-endian number of `N` bytes at `offset`.
fn number<const N: usize>(bytes: &[u8], offset: usize) -> u64 {
    let mut number = [0; 8];
    number[..N].copy_from_slice(&bytes[offset..offset + N]);
    u64::from_le_bytes(number)
}
