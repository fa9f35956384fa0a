//! The index of an xz file, as "The .xz File Format" 1.2.1 describes it: where its blocks are, and what they hold. The
//! numbers in brackets are sections of that text.

use std::io;

use super::subset::{FRAMES_MAX, Frame, Index, Stream, read_at};
use crate::range::ByteRange;
use crate::source::peek::StoredFile;
use crate::source::transport::{Seek, Transport};

/// The length of a stream's header and of its footer, in bytes [2.1.1, 2.1.2].
const HEADER_LEN: u64 = 12;
const HEADER_MAGIC: [u8; 6] = *b"\xfd7zXZ\0";
const FOOTER_MAGIC: [u8; 2] = *b"YZ";

/// The longest index that is read, in bytes, so that memory stays bounded: it has room for [`FRAMES_MAX`] blocks
/// whose two numbers take 8 bytes each.
const INDEX_MAX: u64 = 4 << 20;

/// The most streams that are looked for, so that time stays bounded: for each, its end must be read, wherever that is.
const STREAMS_MAX: usize = 1 << 12;

/// The same on a server, which is asked twice for each, and sends more than is read: a file of more streams is rather
/// read whole.
const STREAMS_MAX_COSTLY: usize = 8;

/// How much of the end of a stream is read at first, in bytes: mostly it has all of the index, and a server is not asked
/// again.
const TAIL_LEN: u64 = 4 << 10;

/// How much padding between streams is looked through, in bytes.
const PADDING_MAX: usize = 64 << 10;

/// Reads the indexes of all streams of `file`, which has `size` bytes; `None` where one makes no sense, and
/// decompressing the file will tell what is wrong, or where there are too many.
pub(super) fn index(file: &mut StoredFile, size: u64) -> io::Result<Option<Index>> {
    let streams_max = if file.info().seek == Seek::Costly { STREAMS_MAX_COSTLY } else { STREAMS_MAX };
    let mut streams: Vec<Stream> = Vec::new();
    let mut frames = 0;
    let mut end = size;
    while end > 0 {
        let Some((stream, start)) = stream_before(file, end)? else { return Ok(None) };
        frames = stream.frames.len().saturating_add(frames);
        if frames > FRAMES_MAX || streams.len() == streams_max {
            return Ok(None);
        }
        streams.push(stream);
        end = start;
    }
    streams.reverse();
    Ok(placed(streams).map(|streams| Index { streams }))
}

/// The stream that ends at byte `end`, not counting padding, and where it starts. What its blocks hold is counted from
/// the start of the stream.
fn stream_before(file: &mut StoredFile, end: u64) -> io::Result<Option<(Stream, u64)>> {
    let Some(end) = end_of_footer(file, end)? else { return Ok(None) };
    let Some(footer_start) = end.checked_sub(HEADER_LEN) else { return Ok(None) };
    let footer = read_at(file, footer_start, HEADER_LEN)?;
    let Some((flags, index_len)) = parse_footer(&footer) else { return Ok(None) };
    let Some(index_start) = footer_start.checked_sub(index_len) else { return Ok(None) };
    let Some(records) = parse_index(&read_at(file, index_start, index_len)?) else { return Ok(None) };
    let Some((frames, start)) = frames(&records, index_start) else { return Ok(None) };
    let header = header(flags);
    if read_at(file, start, HEADER_LEN)? != header {
        return Ok(None);
    }
    Ok(Some((Stream { frames, header, trailer }, start)))
}

/// Passes over padding, backwards from `end`.
fn end_of_footer(file: &mut StoredFile, end: u64) -> io::Result<Option<u64>> {
    let last = read_at(file, end.saturating_sub(TAIL_LEN), end.min(TAIL_LEN))?;
    if !last.ends_with(&[0; 4]) {
        return Ok(Some(end));
    }
    let length = end.min(PADDING_MAX as u64);
    let tail = read_at(file, end.saturating_sub(length), length)?;
    let zeroes = tail.iter().rev().take_while(|&&byte| byte == 0).count();
    // Padding is a multiple of four bytes, and a footer does not end in a zero [2.2].
    Ok((zeroes < tail.len() && zeroes % 4 == 0).then(|| end.saturating_sub(zeroes as u64)))
}

/// The stream's flags and the length of its index, from its footer [2.1.2].
fn parse_footer(footer: &[u8]) -> Option<([u8; 2], u64)> {
    let (crc, rest) = footer.split_first_chunk::<4>()?;
    let (covered, magic) = rest.split_first_chunk::<6>()?;
    let (backward_size, flags) = covered.split_first_chunk::<4>()?;
    let index_len = u64::from(u32::from_le_bytes(*backward_size)).saturating_add(1).saturating_mul(4);
    let is_sound = magic == FOOTER_MAGIC && u32::from_le_bytes(*crc) == crc32fast::hash(covered);
    (is_sound && index_len <= INDEX_MAX).then_some((*flags.first_chunk()?, index_len))
}

/// The sizes of the blocks, without padding and decompressed, from an index [4].
fn parse_index(index: &[u8]) -> Option<Vec<(u64, u64)>> {
    let (covered, crc) = index.split_last_chunk::<4>()?;
    if u32::from_le_bytes(*crc) != crc32fast::hash(covered) {
        return None;
    }
    let (0, mut rest) = covered.split_first()? else { return None };
    let count = number(&mut rest)?;
    if count > FRAMES_MAX as u64 {
        return None;
    }
    let mut records = Vec::new();
    for _ in 0..count {
        records.push((number(&mut rest)?, number(&mut rest)?));
    }
    let is_padding = rest.len() < 4 && rest.iter().all(|&byte| byte == 0);
    is_padding.then_some(records)
}

/// Takes a number off `data`: seven bits a byte, the lowest first, the highest bit says that there are more [1.2].
fn number(data: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..63).step_by(7) {
        let (&byte, rest) = data.split_first()?;
        *data = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// Appends `number` to `data`.
fn put_number(data: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        data.push(number as u8 | 0x80);
        number >>= 7;
    }
    data.push(number as u8);
}

/// The blocks of the stream whose index begins at byte `index_start`, and where the stream starts.
fn frames(records: &[(u64, u64)], index_start: u64) -> Option<(Vec<Frame>, u64)> {
    let mut stored_end = index_start;
    let mut frames = Vec::with_capacity(records.len());
    for &(unpadded, decompressed) in records.iter().rev() {
        let start = stored_end.checked_sub(unpadded.checked_next_multiple_of(4)?)?;
        let stored = ByteRange { start, end: stored_end };
        frames.push(Frame { stored, unpadded, decoded: ByteRange { start: 0, end: decompressed } });
        stored_end = start;
    }
    frames.reverse();
    Some((frames, stored_end.checked_sub(HEADER_LEN)?))
}

/// Counts what the blocks hold from the start of the image.
fn placed(mut streams: Vec<Stream>) -> Option<Vec<Stream>> {
    let mut start: u64 = 0;
    for frame in streams.iter_mut().flat_map(|stream| &mut stream.frames) {
        let end = start.checked_add(frame.decoded.len())?;
        frame.decoded = ByteRange { start, end };
        start = end;
    }
    Some(streams)
}

/// The header of a stream with these flags [2.1.1].
fn header(flags: [u8; 2]) -> Vec<u8> {
    [&HEADER_MAGIC[..], &flags, &crc32fast::hash(&flags).to_le_bytes()].concat()
}

/// The index and footer of a stream of just these blocks, which begins with `header`.
fn trailer(header: &[u8], frames: &[Frame]) -> Vec<u8> {
    let mut trailer = vec![0];
    put_number(&mut trailer, frames.len() as u64);
    for frame in frames {
        put_number(&mut trailer, frame.unpadded);
        put_number(&mut trailer, frame.decoded.len());
    }
    trailer.resize(trailer.len().next_multiple_of(4), 0);
    trailer.extend(crc32fast::hash(&trailer).to_le_bytes());
    // The length of the index in frames of four bytes, less one.
    let backward_size = u32::try_from((trailer.len() / 4).saturating_sub(1)).unwrap_or(u32::MAX);
    let flags = header.get(HEADER_MAGIC.len()..).and_then(<[u8]>::first_chunk).copied().unwrap_or([0; 2]);
    let covered = [&backward_size.to_le_bytes()[..], &flags].concat();
    trailer.extend(crc32fast::hash(&covered).to_le_bytes());
    trailer.extend(covered);
    trailer.extend(FOOTER_MAGIC);
    trailer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::peek::Peek;

    /// So many streams, each of a block of nothing for each of `blocks`.
    fn streams(count: usize, blocks: usize) -> Vec<u8> {
        let header = header([0, 1]);
        let frame =
            Frame { stored: ByteRange { start: 0, end: 0 }, unpadded: 0, decoded: ByteRange { start: 0, end: 0 } };
        [&*header, &trailer(&header, &vec![frame; blocks])].concat().repeat(count)
    }

    fn frames(file: Vec<u8>) -> Option<usize> {
        let size = file.len() as u64;
        let mut file: StoredFile = Peek::new(Box::new(io::Cursor::new(file)) as _).unwrap();
        let index = index(&mut file, size).unwrap()?;
        Some(index.streams.iter().map(|stream| stream.frames.len()).sum())
    }

    #[test]
    fn too_many_streams_and_blocks_are_left_alone() {
        assert_eq!(frames(streams(STREAMS_MAX, 2)), Some(2 * STREAMS_MAX));
        assert_eq!(frames(streams(STREAMS_MAX + 1, 2)), None);
        assert_eq!(frames(streams(1, FRAMES_MAX)), Some(FRAMES_MAX));
        assert_eq!(frames(streams(1, FRAMES_MAX + 1)), None);
        assert_eq!(frames(streams(2, FRAMES_MAX / 2 + 1)), None);
    }
}
