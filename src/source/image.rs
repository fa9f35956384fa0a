//! Opens a file and unpacks the image in it.

use std::io;

use super::detect::{Format, Kind, detect};
use super::peek::{Peek, StoredFile};
use super::raw::Raw;
use super::transport::{self, TransferStats, Transport};
use super::{Error, ForwardRead, Location, OpenOptions, ReadPolicy, archive, codec};
use crate::event::Notice;
use crate::sys::file_id::FileId;

/// An open file, of which only the first bytes have been read.
pub struct Source {
    pub(super) location: Location,
    pub(super) id: Option<FileId>,
    pub(super) file: StoredFile,
    kind: Kind,
    options: OpenOptions,
}

/// An image, out of its archive and decompressed.
pub(crate) struct Unpacked {
    /// Delivers its bytes.
    pub(crate) reader: Box<dyn ForwardRead>,
    /// Its size in bytes, where that is known beforehand.
    pub(crate) size: Option<u64>,
}

impl Source {
    /// Opens the file at `location` and learns what it is.
    ///
    /// # Errors
    ///
    /// Where it cannot be opened or its first bytes cannot be read.
    pub fn open(location: &Location) -> Result<Self, Error> {
        Self::open_with(location, &OpenOptions::default())
    }

    /// Like [`Source::open`], with options.
    ///
    /// # Errors
    ///
    /// Where it cannot be opened or its first bytes cannot be read.
    pub fn open_with(location: &Location, options: &OpenOptions) -> Result<Self, Error> {
        let (transport, id) = transport::open(location, options)?;
        let file = Peek::new(transport).map_err(|source| Error::Read { location: location.clone(), source })?;
        let kind = detect(file.head());
        Ok(Self { location: location.clone(), id, file, kind, options: options.clone() })
    }

    /// Its location.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// Which file it is, where it is one of this machine.
    pub fn id(&self) -> Option<FileId> {
        self.id
    }

    /// Counts what is fetched of it, also later on, where it comes over a network.
    pub fn transfer_stats(&self) -> Option<TransferStats> {
        self.file.info().stats
    }

    /// The format that it is compressed in, or that of the archive that it is; `None` where it is stored as it is.
    pub fn format(&self) -> Option<Format> {
        match self.kind {
            Kind::Encoded(format) => Some(format),
            Kind::NotAnImage(_) | Kind::Raw => None,
        }
    }

    /// What opens the same file again; `None` where that cannot be, as with standard input or a FIFO.
    pub(crate) fn reopen(&self) -> Option<impl Fn() -> Result<Self, Error> + Send + Sync + 'static> {
        let can_be_reopened = match (&self.location, self.id) {
            (Location::Stdin, _) => false,
            (Location::Path(path), Some(FileId::File { .. })) => path.is_file(),
            (Location::Path(_), _) | (Location::Url(_), _) => true,
        };
        let (location, options) = (self.location.clone(), self.options.clone());
        can_be_reopened.then_some(move || Self::open_with(&location, &options))
    }

    /// The image in this file.
    ///
    /// `image_size` is the size in bytes that the image must have: a file of just that size is raw, whatever its first
    /// bytes look like. `policy` matters to sources with checks of their own; a raw local file has none, and always
    /// skips what is not asked for.
    ///
    /// # Errors
    ///
    /// Where the file is known to have another size, is an archive without the image, or cannot be read or
    /// decompressed; without `image_size` also where it is something else than an image.
    pub(crate) fn unpack(self, image_size: Option<u64>, policy: ReadPolicy) -> Result<Unpacked, Error> {
        let Self { location, id, file, kind, options } = self;
        // A device is mostly larger than the image that it begins with.
        let limit = match (id, image_size) {
            (Some(FileId::BlockDevice { .. }), Some(size)) => size,
            _ => u64::MAX,
        };
        let size = file.info().size.or(file.whole_size()).map(|size| size.min(limit));
        let is_raw_for_sure = size.is_some() && size == image_size;
        let search = Search { location: &location, image_size, options: &options };
        let (unpacked, kind) = match kind {
            Kind::Encoded(Format::Tar) if !is_raw_for_sure => {
                search.identify(search.in_tar(Box::new(Raw::new(file)))?)?
            }
            Kind::Encoded(Format::Zip) if !is_raw_for_sure => {
                let member = archive::open_zip(file, image_size);
                search.identify_within_tar(search.member(Format::Zip, member)?)?
            }
            Kind::Encoded(format) if !is_raw_for_sure => {
                let decoded = codec::open(format, file, &policy).map_err(|source| search.read_error(source))?;
                search.identify_within_tar(Unpacked { size: decoded.size(), reader: Box::new(decoded) })?
            }
            kind => (Unpacked { reader: Box::new(Raw::image(file, limit, &policy)), size }, kind),
        };
        match (unpacked.size, image_size, kind) {
            (Some(found), Some(expected), _) if found != expected => Err(Error::Size { location, found, expected }),
            // With a bmap, the size and the checksums tell whether it is the image.
            (_, Some(_), _) | (_, None, Kind::Raw) => Ok(unpacked),
            (_, None, Kind::Encoded(inner)) => Err(Error::CompressedTwice { location, inner }),
            (_, None, Kind::NotAnImage(what)) => Err(Error::NotAnImage { location, what }),
        }
    }
}

/// A search for the image in a file.
struct Search<'a> {
    location: &'a Location,
    image_size: Option<u64>,
    options: &'a OpenOptions,
}

impl Search<'_> {
    /// Detects what `found` is. What has the image's size is the image, whatever it looks like.
    fn identify(&self, found: Unpacked) -> Result<(Unpacked, Kind), Error> {
        if found.size.is_some() && found.size == self.image_size {
            return Ok((found, Kind::Raw));
        }
        let reader = Peek::new(found.reader).map_err(|source| self.read_error(source))?;
        let (size, kind) = (found.size.or(reader.whole_size()), detect(reader.head()));
        Ok((Unpacked { reader: Box::new(reader), size }, kind))
    }

    /// The same, but where `found` is a tar, for the image in that.
    fn identify_within_tar(&self, found: Unpacked) -> Result<(Unpacked, Kind), Error> {
        match self.identify(found)? {
            (tar, Kind::Encoded(Format::Tar)) => self.identify(self.in_tar(tar.reader)?),
            found => Ok(found),
        }
    }

    fn in_tar(&self, tar: Box<dyn ForwardRead>) -> Result<Unpacked, Error> {
        self.member(Format::Tar, archive::open_tar(tar, self.image_size))
    }

    /// The image that was found in an archive, if any was.
    fn member(&self, format: Format, member: io::Result<Option<archive::Member>>) -> Result<Unpacked, Error> {
        let Some(archive::Member { name, reader, size }) = member.map_err(|source| self.read_error(source))? else {
            return Err(Error::NoImage { location: self.location.clone(), format, expected: self.image_size });
        };
        let notice = Notice::ReadsMember { archive: self.location, format: &format, member: &name };
        self.options.observer.notice(notice);
        Ok(Unpacked { reader, size })
    }

    fn read_error(&self, source: io::Error) -> Error {
        Error::Read { location: self.location.clone(), source }
    }
}
