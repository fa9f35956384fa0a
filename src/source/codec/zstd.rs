//! Zstandard, by libzstd. Frames that follow one another and skippable frames are the library's; content checksums are
//! verified where a frame has one.

use std::io::{self, Read};

use ::zstd::stream::read::Decoder;

use super::Packed;

/// The largest window that is accepted, as the power of two that `zstd --long=31` makes.
const WINDOW_LOG_MAX: u32 = 31;

pub(super) fn decoder(packed: Packed) -> io::Result<Box<dyn Read + Send>> {
    let mut decoder = Decoder::with_buffer(packed)?;
    decoder.window_log_max(WINDOW_LOG_MAX)?;
    Ok(Box::new(decoder))
}
