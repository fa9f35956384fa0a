//! A file on a server: what is known about it, and asking for its parts.

use std::io;

use reqwest::StatusCode;
use reqwest::blocking::Response;
use reqwest::header::CONTENT_LENGTH;

use super::client::{Client, Part};
use super::version::{ContentRange, Version, header};
use crate::range::ByteRange;
use crate::source::transport::FetchError;
use crate::source::transport::prefetch::TransferStats;
use crate::source::transport::retry::Retry;
use crate::source::{OpenOptions, Url};

/// A file on a server.
#[derive(Clone)]
pub(super) struct Remote {
    client: Client,
    pub(super) options: OpenOptions,
    pub(super) version: Version,
    /// Whether the server has shown that it sends parts of the file.
    pub(super) takes_ranges: bool,
    /// What has been fetched of the file, by all who hold this.
    pub(super) stats: TransferStats,
}

/// What is being received.
pub(super) struct Body {
    pub(super) response: Response,
    /// Where the next byte belongs.
    pub(super) at: u64,
    /// Where it ends; `None` where only its end tells that.
    pub(super) end: Option<u64>,
}

impl Remote {
    /// Asks for the whole file, and learns about it.
    pub(super) fn open(url: &Url, options: &OpenOptions) -> io::Result<(Self, Body)> {
        let client = Client::new(url, options)?;
        let (version, stats) = (Version::default(), TransferStats::default());
        let mut remote = Self { client, options: options.clone(), version, takes_ranges: false, stats };
        let body = Retry::new(options).open(|| remote.first())?;
        remote.stats = TransferStats::of(remote.version.size);
        Ok((remote, body))
    }

    /// Requests `bytes=0-`: only a 206 proves that ranges work for this file. Falls back to a plain GET.
    fn first(&mut self) -> Result<Body, FetchError> {
        // Nothing has been delivered yet that what comes must go with.
        self.version = Version::default();
        match self.request(ByteRange { start: 0, end: u64::MAX }) {
            Ok(body) if self.version.size.is_some() || !self.takes_ranges => Ok(body),
            // It may well know the size of the whole.
            Ok(_) | Err(FetchError::WrongRange { .. } | FetchError::Changed { .. }) => self.whole(),
            // How servers that know no parts should not answer, but some do.
            Err(FetchError::Status { status: StatusCode::BAD_REQUEST | StatusCode::NOT_IMPLEMENTED, .. }) => {
                self.whole()
            }
            Err(failure) => Err(failure),
        }
    }

    fn whole(&mut self) -> Result<Body, FetchError> {
        self.version = Version::default();
        let response = self.client.get(None)?;
        self.accept(response, ByteRange { start: 0, end: u64::MAX })
    }

    /// The file's name.
    pub(super) fn url(&self) -> &Url {
        self.client.file()
    }

    /// Asks for `wanted`, and makes sure that what comes is of the version that was there before. It is the start of what
    /// is wanted, or the whole file where the server sends no parts.
    pub(super) fn request(&mut self, wanted: ByteRange) -> Result<Body, FetchError> {
        let to_the_end = self.version.size.is_none_or(|size| wanted.end >= size);
        let end = if to_the_end { u64::MAX } else { wanted.end };
        let part = Part { bytes: ByteRange { end, ..wanted }, version: self.version.condition() };
        let response = self.client.get(Some(&part))?;
        match response.status() {
            StatusCode::RANGE_NOT_SATISFIABLE => self.past_the_end(wanted.start, response),
            _ => self.accept(response, wanted),
        }
    }

    fn accept(&mut self, response: Response, wanted: ByteRange) -> Result<Body, FetchError> {
        let wrong = |what| FetchError::WrongRange { url: self.url().clone(), what };
        let range = match response.status() {
            StatusCode::PARTIAL_CONTENT => {
                Some(ContentRange::of(&response).ok_or_else(|| wrong("it does not say which".to_owned()))?)
            }
            _ => None,
        };
        let version = Version::of(&response, range);
        if version.differs_from(&self.version) {
            return Err(FetchError::Changed { url: self.url().clone() });
        }
        match range {
            Some(range) => check(range, wanted, &response).map_err(wrong)?,
            None if self.version.is_known_by(&version) => {}
            None => return Err(FetchError::CannotRevalidate { url: self.url().clone() }),
        }
        self.version.complete(version);
        self.takes_ranges = range.is_some();
        let at = range.map_or(0, |range| range.bytes.start);
        Ok(Body { response, at, end: range.map(|range| range.bytes.end).or(self.version.size) })
    }

    /// What a server means that has no byte `start`: the file ends there, or it is another one by now.
    fn past_the_end(&mut self, start: u64, response: Response) -> Result<Body, FetchError> {
        if self.version.size.is_some() || ContentRange::size_without_range(&response) != Some(start) {
            return Err(FetchError::Changed { url: self.url().clone() });
        }
        self.version.size = Some(start);
        Ok(Body { response, at: start, end: Some(start) })
    }
}

/// Whether `range` is what was asked for, and as long as the body that is announced.
fn check(range: ContentRange, wanted: ByteRange, response: &Response) -> Result<(), String> {
    let ByteRange { start, end } = range.bytes;
    let says = format!("it says that it sends bytes {start} to {}", end.saturating_sub(1));
    let length = header(response, &CONTENT_LENGTH).map(str::parse::<u64>);
    // A server may send more than was asked for, which then need not be asked for.
    if start != wanted.start {
        return Err(format!("{says}, not from {} on", wanted.start));
    }
    match length {
        Some(length) if length != Ok(range.bytes.len()) => Err(format!("{says}, but sends another number of them")),
        _ => Ok(()),
    }
}
