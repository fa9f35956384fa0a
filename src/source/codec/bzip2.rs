//! bzip2, on several cores, by a crate of this workspace. The checksums of blocks and streams are verified.

use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::thread;

use bzip2_parallel::Decoder;

use super::Compressed;
use crate::sys::threads;

/// How many blocks are decoded at the same time, at most. With each the decoder takes some 8 MiB more, which must leave
/// room for the rest of a copy in 64 MiB.
const MAX_THREADS: NonZeroUsize = NonZeroUsize::new(4).unwrap();

pub(super) fn decoder(compressed: Compressed) -> io::Result<Box<dyn Read + Send>> {
    let threads = thread::available_parallelism().map_or(NonZeroUsize::MIN, |cores| cores.min(MAX_THREADS));
    // A thread that cannot start is an error, not the end of the program.
    let start = |name: &str, work| threads::start(name, work).map(drop);
    Ok(Box::new(Decoder::with_spawner(compressed, threads, start)?))
}
