//! Files that have an index: the wanted parts, read as if they were a file of their own.
//!
//! The decoder need not know: it reads valid data of its format, only with parts left out, and so can read ahead and
//! decompress several frames at once.

use std::io::{self, Read};
use std::vec;

use crate::range::ByteRange;
use crate::source::peek::StoredFile;
use crate::source::transport::Transport;

/// The most frames that an index may have, all streams together, so that memory stays bounded.
pub(super) const FRAMES_MAX: usize = 1 << 18;

/// The frames of a compressed file.
pub(super) struct Index {
    /// In the order of the file.
    pub(super) streams: Vec<Stream>,
}

/// Frames that belong together, and what a decoder needs to see around them.
pub(super) struct Stream {
    pub(super) frames: Vec<Frame>,
    /// Stands before the frames.
    pub(super) header: Vec<u8>,
    /// What stands after those frames that are read.
    pub(super) trailer: fn(header: &[u8], frames: &[Frame]) -> Vec<u8>,
}

/// A part of a file that can be decompressed without the others: a frame of zstd, a block of xz.
#[derive(Clone, Copy)]
pub(super) struct Frame {
    /// Where it is stored.
    pub(super) stored: ByteRange,
    /// How many bytes of it count, without padding.
    pub(super) unpadded: u64,
    /// What it decompresses to, in bytes from the start of the image.
    pub(super) decoded: ByteRange,
}

/// The parts of a file that are read.
pub(super) struct Subset {
    pub(super) parts: Parts,
    /// The ranges of the image that they decompress to, in order.
    pub(super) decoded: Vec<ByteRange>,
    /// The size of the whole image in bytes.
    pub(super) size: u64,
}

impl Index {
    /// The size of the whole image in bytes.
    pub(super) fn size(&self) -> u64 {
        self.streams.iter().flat_map(|stream| &stream.frames).next_back().map_or(0, |frame| frame.decoded.end)
    }

    /// The subset with the `wanted` ranges, which are in order.
    pub(super) fn subset(self, wanted: &[ByteRange]) -> Subset {
        let size = self.size();
        let mut parts = Vec::new();
        let mut decoded = Vec::new();
        let mut wanted = wanted.iter().filter(|range| !range.is_empty()).peekable();
        let mut is_wanted = |frame: &Frame| {
            while wanted.next_if(|range| range.end <= frame.decoded.start).is_some() {}
            wanted.peek().is_some_and(|range| range.start < frame.decoded.end)
        };
        for Stream { mut frames, header, trailer } in self.streams {
            frames.retain(&mut is_wanted);
            if frames.is_empty() {
                continue;
            }
            let trailer = trailer(&header, &frames);
            parts.push(Part::Made(header));
            for frame in &frames {
                match parts.last_mut() {
                    Some(Part::Stored(last)) if last.end == frame.stored.start => last.end = frame.stored.end,
                    _ => parts.push(Part::Stored(frame.stored)),
                }
            }
            parts.push(Part::Made(trailer));
            decoded.extend(frames.iter().map(|frame| frame.decoded));
        }
        Subset { parts: Parts(parts), decoded, size }
    }
}

/// The parts of a subset.
pub(super) struct Parts(Vec<Part>);

enum Part {
    /// Bytes that the file does not have.
    Made(Vec<u8>),
    /// Bytes of the file.
    Stored(ByteRange),
}

impl Parts {
    /// The bytes of these parts of `file`.
    pub(super) fn of(self, mut file: StoredFile) -> impl Read + Send + use<> {
        let stored = self.0.iter().filter_map(|part| match part {
            Part::Made(_) => None,
            Part::Stored(range) => Some(*range),
        });
        file.fetch_only(&stored.collect::<Vec<_>>());
        PartsOf { file, parts: self.0.into_iter(), current: Current::Made(io::Cursor::default()) }
    }
}

struct PartsOf {
    file: StoredFile,
    parts: vec::IntoIter<Part>,
    current: Current,
}

enum Current {
    Made(io::Cursor<Vec<u8>>),
    /// The file stands at the first of so many bytes.
    Stored(u64),
}

impl Read for PartsOf {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = match &mut self.current {
                Current::Made(bytes) => bytes.read(buf)?,
                Current::Stored(left) => {
                    let count = self.file.by_ref().take(*left).read(buf)?;
                    if count == 0 && *left > 0 && !buf.is_empty() {
                        return Ok(0);
                    }
                    *left = left.saturating_sub(count as u64);
                    count
                }
            };
            if count > 0 || buf.is_empty() {
                return Ok(count);
            }
            self.current = match self.parts.next() {
                Some(Part::Made(bytes)) => Current::Made(io::Cursor::new(bytes)),
                Some(Part::Stored(range)) => {
                    self.file.seek_to(range.start)?;
                    Current::Stored(range.len())
                }
                None => return Ok(0),
            };
        }
    }
}

/// The bytes of `file` from `offset` on, `length` of them, or as many as there are.
pub(in crate::source) fn read_at(file: &mut StoredFile, offset: u64, length: u64) -> io::Result<Vec<u8>> {
    file.seek_to(offset)?;
    let mut bytes = Vec::new();
    file.by_ref().take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}
