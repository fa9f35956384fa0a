//! Archives: finds the image among the files of an archive.
//!
//! Where the size of the image is known, it is the first regular file of that size, else the only one that can be a disk
//! image. An archive is read forward: that there is no second one is known once all has been read.

mod choice;
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

pub use choice::{Names, SeveralImages};
pub use tar::open as open_tar;
pub use zip::open as open_zip;
