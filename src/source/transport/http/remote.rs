//! A file on a server: what is known about it, and asking for its parts.

use std::io;

use reqwest::StatusCode;
use reqwest::blocking::Response;
use reqwest::header::{ACCEPT_RANGES, CONTENT_LENGTH};

use super::client::{Client, Part};
use super::version::{ContentRange, Version, header};
use crate::range::ByteRange;
use crate::source::Url;
use crate::source::transport::ahead::Traffic;
use crate::source::transport::patience::Breaks;
use crate::source::transport::{Failure, Patience};

/// A file on a server.
#[derive(Clone)]
pub(super) struct Remote {
    client: Client,
    pub(super) patience: Patience,
    pub(super) version: Version,
    /// Whether the server has shown that it sends parts of the file.
    pub(super) takes_ranges: bool,
    /// What has been fetched of the file, by all who hold this.
    pub(super) traffic: Traffic,
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
    pub(super) fn open(url: &Url, patience: Patience) -> io::Result<(Self, Body)> {
        let mut client = Client::new(url, patience)?;
        let mut breaks = Breaks::new(patience);
        let response = loop {
            match client.get(None) {
                Ok(response) => break response,
                // Nothing broke off yet: whoever mistyped a name shall not have to wait.
                Err(failure @ Failure::Connect { .. }) => return Err(failure.into()),
                Err(failure) => breaks.pause(failure)?,
            }
        };
        let version = Version::of(&response, None);
        let takes_ranges = header(&response, &ACCEPT_RANGES).is_some_and(|unit| unit.eq_ignore_ascii_case("bytes"));
        let (traffic, end) = (Traffic::of(version.size), version.size);
        Ok((Self { client, patience, version, takes_ranges, traffic }, Body { response, at: 0, end }))
    }

    /// The file's name.
    pub(super) fn url(&self) -> &Url {
        self.client.file()
    }

    /// Asks for `wanted`, and makes sure that what comes is of the version that was there before. It is the start of what
    /// is wanted, or the whole file where the server sends no parts.
    pub(super) fn request(&mut self, wanted: ByteRange) -> Result<Body, Failure> {
        let to_the_end = self.version.size.is_none_or(|size| wanted.end >= size);
        let end = if to_the_end { u64::MAX } else { wanted.end };
        let part = Part { bytes: ByteRange { end, ..wanted }, version: self.version.condition() };
        let response = match self.client.get(Some(&part)) {
            Err(Failure::Status { url, status: StatusCode::RANGE_NOT_SATISFIABLE }) => {
                return Err(Failure::Changed { url });
            }
            response => response?,
        };
        let wrong = |what| Failure::WrongRange { url: self.url().clone(), what };
        let range = match response.status() {
            StatusCode::PARTIAL_CONTENT => {
                Some(ContentRange::of(&response).ok_or_else(|| wrong("it does not say which".to_owned()))?)
            }
            _ => None,
        };
        let version = Version::of(&response, range);
        if version.differs_from(&self.version) {
            return Err(Failure::Changed { url: self.url().clone() });
        }
        if let Some(range) = range {
            check(range, wanted, &response).map_err(wrong)?;
        }
        self.version.size = self.version.size.or(version.size);
        self.takes_ranges = range.is_some();
        let at = range.map_or(0, |range| range.bytes.start);
        Ok(Body { response, at, end: range.map(|range| range.bytes.end).or(version.size) })
    }
}

/// Whether `range` is what was asked for, and as long as the body that is announced.
fn check(range: ContentRange, wanted: ByteRange, response: &Response) -> Result<(), String> {
    let ByteRange { start, end } = range.bytes;
    let says = format!("it says that it sends bytes {start} to {}", end.saturating_sub(1));
    let length = header(response, &CONTENT_LENGTH).map(str::parse::<u64>);
    if start != wanted.start || end > wanted.end {
        return Err(format!("{says}, not from {} on", wanted.start));
    }
    match length {
        Some(length) if length != Ok(range.bytes.len()) => Err(format!("{says}, but sends another number of them")),
        _ => Ok(()),
    }
}
