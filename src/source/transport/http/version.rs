//! What a server says about a file, so that a change is noticed.

use reqwest::blocking::Response;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderName, LAST_MODIFIED};

use crate::range::ByteRange;

/// A version of a file (RFC 9110, section 8.8).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Version {
    etag: Option<String>,
    modified: Option<String>,
    /// The size of the whole file in bytes.
    pub(super) size: Option<u64>,
}

impl Version {
    /// The version of which `response` is the whole, or the part that `range` says.
    pub(super) fn of(response: &Response, range: Option<ContentRange>) -> Self {
        let size = match range {
            Some(range) => range.size,
            None => header(response, &CONTENT_LENGTH).and_then(|length| length.parse().ok()),
        };
        let [etag, modified] = [ETAG, LAST_MODIFIED].map(|name| header(response, &name).map(str::to_owned));
        Self { etag, modified, size }
    }

    /// What `If-Range` takes: a strong entity tag or a date.
    pub(super) fn condition(&self) -> Option<&str> {
        self.etag.as_deref().filter(|etag| !etag.starts_with("W/")).or(self.modified.as_deref())
    }

    /// Whether a change of the file is certain to be noticed.
    pub(super) fn has_validator(&self) -> bool {
        self.etag.is_some() || self.modified.is_some()
    }

    /// Whether at least one validator (ETag, date, size) is present in both and equal; true where nothing is known of
    /// this version. A server in trouble may send an error page as if it were the file.
    pub(super) fn is_confirmed_by(&self, other: &Self) -> bool {
        *self == Self::default() || self.differences(other).contains(&Some(false))
    }

    /// Whether anything tells this version from `other`.
    pub(super) fn differs_from(&self, other: &Self) -> bool {
        let [etag, modified, size] = self.differences(other);
        etag.or(modified) == Some(true) || size == Some(true)
    }

    /// Whether ETag, date and size differ, each where both have it.
    fn differences(&self, other: &Self) -> [Option<bool>; 3] {
        [
            differ(&opaque(&self.etag), &opaque(&other.etag)),
            differ(&self.modified, &other.modified),
            differ(&self.size, &other.size),
        ]
    }

    /// Adds what only `other` says.
    pub(super) fn complete(&mut self, other: Self) {
        let Self { etag, modified, size } = std::mem::take(self);
        *self = Self { etag: etag.or(other.etag), modified: modified.or(other.modified), size: size.or(other.size) };
    }
}

/// An entity tag without the mark of a weak one.
fn opaque(etag: &Option<String>) -> Option<&str> {
    etag.as_ref().map(|etag| etag.trim_start_matches("W/"))
}

/// Whether two values differ, where both are known.
fn differ<T: PartialEq>(left: &Option<T>, right: &Option<T>) -> Option<bool> {
    Some(left.as_ref()? != right.as_ref()?)
}

/// Which part of a file a response is (RFC 9110, section 14.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ContentRange {
    pub(super) bytes: ByteRange,
    /// The size of the whole file, where the server knows it.
    pub(super) size: Option<u64>,
}

impl ContentRange {
    /// What `response` says; `None` where it says nothing that makes sense.
    pub(super) fn of(response: &Response) -> Option<Self> {
        Self::parse(header(response, &CONTENT_RANGE)?)
    }

    /// The size of the file that `response` says where it has no such range: `bytes */1234`.
    pub(super) fn size_without_range(response: &Response) -> Option<u64> {
        let (_, rest) = header(response, &CONTENT_RANGE)?.trim().split_once(' ')?;
        rest.trim().strip_prefix("*/")?.parse().ok()
    }

    /// From the form `bytes 0-99/1234` or `bytes 0-99/*`.
    fn parse(text: &str) -> Option<Self> {
        let (unit, rest) = text.trim().split_once(' ')?;
        let (range, size) = rest.trim().split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let bytes = ByteRange { start: first.parse().ok()?, end: last.parse::<u64>().ok()?.checked_add(1)? };
        let size = if size == "*" { None } else { Some(size.parse().ok()?) };
        let valid = bytes.start < bytes.end && size.is_none_or(|size| bytes.end <= size);
        (unit.eq_ignore_ascii_case("bytes") && valid).then_some(Self { bytes, size })
    }
}

/// A header of `response`, if it is text.
pub(super) fn header<'a>(response: &'a Response, name: &HeaderName) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(etag: &str, modified: &str, size: u64) -> Version {
        let known = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        Version { etag: known(etag), modified: known(modified), size: Some(size).filter(|&size| size > 0) }
    }

    #[test]
    fn versions_differ_by_what_both_have() {
        let cases = [
            (version("\"a\"", "", 9), version("\"a\"", "", 9), false),
            (version("\"a\"", "", 9), version("\"b\"", "", 9), true),
            (version("\"a\"", "", 9), version("W/\"a\"", "", 0), false),
            (version("\"a\"", "Mon", 9), version("\"a\"", "Tue", 9), false),
            (version("\"a\"", "Mon", 9), version("", "Tue", 9), true),
            (version("\"a\"", "", 9), version("", "", 9), false),
            (version("\"a\"", "", 9), version("\"a\"", "", 8), true),
        ];
        for (left, right, differs) in cases {
            assert_eq!(left.differs_from(&right), differs, "{left:?} {right:?}");
        }
        let known = version("\"a\"", "Mon", 9);
        for (other, is_known) in [
            (version("W/\"a\"", "", 0), true),
            (version("", "Mon", 0), true),
            (version("", "", 9), true),
            (version("", "", 0), false),
            (version("\"b\"", "", 0), false),
        ] {
            assert_eq!(known.is_confirmed_by(&other), is_known, "{other:?}");
            assert!(Version::default().is_confirmed_by(&other));
        }
        assert_eq!(version("W/\"a\"", "Mon", 0).condition(), Some("Mon"));
        assert_eq!(version("\"a\"", "Mon", 0).condition(), Some("\"a\""));
    }

    #[test]
    fn content_ranges() {
        let range = |start, end, size| Some(ContentRange { bytes: ByteRange { start, end }, size });
        assert_eq!(ContentRange::parse("bytes 0-99/1234"), range(0, 100, Some(1234)));
        assert_eq!(ContentRange::parse("Bytes 5-5/*"), range(5, 6, None));
        for wrong in [
            "",
            "bytes",
            "bytes 0-99",
            "bytes 9-0/10",
            "bytes 0-10/10",
            "lines 0-1/10",
            "bytes 0-18446744073709551615/*",
        ] {
            assert_eq!(ContentRange::parse(wrong), None, "{wrong}");
        }
    }
}
