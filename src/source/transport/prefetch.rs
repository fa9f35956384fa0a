//! Fetches ahead of what is read, so that the network and the decoder need not wait for each other.

use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Info, Seek, Transport};
use crate::sys::threads;

/// The size of a chunk in bytes.
pub(super) const CHUNK_LEN: usize = 128 << 10;

/// How many chunks may wait: 4 MiB.
const CHUNKS: usize = 32;

/// Consecutive bytes of a file.
#[derive(Default)]
pub(super) struct Chunk {
    /// Where it belongs, in bytes from the start of the file.
    pub(super) offset: u64,
    pub(super) data: Vec<u8>,
}

/// Fetches one chunk after another.
pub(super) trait Fetch: Send + 'static {
    /// The next chunk, which is not empty and not before the last one; `None` at the clean end.
    fn fetch(&mut self) -> io::Result<Option<Chunk>>;
}

/// How much of a file was fetched.
#[derive(Clone, Debug, Default)]
pub struct TransferStats {
    fetched: Arc<AtomicU64>,
    size: Option<u64>,
    has_unmarked_end: Arc<AtomicBool>,
    /// Of the same file, opened again.
    again: Arc<Mutex<Vec<Self>>>,
}

impl TransferStats {
    pub(super) fn of(size: Option<u64>) -> Self {
        Self { size, ..Self::default() }
    }

    /// The bytes of the file that came over the network; those that came again count again.
    pub fn fetched(&self) -> u64 {
        let again = self.again.lock().unwrap_or_else(PoisonError::into_inner);
        again.iter().map(Self::fetched).fold(self.fetched.load(Ordering::Relaxed), u64::saturating_add)
    }

    /// Counts what is fetched of the same file after it was opened again.
    pub(in crate::source) fn include(&self, again: Self) {
        self.again.lock().unwrap_or_else(PoisonError::into_inner).push(again);
    }

    /// The size of the file in bytes, where it is known.
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// Whether the file ended with the connection, and the server had not announced its size: it may have been cut off.
    pub fn has_unmarked_end(&self) -> bool {
        self.has_unmarked_end.load(Ordering::Relaxed)
    }

    pub(super) fn ended_unmarked(&self) {
        self.has_unmarked_end.store(true, Ordering::Relaxed);
    }

    pub(super) fn add(&self, bytes: usize) {
        self.fetched.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// Chunks of a file, fetched ahead by a thread. The first is fetched when it is asked for, and the thread begins with
/// the second: a look at the first bytes costs no more than these.
///
/// The thread is not joined, as it may block in a read; it ends when that returns.
pub(super) struct Prefetcher(State);

enum State {
    New(Box<dyn Fetch>),
    Peeked(Box<dyn Fetch>),
    Running(Receiver<io::Result<Option<Chunk>>>),
    Ended,
}

impl Prefetcher {
    pub(super) fn new(fetch: impl Fetch) -> Self {
        Self(State::New(Box::new(fetch)))
    }

    /// The next chunk; `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Chunk>> {
        match std::mem::replace(&mut self.0, State::Ended) {
            State::New(mut fetch) => {
                let chunk = fetch.fetch()?;
                if chunk.is_some() {
                    self.0 = State::Peeked(fetch);
                }
                Ok(chunk)
            }
            State::Peeked(fetch) => {
                self.0 = State::Running(start(fetch)?);
                self.next()
            }
            State::Running(chunks) => {
                let chunk = chunks.recv().map_err(|_| io::Error::other("the fetching thread is gone"))??;
                if chunk.is_some() {
                    self.0 = State::Running(chunks);
                }
                Ok(chunk)
            }
            State::Ended => Ok(None),
        }
    }
}

fn start(mut fetch: Box<dyn Fetch>) -> io::Result<Receiver<io::Result<Option<Chunk>>>> {
    let (sender, chunks) = sync_channel(CHUNKS);
    threads::start("fetch", move || {
        loop {
            let chunk = fetch.fetch();
            let goes_on = matches!(chunk, Ok(Some(_)));
            if sender.send(chunk).is_err() || !goes_on {
                return;
            }
        }
    })?;
    Ok(chunks)
}

/// A file that is fetched ahead from its first byte to its last.
pub(super) struct StreamTransport {
    chunks: Prefetcher,
    data: Vec<u8>,
    /// How much of the data has been read.
    read: usize,
    stats: TransferStats,
}

impl StreamTransport {
    /// The file that `fetch` delivers.
    pub(super) fn new(fetch: impl Fetch, stats: TransferStats) -> Self {
        Self { chunks: Prefetcher::new(fetch), data: Vec::new(), read: 0, stats }
    }

    /// The bytes that are read next, as far as they are here; nothing at the end of the file.
    pub(super) fn fill(&mut self) -> io::Result<&[u8]> {
        if self.read >= self.data.len() {
            (self.data, self.read) = (self.chunks.next()?.unwrap_or_default().data, 0);
        }
        Ok(self.data.get(self.read..).unwrap_or_default())
    }
}

impl Read for StreamTransport {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.fill()?.read(buf)?;
        self.read = self.read.saturating_add(count);
        Ok(count)
    }
}

impl Transport for StreamTransport {
    fn info(&self) -> Info {
        Info { size: self.stats.size(), seek: Seek::No, stats: Some(self.stats.clone()) }
    }
}
