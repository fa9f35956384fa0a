//! What servers send, with a status of success, in place of files that they do not have.

use std::fmt;

use super::detect::{NotAnImage, is_text};
use super::{Location, Source};

/// What a server sent in place of a bmap or a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StandIn {
    /// Not a byte, or nothing but white space.
    Nothing,
    /// Something that is known.
    Known(NotAnImage),
    /// Something else.
    Unknown,
}

impl StandIn {
    /// What a server sent in place of a bmap; `None` where `file` may be one, or is not from a server.
    pub fn for_bmap(file: &Source) -> Option<Self> {
        match Self::known(file)? {
            known @ (Self::Nothing | Self::Known(NotAnImage::Page | NotAnImage::Json)) => Some(known),
            Self::Unknown if is_plain_text(file.file.head()) => Some(Self::Unknown),
            _ => None,
        }
    }

    /// What a server sent in place of a detached signature; `None` where `file` may be one, or is not from a server.
    /// Signatures are packets, whose first bit is set (RFC 9580, section 4.2), or armoured.
    pub fn for_signature(file: &Source) -> Option<Self> {
        const ARMOR: &[u8] = b"-----BEGIN PGP ";
        let head = file.file.head();
        let is_packet = head.first().is_some_and(|first| first & 0x80 != 0);
        let is_armored = head.windows(ARMOR.len()).any(|window| window == ARMOR);
        Self::known(file).filter(|_| !is_packet && !is_armored)
    }

    fn known(file: &Source) -> Option<Self> {
        let Location::Url(_) = file.location() else { return None };
        let head = file.file.head();
        if head.trim_ascii().is_empty() && file.file.whole_size().is_some() {
            return Some(Self::Nothing);
        }
        Some(NotAnImage::of(head).map_or(Self::Unknown, Self::Known))
    }
}

/// Whether `head` is text, and neither XML nor armoured: `404 page not found`.
fn is_plain_text(head: &[u8]) -> bool {
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    is_text(text) && !matches!(text, [] | [b'<', ..]) && !text.starts_with(b"-----BEGIN PGP ")
}

/// What it is, as in `an HTML page`.
impl fmt::Display for StandIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("an empty file"),
            Self::Known(what) => what.fmt(f),
            Self::Unknown => f.write_str("something else"),
        }
    }
}
