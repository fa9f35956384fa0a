//! Opening what may lie on another machine.

use std::sync::Arc;

use bmaptool::event::Observer;
use bmaptool::size::human;
use bmaptool::source::transport::{RetryPolicy, TransferStats};
use bmaptool::source::{Error, Location, OpenOptions, Source};

/// Multiplies the time that the network is given. It is for tests, which have less time than users.
const TIMEOUT_SCALE: &str = "BMAPTOOL_TIMEOUT_SCALE";

/// How what lies on another machine is opened.
pub struct Network {
    retry: RetryPolicy,
    pub observer: Arc<dyn Observer>,
}

impl Network {
    /// Tells `observer` what happens.
    pub fn new(observer: &Arc<dyn Observer>) -> Self {
        let scale = std::env::var(TIMEOUT_SCALE).ok().and_then(|scale| scale.parse().ok());
        let retry = RetryPolicy::default();
        Self { retry: scale.map_or(retry, |scale| retry.scaled(scale)), observer: Arc::clone(observer) }
    }

    /// Opens an image, or what belongs to it.
    pub fn open(&self, location: &Location) -> Result<Source, Error> {
        Source::open_with(location, &OpenOptions { retry: self.retry, observer: Arc::clone(&self.observer) })
    }
}

/// As in `12.3 MiB of 64.0 MiB`; without the size where some of it came twice.
pub fn amount(stats: &TransferStats) -> String {
    let fetched = human(stats.fetched());
    match stats.size().filter(|&size| stats.fetched() <= size) {
        Some(size) => format!("{fetched} of {}", human(size)),
        None => fetched,
    }
}
