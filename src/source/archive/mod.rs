//! Archives: finds the image among the files of an archive.
//!
//! It is the first regular file; where the size of the image is known, the first of that size.

mod tar;
mod zip;

use super::ForwardRead;

/// The image in an archive.
pub struct Member {
    /// Its path in the archive.
    pub name: String,
    /// Delivers its bytes.
    pub reader: Box<dyn ForwardRead>,
    /// Its size in bytes, where that is known beforehand.
    pub size: Option<u64>,
}

pub use tar::open as open_tar;
pub use zip::open as open_zip;
