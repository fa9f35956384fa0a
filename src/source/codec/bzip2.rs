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

/// How many threads there are where the process may have so much memory, in bytes. A control group that runs out of it
/// ends the program: no allocation fails.
fn affordable(most: NonZeroUsize, limit: u64) -> NonZeroUsize {
    let enough = usize::try_from((limit / 4).saturating_mul(3)).unwrap_or(usize::MAX);
    let mut fewer = (1..=most.get()).rev().filter_map(NonZeroUsize::new);
    fewer.find(|&threads| memory_needed(threads) <= enough).unwrap_or(NonZeroUsize::MIN)
}

pub(super) fn decoder(compressed: Compressed, trailing: Trailing) -> io::Result<Box<dyn Read + Send>> {
    let cores = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let mut threads = affordable(cores.min(MAX_THREADS), memory::limit());
    while let Err(error) = memory_limit::probe(memory_needed(threads)) {
        threads = NonZeroUsize::new(threads.get() - 1).ok_or(error)?;
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_fewer_threads_where_there_is_less_memory() {
        let threads = |mib: u64| affordable(MAX_THREADS, mib << 20).get();
        assert_eq!([1, 64, 80, 128, 1 << 20].map(threads), [1, 1, 2, 4, 4]);
    }
}
