//! gzip, by flate2 with zlib-rs. A member's CRC and length are verified at its end.

use std::io::{self, Read};

use flate2::bufread::GzDecoder;

use super::Packed;
use super::members::{Member, Members};

pub(super) fn decoder(packed: Packed) -> io::Result<Box<dyn Read + Send>> {
    Ok(Box::new(Members::<GzDecoder<Packed>>::new(packed)?))
}

impl Member for GzDecoder<Packed> {
    const MAGIC: &'static [u8] = b"\x1f\x8b";

    fn begin(packed: Packed) -> io::Result<Self> {
        Ok(GzDecoder::new(packed))
    }

    fn into_packed(self) -> Packed {
        self.into_inner()
    }
}
