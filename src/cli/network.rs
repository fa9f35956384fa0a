//! Opening what may lie on another machine.

use std::sync::Arc;

use bmaptool::event::{Event, Notice, Observer};
use bmaptool::size::human;
use bmaptool::source::transport::{RetryPolicy, TransferStats};
use bmaptool::source::{Error, Location, OpenOptions, Source};

/// Multiplies the time that the network is given. It is for tests, which have less time than users.
const TIMEOUT_SCALE: &str = "BMAPTOOL_TIMEOUT_SCALE";

/// Opens an image, or what belongs to it.
pub fn open(location: &Location) -> Result<Source, Error> {
    let factor = std::env::var(TIMEOUT_SCALE).ok().and_then(|factor| factor.parse().ok());
    let retry = RetryPolicy::default();
    let retry = factor.map_or(retry, |factor| retry.scaled(factor));
    Source::open_with(location, &OpenOptions { retry, observer: Arc::new(Messages) })
}

/// As in `12.3 MiB of 64.0 MiB`; without the size where some of it came twice.
pub fn amount(stats: &TransferStats) -> String {
    let fetched = human(stats.fetched());
    match stats.size().filter(|&size| stats.fetched() <= size) {
        Some(size) => format!("{fetched} of {}", human(size)),
        None => fetched,
    }
}

/// Prints what sources tell.
struct Messages;

impl Observer for Messages {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Notice(Notice::ReadsMember { archive, format, member }) => {
                log::info!("reading '{member}' from the {format} archive '{archive}'");
            }
            Event::Notice(Notice::Retries { error, pause: Some(pause) }) => {
                log::info!("{error}; trying again in {:.1} s", pause.as_secs_f64());
            }
            Event::Notice(Notice::Retries { error, pause: None }) => log::info!("{error}; going on with a new one"),
            Event::Notice(Notice::NoValidator { url }) if url.to_string().starts_with("ftp:") => {
                log::warn!("the server gives '{url}' no time: a change may stay unnoticed");
            }
            Event::Notice(Notice::NoValidator { url }) => {
                log::warn!("the server gives '{url}' no version: a change cannot be noticed");
            }
            Event::Notice(Notice::NoCertificates { variable }) => {
                log::warn!("{variable} names no certificate that can be read: no server is trusted");
            }
            Event::Notice(Notice::NetrcUnreadable { path, error }) => {
                log::warn!("cannot read '{}': {error}", path.display());
            }
            _ => {}
        }
    }
}
