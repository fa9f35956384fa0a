//! Fetches the parts of a file, one after another, and resumes where a connection broke.

use std::collections::VecDeque;
use std::io::{self, Read};

use reqwest::Version;
use reqwest::header::TRANSFER_ENCODING;

use super::client::root_cause;
use super::remote::{Body, Remote};
use crate::event::Notice;
use crate::range::ByteRange;
use crate::source::transport::fetch_error::{ENDED_EARLY, FetchError};
use crate::source::transport::prefetch::{CHUNK_LEN, Chunk, Fetch};
use crate::source::transport::retry::Retry;
use crate::sys::eintr::retry_on_eintr;

/// A download that is under way.
pub(super) struct Download {
    remote: Remote,
    /// The ranges still to fetch, in order. The last ends at [`u64::MAX`] where the size is not known.
    left: VecDeque<ByteRange>,
    body: Option<Body>,
    retry: Retry,
}

impl Download {
    /// Fetches the parts `left`, which are in order; `body` is what is being received already.
    pub(super) fn new(remote: Remote, left: VecDeque<ByteRange>, body: Option<Body>) -> Self {
        let retry = Retry::new(remote.url(), &remote.options);
        Self { remote, left, body, retry }
    }

    /// Fetches bytes for the start of `wanted` and returns their number: 0 at the end of a file whose size was not
    /// known when `wanted` was made.
    fn read(&mut self, wanted: ByteRange, buf: &mut [u8]) -> Result<usize, FetchError> {
        loop {
            match self.try_read(wanted, buf) {
                Err(failure) => {
                    self.retry.pause(failure)?;
                    if !self.remote.version.has_validator() {
                        self.remote.options.observer.notice(Notice::NoValidator { url: self.remote.url() });
                    }
                }
                done => return done,
            }
        }
    }

    /// Like `read`, without another try: after an error there is no body.
    fn try_read(&mut self, wanted: ByteRange, buf: &mut [u8]) -> Result<usize, FetchError> {
        if self.remote.version.size.is_some_and(|size| wanted.start >= size) {
            return Ok(0);
        }
        let mut body = match self.body.take() {
            Some(body) if body.leads_to(wanted.start, self.remote.takes_ranges) => body,
            _ => self.request(wanted)?,
        };
        while body.at < wanted.start {
            let skipped = usize::try_from(wanted.start.saturating_sub(body.at)).unwrap_or(usize::MAX).min(buf.len());
            if self.receive(&mut body, buf.get_mut(..skipped).unwrap_or_default())? == 0 {
                return Err(broken(body.at, ENDED_EARLY.to_owned()));
            }
            self.retry.repeated();
        }
        match self.receive(&mut body, buf)? {
            0 if self.remote.version.size == Some(body.at) => Ok(0),
            0 if body.end.is_none() => {
                if !body.has_marked_end() {
                    self.remote.stats.ended_unmarked();
                }
                Ok(0)
            }
            0 => Err(broken(body.at, ENDED_EARLY.to_owned())),
            count => {
                self.retry.reset();
                self.body = Some(body);
                Ok(count)
            }
        }
    }

    /// Reads from `body`; 0 where it ends.
    fn receive(&self, body: &mut Body, buf: &mut [u8]) -> Result<usize, FetchError> {
        let rest = body.end.map_or(u64::MAX, |end| end.saturating_sub(body.at));
        let received = retry_on_eintr(|| body.response.by_ref().take(rest).read(buf));
        let count = received.map_err(|error| broken(body.at, root_cause(&error)))?;
        body.at = body.at.saturating_add(count as u64);
        self.remote.stats.add(count);
        Ok(count)
    }

    /// Asks for `wanted`. A server that sends whole files only starts over, and what has come before is dropped.
    fn request(&mut self, wanted: ByteRange) -> Result<Body, FetchError> {
        let body = self.remote.request(wanted)?;
        if body.at < wanted.start {
            self.remote.options.observer.notice(Notice::StartsOver { url: self.remote.url() });
        }
        Ok(body)
    }
}

fn broken(offset: u64, cause: String) -> FetchError {
    FetchError::Broken { offset, cause }
}

impl Body {
    /// Whether the protocol marks the end of a body without a length (RFC 9112, section 6.3; RFC 9113, section 8.1).
    fn has_marked_end(&self) -> bool {
        self.response.version() >= Version::HTTP_2 || self.response.headers().contains_key(TRANSFER_ENCODING)
    }

    /// Whether reading on leads to `offset`; where ranges work, only at once.
    fn leads_to(&self, offset: u64, takes_ranges: bool) -> bool {
        let within = self.end.is_none_or(|end| offset < end);
        within && (self.at == offset || (self.at < offset && !takes_ranges))
    }
}

impl Fetch for Download {
    fn fetch(&mut self) -> io::Result<Option<Chunk>> {
        while self.left.front().is_some_and(|part| part.is_empty()) {
            self.left.pop_front();
        }
        let Some(wanted) = self.left.front().copied() else { return Ok(None) };
        let mut data = vec![0; usize::try_from(wanted.len()).unwrap_or(usize::MAX).min(CHUNK_LEN)];
        let mut filled = 0;
        self.retry.reset(); // the reader may have taken its time
        while let Some(rest) = data.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let start = wanted.start.saturating_add(filled as u64);
            match self.read(ByteRange { start, ..wanted }, rest)? {
                0 => {
                    self.left.clear();
                    break;
                }
                count => filled = filled.saturating_add(count),
            }
        }
        data.truncate(filled);
        if let Some(first) = self.left.front_mut() {
            first.start = first.start.saturating_add(filled as u64);
        }
        Ok(Some(Chunk { offset: wanted.start, data }).filter(|chunk| !chunk.data.is_empty()))
    }
}
