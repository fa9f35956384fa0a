//! Fetching images, bmaps and signatures.

use std::sync::Arc;

use bmaptool::event::Observer;
use bmaptool::size::human;
use bmaptool::source::{OpenOptions, RetryPolicy, TransferStats};

/// Scales the timeouts of the network, for tests.
const TIMEOUT_SCALE: &str = "BMAPTOOL_TIMEOUT_SCALE";

pub fn options(observer: Arc<dyn Observer>) -> OpenOptions {
    let scale = std::env::var(TIMEOUT_SCALE).ok().and_then(|scale| scale.parse().ok());
    let retry = RetryPolicy::default();
    OpenOptions { retry: scale.map_or(retry, |scale| retry.scaled(scale)), observer }
}

/// As in `12.3 MiB of 64.0 MiB`; without the size if some of it was fetched twice.
pub fn amount(stats: &TransferStats) -> String {
    let fetched = human(stats.fetched());
    match stats.size().filter(|&size| stats.fetched() <= size) {
        Some(size) => format!("{fetched} of {}", human(size)),
        None => fetched,
    }
}
