//! The central directory, which stands at the end of a zip and lists its entries.

use std::collections::HashMap;
use std::io;

use super::local::{IN_ZIP64, wide, zip64_extra};
use super::{signature, u16_at, u32_at};
use crate::source::codec::read_at;
use crate::source::peek::StoredFile;
use crate::source::transport::Transport;

/// The longest directory that is read, in bytes, so that memory stays bounded.
const DIRECTORY_MAX: u64 = 8 << 20;

/// The entries by the offsets of their local headers; none where the directory cannot be read or makes no sense.
#[derive(Default)]
pub(super) struct Directory(HashMap<u64, Listed>);

/// An entry as the directory lists it.
pub(super) struct Listed {
    pub(super) is_regular: bool,
    pub(super) compressed_size: u64,
    pub(super) size: u64,
}

impl Directory {
    /// Reads the directory of `file` where that is seekable; goes back to the start of the file.
    pub(super) fn read(file: &mut StoredFile) -> io::Result<Self> {
        let Some(size) = file.info().seekable_size() else { return Ok(Self::default()) };
        let directory = match find(file, size)? {
            Some((start, length)) if length <= DIRECTORY_MAX => parse(&read_at(file, start, length)?),
            _ => Self::default(),
        };
        file.seek_to(0)?;
        Ok(directory)
    }

    /// Whether it is known that no file in the zip has `size` bytes.
    pub(super) fn lacks(&self, size: u64) -> bool {
        let Self(entries) = self;
        !entries.is_empty() && !entries.values().any(|entry| entry.is_regular && entry.size == size)
    }

    /// Where the local headers of the regular files begin, in order.
    pub(super) fn files(&self) -> Vec<u64> {
        let files = self.0.iter().filter(|(_, entry)| entry.is_regular);
        let mut offsets: Vec<u64> = files.map(|(&offset, _)| offset).collect();
        offsets.sort_unstable();
        offsets
    }

    /// The entry whose local header begins at `offset`.
    pub(super) fn get(&self, offset: u64) -> Option<&Listed> {
        self.0.get(&offset)
    }
}

/// Where the directory of a file of `size` bytes begins, and its length [4.3.16, 4.3.15, 4.3.14].
fn find(file: &mut StoredFile, size: u64) -> io::Result<Option<(u64, u64)>> {
    const END_LEN: usize = 22;
    const LOCATOR_LEN: u64 = 20;
    const END_64_LEN: u64 = 56;
    // After it, there is only a comment, and perhaps padding.
    let tail_start = size.saturating_sub((END_LEN + usize::from(u16::MAX)) as u64);
    let tail = read_at(file, tail_start, size.saturating_sub(tail_start))?;
    let data_len = tail.iter().rposition(|&byte| byte != 0).map_or(0, |last| last.saturating_add(1));
    let is_end = |at: usize| {
        let rest = tail.get(at..).unwrap_or_default();
        let end = at.saturating_add(END_LEN).saturating_add(usize::from(u16_at(rest, 20)));
        rest.starts_with(&signature::END) && (data_len..=tail.len()).contains(&end)
    };
    let Some(at) = (0..tail.len().saturating_sub(END_LEN - 1)).rev().find(|&at| is_end(at)) else { return Ok(None) };
    let end = tail.get(at..).unwrap_or_default();
    let (length, start) = (u32_at(end, 12), u32_at(end, 16));
    if length != IN_ZIP64 && start != IN_ZIP64 {
        return Ok(Some((u64::from(start), u64::from(length))));
    }
    let Some(offset) = tail_start.saturating_add(at as u64).checked_sub(LOCATOR_LEN) else { return Ok(None) };
    let locator = read_at(file, offset, LOCATOR_LEN)?;
    if !locator.starts_with(&signature::LOCATOR_64) {
        return Ok(None);
    }
    let end = read_at(file, u64_at(&locator, 8), END_64_LEN)?;
    Ok(end.starts_with(&signature::END_64).then(|| (u64_at(&end, 48), u64_at(&end, 40))))
}

/// The entries that `records` list [4.3.12].
fn parse(mut records: &[u8]) -> Directory {
    const HEADER_LEN: usize = 46;
    let mut entries = HashMap::new();
    while records.starts_with(&signature::CENTRAL) {
        let [name_len, extra_len, comment_len] = [28, 30, 32].map(|at| usize::from(u16_at(records, at)));
        let after_name = records.get(HEADER_LEN..).and_then(|rest| rest.get(name_len..)).unwrap_or_default();
        let extra = after_name.get(..extra_len).unwrap_or_default();
        let mut numbers = zip64_extra(extra).unwrap_or_default();
        let size = wide(u32_at(records, 24), &mut numbers);
        let compressed_size = wide(u32_at(records, 20), &mut numbers);
        let offset = wide(u32_at(records, 42), &mut numbers);
        entries.insert(offset, Listed { is_regular: is_regular(records), compressed_size, size });
        records = after_name.get(extra_len..).and_then(|rest| rest.get(comment_len..)).unwrap_or_default();
    }
    Directory(entries)
}

/// Whether an entry can be an image. One that was made on Unix [4.4.2] has a file type, which may be that of a pipe. Of
/// others, only the name tells.
fn is_regular(record: &[u8]) -> bool {
    const UNIX: u16 = 3;
    let kind = u32_at(record, 38) >> 16 & libc::S_IFMT;
    u16_at(record, 4) >> 8 != UNIX || (kind != libc::S_IFLNK && kind != libc::S_IFDIR)
}

/// The number at byte `at` of `record`.
fn u64_at(record: &[u8], at: usize) -> u64 {
    let bytes = record.get(at..).and_then(<[u8]>::first_chunk).copied();
    bytes.map_or(0, u64::from_le_bytes)
}
