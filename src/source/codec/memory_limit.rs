//! How much memory a decoder may take where the file says how much it needs.

use std::io;

use crate::source::decode_error::unsupported;
use crate::sys::memory;

/// What every machine is taken to have for a decoder, in bytes: `xz -9` needs 65 MiB, which xz itself takes anywhere.
const LEAST: u64 = 128 << 20;

/// How much memory a decoder may take that cannot do with less, in bytes: [`quarter`], but 128 MiB in any case.
pub(super) fn allowed() -> u64 {
    quarter().max(LEAST)
}

/// Fails where the machine has not so many `bytes` left. A thread that runs out of memory would end the program.
pub(super) fn probe(bytes: usize) -> io::Result<()> {
    Vec::<u8>::new().try_reserve_exact(bytes).map_err(|_| too_little())
}

/// The error where the machine has no memory left for a decoder.
pub(super) fn too_little() -> io::Error {
    unsupported("the machine has not enough memory left for it")
}

/// A quarter of the memory that there is, in bytes: other programs need memory, too.
pub(super) fn quarter() -> u64 {
    memory::limit() / 4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_cannot_be_had_is_told() {
        assert!(probe(1 << 20).is_ok());
        assert_eq!(probe(isize::MAX as usize).unwrap_err().kind(), io::ErrorKind::Unsupported);
    }
}
