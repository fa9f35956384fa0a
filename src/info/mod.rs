//! What an image, a bmap or a device is, as far as that can be told without reading all of it. Nothing is opened for
//! writing.

mod mapped;
mod partitions;

use std::fs;
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

pub use mapped::{Mapped, Share};
pub use partitions::Partitions;

use crate::bmap::Bmap;
use crate::device::{self, DeviceInfo};
use crate::load::{self, ExaminedBmap, Loader};
use crate::partition;
use crate::range::ByteRange;
use crate::source::{self, Format, Kind, Location, Member, NotAnImage, ReadPolicy, Source, Unpacked};
use crate::trust::Signatures;
use partitions::{Found, HEAD};

/// What a file is, and all that could be told of it.
pub struct Info {
    /// The file.
    pub location: Location,
    /// What it is.
    pub what: What,
    /// The size of the file as it is stored, in bytes.
    pub stored_size: Option<u64>,
    /// The bmap that it is, that was named, or that lies beside it.
    pub bmap: Option<BmapInfo>,
    /// The partition table of the image or the device.
    pub partitions: Partitions,
    /// What is wrong, and kept something from being told.
    pub problems: Vec<Problem>,
}

/// What a file is.
pub enum What {
    /// It could not be found out.
    Unknown,
    /// A block device; `None` where the kernel says nothing of it.
    Device(Option<Box<DeviceInfo>>),
    /// A bmap.
    Bmap,
    /// A disk image, perhaps compressed or in an archive.
    Image(ImageInfo),
    /// Nothing: it has no bytes.
    Empty,
    /// Something else.
    Other(NotAnImage),
}

/// How a disk image is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageInfo {
    /// What the file is compressed with, if it is.
    pub compression: Option<Format>,
    /// The archives that it is in, from the outermost on.
    pub members: Vec<Member>,
    /// The size of the image itself in bytes, where that can be told without decompressing it.
    pub size: Option<u64>,
}

/// What a bmap says.
pub struct BmapInfo {
    /// Where it is.
    pub location: Location,
    /// Its contents, where they are valid.
    pub map: Option<Bmap>,
    /// The result of verifying its signatures; `None` where they are not good.
    pub signatures: Option<Signatures>,
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the variants say what their fields are")]
pub enum Problem {
    /// It cannot be opened or read, or the image in it cannot be found or decompressed, or is not what the bmap says.
    #[error(transparent)]
    Source(#[from] source::Error),
    /// The bmap cannot be read, is not valid, or has not the signatures that it must have.
    #[error(transparent)]
    Bmap(#[from] load::Error),
    /// The partition table cannot be read in full, or is damaged.
    #[error("cannot tell all partitions of '{location}'")]
    Partitions { location: Location, source: partition::Error },
    /// The kernel does not tell what the device is used for.
    #[error("cannot tell what '{device}' is used for")]
    Device { device: PathBuf, source: io::Error },
}

impl Info {
    /// Finds out what the file at `location` is, whose bmap is at `bmap`, or else is looked for.
    pub fn of(location: &Location, bmap: Option<&Location>, loader: &Loader<'_>) -> Self {
        let mut info = Self {
            location: location.clone(),
            what: What::Unknown,
            stored_size: None,
            bmap: None,
            partitions: Partitions::None,
            problems: Vec::new(),
        };
        match location.as_path().and_then(device_at) {
            Some((path, number)) => info.add_device(path, number, bmap, loader),
            None => match (loader.open)(location) {
                Ok(source) => info.add_file(source, bmap, loader),
                Err(error) => info.problems.push(error.into()),
            },
        }
        info
    }

    fn add_device(&mut self, path: &Path, number: u64, bmap: Option<&Location>, loader: &Loader<'_>) {
        let device = device::device(number, loader.observer).unwrap_or_else(|source| {
            self.problems.push(Problem::Device { device: path.to_owned(), source });
            None
        });
        let mut opened = fs::File::open(path);
        let own_size = || opened.as_mut().ok()?.seek(SeekFrom::End(0)).ok();
        self.stored_size = device.as_ref().and_then(|device| device.size).or_else(own_size);
        self.what = What::Device(device.map(Box::new));
        if let Some(bmap) = bmap {
            self.add_bmap(loader.open_bmap(bmap), loader);
            self.check_device_size();
        }
        match opened {
            Ok(mut device) => self.add_partitions(partitions::of_file(&mut device)),
            Err(source) => {
                self.problems.push(source::Error::Open { location: self.location.clone(), source }.into());
            }
        }
    }

    /// The image of a bmap must fit onto a device.
    fn check_device_size(&mut self) {
        let map = self.bmap.as_ref().and_then(|bmap| bmap.map.as_ref());
        if let Some((expected, found)) = map.map(Bmap::image_size).zip(self.stored_size)
            && expected > found
        {
            self.problems.push(source::Error::Size { location: self.location.clone(), found, expected }.into());
        }
    }

    fn add_file(&mut self, source: Source, bmap: Option<&Location>, loader: &Loader<'_>) {
        self.stored_size = source.stored_size();
        match source.kind() {
            // What has a bmap is none.
            Kind::NotAnImage(NotAnImage::Xml | NotAnImage::Signed) if bmap.is_none() => {
                self.add_own_bmap(source, loader);
            }
            Kind::NotAnImage(_) | Kind::Encoded(_) | Kind::Raw => {
                self.add_bmap(loader.find(&source, bmap), loader);
                self.add_image(source, bmap, loader);
            }
        }
    }

    fn add_own_bmap(&mut self, source: Source, loader: &Loader<'_>) {
        self.what = What::Bmap;
        self.add_bmap(Ok(source), loader);
    }

    /// Adds the bmap in a file that was opened; one that was looked for in vain is no problem.
    fn add_bmap(&mut self, opened: Result<Source, load::Error>, loader: &Loader<'_>) {
        let file = match opened {
            Ok(file) => file,
            Err(load::Error::NotFound { .. }) => return,
            Err(error) => return self.problems.push(error.into()),
        };
        let location = file.location().clone();
        let (map, signatures) = match loader.examine(file) {
            Ok(ExaminedBmap { bmap, signatures, .. }) => (self.noted(bmap), self.noted(signatures)),
            Err(error) => {
                self.problems.push(error.into());
                (None, None)
            }
        };
        self.bmap = Some(BmapInfo { location, map, signatures });
    }

    /// What there is; an error is a problem.
    fn noted<T>(&mut self, result: Result<T, load::Error>) -> Option<T> {
        result.map_err(|error| self.problems.push(error.into())).ok()
    }

    /// Looks at the image in `source`; where it is not what the bmap says, it is told what it is nevertheless.
    fn add_image(&mut self, source: Source, bmap: Option<&Location>, loader: &Loader<'_>) {
        let (format, reopen) = (source.format(), source.reopen());
        let expected = self.bmap.as_ref().and_then(|bmap| bmap.map.as_ref()).map(Bmap::image_size);
        let is_raw_for_sure = expected.is_some() && expected == self.stored_size;
        match unpack(source, expected) {
            Ok(unpacked) => self.add_unpacked(unpacked, format.filter(|_| !is_raw_for_sure)),
            Err(source::Error::NotAnImage { what: what @ (NotAnImage::Xml | NotAnImage::Signed), .. })
                if bmap.is_none() =>
            {
                match reopen.map(|open| open()) {
                    Some(Ok(bmap)) => self.add_own_bmap(bmap, loader),
                    _ => self.what = What::Other(what),
                }
            }
            Err(source::Error::NotAnImage { what, .. }) => self.what = What::Other(what),
            Err(error) => {
                self.what = What::Image(ImageInfo { compression: compression(format), ..ImageInfo::default() });
                if expected.is_some()
                    && let Some(Ok(unpacked)) = reopen.map(|open| unpack(open()?, None))
                {
                    self.add_unpacked(unpacked, format);
                }
                self.problems.push(error.into());
            }
        }
    }

    fn add_unpacked(&mut self, unpacked: Unpacked, format: Option<Format>) {
        let Unpacked { mut reader, size, members } = unpacked;
        let path = self.location.as_path().filter(|path| format.is_none() && path.is_file());
        let found = match path.map(fs::File::open) {
            Some(Ok(mut image)) => partitions::of_file(&mut image),
            // It may have been renamed since it was opened.
            Some(Err(_)) | None => {
                let (found, read) = partitions::of_head(&mut *reader, size);
                if let Err(source) = read {
                    self.problems.push(source::Error::Read { location: self.location.clone(), source }.into());
                }
                found
            }
        };
        self.what = match size {
            Some(0) => What::Empty,
            _ => What::Image(ImageInfo { compression: compression(format), members, size }),
        };
        self.add_partitions(found);
    }

    fn add_partitions(&mut self, Found { partitions, error }: Found) {
        self.partitions = partitions;
        let problem = |source| Problem::Partitions { location: self.location.clone(), source };
        self.problems.extend(error.map(problem));
    }
}

/// The format where it is no archive.
fn compression(format: Option<Format>) -> Option<Format> {
    format.filter(|format| !matches!(format, Format::Tar | Format::Zip))
}

/// Of the image no more than the head is fetched and decompressed, as far as its format allows.
fn unpack(source: Source, expected: Option<u64>) -> Result<Unpacked, source::Error> {
    let wanted = vec![ByteRange { start: 0, end: HEAD }];
    source.unpack(expected, ReadPolicy::SkipHoles { wanted })
}

/// The block device at `path`, if there is one, and its number.
fn device_at(path: &Path) -> Option<(&Path, u64)> {
    let metadata = fs::metadata(path).ok().filter(|metadata| metadata.file_type().is_block_device())?;
    Some((path, metadata.rdev()))
}
