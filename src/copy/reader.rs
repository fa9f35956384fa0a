//! The first thread of the chain: reads what is to be copied, in order, into buffers that come back to it.

use std::sync::mpsc::{Receiver, SyncSender};

use super::chain::{CHUNK_LEN, Chunk};
use super::{Error, Extents, Verify};
use crate::range::ByteRange;
use crate::source::{ForwardRead, read_full};
use crate::sys::aligned::AlignedBuf;

/// Nobody asks the reader how it ended then; if anybody did, it would be no success.
const DESERTED: Result<(), Error> = Err(Error::Cancelled);

/// Reads `extents` from `source` and passes them on to `chunks`, in buffers from `pool`: to the end, where the source is
/// complete as far as that can be told, or until nobody takes them any more: then that one says why.
pub(super) fn read(
    extents: &Extents,
    verify: Verify,
    source: &mut dyn ForwardRead,
    pool: &Receiver<AlignedBuf>,
    chunks: &SyncSender<Chunk>,
) -> Result<(), Error> {
    let mut offset = 0;
    for range in extents.byte_ranges() {
        let reached = source.skip_to(range.start).map_err(|source| Error::Read { offset: range.start, source })?;
        if reached < range.start {
            return Err(ended_early(extents, reached));
        }
        offset = range.start;
        while offset < range.end {
            let Ok(mut buf) = pool.recv() else { return DESERTED };
            let length = chunk_len(ByteRange { start: offset, end: range.end });
            #[expect(clippy::indexing_slicing, reason = "a buffer has room for a whole chunk")]
            let room = &mut buf[..length];
            let got = read_full(source, room).map_err(|source| Error::Read { offset, source })?;
            if got > 0 && chunks.send(Chunk { offset, length: got, buf }).is_err() {
                return DESERTED;
            }
            offset = offset.saturating_add(got as u64);
            if got < length {
                match extents {
                    Extents::Whole { size: None } => break,
                    _ => return Err(ended_early(extents, offset)),
                }
            }
        }
    }
    match extents {
        Extents::Mapped(map) if verify.covers(map) => Ok(()),
        _ => check_end(extents, source, offset),
    }
}

/// How much of `range` goes into one chunk: up to the next multiple of the chunk's length in the target.
fn chunk_len(range: ByteRange) -> usize {
    const LENGTH: u64 = CHUNK_LEN as u64;
    let to_boundary = CHUNK_LEN.saturating_sub((range.start % LENGTH) as usize);
    usize::try_from(range.len()).map_or(to_boundary, |left| left.min(to_boundary))
}

/// Reads on from `offset` to the end of the source, which must be clean, and where the image ends. A source that goes on after
/// that is not read further: it may be endless.
fn check_end(extents: &Extents, source: &mut dyn ForwardRead, offset: u64) -> Result<(), Error> {
    let Some(expected) = extents.image_size() else {
        return source.finish().map(drop).map_err(|source| Error::Read { offset, source });
    };
    let failed = |source| Error::Read { offset: expected, source };
    let reached = source.skip_to(expected).map_err(failed)?;
    if reached < expected {
        return Err(ended_early(extents, reached));
    }
    if read_full(source, &mut [0]).map_err(failed)? > 0 {
        return Err(goes_on(extents, expected));
    }
    source.finish().map(drop).map_err(failed)
}

fn ended_early(extents: &Extents, at: u64) -> Error {
    match extents {
        Extents::Mapped(map) => Error::EndedEarly { at, expected: map.image_size() },
        Extents::Whole { size } => Error::Shrank { at, expected: size.unwrap_or(at) },
    }
}

fn goes_on(extents: &Extents, expected: u64) -> Error {
    match extents {
        Extents::Mapped(_) => Error::GoesOn { expected },
        Extents::Whole { .. } => Error::Grew { expected },
    }
}
