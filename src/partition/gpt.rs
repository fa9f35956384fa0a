//! The GUID Partition Table (UEFI specification 2.10, section 5.3).

use std::fmt;
use std::io::{Cursor, Read, Seek, SeekFrom};

use super::mbr::BootRecord;
use super::{Error, Partition, PartitionType, number, read_at};
use crate::range::ByteRange;

pub(super) const SIGNATURE: &[u8; 8] = b"EFI PART";

/// The sizes of sectors, in bytes, that a table may have been made for. It lies in the second sector.
const SECTOR_SIZES: [u32; 2] = [512, 4096];

/// How many bytes at the start of a disk have the header, whatever the size of the sectors.
pub const HEAD_LEN: usize = 2 * 4096;

/// The length of a header, in bytes, up to the last field that is defined.
const HEADER_LEN: usize = 92;

/// The least size of an entry in bytes; each size is this times a power of two.
const ENTRY_LEN: u32 = 128;

/// How long the entries may be in all, in bytes: 64 times what tables have.
const MAX_ENTRIES_LEN: u64 = 1 << 20;

/// Where the fields of a header lie.
pub(super) mod field {
    pub(in super::super) const HEADER_LEN: usize = 12;
    pub(in super::super) const HEADER_CRC: usize = 16;
    pub(in super::super) const THIS_LBA: usize = 24;
    pub(in super::super) const OTHER_LBA: usize = 32;
    pub(in super::super) const LAST_USABLE_LBA: usize = 48;
    pub(in super::super) const DISK_GUID: usize = 56;
    pub(in super::super) const ENTRIES_LBA: usize = 72;
    pub(in super::super) const ENTRY_COUNT: usize = 80;
    pub(in super::super) const ENTRY_LEN: usize = 84;
    pub(in super::super) const ENTRIES_CRC: usize = 88;
}

/// The type or the name of a disk or a partition, as a number: its digits are those that people write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Guid(pub u128);

impl Guid {
    /// From 16 bytes as they are stored: the first three groups are little-endian.
    fn parse(bytes: &[u8]) -> Self {
        let mut digits = [0; 16];
        digits.copy_from_slice(&bytes[..16]);
        digits[..4].reverse();
        digits[4..6].reverse();
        digits[6..8].reverse();
        Self(u128::from_be_bytes(digits))
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = format!("{:032x}", self.0);
        let (a, rest) = digits.split_at(8);
        let (b, rest) = rest.split_at(4);
        let (c, rest) = rest.split_at(4);
        let (d, e) = rest.split_at(4);
        write!(f, "{a}-{b}-{c}-{d}-{e}")
    }
}

/// A primary table whose checksums are right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gpt {
    sector_size: u32,
    /// The entries, used or not, one after another.
    entries: Vec<u8>,
    entry_len: usize,
}

impl Gpt {
    /// The table of a disk that `source` holds from its byte 0; `None` where there is none.
    ///
    /// # Errors
    ///
    /// Where the source cannot be read, or the table is damaged.
    pub fn read<R: Read + Seek>(source: &mut R) -> Result<Option<Self>, Error> {
        let mut head = Vec::with_capacity(HEAD_LEN);
        source.seek(SeekFrom::Start(0))?;
        source.by_ref().take(HEAD_LEN as u64).read_to_end(&mut head)?;
        let Some((sector_size, header)) = header_of(&head)? else { return Ok(None) };
        let place = entries_of(header, sector_size)?;
        let mut entries = vec![0; place.len() as usize];
        if !read_at(source, &mut entries, place.start)? {
            return Err(damaged("its entries lie past the end"));
        }
        Self::of_entries(header, sector_size, entries).map(Some)
    }

    /// The size in bytes of the sectors that the table at the start of a disk was made for, by its header alone. Of the
    /// disk, `head` are its first [`HEAD_LEN`] bytes; `None` where they have no header that is right.
    pub fn sector_size_of(head: &[u8]) -> Option<u32> {
        header_of(head).ok().flatten().map(|(sector_size, _)| sector_size)
    }

    /// The table of a header that is right, and its entries.
    pub(super) fn of_entries(header: &[u8], sector_size: u32, entries: Vec<u8>) -> Result<Self, Error> {
        if u64::from(crc32fast::hash(&entries)) != number::<4>(header, field::ENTRIES_CRC) {
            return Err(damaged("the checksum of its entries is wrong"));
        }
        Ok(Self { sector_size, entries, entry_len: number::<4>(header, field::ENTRY_LEN) as usize })
    }

    /// The size in bytes of the sectors that the table was made for.
    pub fn sector_size(&self) -> u32 {
        self.sector_size
    }

    /// The partitions in use, by number.
    pub fn partitions(&self) -> Vec<Partition> {
        let numbered = (1..).zip(self.entries.chunks_exact(self.entry_len));
        numbered.filter_map(|(number, entry)| self.partition(number, entry)).collect()
    }

    /// The partition of an entry, which starts with type, GUID, first and last sector, and flags; then comes its name
    /// in UTF-16. `None` where the entry is not in use, or ends before it starts.
    fn partition(&self, partition: u32, entry: &[u8]) -> Option<Partition> {
        let kind = Guid::parse(entry);
        let (first, last) = (number::<8>(entry, 32), number::<8>(entry, 40));
        let byte = |sector: u64| sector.checked_mul(self.sector_size.into());
        let bytes = ByteRange { start: byte(first)?, end: byte(last.checked_add(1)?)? };
        let units = entry[56..128].chunks_exact(2).map(|unit| number::<2>(unit, 0) as u16);
        let name = char::decode_utf16(units.take_while(|&unit| unit != 0));
        let name = name.map(|character| character.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
        (kind.0 != 0 && !bytes.is_empty()).then_some(Partition {
            number: partition,
            bytes,
            kind: PartitionType::Guid(kind),
            name,
        })
    }
}

/// The header at the start of a disk, a sector that is right in itself, and the size of the sectors; `None` where there
/// is none. Of the disk, `head` are its first bytes.
pub(super) fn header_of(head: &[u8]) -> Result<Option<(u32, &[u8])>, Error> {
    if !BootRecord::read(&mut Cursor::new(head), 0)?.is_some_and(|record| record.is_protective()) {
        return Ok(None);
    }
    let sector = |size: u32| head.get(size as usize..2 * size as usize).filter(|sector| sector.starts_with(SIGNATURE));
    let found = SECTOR_SIZES.into_iter().filter_map(|size| Some((size, sector(size)?)));
    let mut checked = found.map(|(size, header)| check_header(header).map(|()| (size, header)));
    let first = checked.next().transpose();
    if first.is_ok() { first } else { checked.find_map(Result::ok).map_or(first, |right| Ok(Some(right))) }
}

/// Where the entries lie that a header leads to, in bytes.
pub(super) fn entries_of(header: &[u8], sector_size: u32) -> Result<ByteRange, Error> {
    let (count, entry_len) = (number::<4>(header, field::ENTRY_COUNT), number::<4>(header, field::ENTRY_LEN));
    if !(entry_len / u64::from(ENTRY_LEN)).is_power_of_two() || entry_len % u64::from(ENTRY_LEN) != 0 {
        return Err(damaged("its entries have an impossible length"));
    }
    let length = count * entry_len;
    let start = number::<8>(header, field::ENTRIES_LBA).checked_mul(sector_size.into());
    let end = start.filter(|_| length <= MAX_ENTRIES_LEN).and_then(|start| start.checked_add(length));
    match start.zip(end) {
        Some((start, end)) => Ok(ByteRange { start, end }),
        None => Err(damaged("its entries lie at an impossible place")),
    }
}

/// Checks a header but for the entries that it leads to. `header` is a sector.
fn check_header(header: &[u8]) -> Result<(), Error> {
    let length = number::<4>(header, field::HEADER_LEN) as usize;
    if !(HEADER_LEN..=header.len()).contains(&length) {
        return Err(damaged("its header has an impossible length"));
    }
    if !is_sealed(header) {
        return Err(damaged("the checksum of its header is wrong"));
    }
    if number::<8>(header, field::THIS_LBA) != 1 {
        return Err(damaged("its header belongs elsewhere"));
    }
    Ok(())
}

/// Whether the checksum of a header, in a sector that has room for it, is right.
pub(super) fn is_sealed(header: &[u8]) -> bool {
    let length = number::<4>(header, field::HEADER_LEN) as usize;
    let crc = header.get(..length).filter(|header| header.len() >= HEADER_LEN).map(crc_of_header);
    crc.is_some_and(|crc| u64::from(crc) == number::<4>(header, field::HEADER_CRC))
}

/// Puts the checksum into a header that has been changed.
pub(super) fn seal(header: &mut [u8]) {
    let length = number::<4>(header, field::HEADER_LEN) as usize;
    let crc = crc_of_header(&header[..length]);
    header[field::HEADER_CRC..field::HEADER_CRC + 4].copy_from_slice(&crc.to_le_bytes());
}

pub(super) fn damaged(problem: &'static str) -> Error {
    Error::Damaged { problem }
}

/// The checksum of a header, which is computed with zeroes in its own place.
fn crc_of_header(header: &[u8]) -> u32 {
    let mut header = header.to_vec();
    header[field::HEADER_CRC..field::HEADER_CRC + 4].fill(0);
    crc32fast::hash(&header)
}
