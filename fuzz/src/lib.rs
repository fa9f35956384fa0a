//! What the targets share: files in memory, reading what they decompress to, and a bound for the memory that it takes.

mod bounded;
pub mod forge;
mod input;
pub mod repair;
pub mod server;

use std::error::Error;
use std::io::{self, Cursor, Read};
use std::num::NonZeroUsize;

use bmaptool::range::ByteRange;
use bmaptool::source::codec::{self, Trailing};
use bmaptool::source::transport::{Info, Seek, Transport};
use bmaptool::source::{Format, ForwardRead, Peek, ReadPolicy, StoredFile};
use bzip2_parallel::Decoder;

pub use bounded::{MIB, bounded};
pub use input::Input;

/// How much of what an input decompresses to is looked at, in bytes.
pub const LOOKED_AT: u64 = 4 << 20;

/// What came of reading: whether it went well, and the bytes up to the end, the error, or [`LOOKED_AT`].
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    pub bytes: Vec<u8>,
    pub end: End,
}

/// How reading ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    Clean,
    /// With these words, of the error and what caused it.
    Failed(String),
    /// There may be more.
    Left,
}

impl End {
    /// That it failed with `error`.
    pub fn failed(error: &dyn Error) -> Self {
        let mut words = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            words = format!("{words}: {error}");
            cause = error.source();
        }
        Self::Failed(words)
    }
}

impl Outcome {
    /// Reads all of `reader`.
    pub fn of(reader: impl Read) -> Self {
        let mut bytes = Vec::new();
        let end = match reader.take(LOOKED_AT).read_to_end(&mut bytes) {
            Err(error) => End::failed(&error),
            Ok(_) if bytes.len() as u64 == LOOKED_AT => End::Left,
            Ok(_) => End::Clean,
        };
        Self { bytes, end }
    }

    /// Decompresses `file`, a chunk at a time, by the codec of `format`.
    pub fn of_codec(format: Format, file: Box<dyn Transport>) -> Self {
        match codec::open(format, peeked(file), &ReadPolicy::ReadAll, Trailing::Refuse) {
            Ok(decoded) => Self::of(decoded),
            Err(error) => Self { bytes: Vec::new(), end: End::failed(&error) },
        }
    }

    /// Decompresses bzip2, with few threads, as each has a share in the bound of memory.
    pub fn of_bzip2(file: Box<dyn Transport>) -> Self {
        const THREADS: NonZeroUsize = NonZeroUsize::new(4).unwrap();
        Self::of(Decoder::with_threads(file, THREADS).expect("threads can be started"))
    }

    /// Whether both say the same of the data: all that both have is equal, and none has a clean end where the other
    /// goes on or fails.
    pub fn agrees_with(&self, other: &Self) -> bool {
        let common = self.bytes.len().min(other.bytes.len());
        let is_clean = |outcome: &Self| outcome.end == End::Clean;
        self.bytes[..common] == other.bytes[..common]
            && is_clean(self) == is_clean(other)
            && (!is_clean(self) || self.bytes.len() == other.bytes.len())
    }
}

/// A file whose first bytes have been looked at.
pub fn peeked(file: Box<dyn Transport>) -> StoredFile {
    Peek::new(file).expect("files in memory can be read")
}

/// A file that can be read in any order.
pub fn file(bytes: &[u8]) -> Box<dyn Transport> {
    Box::new(Memory(Cursor::new(bytes.to_vec())))
}

struct Memory(Cursor<Vec<u8>>);

impl Read for Memory {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl Transport for Memory {
    fn info(&self) -> Info {
        Info { size: Some(self.0.get_ref().len() as u64), seek: Seek::Free, stats: None }
    }

    fn seek_to(&mut self, offset: u64) -> io::Result<()> {
        self.0.set_position(offset);
        Ok(())
    }
}

/// A file that comes through a pipe, at most `chunk_len` bytes at a time.
pub fn pipe(bytes: &[u8], chunk_len: usize) -> Box<dyn Transport> {
    Box::new(Pipe { bytes: Cursor::new(bytes.to_vec()), chunk_len })
}

struct Pipe {
    bytes: Cursor<Vec<u8>>,
    chunk_len: usize,
}

impl Read for Pipe {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let length = buf.len().min(self.chunk_len);
        self.bytes.read(&mut buf[..length])
    }
}

impl Transport for Pipe {}

/// Reads those ranges of an image alone, which are in order; `None` where that fails.
pub fn read_ranges(image: &mut dyn ForwardRead, ranges: &[ByteRange]) -> Option<Vec<Vec<u8>>> {
    let mut read = Vec::new();
    for range in ranges {
        let mut bytes = Vec::new();
        if image.skip_to(range.start).ok()? == range.start {
            (&mut *image).take(range.len()).read_to_end(&mut bytes).ok()?;
        }
        read.push(bytes);
    }
    Some(read)
}

/// Ranges of an image of `size` bytes, which `seed` tells: in order and apart from each other.
pub fn ranges(seed: &[u8], size: u64) -> Vec<ByteRange> {
    let mut at = 0;
    let mut next = |distance: u8, length: u8| {
        // Up to the whole image in few steps, and down to single bytes.
        let part = |byte: u8| (size * u64::from(byte & 0x3f) >> (6 + 2 * (byte >> 6))) + u64::from(byte & 3);
        let start: u64 = at + part(distance);
        let end = (start + part(length) + 1).min(size);
        at = end;
        (start < end).then_some(ByteRange { start, end })
    };
    seed.chunks_exact(2).map_while(|pair| next(pair[0], pair[1])).collect()
}
