//! Hashes ranges on all cores, in one of two ways.
//!
//! [`Hashing`] is for what any thread can read: whoever reads a range hashes it, while its bytes are in the cache.
//! [`Hashers`] are fed by the one thread that owns a target. Theirs are started before the target is written to.

mod feed;
mod lane;
mod scheduler;
mod windows;

use std::thread;

pub(crate) use feed::{Expected, Hashers, Mismatch};
pub(crate) use scheduler::{Access, Error, Hashing};
pub(crate) use windows::{Part, WINDOW, Window, windows};

/// More cores than this are faster than any memory that images are read from.
const MAX_THREADS: usize = 8;

/// Short ranges are hashed by one core together, until they have so many bytes.
const BATCH: u64 = 1 << 20;

/// How many cores there are to hash on.
pub(crate) fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS)
}
