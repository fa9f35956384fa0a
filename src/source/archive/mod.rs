//! Archives: from a file of several files to the one that is the image.
//!
//! That is the first regular file; where the size of the image is known, the first of that size.

mod tar;
mod zip;

use super::ForwardRead;

/// The image in an archive.
pub struct Member {
    /// Its name in the archive, as it stands there.
    pub name: String,
    /// Delivers its bytes.
    pub reader: Box<dyn ForwardRead>,
    /// How many there are, where that is known beforehand.
    pub size: Option<u64>,
}

pub use tar::open as open_tar;
pub use zip::open as open_zip;
