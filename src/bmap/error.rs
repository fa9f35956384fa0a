//! What can be wrong with a bmap file.

use super::{Invalid, Version};
use crate::digest::Digest;

/// Why a file is not a bmap that can be used. Lines count from 1.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the variants say what their fields are")]
pub enum ParseError {
    /// The file is something else.
    #[error("not a bmap: {reason}")]
    NotABmap { reason: String },
    /// A web page, as some servers send it for a missing file.
    #[error("not a bmap but an HTML page")]
    HtmlPage,
    /// The byte at `offset`, counted from 0, is the first that is not UTF-8, or is a zero.
    #[error("not a bmap: not XML, byte {offset} is no text")]
    NotText { offset: usize },
    /// The XML parser stopped at `line`.
    #[error("line {line}: not well-formed XML")]
    Xml { line: usize, source: quick_xml::Error },
    /// The format is newer than this program.
    #[error("version {version} is not supported, up to 2 is")]
    UnsupportedVersion { version: Version },
    /// The file lacks `element`.
    #[error("element '{element}' is missing")]
    Missing { element: &'static str },
    /// Something at `line` is not XML, not what a bmap has, or not a usable value.
    #[error("line {line}: {problem}")]
    Malformed { line: usize, problem: String },
    /// The number in `element` contradicts the rest of the file.
    #[error("element '{element}' says {found}, but {expected}")]
    Count { element: &'static str, found: u64, expected: String },
    /// The file has changed since its own checksum, in `element`, was computed.
    #[error("the file is damaged: its checksum is not the one in element '{element}'")]
    Damaged { element: &'static str, found: Digest, computed: Digest },
    /// The ranges contradict each other or the image's size.
    #[error(transparent)]
    Invalid(#[from] Invalid),
}
