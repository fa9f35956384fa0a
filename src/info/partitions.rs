//! The partition table of an image of which only the head may be read.

use std::io::{self, Cursor, Read, Seek, SeekFrom};

use crate::partition::{Error, PartitionTable};
use crate::source::{ForwardRead, read_full};

/// How much of an image is read for its partition table, in bytes: a table moved out of the way of a boot loader lies in
/// it as well.
pub(super) const HEAD: u64 = 4 << 20;

/// What the partition table of an image is known to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Partitions {
    /// There is none, or none was looked for.
    None,
    /// All of it.
    Table(PartitionTable),
    /// What the head of the image has of it: there may be more logical partitions.
    Begun(PartitionTable),
    /// There is one, and it lies past what was read.
    OutOfReach,
}

impl Partitions {
    /// The table, as far as it is known.
    pub fn table(&self) -> Option<&PartitionTable> {
        match self {
            Self::Table(table) | Self::Begun(table) => Some(table),
            Self::None | Self::OutOfReach => None,
        }
    }
}

/// The table of what can be read anywhere.
pub(super) fn of_file(file: &mut (impl Read + Seek)) -> Result<Partitions, Error> {
    Ok(PartitionTable::read(file)?.map_or(Partitions::None, Partitions::Table))
}

/// The table of an image of `size` bytes, where that is known, of which only the head is read.
pub(super) fn of_head(reader: &mut dyn ForwardRead, size: Option<u64>) -> Result<Partitions, Error> {
    let wanted = size.unwrap_or(u64::MAX).min(HEAD) as usize;
    let mut bytes = vec![0; wanted];
    let length = read_full(reader, &mut bytes)?;
    bytes.truncate(length);
    let ends = if length as u64 == HEAD { Ends::Cut } else { Ends::Here };
    let mut head = Head { bytes: Cursor::new(bytes), ends, missed: false };
    match (of_file(&mut head), head.missed) {
        (Ok(Partitions::Table(table)), true) => Ok(Partitions::Begun(table)),
        (Err(Error::Damaged { .. }), true) => Ok(Partitions::OutOfReach),
        (table, _) => table,
    }
}

/// Whether an image ends with its head.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    Here,
    Cut,
}

/// The first bytes of an image.
struct Head {
    bytes: Cursor<Vec<u8>>,
    ends: Ends,
    /// Whether bytes were asked for that the image may have, but the head has not.
    missed: bool,
}

impl Read for Head {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.bytes.read(buf)?;
        self.missed |= count == 0 && !buf.is_empty() && self.ends == Ends::Cut;
        Ok(count)
    }
}

impl Seek for Head {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.bytes.seek(to)
    }
}
