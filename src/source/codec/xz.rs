//! xz, by liblzma: its decoder for several threads, which unpacks the blocks of a file in parallel where the file has
//! more than one and tells their sizes. Every integrity check is the library's.

use std::io::{self, Read};
use std::thread;

use nix::sys::sysinfo::sysinfo;
use xz2::bufread::XzDecoder;
use xz2::stream::MtStreamBuilder;

use super::Packed;
use super::members::{Member, Members};

pub(super) fn decoder(packed: Packed) -> io::Result<Box<dyn Read + Send>> {
    Ok(Box::new(Members::<XzDecoder<Packed>>::new(packed)?))
}

impl Member for XzDecoder<Packed> {
    fn begin(packed: Packed) -> io::Result<Self> {
        let threads = thread::available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(1));
        let limit = memory_limit();
        // Beyond the first limit the decoder uses fewer threads, beyond the second it gives up.
        let stream =
            MtStreamBuilder::new().threads(threads).memlimit_threading(limit).memlimit_stop(limit).decoder()?;
        Ok(XzDecoder::new_stream(packed, stream))
    }

    fn into_packed(self) -> Packed {
        self.into_inner()
    }
}

/// A quarter of the machine's memory, in bytes.
fn memory_limit() -> u64 {
    const UNKNOWN: u64 = 256 << 20;
    sysinfo().map_or(UNKNOWN, |info| info.ram_total() / 4)
}
