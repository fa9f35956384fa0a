//! gzip, by flate2 with zlib-rs. A member's CRC and length are verified at its end.

use std::io::{self, Read};

use flate2::bufread::GzDecoder;

use super::concatenated::{Concatenated, Member};
use super::{Compressed, Trailing};

pub(super) fn decoder(compressed: Compressed, trailing: Trailing) -> io::Result<Box<dyn Read + Send>> {
    Ok(Box::new(Concatenated::<GzDecoder<Compressed>>::new(compressed, trailing)?))
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
