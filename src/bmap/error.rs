//! What can be wrong with a bmap file.

use super::{Invalid, Version};
use crate::digest::{ChecksumKind, Digest};

/// Why a file is not a bmap that can be used.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// There is nothing in it.
    #[error("not a bmap: the file is empty")]
    Empty,
    /// It is not text.
    #[error("not a bmap: not XML, byte {offset} is not UTF-8")]
    NotUtf8 {
        /// Where, counted from 0.
        offset: usize,
    },
    /// The XML is broken.
    #[error("line {line}: not well-formed XML")]
    Xml {
        /// The line, counted from 1.
        line: usize,
        /// What the XML parser says.
        source: quick_xml::Error,
    },
    /// There is something that has no place in the XML of a bmap.
    #[error("line {line}: not well-formed XML: {what}")]
    Misplaced {
        /// The line.
        line: usize,
        /// What there is.
        what: &'static str,
    },
    /// It is a web page, as servers send it in place of a file that they do not have.
    #[error("not a bmap but an HTML page")]
    HtmlPage,
    /// It has a document type declaration.
    #[error("line {line}: a bmap has no document type declaration (DTD)")]
    Doctype {
        /// The line.
        line: usize,
    },
    /// The root element is another one.
    #[error("not a bmap: the root element is '{root}' instead of 'bmap'")]
    Root {
        /// The root element's name.
        root: String,
    },
    /// The root element has no usable version.
    #[error("line {line}: the version of the bmap format is missing or not of the form 2.0")]
    BadVersion {
        /// The line.
        line: usize,
    },
    /// The format is newer than this program.
    #[error("version {version} is not supported, up to 2 is")]
    UnsupportedVersion {
        /// The version.
        version: Version,
    },
    /// An element is missing.
    #[error("element '{element}' is missing")]
    Missing {
        /// The element.
        element: &'static str,
    },
    /// An element that may stand once stands twice.
    #[error("line {line}: element '{element}' is repeated")]
    Repeated {
        /// The line of the second one.
        line: usize,
        /// The element.
        element: &'static str,
    },
    /// An element holds something else than text.
    #[error("line {line}: element '{element}' must hold plain text only")]
    NotText {
        /// The line.
        line: usize,
        /// The element.
        element: &'static str,
    },
    /// An element does not hold a number.
    #[error("line {line}: '{text}' in element '{element}' is not a decimal number below 2^64")]
    Number {
        /// The line.
        line: usize,
        /// The element.
        element: &'static str,
        /// What it holds, cut off where it is long.
        text: String,
    },
    /// Blocks have no size.
    #[error("line {line}: element 'BlockSize' is zero")]
    ZeroBlockSize {
        /// The line.
        line: usize,
    },
    /// The count of blocks does not go with the sizes.
    #[error(
        "element 'BlocksCount' says {found}, but an image of {image_size} bytes has {expected} blocks of {block_size} bytes"
    )]
    BlocksCount {
        /// What it says.
        found: u64,
        /// What follows from the sizes.
        expected: u64,
        /// The image's size in bytes.
        image_size: u64,
        /// A block's size in bytes.
        block_size: u64,
    },
    /// The count of mapped blocks does not go with the ranges.
    #[error("element 'MappedBlocksCount' says {found}, but the ranges hold {expected} blocks")]
    MappedBlocksCount {
        /// What it says.
        found: u64,
        /// What the ranges hold.
        expected: u64,
    },
    /// A kind of checksum that does not exist.
    #[error("line {line}: checksum type '{name}' is not supported, md5, sha1, sha224, sha256, sha384 and sha512 are")]
    ChecksumKind {
        /// The line.
        line: usize,
        /// The name that it is given.
        name: String,
    },
    /// A range that holds no blocks.
    #[error("line {line}: '{text}' is not a range of blocks")]
    BadRange {
        /// The line.
        line: usize,
        /// What stands in its place.
        text: String,
    },
    /// A checksum whose digits are wrong in number or kind.
    #[error("line {line}: the checksum in element '{element}' is not {digits} hexadecimal digits, as {kind} has")]
    BadChecksum {
        /// The line.
        line: usize,
        /// The element.
        element: &'static str,
        /// What kind of checksum it should be.
        kind: ChecksumKind,
        /// How many digits such a checksum has.
        digits: usize,
    },
    /// Some ranges have a checksum, others have none.
    #[error("line {line}: some ranges have a checksum and some have none")]
    MixedChecksums {
        /// The line of the first range that differs.
        line: usize,
    },
    /// The file is not what it was when its checksum was computed.
    #[error("the file is damaged: its checksum is {computed}, but element '{element}' says {found}")]
    Damaged {
        /// The element that holds the checksum.
        element: &'static str,
        /// What it holds.
        found: Digest,
        /// What the file has.
        computed: Digest,
    },
    /// The values contradict each other.
    #[error(transparent)]
    Invalid(#[from] Invalid),
}
