//! What can go wrong with a source.

use std::io;

use super::Location;
use super::detect::{Format, NotAnImage};
use super::transport::FetchError;

/// Why a source cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be opened.
    #[error("cannot open '{location}'")]
    Open {
        /// Where it is.
        location: Location,
        /// What the transport, codec or archive says.
        source: io::Error,
    },
    /// It cannot be read.
    #[error("cannot read '{location}'")]
    Read {
        /// Where it is.
        location: Location,
        /// What the transport, codec or archive says.
        source: io::Error,
    },
    /// It is a directory.
    #[error("'{location}' is a directory")]
    Directory {
        /// Where it is.
        location: Location,
    },
    /// It is an archive without the file that is sought.
    #[error("the {format} archive '{location}' holds no file{}", of_size(*expected))]
    NoImage {
        /// The archive.
        location: Location,
        /// What kind of archive it is.
        format: Format,
        /// The size that the file must have, in bytes.
        expected: Option<u64>,
    },
    /// What it is unpacked to is compressed again.
    #[error("what '{location}' holds is compressed again, with {inner}")]
    CompressedTwice {
        /// Where it is.
        location: Location,
        /// How its contents are compressed.
        inner: Format,
    },
    /// It is something else than a disk image.
    #[error("what '{location}' holds is not a disk image but {what}")]
    NotAnImage {
        /// Where it is.
        location: Location,
        /// What it is instead.
        what: NotAnImage,
    },
    /// It has another size than it must have.
    #[error("'{location}' has {found} bytes, but the bmap is for an image of {expected} bytes")]
    Size {
        /// Where it is.
        location: Location,
        /// Its size.
        found: u64,
        /// The size that it must have.
        expected: u64,
    },
    /// It has more bytes than such a file may have.
    #[error("'{location}' has over {limit} bytes, too many for a {what}")]
    TooLarge {
        /// Where it is.
        location: Location,
        /// What it is to the user.
        what: &'static str,
        /// How many it may have.
        limit: u64,
    },
}

/// The words for a size that is asked for.
fn of_size(expected: Option<u64>) -> String {
    expected.map_or_else(String::new, |size| format!(" of {size} bytes, the image's size according to the bmap"))
}

impl Error {
    /// Whether a server answered 400 or 401, which some send for every name that they do not have.
    pub fn is_access_denied(&self) -> bool {
        let Self::Open { source, .. } = self else { return false };
        FetchError::of(source).is_some_and(FetchError::is_access_denied)
    }

    /// Whether there is no file at that location. Whatever else goes wrong on the way there does not tell.
    pub fn is_not_found(&self) -> bool {
        let Self::Open { source, .. } = self else { return false };
        // A name that is too long for the file system is not there either.
        matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidFilename)
            || FetchError::of(source).is_some_and(FetchError::is_absent)
    }
}
