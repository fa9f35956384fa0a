//! The values of the elements of a bmap file, and the checks between them.

use std::borrow::Cow;

use super::text::{decimal, excerpt, line_of, trimmed};
use crate::bmap::error::ParseError;
use crate::bmap::{Bmap, Checksums, Version};
use crate::digest::{ChecksumKind, Digest};
use crate::range::{BlockRange, BlockSize};

pub(super) const IMAGE_SIZE: &str = "ImageSize";
pub(super) const BLOCK_SIZE: &str = "BlockSize";
pub(super) const BLOCKS_COUNT: &str = "BlocksCount";
pub(super) const MAPPED_BLOCKS_COUNT: &str = "MappedBlocksCount";
pub(super) const CHECKSUM_TYPE: &str = "ChecksumType";
pub(super) const FILE_CHECKSUM: &str = "BmapFileChecksum";
pub(super) const FILE_SHA1: &str = "BmapFileSHA1";
pub(super) const BLOCK_MAP: &str = "BlockMap";
pub(super) const RANGE: &str = "Range";

/// The attribute in which a range has its checksum; it depends on the version of the format.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ChecksumAttribute {
    /// 1.0: ranges have no checksums.
    None,
    /// 1.1 to 1.3: `sha1`.
    Sha1,
    /// Since 1.4: `chksum`, with its kind in `ChecksumType`.
    Typed,
}

impl ChecksumAttribute {
    pub(super) fn of(version: Version) -> Self {
        if version < Version::new(1, 1) {
            Self::None
        } else if version < Version::new(1, 4) {
            Self::Sha1
        } else {
            Self::Typed
        }
    }

    /// The attribute's name; an empty one, which no attribute has, where there is none.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Sha1 => "sha1",
            Self::Typed => "chksum",
        }
    }
}

/// The text of an element, without the white space around it, and its byte offset in the file.
pub(super) struct Value<'a> {
    element: &'static str,
    text: Cow<'a, str>,
    offset: usize,
}

impl<'a> Value<'a> {
    /// No text yet, of an element whose contents begin at `offset`.
    pub(super) fn new(element: &'static str, offset: usize) -> Self {
        Self { element, text: Cow::Borrowed(""), offset }
    }

    /// Appends text that begins at `offset`.
    pub(super) fn push(&mut self, offset: usize, text: Cow<'a, str>) {
        if !self.text.is_empty() {
            return self.text.to_mut().push_str(&text);
        }
        let length = text.len();
        self.text = trimmed(text, str::trim_ascii_start);
        self.offset = offset.saturating_add(length.saturating_sub(self.text.len()));
    }

    /// Takes the white space after the text away.
    pub(super) fn trim_end(self) -> Self {
        Self { text: trimmed(self.text, str::trim_ascii_end), ..self }
    }

    fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    fn error(&self, file: &str, problem: String) -> ParseError {
        ParseError::Malformed { line: line_of(file, self.offset), problem }
    }
}

/// The values of the elements, each at most once.
#[derive(Default)]
pub(super) struct Fields<'a> {
    pub(super) image_size: Option<Value<'a>>,
    pub(super) block_size: Option<Value<'a>>,
    pub(super) blocks_count: Option<Value<'a>>,
    pub(super) mapped_blocks_count: Option<Value<'a>>,
    pub(super) checksum_type: Option<Value<'a>>,
    pub(super) file_checksum: Option<Value<'a>>,
    pub(super) file_sha1: Option<Value<'a>>,
    pub(super) block_map: Option<Ranges>,
}

/// The ranges and their checksums, up to the first that is wrong.
#[derive(Default)]
pub(super) struct Ranges {
    ranges: Vec<BlockRange>,
    /// The digests, side by side.
    digests: Vec<u8>,
    /// The kind of the digests, as far as their length tells; none where there are none.
    kind: Option<ChecksumKind>,
    /// The byte offset of the first range that has a digest.
    first_digest: usize,
    has_empty_checksums: bool,
    /// The first that is wrong, as its byte offset and what is wrong with it. It is reported once the file's own
    /// checksum has been verified.
    fault: Option<(usize, Fault)>,
}

enum Fault {
    NoRange(String),
    Checksum,
    MixedChecksums,
}

impl Ranges {
    /// Adds the next range, whose element is at `offset`, and its checksum. An empty one is taken as absent.
    pub(super) fn add(&mut self, offset: usize, blocks: &Value<'_>, checksum: Option<&str>) {
        let checksum = checksum.map(str::trim_ascii);
        self.has_empty_checksums |= checksum == Some("");
        if self.fault.is_none() {
            self.fault = self.try_add(offset, blocks, checksum.filter(|digits| !digits.is_empty())).err();
        }
    }

    fn try_add(&mut self, offset: usize, blocks: &Value<'_>, checksum: Option<&str>) -> Result<(), (usize, Fault)> {
        let (first, last) = blocks.text.split_once('-').unwrap_or((&blocks.text, &blocks.text));
        let range = decimal(first).zip(decimal(last)).and_then(|(first, last)| BlockRange::from_inclusive(first, last));
        let is_first = self.ranges.is_empty();
        self.ranges.push(range.ok_or_else(|| (blocks.offset, Fault::NoRange(excerpt(&blocks.text))))?);
        // All have a checksum, or none has.
        match checksum {
            Some(digits) if is_first || self.kind.is_some() => {
                if is_first {
                    self.first_digest = offset;
                }
                self.add_checksum(digits.as_bytes()).ok_or((offset, Fault::Checksum))
            }
            None if self.kind.is_none() => Ok(()),
            _ => Err((offset, Fault::MixedChecksums)),
        }
    }

    /// The kind may be named further down in the file; until then, only equal lengths can be required.
    fn add_checksum(&mut self, digits: &[u8]) -> Option<()> {
        let of_length = || ChecksumKind::ALL.into_iter().find(|kind| kind.digits() == digits.len());
        let kind = self.kind.or_else(of_length)?;
        self.digests.extend_from_slice(Digest::from_hex(kind, digits)?.as_bytes());
        self.kind = Some(kind);
        Some(())
    }

    /// Reports the first wrong range, or that the checksums are not of `kind`.
    fn check(&self, file: &str, kind: ChecksumKind) -> Result<(), ParseError> {
        let (offset, problem) = match &self.fault {
            Some((offset, Fault::NoRange(text))) => (*offset, format!("'{text}' is not a range of blocks")),
            Some((offset, Fault::Checksum)) => (*offset, bad_checksum(RANGE, kind)),
            Some((offset, Fault::MixedChecksums)) => {
                (*offset, "some ranges have a checksum and some have none".to_owned())
            }
            None if self.kind.is_some_and(|found| found != kind) => (self.first_digest, bad_checksum(RANGE, kind)),
            None => return Ok(()),
        };
        Err(ParseError::Malformed { line: line_of(file, offset), problem })
    }
}

impl Fields<'_> {
    /// Makes a bmap of the values.
    pub(super) fn check(self, file: &str, version: Version) -> Result<Bmap, ParseError> {
        // A damaged file is reported as such, before any of its values.
        let attribute = ChecksumAttribute::of(version);
        let kind = self.checksum_kind(file, attribute)?;
        self.verify_file(file, version, kind)?;

        let zero_block_size = || {
            let line = self.block_size.as_ref().map_or(1, |value| line_of(file, value.offset));
            ParseError::Malformed { line, problem: "element 'BlockSize' is zero".to_owned() }
        };
        let image_size = number(file, self.image_size.as_ref(), IMAGE_SIZE)?;
        let block_size =
            BlockSize::new(number(file, self.block_size.as_ref(), BLOCK_SIZE)?).ok_or_else(zero_block_size)?;
        let found = number(file, self.blocks_count.as_ref(), BLOCKS_COUNT)?;
        let blocks = block_size.blocks_in(image_size);
        if found != blocks {
            let block_size = block_size.bytes();
            let expected = format!("an image of {image_size} bytes has {blocks} blocks of {block_size} bytes");
            return Err(ParseError::Count { element: BLOCKS_COUNT, found, expected });
        }
        let found = number(file, self.mapped_blocks_count.as_ref(), MAPPED_BLOCKS_COUNT)?;
        let values = [&self.checksum_type, &self.file_checksum, &self.file_sha1];
        let has_empty_values = values.into_iter().flatten().any(Value::is_empty);
        let map = self.block_map.ok_or(ParseError::Missing { element: BLOCK_MAP })?;
        map.check(file, kind)?;
        let has_empty_checksums = has_empty_values || map.has_empty_checksums;

        let checksums = map.kind.map(|kind| Checksums { kind, digests: map.digests });
        let bmap = Bmap::new(image_size, block_size, map.ranges, checksums)?;
        let bmap = Bmap { version, has_empty_checksums, ..bmap };
        if found != bmap.mapped_blocks() {
            let expected = format!("the ranges hold {} blocks", bmap.mapped_blocks());
            return Err(ParseError::Count { element: MAPPED_BLOCKS_COUNT, found, expected });
        }
        Ok(bmap)
    }

    /// The kind of the checksums in this file; SHA-256 if nothing says otherwise.
    fn checksum_kind(&self, file: &str, attribute: ChecksumAttribute) -> Result<ChecksumKind, ParseError> {
        match (attribute, &self.checksum_type) {
            (ChecksumAttribute::Typed, Some(value)) if !value.is_empty() => value.text.parse().map_err(|_| {
                let known = "md5, sha1, sha224, sha256, sha384 and sha512 are";
                value.error(file, format!("checksum type '{}' is not supported, {known}", excerpt(&value.text)))
            }),
            (ChecksumAttribute::Typed, Some(empty)) if self.ranges_have_checksums() => {
                Err(empty.error(file, "element 'ChecksumType' is empty, but ranges have checksums".to_owned()))
            }
            (ChecksumAttribute::Typed, None) if self.ranges_have_checksums() => {
                Err(ParseError::Missing { element: CHECKSUM_TYPE })
            }
            (ChecksumAttribute::Typed, _) => Ok(ChecksumKind::Sha256),
            (ChecksumAttribute::Sha1 | ChecksumAttribute::None, _) => Ok(ChecksumKind::Sha1),
        }
    }

    fn ranges_have_checksums(&self) -> bool {
        self.block_map.as_ref().is_some_and(|map| map.kind.is_some())
    }

    /// Compares the file with its own checksum.
    ///
    /// From version 1.3 on, a map with checksums must have an element for its own as well, which may be empty. A checksum
    /// is verified wherever there is one, even in a version that has none: this is how a damaged version number is
    /// noticed.
    fn verify_file(&self, file: &str, version: Version, kind: ChecksumKind) -> Result<(), ParseError> {
        let attribute = ChecksumAttribute::of(version);
        let typed_kind = if attribute == ChecksumAttribute::Typed { kind } else { ChecksumKind::Sha256 };
        for (value, kind) in [(&self.file_checksum, typed_kind), (&self.file_sha1, ChecksumKind::Sha1)] {
            if let Some(value) = value.as_ref().filter(|value| !value.is_empty()) {
                verify_file(file, value, kind)?;
            }
        }
        let has_checksums = self.ranges_have_checksums();
        match attribute {
            ChecksumAttribute::Typed
                if (has_checksums || self.checksum_type.is_some()) && self.file_checksum.is_none() =>
            {
                Err(ParseError::Missing { element: FILE_CHECKSUM })
            }
            ChecksumAttribute::Sha1 if has_checksums && version >= Version::new(1, 3) && self.file_sha1.is_none() => {
                Err(ParseError::Missing { element: FILE_SHA1 })
            }
            _ => Ok(()),
        }
    }
}

/// Computes the file's checksum with zeroes in place of its digits, and compares it with what they say.
fn verify_file(file: &str, checksum: &Value<'_>, kind: ChecksumKind) -> Result<(), ParseError> {
    let element = checksum.element;
    let found = Digest::from_hex(kind, checksum.text.as_bytes())
        .ok_or_else(|| checksum.error(file, bad_checksum(element, kind)))?;
    let (before, rest) = file.split_at_checked(checksum.offset).unwrap_or((file, ""));
    let after = rest.strip_prefix(&*checksum.text).ok_or_else(|| {
        checksum.error(file, format!("the digits in element '{element}' do not stand in the file side by side"))
    })?;
    let mut hasher = kind.hasher();
    hasher.update(before.as_bytes());
    hasher.update("0".repeat(checksum.text.len()).as_bytes());
    hasher.update(after.as_bytes());
    let computed = hasher.finish();
    if computed == found { Ok(()) } else { Err(ParseError::Damaged { element, found, computed }) }
}

fn bad_checksum(element: &str, kind: ChecksumKind) -> String {
    format!("the checksum in element '{element}' is not {} hexadecimal digits, as {kind} has", kind.digits())
}

fn number(file: &str, value: Option<&Value<'_>>, element: &'static str) -> Result<u64, ParseError> {
    let value = value.ok_or(ParseError::Missing { element })?;
    decimal(&value.text).ok_or_else(|| {
        let text = excerpt(&value.text);
        value.error(file, format!("'{text}' in element '{element}' is not a decimal number below 2^64"))
    })
}
