//! What is read: an image from any source, or a device past the page cache.

use std::sync::{Mutex, PoisonError};

use super::Error;
use super::unreadable::Unreadable;
use crate::bmap::{Bmap, Range};
use crate::hashing::{Access, Window};
use crate::source::{self, ForwardRead, ReadPolicy, Source, Unpacked, read_full};
use crate::sys::past_cache::PastCache;
use crate::sys::read_at::ReadPath;

pub(super) enum Medium {
    Image {
        /// Never waited for: it is read in order.
        reader: Mutex<Box<dyn ForwardRead>>,
        /// Its size in bytes, by the map.
        size: u64,
    },
    Device(PastCache),
}

impl Medium {
    pub(super) fn open(map: &Bmap, source: Source) -> Result<Self, Error> {
        let (location, size) = (source.location().clone(), map.image_size());
        let device = source.device().map(|(path, _)| path.to_owned());
        // The size of a device is compared here as well.
        let wanted = map.ranges().map(|range| range.bytes).collect();
        let Unpacked { reader, .. } = source.unpack(Some(size), ReadPolicy::SkipHoles { wanted })?;
        let Some(path) = device else { return Ok(Self::Image { reader: Mutex::new(reader), size }) };
        let opened = PastCache::open(&path);
        Ok(Self::Device(opened.map_err(|source| source::Error::Open { location, source })?))
    }

    /// In which order it can be read.
    pub(super) fn access(&self) -> Access {
        match self {
            Self::Image { .. } => Access::InOrder,
            Self::Device(_) => Access::Anywhere,
        }
    }

    /// Reads the parts of `window` to where they belong in `buf`, which has room for all of the window. What cannot be
    /// read of a device goes to `unreadable`.
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
            Self::Device(device) => unreadable.read(device, window, buf),
        }
    }

    pub(super) fn read_path(&self) -> Option<ReadPath> {
        match self {
            Self::Image { .. } => None,
            Self::Device(device) => Some(device.read_path()),
        }
    }
}
