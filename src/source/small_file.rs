//! A small file in memory, as it is stored or decompressed.

use std::io::Read;

use super::{Error, Location, Source, codec};
use crate::sys::file_id::FileId;

/// All bytes of a file, as they are stored.
#[derive(Clone)]
pub struct SmallFile {
    location: Location,
    id: Option<FileId>,
    what: &'static str,
    limit: u64,
    bytes: Vec<u8>,
}

impl Source {
    /// All bytes of this file, as they are stored: at most `limit`, and no more when they are decompressed. `what` it
    /// is to the user, as in `bmap`, is for the message.
    ///
    /// # Errors
    ///
    /// Where they cannot be read, or are more than `limit`.
    pub fn read_small(self, what: &'static str, limit: u64) -> Result<SmallFile, Error> {
        let Self { location, id, file, .. } = self;
        let mut bytes = Vec::new();
        match file.take(limit.saturating_add(1)).read_to_end(&mut bytes) {
            Ok(length) if length as u64 > limit => Err(Error::TooLarge { location, what, limit }),
            Ok(_) => Ok(SmallFile { location, id, what, limit, bytes }),
            Err(source) => Err(Error::Read { location, source }),
        }
    }
}

impl SmallFile {
    /// Where it was.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// Which file it was, where it is one of this machine.
    pub fn id(&self) -> Option<FileId> {
        self.id
    }

    /// The bytes as they are stored.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes, decompressed where they are compressed.
    ///
    /// # Errors
    ///
    /// Where they cannot be decompressed, or become more than the limit.
    pub fn decompress(self) -> Result<Vec<u8>, Error> {
        let Self { location, what, limit, bytes, .. } = self;
        match codec::decode_all(bytes, limit) {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => Err(Error::TooLarge { location, what, limit }),
            Err(source) => Err(Error::Read { location, source }),
        }
    }
}
