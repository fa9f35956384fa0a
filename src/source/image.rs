//! Opens a file and unpacks the image in it.

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::sync::Arc;

use super::archive::Names;
use super::codec::Trailing;
use super::detect::{Format, Kind, detect};
use super::peek::{Peek, StoredFile};
use super::pipe::{Contents, Pipe};
use super::raw::Raw;
use super::tell::Told;
use super::transport::{self, TransferStats, Transport};
use super::{Error, FirstRequest, ForwardRead, Location, OpenOptions, ReadPolicy, archive, codec};
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
    /// The archives that it was in, from the outermost on, and its path in each.
    pub(crate) members: Vec<Member>,
}

/// A file in an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The format of the archive.
    pub archive: Format,
    /// The path of the file in it, as the archive has it.
    pub name: String,
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

    /// Like [`Source::open_with`], to be compared with a bmap: a device whose first bytes cannot be read has others.
    ///
    /// # Errors
    ///
    /// Where it cannot be opened, or its first bytes cannot be read and it is no device.
    pub fn open_to_compare(location: &Location, options: &OpenOptions) -> Result<Self, Error> {
        let is_device = |path: &Path| path.metadata().is_ok_and(|metadata| metadata.file_type().is_block_device());
        match Self::open_with(location, options) {
            Err(Error::Read { .. }) if location.local_path().is_some_and(is_device) => {
                let (transport, id) = transport::open(location, options)?;
                let file = Peek::of(Vec::new(), transport);
                Ok(Self { location: location.clone(), id, file, kind: Kind::Raw, options: options.clone() })
            }
            opened => opened,
        }
    }

    /// Its location.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// Which file it is, where it is one of this machine.
    pub fn id(&self) -> Option<FileId> {
        self.id
    }

    /// The path and the number of the block device that it is, if it is one. Standard input that does not begin with the
    /// first byte of the device is none.
    pub(crate) fn device(&self) -> Option<(&Path, u64)> {
        let (FileId::BlockDevice { number }, Some(_)) = (self.id?, self.file.info().size) else { return None };
        Some((self.location.local_path()?, number))
    }

    /// Counts what is fetched of it, also later on, where it comes over a network.
    pub fn transfer_stats(&self) -> Option<TransferStats> {
        self.file.info().stats
    }

    /// The pipe or socket that it comes through, if it does.
    ///
    /// # Errors
    ///
    /// Where the process has no descriptor left.
    pub(crate) fn pipe(&self) -> Result<Option<Pipe>, Error> {
        let contents = if self.format().is_some() { Contents::Encoded } else { Contents::Image };
        let pipe = self.file.pipe().map_err(|source| Error::Open { location: self.location.clone(), source })?;
        Ok(pipe.map(|file| Pipe { file, contents }))
    }

    /// What its first bytes say that it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The size of the file as it is stored, in bytes, where it is known.
    pub fn stored_size(&self) -> Option<u64> {
        self.file.info().size.or(self.file.whole_size())
    }

    /// The format that it is compressed in, or that of the archive that it is; `None` where it is stored as it is.
    pub fn format(&self) -> Option<Format> {
        match self.kind {
            Kind::Encoded(format) => Some(format),
            Kind::NotAnImage(_) | Kind::Raw => None,
        }
    }

    /// What opens the same file again, of which less is read then; `None` where that cannot be, as with standard input or a
    /// FIFO.
    pub(crate) fn reopen(&self) -> Option<impl Fn() -> Result<Self, Error> + Send + Sync + 'static> {
        let can_be_reopened = match (&self.location, self.id) {
            (Location::Stdin, _) => false,
            (Location::Path(path), Some(FileId::File { .. })) => path.is_file(),
            (Location::Path(_), _) | (Location::Url(_), _) => true,
        };
        let (location, stats) = (self.location.clone(), self.transfer_stats());
        let options = OpenOptions { first_request: FirstRequest::Head, ..self.options.clone() };
        can_be_reopened.then_some(move || {
            let source = Self::open_with(&location, &options)?;
            if let (Some(first), Some(again)) = (&stats, source.transfer_stats()) {
                first.include(again);
            }
            Ok(source)
        })
    }

    /// The image in this file.
    ///
    /// `image_size` is the size in bytes that the image must have: a file of just that size is raw, whatever its first
    /// bytes look like. `policy` matters to sources with checks of their own; a raw local file has none, and always
    /// skips what is not asked for.
    ///
    /// # Errors
    ///
    /// Where the file is known to have another size, is an archive without the image or with several, is something else
    /// than an image, or cannot be read or decompressed; and where `image_size` is that of the compressed file, of which
    /// the bmap was made.
    pub(crate) fn unpack(self, image_size: Option<u64>, policy: ReadPolicy) -> Result<Unpacked, Error> {
        let Self { location, id, file, kind, options } = self;
        // A device is mostly larger than the image that it begins with.
        let limit = match (id, image_size) {
            (Some(FileId::BlockDevice { .. }), Some(size)) => size,
            _ => u64::MAX,
        };
        let stored = file.info().size.or(file.whole_size());
        let size = stored.map(|size| size.min(limit));
        let is_raw_for_sure = size.is_some() && size == image_size;
        // Without a map, that may be all there is to tell how far the copy is.
        let file = match stored.filter(|_| image_size.is_none()) {
            Some(size) => told(file, size, &options),
            None => file,
        };
        let name = location.file_name().map(|name| String::from_utf8_lossy(name).into_owned());
        let search = Search { location: &location, image_size, options: &options };
        let found = match kind {
            Kind::Encoded(Format::Tar) if !is_raw_for_sure => search.in_tar(Box::new(Raw::new(file)), Vec::new())?,
            Kind::Encoded(Format::Zip) if !is_raw_for_sure => {
                let member = archive::open_zip(file, image_size, search.trailing(Format::Zip));
                search.within_tar(search.member(Format::Zip, member, Vec::new())?)?
            }
            Kind::Encoded(format) if !is_raw_for_sure => {
                let decoded = codec::open(format, file, &policy, search.trailing(format));
                let decoded = decoded.map_err(|source| search.read_error(source))?;
                let size = decoded.size();
                let name = name.filter(|name| Format::of_name(name) == Some(format));
                let name = name.and_then(|name| Some(name.rsplit_once('.')?.0.to_owned()));
                search.within_tar(search.identify(Box::new(decoded), size, name, Vec::new())?)?
            }
            kind => {
                let reader = Box::new(Raw::image(file, limit, &policy));
                Found { reader, size, kind, name, members: Vec::new() }
            }
        };
        search.check(found)
    }
}

/// The same file, of `size` bytes, which tells how much of it has been read.
fn told(file: StoredFile, size: u64, options: &OpenOptions) -> StoredFile {
    let (position, observer) = (file.head().len() as u64, Arc::clone(&options.observer));
    file.map(|file| Box::new(Told { file, position, size, observer }) as Box<dyn Transport>)
}

/// What was found in a file.
struct Found {
    reader: Box<dyn ForwardRead>,
    /// Its size in bytes, where that is known beforehand.
    size: Option<u64>,
    kind: Kind,
    /// Its own name, where it has one.
    name: Option<String>,
    members: Vec<Member>,
}

/// A search for the image in a file.
struct Search<'a> {
    location: &'a Location,
    image_size: Option<u64>,
    options: &'a OpenOptions,
}

impl Search<'_> {
    fn identify(
        &self,
        reader: Box<dyn ForwardRead>,
        size: Option<u64>,
        name: Option<String>,
        members: Vec<Member>,
    ) -> Result<Found, Error> {
        let reader = Peek::new(reader).map_err(|source| self.read_error(source))?;
        let (size, kind) = (size.or(reader.whole_size()), detect(reader.head()));
        Ok(Found { reader: Box::new(reader), size, kind, name, members })
    }

    /// The image in `found`, where that is a tar and not the image itself.
    fn within_tar(&self, found: Found) -> Result<Found, Error> {
        let is_image = found.size.is_some() && found.size == self.image_size;
        match found.kind {
            Kind::Encoded(Format::Tar) if !is_image => self.in_tar(found.reader, found.members),
            _ => Ok(found),
        }
    }

    fn in_tar(&self, tar: Box<dyn ForwardRead>, members: Vec<Member>) -> Result<Found, Error> {
        self.member(Format::Tar, archive::open_tar(tar, self.image_size, self.trailing(Format::Tar)), members)
    }

    /// The image that was found in an archive, if any was; the archive itself was in others, as `members` tell.
    fn member(
        &self,
        format: Format,
        member: io::Result<Result<archive::Member, Names>>,
        mut members: Vec<Member>,
    ) -> Result<Found, Error> {
        let (location, expected) = (self.location, self.image_size);
        match member.map_err(|source| self.read_error(source))? {
            Ok(archive::Member { name, reader, size }) => {
                self.options.observer.notice(Notice::ReadsMember { archive: location, format: &format, member: &name });
                members.push(Member { archive: format, name: name.clone() });
                self.identify(reader, size, Some(name), members)
            }
            Err(others) => Err(Error::NoImage { location: location.clone(), format, expected, others }),
        }
    }

    /// Checks that what was found is the image.
    fn check(&self, found: Found) -> Result<Unpacked, Error> {
        let Found { reader, size, kind, name, members } = found;
        let location = self.location.clone();
        let is_told = name.as_deref().is_some_and(|name| kind.is_said_by(name));
        match (kind, size, self.image_size) {
            (_, Some(size), Some(expected)) if size == expected => match name.filter(|_| is_told) {
                Some(name) => Err(Error::MappedAsStored { name }),
                None => Ok(Unpacked { reader, size: Some(size), members }),
            },
            (Kind::NotAnImage(what), ..) => Err(Error::NotAnImage { location, what }),
            // Without a size, only the checksums tell whether this is the image.
            (Kind::Encoded(_), None, Some(_)) if !is_told => Ok(Unpacked { reader, size, members }),
            (Kind::Encoded(inner), ..) => Err(Error::CompressedTwice { location, inner }),
            (Kind::Raw, Some(found), Some(expected)) => Err(Error::Size { location, found, expected }),
            (Kind::Raw, ..) => Ok(Unpacked { reader, size, members }),
        }
    }

    /// What becomes of data that follows the end of `format`.
    fn trailing(&self, format: Format) -> Trailing {
        let (file, observer) = (self.location.clone(), self.options.observer.clone());
        Trailing::Tell(Box::new(move || observer.notice(Notice::TrailingData { file: &file, format: &format })))
    }

    fn read_error(&self, source: io::Error) -> Error {
        Error::Read { location: self.location.clone(), source }
    }
}
