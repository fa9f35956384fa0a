//! The engine: what to copy, from where, to where.
//!
//! Three threads in a chain: one reads, one verifies, and the caller's writes. Chunks go along it through bounded
//! channels, and their buffers come back, so that memory is the number of buffers. The engine knows no file, no format
//! and no terminal.

mod boot_region;
mod chain;
mod progress;
mod reader;
mod verifier;

use std::io;

pub use progress::{Cancel, Progress};

use crate::bmap::Bmap;
use crate::digest::{ChecksumKind, Digest};
use crate::event::Outcome;
use crate::range::{BlockRange, ByteRange};
use crate::sink::{Sink, TargetState, WriteError};
use crate::source::ForwardRead;
use boot_region::BootRegion;
use chain::Written;

/// What to copy.
pub enum Extents {
    /// The mapped ranges of a block map.
    Mapped(Bmap),
    /// Everything, to the end of the source.
    Whole {
        /// How many bytes that is, where it is known.
        size: Option<u64>,
    },
}

impl Extents {
    /// The size of the image in bytes, where it is known.
    pub fn image_size(&self) -> Option<u64> {
        match self {
            Self::Mapped(map) => Some(map.image_size()),
            Self::Whole { size } => *size,
        }
    }

    /// How many bytes are to be written, where that is known.
    pub fn total(&self) -> Option<u64> {
        match self {
            Self::Mapped(map) => Some(map.mapped_bytes()),
            Self::Whole { size } => *size,
        }
    }

    /// The bytes to copy, in order. Where the size of the image is not known, the last range ends where the source does.
    fn byte_ranges(&self) -> Box<dyn Iterator<Item = ByteRange> + '_> {
        match self {
            Self::Mapped(map) => Box::new(map.ranges().map(|range| range.bytes)),
            Self::Whole { size } => {
                Box::new(std::iter::once(ByteRange { start: 0, end: size.unwrap_or(ByteRange::ALL.end) }))
            }
        }
    }
}

/// Whether checksums are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    /// Every range that has one.
    Checksums,
    /// None.
    Skip,
}

impl Verify {
    /// Whether every byte that `map` has written is covered by a checksum that is compared. If not, only the clean end of
    /// the source tells that it was complete.
    pub fn covers(self, map: &Bmap) -> bool {
        self == Self::Checksums && (map.checksum_kind().is_some() || map.mapped_blocks() == 0)
    }
}

/// Why a copy failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The source failed.
    #[error("cannot read the image at byte {offset}")]
    Read {
        /// The place in the unpacked image.
        offset: u64,
        /// Why.
        source: io::Error,
    },
    /// The source is too short.
    #[error(
        "the image ended at byte {at}, the bmap says it has {expected}: it is cut off, or not the image of this bmap"
    )]
    EndedEarly {
        /// Where it ended.
        at: u64,
        /// Its size according to the bmap.
        expected: u64,
    },
    /// The source has become shorter.
    #[error("the image ended at byte {at}, but had {expected} bytes at the start: it changes while it is copied")]
    Shrank {
        /// Where it ended.
        at: u64,
        /// Its size when it was opened.
        expected: u64,
    },
    /// The source is too long.
    #[error("the image goes on after the {expected} bytes that the bmap says it has: it is not the image of this bmap")]
    GoesOn {
        /// Its size according to the bmap.
        expected: u64,
    },
    /// The source has become longer.
    #[error("the image goes on after the {expected} bytes that it had at the start: it changes while it is copied")]
    Grew {
        /// Its size when it was opened.
        expected: u64,
    },
    /// A range is not what it was when it was mapped.
    #[error(
        "checksum mismatch in blocks {range} (bytes {} to {}): the image's {kind} is {computed}, the bmap says {expected}; \
         the image is damaged or not the one of this bmap, and the contents of the target are not valid",
        bytes.start, bytes.end.saturating_sub(1)
    )]
    Mismatch {
        /// The range.
        range: BlockRange,
        /// Its bytes.
        bytes: ByteRange,
        /// The kind of the checksums.
        kind: ChecksumKind,
        /// What the bmap says.
        expected: Digest,
        /// What the image has.
        computed: Digest,
    },
    /// The source has no bytes. A device with no image on it is no success: whatever should have fed us has failed.
    #[error("the image is empty")]
    Empty,
    /// The machine has no thread left for it.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    /// The machine has no memory left for it.
    #[error("cannot make the buffers")]
    Memory(#[source] io::Error),
    /// The target could not be made ready.
    #[error("cannot prepare the target")]
    Prepare(#[source] io::Error),
    /// The target failed.
    #[error("cannot write at byte {offset}")]
    Write {
        /// The place in the target.
        offset: u64,
        /// Why.
        source: io::Error,
    },
    /// The source has more bytes than the target can take.
    #[error("the image does not fit: it goes on after the {capacity} bytes that the target can hold")]
    Full {
        /// How many that are.
        capacity: u64,
    },
    /// What was written may not be durable.
    #[error("cannot synchronize the target")]
    Sync(#[source] io::Error),
    /// The user wants no more.
    #[error("interrupted")]
    Cancelled,
}

impl From<WriteError> for Error {
    fn from(WriteError { offset, source }: WriteError) -> Self {
        Self::Write { offset, source }
    }
}

/// A copy that failed, and what it leaves behind.
#[derive(Debug)]
pub struct Failure {
    /// Why.
    pub error: Error,
    /// What is left of the target.
    pub remains: TargetState,
}

/// Copies `extents` from `source` to `target`, all but the boot region, and verifies them.
///
/// Nothing is durable yet, and a device is not bootable, until [`Transferred::commit`].
///
/// # Errors
///
/// Where the source or the target fails, a checksum does not match, the source does not end where it must, or `cancel`
/// is set; the target has been abandoned then.
pub fn transfer(
    extents: Extents,
    verify: Verify,
    source: Box<dyn ForwardRead>,
    mut target: Box<dyn Sink>,
    progress: &Progress,
    cancel: &Cancel,
) -> Result<Transferred, Failure> {
    match chain::run(extents, verify, source, &mut *target, progress, cancel) {
        Ok(Written { boot_region, bytes }) => Ok(Transferred { target, boot_region, bytes }),
        Err(error) => Err(fail(error, target, cancel)),
    }
}

/// Gives the target up.
fn fail(error: Error, target: Box<dyn Sink>, cancel: &Cancel) -> Failure {
    // The signal may have ended the program that feeds us as well; then it is what stopped the copy, not the early end.
    let error = match error {
        Error::Read { .. } | Error::EndedEarly { .. } if cancel.reason().is_some() => Error::Cancelled,
        error => error,
    };
    Failure { error, remains: target.finish(Outcome::Failed) }
}

/// An image that is written and verified, but for its boot region, and not yet durable.
#[must_use = "the copy is complete only after `commit`"]
pub struct Transferred {
    target: Box<dyn Sink>,
    boot_region: BootRegion,
    bytes: u64,
}

impl Transferred {
    /// Makes the copy durable, then bootable. Returns how many bytes were copied.
    ///
    /// # Errors
    ///
    /// Where the target fails, or `cancel` is set before the boot region is written.
    pub fn commit(mut self, progress: &Progress, cancel: &Cancel) -> Result<u64, Failure> {
        progress.all_written();
        let committed = self.boot_region.commit(&mut *self.target, cancel);
        match committed {
            Ok(()) => {
                self.target.finish(Outcome::Complete);
                Ok(self.bytes)
            }
            Err(error) => {
                let revoked = self.boot_region.revoke(&mut *self.target);
                let abandoned = self.target.finish(Outcome::Failed);
                Err(Failure { error, remains: revoked.unwrap_or(abandoned) })
            }
        }
    }
}
