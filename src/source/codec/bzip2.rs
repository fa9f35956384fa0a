//! bzip2, on several cores, by a crate of this workspace. The checksums of blocks and streams are verified.

use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::thread;

use bzip2_parallel::{Decoder, FormatError};

use super::trailing::TEXT_LEN;
use super::{Compressed, Trailing, memory_limit};
use crate::source::decode_error::unsupported;
use crate::sys::{memory, threads};

/// How many blocks are decoded at the same time, at most: the memory for them must leave room for the rest of a copy in
/// 64 MiB.
const MAX_THREADS: NonZeroUsize = NonZeroUsize::new(4).unwrap();

/// What the decoder takes at most with so many `threads`, as its crate says, and what the rest of a copy takes after it,
/// in bytes.
fn memory_needed(threads: NonZeroUsize) -> usize {
    threads.get().saturating_mul(9 << 20).saturating_add(13 << 20).saturating_add(24 << 20)
}

pub(super) fn decoder(compressed: Compressed, trailing: Trailing) -> io::Result<Box<dyn Read + Send>> {
    let mut threads = thread::available_parallelism().map_or(NonZeroUsize::MIN, |cores| cores.min(MAX_THREADS));
    // A control group that runs out of memory ends the program: no allocation fails.
    let enough = usize::try_from(memory::limit() / 4 * 3).unwrap_or(usize::MAX);
    let fits = |threads| memory_needed(threads) <= enough && memory_limit::probe(memory_needed(threads)).is_ok();
    while threads > NonZeroUsize::MIN && !fits(threads) {
        threads = NonZeroUsize::new(threads.get() - 1).unwrap_or(NonZeroUsize::MIN);
    }
    memory_limit::probe(memory_needed(threads))?;
    // A thread that cannot start is an error, not the end of the program.
    let start = |name: &str, work| threads::start(name, work).map(drop);
    let decoder = Decoder::with_spawner(compressed, threads, start);
    let decoder = decoder.map_err(|error| unsupported(format!("cannot start a thread: {error}")))?;
    Ok(Box::new(Bzip2 { decoder: Some(decoder), trailing }))
}

struct Bzip2 {
    /// `None` once the end of the file has been seen after trailing data.
    decoder: Option<Decoder>,
    trailing: Trailing,
}

impl Read for Bzip2 {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let Some(decoder) = &mut self.decoder else { return Ok(0) };
        let error = match decoder.read(buf) {
            Ok(count) => return Ok(count),
            Err(error) => error,
        };
        let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
        let Some(FormatError::NoStreamHeader { at: 1.. }) = cause else { return Err(error) };
        let mut start = [0; TEXT_LEN];
        let length = decoder.skip_rest(&mut start)?;
        self.trailing.pass_over_text(start.get(..length).unwrap_or_default()).map_err(|_| error)?;
        self.decoder = None;
        Ok(0)
    }
}
