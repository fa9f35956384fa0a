//! What is read: an image from any source, or a device past the page cache.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use super::Error;
use crate::bmap::Bmap;
use crate::device::{Usage, usage_of};
use crate::hashing::{Access, Window};
use crate::source::{self, ForwardRead, ReadPolicy, Source, Unpacked, read_full};
use crate::sys::file_id::FileId;
use crate::sys::past_cache::PastCache;
use crate::sys::read_at::{ReadError, ReadPath};

pub(super) enum Medium {
    Image {
        /// Never waited for: it is read in order.
        reader: Mutex<Box<dyn ForwardRead>>,
        /// Its size in bytes, by the map.
        size: u64,
    },
    Device(PastCache),
}

/// The device that `source` is, and what it is used for, if it is one and is used. What cannot be told is of no harm:
/// nothing is written.
pub(super) fn current_use(source: &Source) -> Option<(PathBuf, Usage)> {
    let path = source.location().as_path()?;
    let Some(FileId::BlockDevice { number }) = source.id() else { return None };
    match usage_of(path, number) {
        Ok(usage) => usage.map(|usage| (path.to_owned(), usage)),
        Err(error) => {
            log::debug!("cannot tell whether '{}' is in use: {error}", path.display());
            None
        }
    }
}

impl Medium {
    pub(super) fn open(map: &Bmap, source: Source) -> Result<Self, Error> {
        let location = source.location().clone();
        let (id, size) = (source.id(), map.image_size());
        // The size of a device is compared here as well.
        let wanted = map.ranges().map(|range| range.bytes).collect();
        let Unpacked { reader, .. } = source.unpack(Some(size), ReadPolicy::SkipHoles { wanted })?;
        let (Some(FileId::BlockDevice { .. }), Some(path)) = (id, location.as_path()) else {
            return Ok(Self::Image { reader: Mutex::new(reader), size });
        };
        let opened = PastCache::open(path);
        Ok(Self::Device(opened.map_err(|source| source::Error::Open { location: location.clone(), source })?))
    }

    /// In which order it can be read.
    pub(super) fn access(&self) -> Access {
        match self {
            Self::Image { .. } => Access::InOrder,
            Self::Device(_) => Access::Anywhere,
        }
    }

    /// Reads the parts of `window` to where they belong in `buf`, which has room for all of the window.
    pub(super) fn read<T>(&self, window: &Window<T>, buf: &mut [u8]) -> Result<(), Error> {
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
            Self::Device(device) => {
                let span = window.span();
                let read = device.read_at(&mut buf[window.position(span)], span.start);
                read.map_err(|ReadError { offset, source }| Error::Read { offset, source })
            }
        }
    }

    pub(super) fn read_path(&self) -> Option<ReadPath> {
        match self {
            Self::Image { .. } => None,
            Self::Device(device) => Some(device.read_path()),
        }
    }
}
