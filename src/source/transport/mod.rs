//! Transports: bytes as they are stored, wherever that is.

mod ahead;
mod credentials;
mod failure;
mod file;
mod ftp;
#[cfg(fuzzing)]
pub mod fuzzing;
mod http;
mod memory;
mod netrc;
mod patience;
#[cfg_attr(target_feature = "crt-static", path = "resolver/own.rs")]
#[cfg_attr(not(target_feature = "crt-static"), path = "resolver/system.rs")]
mod resolver;
mod ssh;
mod stdin;

use std::io::{self, Read};

pub use memory::Memory;

use super::head::Head;
use super::{Error, ForwardRead, Gaps, Location, Protocol, SCRATCH_LEN, discard};
use crate::range::ByteRange;
use crate::sys::file_id::FileId;
pub use ahead::Traffic;
pub use failure::Failure;
pub use patience::Patience;

/// The bytes of a file as they are stored.
pub trait Transport: Read + Send {
    /// How many there are, where that is known.
    fn size(&self) -> Option<u64>;

    /// Whether [`Transport::seek_to`] works, and costs less than reading on.
    fn can_seek(&self) -> bool;

    /// Goes to any `offset`, counted in bytes from the start of the file.
    ///
    /// # Errors
    ///
    /// Those of the transport; `Unsupported` where it only goes forward.
    fn seek_to(&mut self, offset: u64) -> io::Result<()>;

    /// Whether [`Transport::seek_to`] leaves bytes on a server that would otherwise have come. A file of this machine is
    /// all here, and loses nothing.
    fn seeks_at_a_cost(&self) -> bool {
        false
    }

    /// From now on only these ranges are going to be read, in order: the rest need not be fetched.
    fn fetch_only(&mut self, _wanted: &[ByteRange]) {}

    /// Makes sure, as far as that can be told, that the file is still what it was when it was opened.
    ///
    /// # Errors
    ///
    /// Where somebody has written to it.
    fn check_unchanged(&self) -> io::Result<()> {
        Ok(())
    }

    /// How much was fetched, where there is a network.
    fn traffic(&self) -> Option<Traffic> {
        None
    }
}

/// Opens the file at `location`; says which file it is where it is one of this machine.
///
/// # Errors
///
/// Where it cannot be opened.
pub fn open(location: &Location, patience: Patience) -> Result<(Box<dyn Transport>, Option<FileId>), Error> {
    match location {
        Location::Path(path) => file::open(path, location),
        Location::Stdin => stdin::open(location),
        Location::Url(url) => {
            let opened = match url.protocol() {
                Protocol::Http => http::open(url, patience),
                Protocol::Ftp => ftp::open(url, patience),
                Protocol::Ssh => ssh::open(url, patience),
            };
            let transport = opened.map_err(|source| Error::Open { location: location.clone(), source })?;
            Ok((transport, None))
        }
    }
}

/// A transport whose first bytes have been looked at, and are delivered nevertheless.
pub struct Peeked {
    head: Head,
    transport: Box<dyn Transport>,
}

impl Peeked {
    /// Looks at the first `length` bytes, or as many as there are.
    ///
    /// # Errors
    ///
    /// Those of the transport.
    pub fn new(mut transport: Box<dyn Transport>, length: usize) -> io::Result<Self> {
        Ok(Self { head: Head::of(&mut transport, length)?, transport })
    }

    /// The bytes that were looked at.
    pub fn head(&self) -> &[u8] {
        self.head.bytes()
    }

    /// How many bytes there are, where that was known beforehand or all of them have been looked at.
    pub fn found_size(&self) -> Option<u64> {
        self.transport.size().or(self.head.whole())
    }
}

impl Read for Peeked {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.head.read(buf)? {
            0 => self.transport.read(buf),
            count => Ok(count),
        }
    }
}

impl Transport for Peeked {
    fn size(&self) -> Option<u64> {
        self.transport.size()
    }

    fn can_seek(&self) -> bool {
        self.transport.can_seek()
    }

    fn seek_to(&mut self, offset: u64) -> io::Result<()> {
        self.transport.seek_to(offset)?;
        self.head.skip_to(u64::MAX);
        Ok(())
    }

    fn seeks_at_a_cost(&self) -> bool {
        self.transport.seeks_at_a_cost()
    }

    fn fetch_only(&mut self, wanted: &[ByteRange]) {
        self.transport.fetch_only(wanted);
    }

    fn check_unchanged(&self) -> io::Result<()> {
        self.transport.check_unchanged()
    }

    fn traffic(&self) -> Option<Traffic> {
        self.transport.traffic()
    }
}

/// An image that is stored as it is.
pub struct Raw {
    packed: Peeked,
    position: u64,
    /// The size, where places can be reached by seeking.
    seekable: Option<u64>,
    /// What is behind that byte belongs to something else.
    end: u64,
}

impl Raw {
    /// The file that `packed` delivers from its first byte on.
    pub fn new(packed: Peeked) -> Self {
        let seekable = packed.size().filter(|_| packed.can_seek());
        Self { packed, position: 0, seekable, end: u64::MAX }
    }

    /// The same, where it is the image itself. Over a network, what need not be read is not fetched, and what must be read
    /// is.
    pub fn of_image(mut packed: Peeked, gaps: &Gaps) -> Self {
        match gaps {
            Gaps::MayJump { wanted } => packed.fetch_only(wanted),
            Gaps::MustRead if packed.seeks_at_a_cost() => {
                return Self { packed, position: 0, seekable: None, end: u64::MAX };
            }
            Gaps::MustRead => {}
        }
        Self::new(packed)
    }

    /// The same, but only up to byte `end`.
    pub fn up_to(mut self, end: u64) -> Self {
        self.end = end;
        self.seekable = self.seekable.map(|size| size.min(end));
        self
    }

    fn discard(&mut self, count: u64) -> io::Result<()> {
        let mut scratch = vec![0; SCRATCH_LEN];
        self.position = self.position.saturating_add(discard(&mut self.packed, &mut scratch, count)?);
        Ok(())
    }
}

impl Read for Raw {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.end.saturating_sub(self.position)).unwrap_or(usize::MAX).min(buf.len());
        let count = self.packed.read(buf.get_mut(..room).unwrap_or_default())?;
        self.position = self.position.saturating_add(count as u64);
        Ok(count)
    }
}

impl ForwardRead for Raw {
    fn skip_to(&mut self, offset: u64) -> io::Result<u64> {
        match self.seekable {
            Some(size) if offset != self.position => {
                let reached = offset.min(size);
                self.packed.seek_to(reached)?;
                self.position = reached;
            }
            _ => self.discard(offset.saturating_sub(self.position))?,
        }
        Ok(self.position)
    }

    fn finish(&mut self) -> io::Result<u64> {
        self.packed.check_unchanged()?;
        match self.seekable {
            Some(size) => Ok(size),
            None => {
                self.discard(self.end.saturating_sub(self.position))?;
                Ok(self.position)
            }
        }
    }
}
