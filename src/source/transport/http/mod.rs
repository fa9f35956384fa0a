//! HTTP and HTTPS.

mod certificates;
mod client;
mod download;
mod remote;
mod tls;
mod version;

use std::collections::VecDeque;
use std::io::{self, Read};

use super::prefetch::{Chunk, Prefetcher};
use super::{Info, Seek, Transport};
use crate::range::ByteRange;
use crate::source::{OpenOptions, Url};
pub use certificates::{CertificateFault, Certificates, CertificatesError};
use download::Download;
use remote::Remote;

/// Unwanted bytes, up to so many, are received rather than skipped: that costs less than a new request.
const SMALL_HOLE: u64 = 1 << 20;

/// The first part that is fetched after a seek, in bytes; each that follows is twice as long.
const FIRST_PART: u64 = 256 << 10;

/// Opens the file at `url`.
pub(super) fn open(url: &Url, options: &OpenOptions) -> io::Result<Box<dyn Transport>> {
    let (remote, body) = Remote::open(url, options)?;
    let parts = VecDeque::from([ByteRange { start: 0, end: remote.version.size.unwrap_or(u64::MAX) }]);
    let download = Download::new(remote.clone(), parts.clone(), Some(body));
    Ok(Box::new(Http { remote, chunks: Prefetcher::new(download), parts, chunk: Chunk::default(), position: 0 }))
}

/// A file on a server, fetched ahead.
struct Http {
    remote: Remote,
    chunks: Prefetcher,
    /// What `chunks` deliver, except parts before the position.
    parts: VecDeque<ByteRange>,
    /// The chunk that is being read.
    chunk: Chunk,
    /// The next byte that is read.
    position: u64,
}

impl Http {
    fn size(&self) -> Option<u64> {
        self.remote.version.size
    }

    /// Goes on with `parts`, and fetches nothing else.
    fn restart(&mut self, parts: VecDeque<ByteRange>) {
        self.chunks = Prefetcher::new(Download::new(self.remote.clone(), parts.clone(), None));
        self.parts = parts;
    }

    /// Fetches everything from the position on.
    fn restart_here(&mut self) {
        let end = self.size().unwrap_or(u64::MAX);
        self.restart(growing_parts(ByteRange { start: self.position, end }));
    }

    /// The bytes of the chunk that have not been read.
    fn unread(&self) -> &[u8] {
        let passed = self.position.checked_sub(self.chunk.offset).and_then(|passed| usize::try_from(passed).ok());
        passed.and_then(|passed| self.chunk.data.get(passed..)).unwrap_or_default()
    }

    /// How many bytes are received and dropped on the way to `offset`; `None` where the parts do not lead there.
    fn distance(&mut self, offset: u64) -> Option<u64> {
        let position = self.position;
        while self.parts.front().is_some_and(|part| part.end <= position) {
            self.parts.pop_front();
        }
        let passed = |part: &ByteRange| part.end.min(offset).saturating_sub(part.start.max(position));
        let on_the_way = self.parts.iter().take_while(|part| part.start <= offset);
        let leads_there = offset >= position && on_the_way.clone().last().is_some_and(|part| offset < part.end);
        leads_there.then(|| on_the_way.map(passed).sum())
    }
}

impl Read for Http {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.unread().is_empty() {
            if self.size().is_some_and(|size| self.position >= size) {
                return Ok(0);
            }
            match self.chunks.next()? {
                Some(chunk) if chunk.offset <= self.position => self.chunk = chunk,
                None if self.size().is_none() => return Ok(0),
                // What is read was not announced as wanted.
                _ => self.restart_here(),
            }
        }
        let count = self.unread().read(buf)?;
        self.position = self.position.saturating_add(count as u64);
        Ok(count)
    }
}

impl Transport for Http {
    fn info(&self) -> Info {
        let seek = if self.remote.takes_ranges && self.size().is_some() { Seek::Costly } else { Seek::No };
        Info { size: self.size(), seek, stats: Some(self.remote.stats.clone()) }
    }

    fn seek_to(&mut self, offset: u64) -> io::Result<()> {
        if self.info().seek == Seek::No {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let is_near = self.distance(offset).is_some_and(|distance| distance <= SMALL_HOLE);
        self.position = offset;
        if !is_near && self.unread().is_empty() {
            self.restart_here();
        }
        Ok(())
    }

    fn fetch_only(&mut self, wanted: &[ByteRange]) {
        let Some(size) = self.info().seekable_size() else { return };
        let left = ByteRange { start: self.position.saturating_add(self.unread().len() as u64), end: size };
        let parts = joined(wanted, left);
        let skipped = left.len().saturating_sub(parts.iter().map(|part| part.len()).sum());
        if skipped > SMALL_HOLE {
            self.restart(parts);
        }
    }
}

/// `whole` in growing parts: after a seek only a little may be wanted, and a part that has begun is sent whole.
fn growing_parts(whole: ByteRange) -> VecDeque<ByteRange> {
    let mut length = FIRST_PART;
    let mut part_from = |start: u64| {
        let part = ByteRange { start, end: start.saturating_add(length).min(whole.end) };
        length = length.saturating_mul(2);
        Some(part).filter(|part| !part.is_empty())
    };
    let first = part_from(whole.start);
    std::iter::successors(first, |part| part_from(part.end)).collect()
}

/// The ranges, as far as they lie within `bounds`, with small holes between them filled.
fn joined(ranges: &[ByteRange], bounds: ByteRange) -> VecDeque<ByteRange> {
    let mut parts: VecDeque<ByteRange> = VecDeque::new();
    for range in ranges {
        let range = ByteRange { start: range.start.max(bounds.start), end: range.end.min(bounds.end) };
        match parts.back_mut() {
            _ if range.is_empty() => {}
            Some(last) if range.start.saturating_sub(last.end) <= SMALL_HOLE => last.end = range.end,
            _ => parts.push_back(range),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_grow() {
        let range = |start, end| ByteRange { start, end };
        let (first, size) = (FIRST_PART, 4 * FIRST_PART);
        assert_eq!(
            growing_parts(range(7, size)),
            [range(7, 7 + first), range(7 + first, 7 + 3 * first), range(7 + 3 * first, size)]
        );
        assert!(growing_parts(range(size, size)).is_empty());
        assert_eq!(growing_parts(range(0, u64::MAX)).back().unwrap().end, u64::MAX);
    }

    #[test]
    fn small_holes_are_filled() {
        const MIB: u64 = 1 << 20;
        let range = |start, end| ByteRange { start, end };
        let ranges = [range(0, 10), range(20, 30), range(30 + MIB, 2 * MIB), range(3 * MIB + 1, 9 * MIB)];
        let bounds = range(25, 4 * MIB);
        assert_eq!(joined(&ranges, bounds), [range(25, 2 * MIB), range(3 * MIB + 1, 4 * MIB)]);
        assert!(joined(&ranges, range(10 * MIB, 11 * MIB)).is_empty());
    }
}
