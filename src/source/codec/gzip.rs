//! gzip, by flate2 with zlib-rs. A member's CRC and length are verified at its end.

use std::io::{self, Read};

use flate2::bufread::GzDecoder;

use super::Compressed;
use super::concatenated::{Concatenated, Member};

pub(super) fn decoder(compressed: Compressed) -> io::Result<Box<dyn Read + Send>> {
    Ok(Box::new(Concatenated::<GzDecoder<Compressed>>::new(compressed)?))
}

impl Member for GzDecoder<Compressed> {
    const MAGIC: &'static [u8] = b"\x1f\x8b";

    fn begin(compressed: Compressed) -> io::Result<Self> {
        Ok(GzDecoder::new(compressed))
    }

    fn into_compressed(self) -> Compressed {
        self.into_inner()
    }
}
