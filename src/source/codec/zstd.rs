//! Zstandard, by libzstd. Skippable frames are the library's, and so are content checksums, which are verified where a
//! frame has one. Of a file in the seekable format, unwanted frames are left out.

use std::io::{self, BufRead, BufReader, Read};

use ::zstd::stream::raw::{DParameter, Decoder, Operation};

use super::Compressed;
use super::compressed::only_padding_follows;
use super::memory_limit;
use super::subset::{FRAMES_MAX, Frame, Index, Stream, read_at};
use crate::range::ByteRange;
use crate::size::human;
use crate::source::decode_error::unsupported;
use crate::source::peek::StoredFile;

/// The window that is always accepted, as a power of two: the 128 MiB of `zstd --ultra -22 --long=27`, which the `zstd`
/// program decompresses without being told to.
const WINDOW_LOG: u32 = 27;

/// The largest window that is accepted: the 2 GiB of `zstd --long=31`, more than which libzstd does not decompress
/// (ZSTD_WINDOWLOG_MAX in zstd.h). A quarter of what 32 bits can address is less than 1 GiB.
const WINDOW_LOG_MAX: u32 = if cfg!(target_pointer_width = "32") { 29 } else { 31 };

/// The largest window that is accepted where a decoder may take `memory` bytes, as a power of two.
fn window_log(memory: u64) -> u32 {
    memory.checked_ilog2().unwrap_or(0).clamp(WINDOW_LOG, WINDOW_LOG_MAX)
}

/// What a frame of LZ4 begins with. Both formats have skippable frames, and a long one hides which it is.
const LZ4: [u8; 4] = 0x184d_2204_u32.to_le_bytes();

pub(super) fn decoder(compressed: Compressed) -> io::Result<Box<dyn Read + Send>> {
    Ok(Box::new(frames(compressed)?))
}

/// Decompresses `file` from where it stands.
pub(super) fn sequential(file: &mut StoredFile) -> io::Result<impl Read> {
    frames(BufReader::new(file))
}

fn frames<R: BufRead>(compressed: R) -> io::Result<Frames<R>> {
    let window_log = window_log(memory_limit::quarter());
    let mut decoder = Decoder::new().map_err(|error| explained(error, window_log))?;
    decoder.set_parameter(DParameter::WindowLogMax(window_log))?;
    Ok(Frames { compressed, decoder, window_log, state: State::Between })
}

/// All frames of a file.
struct Frames<R> {
    compressed: R,
    /// Goes from one frame to the next by itself.
    decoder: Decoder<'static>,
    window_log: u32,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Between,
    InFrame,
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while !buf.is_empty() {
            if self.state == State::Between && only_padding_follows(&mut self.compressed)? {
                break;
            }
            let input = self.compressed.fill_buf()?;
            if self.state == State::Between && input.starts_with(&LZ4) {
                return Err(unsupported("lz4 data follows a skippable frame that is too long to see that"));
            }
            let at_end = input.is_empty();
            let status = self.decoder.run_on_buffers(input, buf).map_err(|error| explained(error, self.window_log))?;
            self.compressed.consume(status.bytes_read);
            self.state = if status.remaining == 0 { State::Between } else { State::InFrame };
            if status.bytes_written > 0 {
                return Ok(status.bytes_written);
            }
            if at_end && self.state == State::InFrame {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(0)
    }
}

fn explained(error: io::Error, window_log: u32) -> io::Error {
    match error.to_string().as_str() {
        // How libzstd puts them; its crate hands on no code.
        "Frame requires too much memory for decoding" => unsupported(format!(
            "it needs a window of over {}; the limit is a quarter of the machine's memory, but from {} to {}",
            human(1 << window_log.min(WINDOW_LOG_MAX)),
            human(1 << WINDOW_LOG),
            human(1 << WINDOW_LOG_MAX)
        )),
        "Allocation error : not enough memory" => memory_limit::too_little(),
        _ => error,
    }
}

/// Reads the table of a file in the seekable format (contrib/seekable_format of zstd), where there is one.
pub(super) fn index(file: &mut StoredFile, size: u64) -> io::Result<Option<Index>> {
    const FOOTER_LEN: u64 = 9;
    let Some(start) = size.checked_sub(FOOTER_LEN) else { return Ok(None) };
    let footer = read_at(file, start, FOOTER_LEN)?;
    let Some(table_len) = table_len(&footer) else { return Ok(None) };
    let Some(start) = size.checked_sub(table_len) else { return Ok(None) };
    let table = read_at(file, start, table_len)?;
    Ok(parse_table(&table, &footer, start))
}

/// The length of the frame that ends in `footer`, in bytes; `None` where it is no table, or lists too many frames.
fn table_len(footer: &[u8]) -> Option<u64> {
    const MAGIC: [u8; 4] = 0x8f92_eab1_u32.to_le_bytes();
    let (count, rest) = footer.split_first_chunk::<4>()?;
    let (&descriptor, magic) = rest.split_first()?;
    let count = u64::from(u32::from_le_bytes(*count));
    let is_known = magic == MAGIC && descriptor & 0b0111_1100 == 0 && count <= FRAMES_MAX as u64;
    is_known.then(|| count.saturating_mul(entry_len(descriptor) as u64).saturating_add(17))
}

/// The length of an entry in bytes: with a checksum or without.
fn entry_len(descriptor: u8) -> usize {
    if descriptor & 0x80 == 0 { 8 } else { 12 }
}

/// The frames that `table` lists, which begins at byte `start` of the file; `None` where it makes no sense.
fn parse_table(table: &[u8], footer: &[u8], start: u64) -> Option<Index> {
    const SKIPPABLE: [u8; 4] = 0x184d_2a5e_u32.to_le_bytes();
    let (header, rest) = table.split_first_chunk::<8>()?;
    let entries = rest.strip_suffix(footer)?;
    let length = u32::from_le_bytes(*header.last_chunk()?);
    if !header.starts_with(&SKIPPABLE) || length as usize != rest.len() {
        return None;
    }
    let (mut stored, mut decompressed) = (0, 0);
    let mut frames = Vec::new();
    for entry in entries.chunks_exact(entry_len(*footer.get(4)?)) {
        let (stored_len, rest) = entry.split_first_chunk()?;
        let next = |start: u64, length: &[u8; 4]| {
            Some(ByteRange { start, end: start.checked_add(u64::from(u32::from_le_bytes(*length)))? })
        };
        let (frame, decoded) = (next(stored, stored_len)?, next(decompressed, rest.first_chunk()?)?);
        (stored, decompressed) = (frame.end, decoded.end);
        frames.push(Frame { stored: frame, unpadded: frame.len(), decoded });
    }
    let stream = Stream { frames, header: Vec::new(), trailer: |_, _| Vec::new() };
    (stored == start).then(|| Index { streams: vec![stream] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_goes_with_the_memory() {
        let gib = |count: u64| count << 30;
        let cases =
            [(0, 27), (64 << 20, 27), (gib(1) - 1, 29), (gib(1), 30.min(WINDOW_LOG_MAX)), (gib(64), WINDOW_LOG_MAX)];
        for (memory, log) in cases {
            assert_eq!(window_log(memory), log, "{memory}");
        }
    }

    #[test]
    fn tables_of_too_many_frames_are_left_alone() {
        let footer = |count: u32| [&count.to_le_bytes()[..], &[0], &0x8f92_eab1_u32.to_le_bytes()].concat();
        assert_eq!(table_len(&footer(3)), Some(17 + 3 * 8));
        assert_eq!(table_len(&footer(FRAMES_MAX as u32)), Some(17 + FRAMES_MAX as u64 * 8));
        assert_eq!(table_len(&footer(FRAMES_MAX as u32 + 1)), None);
    }
}
