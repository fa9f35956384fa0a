//! bzip2, by the bzip2 crate's Rust back end. Block and stream CRCs are verified.

use std::io::{self, Read};

use ::bzip2::bufread::BzDecoder;

use super::Packed;
use super::members::{Member, Members};

pub(super) fn decoder(packed: Packed) -> io::Result<Box<dyn Read + Send>> {
    Ok(Box::new(Members::<BzDecoder<Packed>>::new(packed)?))
}

impl Member for BzDecoder<Packed> {
    fn begin(packed: Packed) -> io::Result<Self> {
        Ok(BzDecoder::new(packed))
    }

    fn into_packed(self) -> Packed {
        self.into_inner()
    }
}
