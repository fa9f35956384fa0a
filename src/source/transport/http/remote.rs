//! A file on a server: what is known about it, and requests for its parts.

use std::io;

use reqwest::StatusCode;
use reqwest::blocking::Response;
use reqwest::header::CONTENT_LENGTH;

use super::client::{Client, Part};
use super::version::{ContentRange, Version, header};
use crate::range::ByteRange;
use crate::source::transport::FetchError;
use crate::source::transport::prefetch::{CHUNK_LEN, TransferStats};
use crate::source::transport::retry::Retry;
use crate::source::{FirstRequest, OpenOptions, Url};

/// A file on a server.
#[derive(Clone)]
pub(super) struct Remote {
    client: Client,
    pub(super) options: OpenOptions,
    pub(super) version: Version,
    /// Whether the server has shown that it sends parts of the file.
    pub(super) takes_ranges: bool,
    /// Shared by all copies of this.
    pub(super) stats: TransferStats,
}

/// What is being received.
pub(super) struct Body {
    pub(super) response: Response,
    /// Where the next byte belongs.
    pub(super) at: u64,
    /// Where it ends, if that is known beforehand.
    pub(super) end: Option<u64>,
}

impl Remote {
    /// Asks for the file, or its start, and learns its version and whether ranges work.
    pub(super) fn open(url: &Url, options: &OpenOptions) -> io::Result<(Self, Body)> {
        let client = Client::new(url, options)?;
        let (version, stats) = (Version::default(), TransferStats::default());
        let mut remote = Self { client, options: options.clone(), version, takes_ranges: false, stats };
        let body = Retry::new(url, options).open(|| remote.first())?;
        remote.stats = TransferStats::of(remote.version.size);
        Ok((remote, body))
    }

    /// Requests `bytes=0-`, or the first of these: only a 206 proves that ranges work for this file. Falls back to a plain
    /// GET.
    fn first(&mut self) -> Result<Body, FetchError> {
        let wanted = match self.options.first_request {
            FirstRequest::Whole => ByteRange::ALL,
            FirstRequest::Head => ByteRange { start: 0, end: CHUNK_LEN as u64 },
        };
        // Nothing has been delivered yet, so that any version will do.
        self.version = Version::default();
        match self.request(wanted) {
            Ok(body) if self.version.size.is_some() || !self.takes_ranges => return Ok(body),
            // The answer to a plain GET may tell the size.
            Ok(_) | Err(FetchError::WrongRange { .. } | FetchError::Changed) => {}
            // A wrong answer, but some servers without ranges give it.
            Err(FetchError::Status { status: StatusCode::BAD_REQUEST | StatusCode::NOT_IMPLEMENTED, .. }) => {}
            Err(failure) => return Err(failure),
        }
        self.version = Version::default();
        let response = self.client.get(None)?;
        self.accept(response, ByteRange::ALL)
    }

    pub(super) fn url(&self) -> &Url {
        &self.client.file
    }

    /// Asks for `wanted`, and makes sure that the answer is of the version that is known. It is the start of what is
    /// wanted, or the whole file where the server sends no parts.
    pub(super) fn request(&mut self, wanted: ByteRange) -> Result<Body, FetchError> {
        let to_the_end = self.version.size.is_some_and(|size| wanted.end >= size);
        let end = if to_the_end { u64::MAX } else { wanted.end };
        let part = Part { bytes: ByteRange { end, ..wanted }, version: self.version.condition() };
        let response = self.client.get(Some(&part))?;
        match response.status() {
            StatusCode::RANGE_NOT_SATISFIABLE => self.past_the_end(wanted.start, response),
            _ => self.accept(response, wanted),
        }
    }

    fn accept(&mut self, response: Response, wanted: ByteRange) -> Result<Body, FetchError> {
        let wrong = |what| FetchError::WrongRange { what };
        let range = match response.status() {
            StatusCode::PARTIAL_CONTENT => {
                Some(ContentRange::of(&response).ok_or_else(|| wrong("it does not say which".to_owned()))?)
            }
            _ => None,
        };
        let version = Version::of(&response, range);
        if version.differs_from(&self.version) {
            return Err(FetchError::Changed);
        }
        match range {
            Some(range) => check(range, wanted, &response).map_err(wrong)?,
            None if self.version.is_confirmed_by(&version) => {}
            None => return Err(FetchError::CannotRevalidate),
        }
        self.version.complete(version);
        self.takes_ranges = range.is_some();
        let at = range.map_or(0, |range| range.bytes.start);
        Ok(Body { response, at, end: range.map(|range| range.bytes.end).or(self.version.size) })
    }

    /// The server has no byte `start`: the file ends there, or has changed.
    fn past_the_end(&mut self, start: u64, response: Response) -> Result<Body, FetchError> {
        if self.version.size.is_some() || ContentRange::size_without_range(&response) != Some(start) {
            return Err(FetchError::Changed);
        }
        self.version.size = Some(start);
        Ok(Body { response, at: start, end: Some(start) })
    }
}

/// Checks that `range` begins where `wanted` does, and is as long as the body that is announced. It may be longer than
/// what is wanted.
fn check(range: ContentRange, wanted: ByteRange, response: &Response) -> Result<(), String> {
    let ByteRange { start, end } = range.bytes;
    let says = format!("it says that it sends bytes {start} to {}", end.saturating_sub(1));
    let length = header(response, &CONTENT_LENGTH).map(str::parse::<u64>);
    if start != wanted.start {
        Err(format!("{says}, not from {} on", wanted.start))
    } else if length.is_some_and(|length| length != Ok(range.bytes.len())) {
        Err(format!("{says}, but sends another number of them"))
    } else {
        Ok(())
    }
}
