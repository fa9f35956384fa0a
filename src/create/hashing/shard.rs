//! Ranges that are read and hashed one after another, as if they were one.

use std::collections::{TryReserveError, VecDeque};
use std::fs::File;

use crate::digest::{ChecksumKind, Digest, Hasher};
use crate::range::ByteRange;
use crate::sys::read_at::{ReadError, read_all_at};

/// Small enough to stay in the CPU's cache until it is hashed, large enough to make the hand-over cheap.
const BUFFER_LEN: usize = 1 << 20;

/// How many buffers each shard has.
const BUFFERS: usize = 4;

/// The index of a range in the map, and the range, or what is left of it.
pub(super) type Numbered = (usize, ByteRange);

type Buffer = Box<[u8]>;

/// A worker takes out the reader or the hasher, and a buffer, and puts them back.
pub(super) struct Shard {
    reader: Option<Reader>,
    hasher: Option<RangeHasher>,
    /// Buffers that have been read and not hashed, in order.
    full: VecDeque<Buffer>,
    empty: Vec<Buffer>,
    /// How many bytes are still to be hashed.
    pub(super) unhashed: u64,
}

/// What a worker can do for a shard.
pub(super) enum Task {
    Hash(RangeHasher, Buffer),
    Read(Reader, Buffer),
}

impl Shard {
    pub(super) fn new(ranges: Vec<Numbered>, kind: ChecksumKind) -> Result<Self, TryReserveError> {
        let unhashed = ranges.iter().map(|(_, bytes)| bytes.len()).sum();
        let cursor = Cursor(ranges.into());
        Ok(Self {
            reader: Some(Reader(cursor.clone())),
            hasher: Some(RangeHasher { cursor, hasher: kind.hasher(), digests: Vec::new() }),
            full: VecDeque::new(),
            empty: (0..BUFFERS).map(|_| new_buffer()).collect::<Result<_, _>>()?,
            unhashed,
        })
    }

    pub(super) fn take_hashing(&mut self) -> Option<Task> {
        let hasher = self.hasher.take_if(|_| !self.full.is_empty())?;
        Some(Task::Hash(hasher, self.full.pop_front()?))
    }

    pub(super) fn take_reading(&mut self) -> Option<Task> {
        let reader = self.reader.take_if(|reader| !reader.is_done() && !self.empty.is_empty())?;
        Some(Task::Read(reader, self.empty.pop()?))
    }

    pub(super) fn put_back_hasher(&mut self, hasher: RangeHasher, buffer: Buffer, hashed: u64) {
        self.hasher = Some(hasher);
        self.empty.push(buffer);
        self.unhashed -= hashed;
    }

    pub(super) fn put_back_reader(&mut self, reader: Reader, buffer: Buffer) {
        self.reader = Some(reader);
        self.full.push_back(buffer);
    }

    /// Each with the index of its range.
    pub(super) fn into_digests(self) -> Vec<(usize, Digest)> {
        self.hasher.map(|hasher| hasher.digests).unwrap_or_default()
    }
}

/// A buffer of zeroes; an error if there is no memory for it.
fn new_buffer() -> Result<Buffer, TryReserveError> {
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(BUFFER_LEN)?;
    buffer.resize(BUFFER_LEN, 0);
    Ok(buffer.into())
}

/// What is left of a shard.
#[derive(Clone)]
struct Cursor(VecDeque<Numbered>);

impl Cursor {
    /// Takes the next bytes, at most `max` and all of one range; with the index of that range if they are its last.
    fn take(&mut self, max: usize) -> Option<(ByteRange, Option<usize>)> {
        let (index, left) = self.0.front_mut().filter(|_| max > 0)?;
        let bytes = ByteRange { start: left.start, end: left.end.min(left.start + max as u64) };
        left.start = bytes.end;
        let ended = left.is_empty().then_some(*index);
        if ended.is_some() {
            self.0.pop_front();
        }
        Some((bytes, ended))
    }
}

/// Reads a shard.
pub(super) struct Reader(Cursor);

impl Reader {
    fn is_done(&self) -> bool {
        self.0.0.is_empty()
    }

    /// Fills a buffer with the next bytes of the shard. Only its last buffer may stay partly filled.
    pub(super) fn fill(&mut self, image: &File, buffer: &mut [u8]) -> Result<(), ReadError> {
        let mut filled = 0;
        while let Some((bytes, _)) = self.0.take(buffer.len() - filled) {
            let end = filled + bytes.len() as usize;
            read_all_at(image, &mut buffer[filled..end], bytes.start)?;
            filled = end;
        }
        Ok(())
    }
}

/// Hashes what has been read, range by range.
pub(super) struct RangeHasher {
    /// Advances through the shard as the reader's does, and so knows where the ranges are in the buffers.
    cursor: Cursor,
    hasher: Hasher,
    /// Each with the index of its range.
    digests: Vec<(usize, Digest)>,
}

impl RangeHasher {
    /// Hashes the next buffer; returns how many bytes of the shard it had.
    pub(super) fn update(&mut self, buffer: &[u8]) -> u64 {
        let mut hashed = 0;
        while let Some((bytes, ended)) = self.cursor.take(buffer.len() - hashed) {
            let end = hashed + bytes.len() as usize;
            self.hasher.update(&buffer[hashed..end]);
            hashed = end;
            if let Some(index) = ended {
                self.digests.push((index, self.hasher.finish()));
            }
        }
        hashed as u64
    }
}
