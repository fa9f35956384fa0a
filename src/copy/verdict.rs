//! How a copy ends, for each of its targets.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::error::Error;
use crate::sink::{ReadPath, TargetState};

/// How the copy to one target ended.
pub type Verdict = Result<Summary, Failure>;

/// A copy that is complete: verified, durable, and bootable if the image is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// How many bytes of the image were copied: the target holds them.
    pub bytes: u64,
    /// How many of them were written. The others the target held already.
    pub written: u64,
    /// How many of them were neither fetched nor decompressed, as all targets held them already.
    pub left_out: u64,
    /// How many bytes of the image's holes were zeroed: those that were not known to be zero.
    pub zeroed: u64,
    /// How many bytes the target was told to forget, which lie in holes or after the image.
    pub discarded: u64,
    /// How what the target holds was read back, if it was.
    pub read_back: Option<ReadPath>,
    /// How long it took, the last sync included.
    pub time: Duration,
    /// How much of that it waited: for the source, or for targets that are slower.
    pub waited: Duration,
}

/// A copy that failed, and the state of its target.
#[derive(Debug)]
pub struct Failure {
    /// Why; shared by all targets where it is the source that failed.
    pub error: Arc<Error>,
    /// What is on the target.
    pub state: TargetState,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}
