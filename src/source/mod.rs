//! Where bytes come from: a transport delivers them as they are stored, a codec decompresses them, an archive has the
//! image among other files.
//!
//! A new transport is one file in [`transport`] and one arm in `transport::open`; a new format is one file in [`codec`]
//! and one row in its table.

// What is stored and sent comes from outside: no byte of it may cause a panic.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

#[doc(hidden)] // public for the fuzz targets alone, as the types below
pub mod archive;
#[doc(hidden)]
pub mod codec;
mod decode_error;
mod detect;
mod drain;
mod error;
mod image;
mod location;
mod peek;
mod pipe;
mod raw;
mod small_file;
mod stand_in;
mod tell;
#[doc(hidden)]
pub mod transport;

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;

pub use archive::{Names, SeveralImages};
pub use decode_error::DecodeError;
pub use detect::{Format, HEAD_LEN, Kind, NotAnImage, detect};
pub(crate) use drain::{Drain, drain};
pub use error::Error;
pub(crate) use image::Unpacked;
pub use image::{Member, Source};
pub use location::{InvalidUrl, Location, Protocol, Url};
#[doc(hidden)]
pub use peek::{Peek, StoredFile};
pub(crate) use pipe::Pipe;
#[doc(hidden)]
pub use raw::Raw;
pub use small_file::SmallFile;
pub use stand_in::StandIn;

use crate::event::{Observer, Silent};
use crate::range::ByteRange;
use crate::sys::eintr::retry_on_eintr;
pub use transport::{
    CertificateFault, Certificates, CertificatesError, FetchError, Header, InvalidHeader, ProxyFault, RetryPolicy,
    ServerHeaders, TransferStats,
};

/// How files are opened.
#[derive(Clone)]
pub struct OpenOptions {
    /// Timeouts of network connections, and when to give up.
    pub retry: RetryPolicy,
    /// What an HTTP server is asked for first.
    pub first_request: FirstRequest,
    /// Headers for one HTTP server.
    pub headers: ServerHeaders,
    /// What is trusted in TLS besides the certificates of the system.
    pub certificates: Certificates,
    /// Receives notices, also later, while the file is read.
    pub observer: Arc<dyn Observer>,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            retry: RetryPolicy::default(),
            first_request: FirstRequest::Whole,
            headers: ServerHeaders::default(),
            certificates: Certificates::default(),
            observer: Arc::new(Silent),
        }
    }
}

impl fmt::Debug for OpenOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { retry, headers, .. } = self;
        f.debug_struct("OpenOptions").field("retry", retry).field("headers", headers).finish_non_exhaustive()
    }
}

/// What an HTTP server is asked for first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstRequest {
    /// The whole file: most of it will be read.
    Whole,
    /// Only as much as tells what it is, as perhaps nothing more will be read: what a server has begun to send is on its
    /// way, whether it is read or not.
    Head,
}

/// An image's bytes, from first to last.
pub trait ForwardRead: Read + Send {
    /// Moves on to `offset`, counted from the start of the image, without delivering what lies between. `offset` is not
    /// before the current position. Returns the new position: `offset`, or where the data ended before it.
    ///
    /// # Errors
    ///
    /// Where the data cannot be read.
    fn skip_to(&mut self, offset: u64) -> io::Result<u64>;

    /// Whether [`Self::skip_to`] reads what lies between.
    fn skipping(&self) -> Skipping;

    /// Goes on to the end of the data and checks that it is a clean one. Returns the size of the image in bytes.
    ///
    /// # Errors
    ///
    /// Where the data cannot be read, is cut off or has a wrong trailer.
    fn finish(&mut self) -> io::Result<u64>;
}

/// What becomes of bytes that an image is moved past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skipping {
    /// They are read, or decompressed, and dropped.
    Reads,
    /// They are neither fetched nor decompressed.
    LeavesOut,
}

/// Whether bytes that are not asked for may stay unread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadPolicy {
    /// They may: every byte that counts has a checksum of its own.
    SkipHoles {
        /// The ranges of the image that will be asked for, in order: a source can fetch and decompress them ahead.
        wanted: Vec<ByteRange>,
    },
    /// They must be read: only the format's checks and the clean end of the source show that the image is complete.
    ReadAll,
}

/// Reads until `buf` is full or the data ends; returns how many bytes that is.
///
/// # Errors
///
/// Where `reader` fails, except for interruptions.
pub fn read_full(reader: &mut (impl Read + ?Sized), buf: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buf.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match retry_on_eintr(|| reader.read(rest))? {
            0 => break,
            count => filled = filled.saturating_add(count),
        }
    }
    Ok(filled)
}

/// How many unwanted bytes are read at a time: they lie on the stack, as there may be no memory left for them.
const SCRATCH_LEN: usize = 32 << 10;

/// Reads and drops up to `count` bytes; returns how many there were.
///
/// # Errors
///
/// Where `reader` fails, except for interruptions.
pub fn discard(reader: &mut (impl Read + ?Sized), count: u64) -> io::Result<u64> {
    let mut scratch = [0; SCRATCH_LEN];
    let mut left = count;
    while left > 0 {
        let want = usize::try_from(left).unwrap_or(usize::MAX).min(scratch.len());
        let Some(chunk) = scratch.get_mut(..want) else { break };
        match read_full(reader, chunk)? {
            0 => break,
            got => left = left.saturating_sub(got as u64),
        }
    }
    Ok(count.saturating_sub(left))
}
