//! A small file that is held whole: as it is stored first, unpacked when that is wanted.

use std::io::Read;

use super::transport::{Memory, Peeked};
use super::{Error, Gaps, Location, Source};
use crate::magic::{Format, PREFIX_LEN};
use crate::sys::file_id::FileId;

/// All bytes of a file, as they are stored.
pub struct Stored {
    location: Location,
    id: Option<FileId>,
    what: &'static str,
    limit: u64,
    bytes: Vec<u8>,
}

impl Source {
    /// All bytes of this file, as they are stored: at most `limit`, and no more when they are unpacked. `what` it is to the
    /// user, as in `bmap`, is for the message.
    ///
    /// # Errors
    ///
    /// Where they cannot be read, or are more than `limit`.
    pub fn read_stored(self, what: &'static str, limit: u64) -> Result<Stored, Error> {
        let Self { location, id, packed, .. } = self;
        let bytes = read_all(packed, &location, what, limit)?;
        Ok(Stored { location, id, what, limit, bytes })
    }
}

impl Stored {
    /// Where it was.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// Which file it was, where it is one of this machine.
    pub fn id(&self) -> Option<FileId> {
        self.id
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes, unpacked.
    ///
    /// # Errors
    ///
    /// Where they cannot be unpacked, or become more than the limit.
    pub fn unpack(self) -> Result<Vec<u8>, Error> {
        let Self { location, id, what, limit, bytes } = self;
        let Some(format) = Format::of(&bytes) else { return Ok(bytes) };
        let read_error = |source| Error::Read { location: location.clone(), source };
        let packed = Peeked::new(Box::new(Memory::new(bytes)), PREFIX_LEN).map_err(read_error)?;
        let source = Source { location: location.clone(), id, format: Some(format), packed };
        read_all(source.unpack_unless(None, Gaps::MustRead, |_| None)?.reader, &location, what, limit)
    }
}

fn read_all(reader: impl Read, location: &Location, what: &'static str, limit: u64) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let read = reader.take(limit.saturating_add(1)).read_to_end(&mut bytes);
    let length = read.map_err(|source| Error::Read { location: location.clone(), source })?;
    if length as u64 > limit {
        return Err(Error::TooLarge { location: location.clone(), what, limit });
    }
    Ok(bytes)
}
