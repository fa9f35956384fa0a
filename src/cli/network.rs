//! Fetching images, bmaps and signatures.

use std::ffi::OsString;
use std::sync::Arc;

use bmaptool::event::Observer;
use bmaptool::size::human;
use bmaptool::source::{Certificates, Location, OpenOptions, Protocol, RetryPolicy, ServerHeaders, TransferStats};

use super::args::Network;
use super::error::Error;

/// Scales the timeouts of the network, for tests.
const TIMEOUT_SCALE: &str = "BMAPTOOL_TIMEOUT_SCALE";

/// How to fetch files, such as an image, its bmap and its signature. The first of them that is on an HTTP server says
/// which server gets the headers.
pub fn options<'a>(
    arguments: &Network,
    files: impl IntoIterator<Item = &'a OsString>,
    observer: Arc<dyn Observer>,
) -> Result<OpenOptions, Error> {
    let scale = std::env::var(TIMEOUT_SCALE).ok().and_then(|scale| scale.parse().ok());
    let retry = RetryPolicy::default();
    let retry = scale.map_or(retry, |scale| retry.scaled(scale));
    let mut headers = ServerHeaders::default();
    for name in files {
        if let Location::Url(url) = Location::parse(name)?
            && url.protocol() == Protocol::Http
        {
            headers = ServerHeaders::new(&url, &arguments.header);
            break;
        }
    }
    let certificates = arguments.cacert.as_deref().map(Certificates::read).transpose()?.unwrap_or_default();
    Ok(OpenOptions { retry, headers, certificates, observer, ..OpenOptions::default() })
}

/// As in `12.3 MiB of 64.0 MiB`; without the size if some of it was fetched twice.
pub fn amount(stats: &TransferStats) -> String {
    match fetched(stats) {
        (fetched, Some(size)) => format!("{fetched} of {size}"),
        (fetched, None) => fetched,
    }
}

/// How much was fetched, and of how much, where that is known and not less.
pub fn fetched(stats: &TransferStats) -> (String, Option<String>) {
    (human(stats.fetched()), stats.size().filter(|&size| stats.fetched() <= size).map(human))
}
