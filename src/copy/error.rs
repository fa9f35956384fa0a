//! Why a copy fails.

use std::io;
use std::time::Duration;

use super::damage::Damage;
use crate::digest::{ChecksumKind, Digest};
use crate::partition::RelocateError;
use crate::range::{BlockRange, ByteRange};
use crate::sink::WriteError;
use crate::size::{human, human_time};
use crate::source;

/// Why a copy failed.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the variants say what their fields are")]
pub enum Error {
    /// The source failed; `offset` is that of the decompressed image, in bytes.
    #[error("cannot read the image at byte {offset}")]
    Read { offset: u64, source: io::Error },
    /// The source is shorter than the map says.
    #[error("the image ended at byte {at}, the bmap says it has {expected}")]
    EndedEarly { at: u64, expected: u64 },
    /// The source has become shorter since it was opened.
    #[error("the image ended at byte {at}, but had {expected} bytes at the start")]
    Shrank { at: u64, expected: u64 },
    /// The source is longer than the map says.
    #[error("the image goes on after the {expected} bytes that the bmap says it has")]
    GoesOn { expected: u64 },
    /// The source has become longer since it was opened.
    #[error("the image goes on after the {expected} bytes that it had at the start")]
    Grew { expected: u64 },
    /// A range is not what it was when it was mapped.
    #[error("checksum mismatch in blocks {range} (bytes {} to {})", bytes.start, bytes.end - 1)]
    Mismatch { range: BlockRange, bytes: ByteRange, kind: ChecksumKind, expected: Digest, computed: Digest },
    /// The source has other bytes at `offset`, or up to 1 MiB after it, than when it was read first.
    #[error("the image has changed since it was read first, at byte {offset} or up to 1 MiB after it")]
    Changed { offset: u64 },
    /// The source, which is to be read once more, cannot be opened.
    #[error("cannot read the image again")]
    Reopen(#[source] source::Error),
    /// The source has no bytes. A device without an image is no success: whatever produces the image has failed.
    #[error("the image is empty")]
    Empty,
    /// The machine has no thread left.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    /// The machine has no memory left for the buffers.
    #[error("cannot make the buffers")]
    Memory(#[source] io::Error),
    /// The GPT of the image cannot be relocated.
    #[error(transparent)]
    Gpt(#[from] RelocateError),
    /// The target, to whose end the backup of the GPT is to go, is no block device.
    #[error("only a block device has an end to which the backup of a GPT can be moved")]
    NoDeviceEnd,
    /// The target could not be made ready.
    #[error("cannot prepare the target")]
    Prepare(#[source] io::Error),
    /// What the target holds, which is to be compared, cannot be read.
    #[error("cannot read what the target holds")]
    ReadTarget(#[source] io::Error),
    /// The target failed; `offset` is that of the first byte that may not have been written.
    #[error("cannot write at byte {offset}")]
    Write { offset: u64, source: io::Error },
    /// The target failed to discard what it holds from `offset` on.
    #[error("cannot discard from byte {offset} on")]
    Discard { offset: u64, source: io::Error },
    /// What was written cannot be read back at `offset`, for another reason than a fault of the medium.
    #[error("cannot read back byte {offset}")]
    ReadBack { offset: u64, source: io::Error },
    /// The target does not hold what was written to it.
    #[error("the medium is at fault: it does not hold what was written to {}", in_words(.0))]
    Medium(Damage),
    /// The target loses what is written from byte `holds` on, or some of it.
    #[error("{}", capacity_in_words(*claimed, *holds))]
    Capacity { claimed: u64, holds: u64 },
    /// The source has more bytes than the target can take.
    #[error("the image does not fit: it goes on after the {capacity} bytes that the target can hold")]
    Full { capacity: u64 },
    /// What was written may not be durable.
    #[error("cannot synchronize the target")]
    Sync(#[source] io::Error),
    /// The target took nothing, nor gave anything back, for so long, and all others waited for it.
    #[error("it has done nothing for {} while the others waited for it", human_time(*limit))]
    Stalled { limit: Duration },
    /// The target took nothing, nor gave anything back, for so long after somebody asked the copy to stop.
    #[error("interrupted, and it has done nothing for {} since", human_time(*limit))]
    HeldUp { limit: Duration },
    /// A thread that reads or verifies the image has panicked.
    #[error("reading the image ended without a result")]
    NoResult,
    /// Somebody asked the copy to stop.
    #[error("interrupted")]
    Cancelled,
}

/// The places as in `bytes 0 to 1048575 and 3 other places`.
fn in_words(Damage { places, count, .. }: &Damage) -> String {
    let ByteRange { start, end } = places[0].bytes;
    let bytes = format!("bytes {start} to {}", end - 1);
    match count - 1 {
        0 => bytes,
        1 => format!("{bytes} and 1 other place"),
        others => format!("{bytes} and {others} other places"),
    }
}

fn capacity_in_words(claimed: u64, holds: u64) -> String {
    match holds {
        0 => "the device keeps nothing of what is written to it".to_owned(),
        _ => format!("the device says that it has {}, but holds {} at most", human(claimed), human(holds)),
    }
}

impl Error {
    /// Whether the source ended or failed.
    pub(super) fn is_of_source(&self) -> bool {
        matches!(self, Self::Read { .. } | Self::EndedEarly { .. })
    }
}

impl From<WriteError> for Error {
    fn from(WriteError { offset, source }: WriteError) -> Self {
        Self::Write { offset, source }
    }
}
