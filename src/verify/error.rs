//! Why something cannot be compared with its block map.

use std::io;

use super::Difference;
use crate::source;

/// Why something cannot be compared with its block map.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the variants say what their fields are")]
pub enum Error {
    /// The map says nothing about the contents.
    #[error("the bmap has no checksums, nothing can be compared with it")]
    NoChecksums,
    /// The source cannot be opened, or is not the image of the map.
    #[error(transparent)]
    Source(#[from] source::Error),
    /// The source failed; `offset` is that of the decompressed image, in bytes.
    #[error("cannot read byte {offset}")]
    Read { offset: u64, source: io::Error },
    /// So much of a device cannot be read that it is left alone after this error.
    #[error("given up at byte {offset}: too many reads fail and take long")]
    GivenUp { offset: u64, source: io::Error },
    /// The source is shorter than the map says.
    #[error("the image ended at byte {at}, the bmap says it has {expected}")]
    EndedEarly { at: u64, expected: u64 },
    /// The machine has no memory left for the buffers.
    #[error("cannot make the buffers")]
    Memory(#[source] io::Error),
}

/// A comparison that did not come to its end.
#[derive(Debug)]
pub struct Unfinished {
    /// What had been found wrong before, in order.
    pub differences: Vec<Difference>,
    /// Why it did not.
    pub error: Error,
}
