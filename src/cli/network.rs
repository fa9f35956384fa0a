//! Opening what may lie on another machine.

use bmaptool::size::human;
use bmaptool::source::transport::{Patience, Traffic};
use bmaptool::source::{Error, Location, Source};

/// Multiplies the time that the network is given. It is for tests, which have less time than users.
const PATIENCE: &str = "BMAPTOOL_PATIENCE";

/// Opens an image, or what belongs to it.
pub fn open(location: &Location) -> Result<Source, Error> {
    let factor = std::env::var(PATIENCE).ok().and_then(|factor| factor.parse().ok());
    let patience = Patience::default();
    Source::open_with(location, factor.map_or(patience, |factor| patience.scaled(factor)))
}

/// As in `12.3 MiB of 64.0 MiB`; without the size where some of it came twice.
pub fn amount(traffic: &Traffic) -> String {
    let fetched = human(traffic.fetched());
    match traffic.size().filter(|&size| traffic.fetched() <= size) {
        Some(size) => format!("{fetched} of {}", human(size)),
        None => fetched,
    }
}
