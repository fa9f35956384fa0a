//! Decompresses bzip2 on all cores, whatever program compressed it.
//!
//! [`Decoder`] takes any reader and is one itself:
//!
//! ```
//! use std::io::Read;
//!
//! let compressed: &[u8] = b"BZh91AY&SYD\xf7\x13x\0\0\x01\x91\x80@\0\x06D\x90\x80 \0\"\x034\x840!\xb6\x81T'\x8b\xb9\"\x9c(H\"{\x89\xbc\0";
//! let mut text = String::new();
//! bzip2_parallel::Decoder::new(compressed)?.read_to_string(&mut text)?;
//! assert_eq!(text, "hello world");
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # How it works
//!
//! bzip2 compresses blocks of up to 900,000 bytes, each on its own. The file has no index of them, and they begin at
//! any bit; but each begins with the same 48 bits, its magic. So one thread reads the compressed data and cuts it
//! wherever that magic occurs, at any bit, and the others decode what follows each occurrence, all at the same time.
//!
//! The magic can also occur inside a block, by chance or because somebody made such a file. So an occurrence is only a
//! candidate. Blocks are put together in the order of the file: a candidate is a block if it begins exactly where the
//! block before it ended. What was decoded from any other is discarded. A block in which a magic occurs is decoded once
//! more, from all the sections that it spans.
//!
//! # What is checked
//!
//! The checksum (CRC-32) of every block, before any byte of the block is delivered, and that of every stream, at its
//! end.
//!
//! Streams that follow one another, as some programs write them, make up one file. After the last one there may be zero
//! bytes, with which tapes and devices are filled up. Anything else there is an error, delivered after the data, and
//! [`Decoder::skip_rest`] tells what it is. Empty input is an error too: the smallest bzip2 file has 14 bytes.
//!
//! # Errors
//!
//! | [`kind`](std::io::Error::kind) | what is inside | meaning |
//! |---|---|---|
//! | `UnexpectedEof` | [`FormatError::CutOff`] | the compressed data ends too early |
//! | `InvalidData` | any other [`FormatError`] | the compressed data is corrupt, or is no bzip2 data |
//! | any | the error of the reader, as it was | the compressed data could not be read |
//! | `Other` | no `FormatError` | a thread of the decoder has panicked, or `read` is called again after an error |
//!
//! A reader may fail with `UnexpectedEof` as well. What tells its errors from those of the decoder is what is inside:
//!
//! ```
//! # use std::io::{self, Read};
//! use bzip2_parallel::{Decoder, FormatError};
//!
//! let error = Decoder::new(&b"BZh9"[..])?.read_to_end(&mut Vec::new()).unwrap_err();
//! let inside = error.get_ref().and_then(|inside| inside.downcast_ref::<FormatError>());
//! assert_eq!(inside, Some(&FormatError::CutOff));
//! # Ok::<(), io::Error>(())
//! ```
//!
//! # Memory
//!
//! A decoder with `n` threads takes at most `n` × 5.2 MiB for work in progress, (`n` + 2) × 3.5 MiB for sections of the
//! file that wait to be decoded or read, and 6 MiB besides. For the files that programs write it is about 8 MiB a
//! thread, as a compressed block is then shorter than 1 MiB. What a block expands to does not count: 900,000 bytes may
//! stand for 46 MB, which are made while they are read.
//!
//! A file that is crafted to consist of magics alone is cut into 440,000 sections for each block, whose administration
//! takes up to 70 MiB more.

#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used))]

mod bits;
mod block;
mod bwt;
mod crc;
mod error;
mod huffman;
mod mtf;
mod pool;
mod randomised;
mod run_lengths;
mod scanner;
mod stream;
mod symbols;
#[cfg(test)]
mod tests;

use std::io::{self, BufReader, Read};
use std::num::NonZeroUsize;
use std::thread;

pub use error::FormatError;
use run_lengths::RunExpander;
use stream::Blocks;

/// How much compressed data is read at a time, in bytes.
const READ_LEN: usize = 256 << 10;

/// Decompresses the bzip2 data of a reader; see the [front page](crate).
///
/// The compressed data is read ahead, in portions of up to 256 KiB and in a thread, as far as the bound of memory
/// allows. That thread and those that decode end at the end of the data, at the first error (but see
/// [`skip_rest`](Self::skip_rest)), and when the decoder is dropped. If the reader blocks at that moment, its thread ends as soon as the reader returns; dropping does not wait.
pub struct Decoder {
    /// `None` after an error.
    blocks: Option<Blocks>,
    /// What follows the data, after [`FormatError::NoStreamHeader`].
    rest: Option<Blocks>,
    /// The block that is being read, before its runs are expanded.
    block: Vec<u8>,
    expander: RunExpander,
}

impl Decoder {
    /// Decodes with a thread for each core that this process may use, and one that reads `compressed`.
    ///
    /// # Errors
    ///
    /// If a thread cannot be started. Nothing has been read then.
    pub fn new(compressed: impl Read + Send + 'static) -> io::Result<Self> {
        Self::with_threads(compressed, thread::available_parallelism().unwrap_or(NonZeroUsize::MIN))
    }

    /// Decodes with that many `threads`, and one that reads `compressed`.
    ///
    /// All threads run before this returns. That matters where memory is scarce: a new thread allocates before its
    /// first line runs, and the standard library aborts the process if it cannot.
    ///
    /// # Errors
    ///
    /// If a thread cannot be started. Nothing has been read then.
    pub fn with_threads(compressed: impl Read + Send + 'static, threads: NonZeroUsize) -> io::Result<Self> {
        Self::with_spawner(compressed, threads, pool::spawn)
    }

    /// Like [`with_threads`](Self::with_threads), with threads that `spawn` starts: it is given a name for the thread
    /// and what to run there, and is called `threads` + 1 times before this returns.
    ///
    /// `spawn` must not run the task itself, nor queue it behind others: each task waits for the others.
    ///
    /// ```
    /// # use std::io::{self, Read};
    /// # use std::num::NonZeroUsize;
    /// use bzip2_parallel::{Decoder, Task};
    ///
    /// # let compressed = io::empty();
    /// let small_stack = |name: &str, task: Task| {
    ///     let thread = std::thread::Builder::new().name(name.to_owned()).stack_size(256 << 10);
    ///     thread.spawn(task).map(drop)
    /// };
    /// let decoder = Decoder::with_spawner(compressed, NonZeroUsize::MIN, small_stack)?;
    /// # Ok::<(), io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of `spawn`. The threads that it has started end then, and nothing has been read.
    pub fn with_spawner(
        compressed: impl Read + Send + 'static,
        threads: NonZeroUsize,
        spawn: impl FnMut(&str, Task) -> io::Result<()>,
    ) -> io::Result<Self> {
        let scanned = pool::start(BufReader::with_capacity(READ_LEN, compressed), threads, spawn)?;
        Ok(Self { blocks: Some(Blocks::new(scanned)), rest: None, block: Vec::new(), expander: RunExpander::default() })
    }

    /// After [`FormatError::NoStreamHeader`], reads the compressed data to its end. Puts the bytes from where the header
    /// should begin into `start`, as many as it has room for, and returns how many there are.
    ///
    /// # Errors
    ///
    /// Where the compressed data cannot be read; without that error before, or when it is called again.
    pub fn skip_rest(&mut self, start: &mut [u8]) -> io::Result<usize> {
        self.rest.take().ok_or_else(|| io::Error::other("no data follows that is not bzip2"))?.skip_rest(start)
    }
}

/// What a thread of a [`Decoder`] runs.
pub type Task = Box<dyn FnOnce() + Send>;

impl Read for Decoder {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.expander.expand(&self.block, buf);
            if count > 0 || buf.is_empty() {
                return Ok(count);
            }
            let Some(blocks) = &mut self.blocks else {
                return Err(io::Error::other("the decoder has already failed"));
            };
            match blocks.next_block() {
                Ok(Some(block)) => (self.block, self.expander) = (block, RunExpander::default()),
                Ok(None) => return Ok(0),
                Err(error) => {
                    let cause = error.get_ref().and_then(|inside| inside.downcast_ref());
                    self.rest =
                        self.blocks.take().filter(|_| matches!(cause, Some(FormatError::NoStreamHeader { .. })));
                    return Err(error);
                }
            }
        }
    }
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder").finish_non_exhaustive()
    }
}
