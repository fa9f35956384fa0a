//! What a command is about to do.

use bmaptool::bmap::Bmap;
use bmaptool::sink::SinkInfo;
use bmaptool::source::Location;
use bmaptool::trust::Signatures;

/// What a command is about to do.
pub struct Start<'a> {
    /// Its name.
    pub command: &'static str,
    pub image: &'a Location,
    /// The size of the image in bytes, if it is known.
    pub image_size: Option<u64>,
    pub bmap: Option<UsedBmap<'a>>,
    /// What is known of each target; of what is only read, nothing.
    pub targets: Vec<Option<SinkInfo>>,
}

/// A bmap whose signatures are accepted.
pub struct UsedBmap<'a> {
    pub file: &'a Location,
    pub map: &'a Bmap,
    pub signatures: &'a Signatures,
}
