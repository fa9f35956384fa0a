//! What is read: an image from any source, or a device past the page cache.

use std::fs::File;
use std::io::ErrorKind;
use std::sync::{Mutex, PoisonError};

use super::Error;
use super::unreadable::Unreadable;
use crate::bmap::{Bmap, Range};
use crate::hashing::{Access, Window};
use crate::source::{self, ForwardRead, ReadPolicy, Source, Unpacked, read_full};
use crate::sys::past_cache::PastCache;
use crate::sys::read_at::{ReadPath, read_all_at};

pub(super) enum Medium {
    Image {
        /// Never waited for: it is read in order.
        reader: Mutex<Box<dyn ForwardRead>>,
        /// Its size in bytes, by the map.
        size: u64,
    },
    /// A file of this machine that is the image itself, of this size in bytes: it can be read on after a place that is
    /// unreadable.
    File(File, u64),
    Device(PastCache),
}

impl Medium {
    pub(super) fn open(map: &Bmap, source: Source) -> Result<Self, Error> {
        let (location, size) = (source.location().clone(), map.image_size());
        let device = source.device().map(|(path, _)| path.to_owned());
        let is_image_itself = source.stored_size() == Some(size);
        // The size of a device is compared here as well.
        let wanted = map.ranges().map(|range| range.bytes).collect();
        let Unpacked { reader, .. } = source.unpack(Some(size), ReadPolicy::SkipHoles { wanted })?;
        let file = location.as_path().filter(|path| is_image_itself && path.is_file());
        let opened = match (device, file) {
            (Some(path), _) => PastCache::open(&path).map(Self::Device),
            (None, Some(path)) => File::open(path).map(|file| Self::File(file, size)),
            (None, None) => return Ok(Self::Image { reader: Mutex::new(reader), size }),
        };
        opened.map_err(|source| source::Error::Open { location, source }.into())
    }

    /// In which order it can be read.
    pub(super) fn access(&self) -> Access {
        match self {
            Self::Image { .. } | Self::File(..) => Access::InOrder,
            Self::Device(_) => Access::Anywhere,
        }
    }

    /// Reads the parts of `window` to where they belong in `buf`, which has room for all of the window. What cannot be
    /// read of a file or a device goes to `unreadable`.
    pub(super) fn read(
        &self,
        window: &Window<Range<'_>>,
        buf: &mut [u8],
        unreadable: &Unreadable,
    ) -> Result<(), Error> {
        match self {
            Self::Image { reader, size } => {
                let mut reader = reader.lock().unwrap_or_else(PoisonError::into_inner);
                window.runs().try_for_each(|run| {
                    let failed = |source| Error::Read { offset: run.start, source };
                    let reached = reader.skip_to(run.start).map_err(failed)?;
                    if reached < run.start {
                        return Err(Error::EndedEarly { at: reached, expected: *size });
                    }
                    let buf = &mut buf[window.position(run)];
                    match read_full(&mut **reader, buf).map_err(failed)? {
                        got if got == buf.len() => Ok(()),
                        got => Err(Error::EndedEarly { at: run.start + got as u64, expected: *size }),
                    }
                })
            }
            Self::File(file, size) => {
                let read = unreadable.read(&|buf, offset| read_all_at(file, buf, offset), window, buf);
                read.map_err(|error| match error {
                    Error::Read { offset, source } if source.kind() == ErrorKind::UnexpectedEof => {
                        Error::EndedEarly { at: offset, expected: *size }
                    }
                    error => error,
                })
            }
            Self::Device(device) => unreadable.read(&|buf, offset| device.read_at(buf, offset), window, buf),
        }
    }

    pub(super) fn read_path(&self) -> Option<ReadPath> {
        match self {
            Self::Image { .. } | Self::File(..) => None,
            Self::Device(device) => Some(device.read_path()),
        }
    }
}
