//! What can go wrong with a source.

use std::io;

use super::Location;
use super::archive::Names;
use super::detect::{Format, NotAnImage};
use super::transport::FetchError;
use crate::size::human;

/// Why a source cannot be used.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the variants say what their fields are")]
pub enum Error {
    /// It cannot be opened; the source is what the transport says.
    #[error("cannot open '{location}'")]
    Open { location: Location, source: io::Error },
    /// It cannot be read; the source is what the transport, codec or archive says.
    #[error("cannot read '{location}'")]
    Read { location: Location, source: io::Error },
    /// It is a directory.
    #[error("'{location}' is a directory")]
    Directory { location: Location },
    /// It is an archive without the file that is sought, which must have `expected` bytes where that is known.
    #[error("the {format} archive '{location}' holds no file{}", but(*expected, others))]
    NoImage { location: Location, format: Format, expected: Option<u64>, others: Names },
    /// The file, or the archive's member, that is called `name` has the size that the bmap says; but its name says that
    /// the image is compressed in it, and so do its first bytes.
    #[error("the bmap was made of '{name}' as it is, not of the image in it")]
    MappedAsStored { name: String },
    /// Its contents are compressed again.
    #[error("what '{location}' holds is compressed again, with {inner}")]
    CompressedTwice { location: Location, inner: Format },
    /// It is something else than a disk image.
    #[error("what '{location}' holds is not a disk image but {what}")]
    NotAnImage { location: Location, what: NotAnImage },
    /// It has another size than it must have, both in bytes.
    #[error("'{location}' has {found} bytes, but the bmap is for an image of {expected} bytes")]
    Size { location: Location, found: u64, expected: u64 },
    /// It has over `limit` bytes, too many for `what` it is to the user, as in `bmap`.
    #[error("'{location}' has over {}, too many for a {what}", human(*limit))]
    TooLarge { location: Location, what: &'static str, limit: u64 },
}

/// The words for a file that is asked for, and for the `others` that there are instead.
fn but(expected: Option<u64>, others: &Names) -> String {
    match expected {
        Some(size) if others.is_empty() => format!(" of {size} bytes, the size in the bmap"),
        Some(size) => format!(" of {size} bytes, the size in the bmap, but {others}"),
        None if others.is_empty() => String::new(),
        None => format!(" that can be the image, but {others}"),
    }
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
