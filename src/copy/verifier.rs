//! The second thread of the chain: hashes what was read, and lets the last chunk of a range through only if the range's
//! checksum is right.

use std::sync::mpsc::{Receiver, SyncSender};

use super::chain::Chunk;
use super::{Error, Extents, Verify};
use crate::bmap::Range;
use crate::digest::{ChecksumKind, Digest, Hasher};

/// Passes chunks on from `read` to `verified`.
pub(super) fn verify(
    extents: &Extents,
    verify: Verify,
    read: &Receiver<Chunk>,
    verified: &SyncSender<Chunk>,
) -> Result<(), Error> {
    let mut checker = match (extents, verify) {
        (Extents::Mapped(map), Verify::Checksums) => map.checksum_kind().map(|kind| Checker::new(kind, map.ranges())),
        _ => None,
    };
    for chunk in read {
        if let Some(checker) = &mut checker {
            checker.check(&chunk)?;
        }
        if verified.send(chunk).is_err() {
            break; // the writer has given up, and says why
        }
    }
    Ok(())
}

/// Follows the chunks through the ranges that they make up.
struct Checker<I> {
    kind: ChecksumKind,
    hasher: Hasher,
    ranges: I,
}

impl<'a, I: Iterator<Item = Range<'a>>> Checker<std::iter::Peekable<I>> {
    fn new(kind: ChecksumKind, ranges: I) -> Self {
        Self { kind, hasher: kind.hasher(), ranges: ranges.peekable() }
    }

    fn check(&mut self, chunk: &Chunk) -> Result<(), Error> {
        self.hasher.update(chunk.data());
        let Some(range) = self.ranges.next_if(|range| range.bytes.end == chunk.end()) else { return Ok(()) };
        let computed = self.hasher.finish();
        match range.checksum.map(Digest::from) {
            Some(expected) if computed != expected => {
                Err(Error::Mismatch { range: range.blocks, bytes: range.bytes, kind: self.kind, expected, computed })
            }
            _ => Ok(()),
        }
    }
}
