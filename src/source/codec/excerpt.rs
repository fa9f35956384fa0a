//! Files that have an index: their parts that are wanted, read as if they were a file of their own.
//!
//! The decoder need not know: what it reads is sound data of its format, only with parts left out, and so it can read
//! ahead and unpack several at once.

use std::io::{self, Read};
use std::vec;

use crate::range::ByteRange;
use crate::source::transport::{Peeked, Transport};

/// The most units that an index may have, all streams together, so that memory stays bounded.
pub(super) const UNITS_MAX: usize = 1 << 18;

/// What a packed file consists of.
pub(super) struct Index {
    /// In the order of the file.
    pub(super) streams: Vec<Stream>,
}

/// Units that belong together, and what a decoder needs to see around them.
pub(super) struct Stream {
    pub(super) units: Vec<Unit>,
    /// Stands before the units.
    pub(super) header: Vec<u8>,
    /// What stands behind those units that are read.
    pub(super) trailer: fn(header: &[u8], units: &[Unit]) -> Vec<u8>,
}

/// A part of a file that can be unpacked without the others.
#[derive(Clone, Copy)]
pub(super) struct Unit {
    /// Where it is stored.
    pub(super) stored: ByteRange,
    /// How many bytes of it count, without padding.
    pub(super) unpadded: u64,
    /// What it unpacks to, in bytes from the start of the image.
    pub(super) holds: ByteRange,
}

/// What is read of a file.
pub(super) struct Excerpt {
    pub(super) parts: Parts,
    /// What that unpacks to, in order.
    pub(super) holds: Vec<ByteRange>,
    /// What the whole file would unpack to, in bytes.
    pub(super) size: u64,
}

impl Index {
    /// What the whole file unpacks to, in bytes.
    pub(super) fn size(&self) -> u64 {
        self.streams.iter().flat_map(|stream| &stream.units).next_back().map_or(0, |unit| unit.holds.end)
    }

    /// What must be read to get at the `wanted` ranges, which are in order.
    pub(super) fn excerpt(self, wanted: &[ByteRange]) -> Excerpt {
        let size = self.size();
        let mut parts = Vec::new();
        let mut holds = Vec::new();
        let mut wanted = wanted.iter().filter(|range| !range.is_empty()).peekable();
        let mut is_wanted = |unit: &Unit| {
            while wanted.next_if(|range| range.end <= unit.holds.start).is_some() {}
            wanted.peek().is_some_and(|range| range.start < unit.holds.end)
        };
        for Stream { mut units, header, trailer } in self.streams {
            units.retain(&mut is_wanted);
            if units.is_empty() {
                continue;
            }
            let trailer = trailer(&header, &units);
            parts.push(Part::Made(header));
            for unit in &units {
                match parts.last_mut() {
                    Some(Part::Stored(last)) if last.end == unit.stored.start => last.end = unit.stored.end,
                    _ => parts.push(Part::Stored(unit.stored)),
                }
            }
            parts.push(Part::Made(trailer));
            holds.extend(units.iter().map(|unit| unit.holds));
        }
        Excerpt { parts: Parts(parts), holds, size }
    }
}

/// The parts that make up an excerpt.
pub(super) struct Parts(Vec<Part>);

enum Part {
    /// Bytes that the file does not have.
    Made(Vec<u8>),
    /// Bytes of the file.
    Stored(ByteRange),
}

impl Parts {
    /// The bytes of these parts of `file`.
    pub(super) fn of(self, mut file: Peeked) -> impl Read + Send + use<> {
        let stored = self.0.iter().filter_map(|part| match part {
            Part::Made(_) => None,
            Part::Stored(range) => Some(*range),
        });
        file.fetch_only(&stored.collect::<Vec<_>>());
        PartsOf { file, parts: self.0.into_iter(), current: Current::Made(io::Cursor::default()) }
    }
}

struct PartsOf {
    file: Peeked,
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
pub(in crate::source) fn read_at(file: &mut Peeked, offset: u64, length: u64) -> io::Result<Vec<u8>> {
    file.seek_to(offset)?;
    let mut bytes = Vec::new();
    file.by_ref().take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}
