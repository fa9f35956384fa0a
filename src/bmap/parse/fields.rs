//! What the elements of a bmap file say, and whether they make a bmap together.

use std::ops;

use super::text::{decimal, excerpt, line_of};
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

/// How a version of the format writes the checksums of its ranges.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// 1.0 and 1.1: not at all.
    None,
    /// 1.2 and 1.3: attribute `sha1`.
    Sha1,
    /// Since 1.4: attribute `chksum`, its kind in `ChecksumType`.
    Typed,
}

impl Style {
    pub(super) fn of(version: Version) -> Self {
        if version < Version::new(1, 2) {
            Self::None
        } else if version < Version::new(1, 4) {
            Self::Sha1
        } else {
            Self::Typed
        }
    }

    /// The attribute in which a range has its checksum.
    pub(super) fn attribute(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Sha1 => Some("sha1"),
            Self::Typed => Some("chksum"),
        }
    }
}

/// A piece of the file's text, and where it is.
#[derive(Clone)]
pub(super) struct Piece<'a> {
    pub(super) element: &'static str,
    pub(super) text: &'a str,
    pub(super) at: ops::Range<usize>,
}

/// What the elements say, each at most once.
#[derive(Default)]
pub(super) struct Fields<'a> {
    pub(super) image_size: Option<Piece<'a>>,
    pub(super) block_size: Option<Piece<'a>>,
    pub(super) blocks_count: Option<Piece<'a>>,
    pub(super) mapped_blocks_count: Option<Piece<'a>>,
    pub(super) checksum_type: Option<Piece<'a>>,
    pub(super) file_checksum: Option<Piece<'a>>,
    pub(super) file_sha1: Option<Piece<'a>>,
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
    /// Where the first digest stands.
    first_digest: usize,
    fault: Option<Fault>,
}

/// What is wrong with a range. It is not told before the file's own checksum has been verified.
enum Fault {
    NoRange { at: usize, text: String },
    Checksum { at: usize },
    MixedChecksums { at: usize },
}

impl Ranges {
    /// Takes in the next range, whose element stands at `at`, and its checksum.
    pub(super) fn add(&mut self, at: usize, blocks: &Piece<'_>, checksum: Option<&str>) {
        if self.fault.is_none() {
            self.fault = self.try_add(at, blocks, checksum).err();
        }
    }

    fn try_add(&mut self, at: usize, blocks: &Piece<'_>, checksum: Option<&str>) -> Result<(), Fault> {
        let (first, last) = blocks.text.split_once('-').unwrap_or((blocks.text, blocks.text));
        let range = decimal(first).zip(decimal(last)).and_then(|(first, last)| BlockRange::from_inclusive(first, last));
        let is_first = self.ranges.is_empty();
        self.ranges.push(range.ok_or_else(|| Fault::NoRange { at: blocks.at.start, text: excerpt(blocks.text) })?);
        // All have a checksum, or none has.
        match checksum {
            Some(digits) if is_first || self.kind.is_some() => {
                if is_first {
                    self.first_digest = at;
                }
                self.add_checksum(digits.trim_ascii().as_bytes()).ok_or(Fault::Checksum { at })
            }
            None if self.kind.is_none() => Ok(()),
            _ => Err(Fault::MixedChecksums { at }),
        }
    }

    /// The kind may be named further down. Until then all that is known is that the lengths are equal.
    fn add_checksum(&mut self, digits: &[u8]) -> Option<()> {
        let of_length = || ChecksumKind::ALL.into_iter().find(|kind| kind.digits() == digits.len());
        let kind = self.kind.or_else(of_length)?;
        self.digests.extend_from_slice(Digest::from_hex(kind, digits)?.as_bytes());
        self.kind = Some(kind);
        Some(())
    }

    /// Tells of what is wrong, now that the kind of the checksums is known.
    fn check(&self, file: &str, kind: ChecksumKind) -> Result<(), ParseError> {
        match &self.fault {
            Some(Fault::NoRange { at, text }) => {
                Err(ParseError::BadRange { line: line_of(file, *at), text: text.clone() })
            }
            Some(Fault::Checksum { at }) => Err(bad_checksum(line_of(file, *at), RANGE, kind)),
            Some(Fault::MixedChecksums { at }) => Err(ParseError::MixedChecksums { line: line_of(file, *at) }),
            None if self.kind.is_some_and(|found| found != kind) => {
                Err(bad_checksum(line_of(file, self.first_digest), RANGE, kind))
            }
            None => Ok(()),
        }
    }
}

impl<'a> Fields<'a> {
    /// Puts together what the elements say.
    pub(super) fn judge(self, file: &str, version: Version) -> Result<Bmap, ParseError> {
        // A damaged file is named as such, before any of its values is called wrong.
        let style = Style::of(version);
        let kind = self.checksum_kind(file, style)?;
        self.verify_file(file, version, kind)?;

        let image_size = number(file, self.image_size, IMAGE_SIZE)?;
        let block_size_line = self.block_size.as_ref().map_or(0, |piece| line_of(file, piece.at.start));
        let block_size = BlockSize::new(number(file, self.block_size, BLOCK_SIZE)?)
            .ok_or(ParseError::ZeroBlockSize { line: block_size_line })?;
        let found = number(file, self.blocks_count, BLOCKS_COUNT)?;
        let expected = block_size.blocks_in(image_size);
        if found != expected {
            let block_size = block_size.bytes();
            return Err(ParseError::BlocksCount { found, expected, image_size, block_size });
        }
        let mapped = number(file, self.mapped_blocks_count, MAPPED_BLOCKS_COUNT)?;
        let map = self.block_map.ok_or(ParseError::Missing { element: BLOCK_MAP })?;
        map.check(file, kind)?;

        let checksums = map.kind.map(|kind| Checksums { kind, digests: map.digests });
        let bmap = Bmap { version, ..Bmap::new(image_size, block_size, map.ranges, checksums)? };
        if mapped != bmap.mapped_blocks() {
            return Err(ParseError::MappedBlocksCount { found: mapped, expected: bmap.mapped_blocks() });
        }
        Ok(bmap)
    }

    /// The kind of the checksums in this file; SHA-256 if nothing says otherwise.
    fn checksum_kind(&self, file: &str, style: Style) -> Result<ChecksumKind, ParseError> {
        match (style, &self.checksum_type) {
            (Style::Typed, Some(piece)) => piece.text.parse().map_err(|_| ParseError::ChecksumKind {
                line: line_of(file, piece.at.start),
                name: excerpt(piece.text),
            }),
            (Style::Typed, None) if self.ranges_have_checksums() => Err(ParseError::Missing { element: CHECKSUM_TYPE }),
            (Style::Typed, None) => Ok(ChecksumKind::Sha256),
            (Style::Sha1 | Style::None, _) => Ok(ChecksumKind::Sha1),
        }
    }

    fn ranges_have_checksums(&self) -> bool {
        self.block_map.as_ref().is_some_and(|map| map.kind.is_some())
    }

    /// Compares the file with its own checksum.
    ///
    /// A checksum is required from version 1.3 on of a map that has checksums at all. It is verified wherever there is
    /// one, even in a version that has none: this is how a damaged version number is noticed.
    fn verify_file(&self, file: &str, version: Version, kind: ChecksumKind) -> Result<(), ParseError> {
        let style = Style::of(version);
        let typed_kind = if style == Style::Typed { kind } else { ChecksumKind::Sha256 };
        if let Some(piece) = &self.file_checksum {
            verify_file(file, piece, typed_kind)?;
        }
        if let Some(piece) = &self.file_sha1 {
            verify_file(file, piece, ChecksumKind::Sha1)?;
        }
        let missing = match style {
            Style::Typed if self.ranges_have_checksums() || self.checksum_type.is_some() => {
                self.file_checksum.is_none().then_some(FILE_CHECKSUM)
            }
            Style::Sha1 if self.ranges_have_checksums() && version >= Version::new(1, 3) => {
                self.file_sha1.is_none().then_some(FILE_SHA1)
            }
            _ => None,
        };
        missing.map_or(Ok(()), |element| Err(ParseError::Missing { element }))
    }
}

fn verify_file(file: &str, piece: &Piece<'_>, kind: ChecksumKind) -> Result<(), ParseError> {
    let found = Digest::from_hex(kind, piece.text.as_bytes())
        .ok_or_else(|| bad_checksum(line_of(file, piece.at.start), piece.element, kind))?;
    let mut hasher = kind.hasher();
    let bytes = file.as_bytes();
    hasher.update(bytes.get(..piece.at.start).unwrap_or_default());
    hasher.update("0".repeat(piece.text.len()).as_bytes());
    hasher.update(bytes.get(piece.at.end..).unwrap_or_default());
    let computed = hasher.finish();
    if computed == found { Ok(()) } else { Err(ParseError::Damaged { element: piece.element, found, computed }) }
}

fn bad_checksum(line: usize, element: &'static str, kind: ChecksumKind) -> ParseError {
    ParseError::BadChecksum { line, element, kind, digits: kind.digits() }
}

fn number(file: &str, piece: Option<Piece<'_>>, element: &'static str) -> Result<u64, ParseError> {
    let piece = piece.ok_or(ParseError::Missing { element })?;
    decimal(piece.text).ok_or_else(|| ParseError::Number {
        line: line_of(file, piece.at.start),
        element,
        text: excerpt(piece.text),
    })
}
