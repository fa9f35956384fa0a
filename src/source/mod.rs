//! Where bytes come from: a transport delivers them as they are stored, a codec unpacks them,
//! an archive has the image among other files.
//!
//! A new transport is one file in [`transport`] and one arm in `transport::open`; a new format is one file in [`codec`]
//! and one row in its table.

pub mod archive;
pub mod codec;
mod damage;
mod foreign;
mod head;
mod location;
mod looked;
mod stored;
pub mod transport;

use std::io::{self, Read};

pub use damage::Damage;
pub use foreign::Foreign;
pub use location::{InvalidUrl, Location, Protocol, Url};
pub use stored::Stored;

use crate::magic::{Format, PREFIX_LEN};
use crate::range::ByteRange;
use crate::sys::file_id::FileId;
use looked::Looked;
use transport::{Failure, Patience, Peeked, Traffic, Transport};

/// An image's bytes, unpacked, from first to last.
pub trait ForwardRead: Read + Send {
    /// Moves on to `offset`, counted from the start of the image, without delivering what lies between. `offset` is not
    /// before the current place. Returns the place that was reached: `offset`, or where the data ended before it.
    ///
    /// # Errors
    ///
    /// Those of reading.
    fn skip_to(&mut self, offset: u64) -> io::Result<u64>;

    /// Goes on to the end of the data and checks that it is a clean one. Returns the size of the image in bytes.
    ///
    /// # Errors
    ///
    /// Those of reading, and where the data is cut off or has a wrong trailer.
    fn finish(&mut self) -> io::Result<u64>;
}

/// Why a source cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be opened.
    #[error("cannot open '{location}'")]
    Open {
        /// The source.
        location: Location,
        /// Why.
        source: io::Error,
    },
    /// It cannot be read.
    #[error("cannot read '{location}'")]
    Read {
        /// The source.
        location: Location,
        /// Why.
        source: io::Error,
    },
    /// It is a directory.
    #[error("'{location}' is a directory")]
    Directory {
        /// The source.
        location: Location,
    },
    /// It is an archive without the file that is sought.
    #[error("the {format} archive '{location}' holds no file{}", of_size(*expected))]
    NoImage {
        /// The archive.
        location: Location,
        /// What kind of archive it is.
        format: Format,
        /// The size that the file must have, in bytes.
        expected: Option<u64>,
    },
    /// What it is unpacked to is packed again.
    #[error("what '{location}' holds is packed again, with {inner}: unpack it first")]
    PackedTwice {
        /// The source.
        location: Location,
        /// How its contents are packed.
        inner: Format,
    },
    /// It is something else than a disk image.
    #[error("what '{location}' holds is no disk image but {what}; if it is the image as it is, use its bmap")]
    Foreign {
        /// The source.
        location: Location,
        /// What it is.
        what: Foreign,
    },
    /// It has another size than it must have.
    #[error("'{location}' has {found} bytes, but the bmap is for an image of {expected} bytes")]
    Size {
        /// The source.
        location: Location,
        /// Its size.
        found: u64,
        /// The size that it must have.
        expected: u64,
    },
    /// It has more bytes than such a file may have.
    #[error("'{location}' has over {limit} bytes, too many for a {what}")]
    TooLarge {
        /// The source.
        location: Location,
        /// What it is to the user.
        what: &'static str,
        /// How many it may have.
        limit: u64,
    },
}

/// The words for a size that is asked for.
fn of_size(expected: Option<u64>) -> String {
    expected.map_or_else(String::new, |size| format!(" of {size} bytes, the image's size according to the bmap"))
}

impl Error {
    /// Whether a server will not say whether there is a file at that location: it does not like the name, or wants to know who
    /// asks, which it may do of every name that it does not have.
    pub fn is_withheld(&self) -> bool {
        let Self::Open { source, .. } = self else { return false };
        Failure::of(source).is_some_and(Failure::is_withheld)
    }

    /// Whether there is no file at that location. Whatever else goes wrong on the way there does not tell.
    pub fn is_not_found(&self) -> bool {
        let Self::Open { source, .. } = self else { return false };
        // A name that is too long for the file system is not there either.
        matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidFilename)
            || Failure::of(source).is_some_and(Failure::is_absent)
    }
}

/// Whether the data between the places that are asked for may stay unread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gaps {
    /// It may: every byte that counts has a checksum of its own.
    MayJump {
        /// The ranges of the image that are going to be asked for, in order, so that a source can fetch and unpack them
        /// ahead. Nothing else will be.
        wanted: Vec<ByteRange>,
    },
    /// It must be read: only the checks of the format and the clean end of the source tell that it is whole.
    MustRead,
}

/// A file that is open, of which only the first bytes have been read.
pub struct Source {
    location: Location,
    id: Option<FileId>,
    format: Option<Format>,
    packed: Peeked,
}

/// The bytes of an image.
pub struct Unpacked {
    /// Delivers them.
    pub reader: Box<dyn ForwardRead>,
    /// How many there are, where that is known beforehand.
    pub size: Option<u64>,
}

impl Unpacked {
    /// The image that was found in the archive at `location`, if any was.
    fn of_member(
        location: &Location,
        format: Format,
        image_size: Option<u64>,
        member: io::Result<Option<archive::Member>>,
    ) -> Result<Self, Error> {
        let member = member.map_err(|source| Error::Read { location: location.clone(), source })?;
        let Some(archive::Member { name, reader, size }) = member else {
            return Err(Error::NoImage { location: location.clone(), format, expected: image_size });
        };
        log::info!("reading '{name}' from the {format} archive '{location}'");
        Ok(Self { reader, size })
    }

    /// The image in the tar that this is; else this. One of the image's size is the image, whatever it looks like.
    fn or_in_its_tar(self, location: &Location, image_size: Option<u64>) -> Result<Self, Error> {
        let Self { reader, size } = self;
        if size.is_some() && size == image_size {
            return Ok(Self { reader, size });
        }
        let looked = Looked::new(reader).map_err(|source| Error::Read { location: location.clone(), source })?;
        let is_tar = Format::of(looked.head()) == Some(Format::Tar);
        let size = size.or(looked.whole());
        let reader: Box<dyn ForwardRead> = Box::new(looked);
        match is_tar {
            true => Self::of_member(location, Format::Tar, image_size, archive::open_tar(reader, image_size)),
            false => Ok(Self { reader, size }),
        }
    }

    /// The same, unless its first bytes are at `fault`.
    fn unless(self, location: &Location, fault: impl FnOnce(&[u8]) -> Option<Error>) -> Result<Self, Error> {
        let Self { reader, size } = self;
        let looked = Looked::new(reader).map_err(|source| Error::Read { location: location.clone(), source })?;
        match fault(looked.head()) {
            Some(error) => Err(error),
            None => Ok(Self { reader: Box::new(looked), size }),
        }
    }
}

impl Source {
    /// Opens the file at `location` and learns how it is packed.
    ///
    /// # Errors
    ///
    /// Where it cannot be opened or its first bytes cannot be read.
    pub fn open(location: &Location) -> Result<Self, Error> {
        Self::open_with(location, Patience::default())
    }

    /// Like [`Source::open`], with another patience for the network.
    ///
    /// # Errors
    ///
    /// Those of [`Source::open`].
    pub fn open_with(location: &Location, patience: Patience) -> Result<Self, Error> {
        let (transport, id) = transport::open(location, patience)?;
        let read_error = |source| Error::Read { location: location.clone(), source };
        let packed = Peeked::new(transport, PREFIX_LEN).map_err(read_error)?;
        let format = Format::of(packed.head());
        Ok(Self { location: location.clone(), id, format, packed })
    }

    /// Where it is.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// Which file it is, where it is one of this machine.
    pub fn id(&self) -> Option<FileId> {
        self.id
    }

    /// How much of it is fetched, also later on, where it comes over a network.
    pub fn traffic(&self) -> Option<Traffic> {
        self.packed.traffic()
    }

    /// How it is packed; `None` where it is not.
    pub fn format(&self) -> Option<Format> {
        self.format
    }

    /// The image in this file.
    ///
    /// With `image_size`, the size in bytes that the image must have: a file of just that size is raw, whatever its first
    /// bytes look like. `gaps` is for sources that can jump over what nobody asks for; a raw local file has no checks of
    /// its own and always jumps.
    ///
    /// # Errors
    ///
    /// Where the file is known to have another size, is an archive without the image, or cannot be read or unpacked; without
    /// `image_size` also where it is something else than an image.
    pub fn unpack(self, image_size: Option<u64>, gaps: Gaps) -> Result<Unpacked, Error> {
        self.unpack_unless(image_size, gaps, Foreign::of)
    }

    /// The same for what is refused without `image_size` where `foreign` says that it is something else.
    fn unpack_unless(
        self,
        image_size: Option<u64>,
        gaps: Gaps,
        foreign: fn(&[u8]) -> Option<Foreign>,
    ) -> Result<Unpacked, Error> {
        let Self { location, id, format, packed } = self;
        // A device is hardly ever just as large as the image on it, with which it begins.
        let limit = match (id, image_size) {
            (Some(FileId::BlockDevice { .. }), Some(size)) => size,
            _ => u64::MAX,
        };
        let size = packed.found_size().map(|size| size.min(limit));
        let is_raw_for_sure = size.is_some() && size == image_size;
        let read_error = |source| Error::Read { location: location.clone(), source };
        let format = format.filter(|_| !is_raw_for_sure);
        let unpacked = match format {
            None => Unpacked { reader: Box::new(transport::Raw::of_image(packed, &gaps).up_to(limit)), size },
            Some(Format::Tar) => {
                let raw = Box::new(transport::Raw::new(packed));
                Unpacked::of_member(&location, Format::Tar, image_size, archive::open_tar(raw, image_size))?
            }
            Some(Format::Zip) => {
                let member = archive::open_zip(packed, image_size);
                let unpacked = Unpacked::of_member(&location, Format::Zip, image_size, member)?;
                unpacked.or_in_its_tar(&location, image_size)?
            }
            Some(format) => {
                let decoded = codec::open(format, packed, &gaps).map_err(read_error)?;
                let unpacked = Unpacked { size: decoded.size(), reader: Box::new(decoded) };
                unpacked.or_in_its_tar(&location, image_size)?
            }
        };
        // One of the image's size is the image, whatever it looks like.
        match (unpacked.size, image_size) {
            (Some(found), Some(expected)) if found != expected => Err(Error::Size { location, found, expected }),
            (_, Some(_)) => Ok(unpacked),
            (_, None) => unpacked.unless(&location, |head| {
                let location = || location.clone();
                let again = format.and_then(|_| Format::of(head));
                let again = again.map(|inner| Error::PackedTwice { location: location(), inner });
                again.or_else(|| foreign(head).map(|what| Error::Foreign { location: location(), what }))
            }),
        }
    }
}

/// Reads until `buf` is full or the data ends; returns how much it is.
///
/// # Errors
///
/// Those of `reader`, but for interruptions.
pub fn read_full(reader: &mut (impl Read + ?Sized), buf: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buf.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest) {
            Ok(0) => break,
            Ok(count) => filled = filled.saturating_add(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// The size of the pieces in which bytes are read that nobody wants.
const SCRATCH_LEN: usize = 128 << 10;

/// Reads and drops up to `count` bytes; returns how many there were.
///
/// # Errors
///
/// Those of `reader`, but for interruptions.
pub fn discard(reader: &mut (impl Read + ?Sized), scratch: &mut [u8], count: u64) -> io::Result<u64> {
    let mut left = count;
    while left > 0 {
        let want = usize::try_from(left).unwrap_or(usize::MAX).min(scratch.len());
        let Some(piece) = scratch.get_mut(..want) else { break };
        match read_full(reader, piece)? {
            0 => break,
            got => left = left.saturating_sub(got as u64),
        }
    }
    Ok(count.saturating_sub(left))
}
