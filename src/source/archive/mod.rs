//! Archives: from a file of several files to the one that is the image.
//!
//! That is the first regular file; where the size of the image is known, the first of that size.

mod tar;
mod zip;

use super::ForwardRead;

/// The image in an archive.
pub struct Member {
    /// Its name in the archive.
    pub name: String,
    /// Delivers its bytes.
    pub reader: Box<dyn ForwardRead>,
    /// How many there are, where that is known beforehand.
    pub size: Option<u64>,
}

pub use tar::open as open_tar;
pub use zip::open as open_zip;

/// A name that others chose, without what a terminal would take for more than text.
fn printable(name: &[u8]) -> String {
    String::from_utf8_lossy(name).chars().map(|char| if char.is_control() { '\u{fffd}' } else { char }).collect()
}
