//! The partition table of an image of which only the head may be read.

use std::io::{self, Cursor, Read, Seek, SeekFrom};

use crate::partition::{Error, PartitionTable};
use crate::source::ForwardRead;

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
    /// What could be read of it: there may be more logical partitions.
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

/// What was found of a partition table, and why that is not all of it.
pub(super) struct Found {
    pub(super) partitions: Partitions,
    pub(super) error: Option<Error>,
}

/// The table of what can be read anywhere.
pub(super) fn of_file(file: &mut (impl Read + Seek)) -> Found {
    match PartitionTable::read(file) {
        Ok(table) => Found { partitions: table.map_or(Partitions::None, Partitions::Table), error: None },
        Err(error) => {
            let partitions = match &error {
                Error::Logical { table, .. } => Partitions::Begun(table.clone()),
                Error::Read(_) | Error::Damaged { .. } => Partitions::None,
            };
            Found { partitions, error: Some(error) }
        }
    }
}

/// The table of an image of `size` bytes, where that is known, of which only the head is read; also why that could not
/// be read to its end.
pub(super) fn of_head(reader: &mut dyn ForwardRead, size: Option<u64>) -> (Found, io::Result<()>) {
    let mut bytes = Vec::new();
    let read = reader.take(size.unwrap_or(u64::MAX).min(HEAD)).read_to_end(&mut bytes).map(drop);
    let ends = if read.is_err() || bytes.len() as u64 == HEAD { Ends::Cut } else { Ends::Here };
    let mut head = Head { bytes: Cursor::new(bytes), ends, missed: false };
    let found = match (of_file(&mut head), head.missed) {
        (Found { partitions: Partitions::Table(table), .. }, true) => {
            Found { partitions: Partitions::Begun(table), error: None }
        }
        (Found { error: Some(Error::Damaged { .. }), .. }, true) => {
            Found { partitions: Partitions::OutOfReach, error: None }
        }
        (found, _) => found,
    };
    (found, read)
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
