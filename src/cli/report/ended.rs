//! How a copy ended.

use bmaptool::copy::{Summary, WritePolicy};
use bmaptool::source::TransferStats;

use super::summary::Assurance;
use crate::cli::error::Error;

/// How the copy to each target ended, and what was asked of it.
pub struct Ended<'a> {
    /// In the order of the targets. The error of a single target is that of the command, which tells it.
    pub results: &'a [Result<Summary, Error>],
    pub write: WritePolicy,
    pub assurance: Assurance,
    /// Those of the image, if it came from a server.
    pub stats: Option<&'a TransferStats>,
}
