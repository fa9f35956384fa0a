//! What is read: an image from any source, or a device past the page cache.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::Error;
use crate::bmap::Bmap;
use crate::device::{Usage, usage_of};
use crate::hashing::Window;
use crate::source::{self, ForwardRead, ReadPolicy, Source, Unpacked, read_full};
use crate::sys::file_id::FileId;
use crate::sys::read_at::{ReadError, ReadPath, drop_cached_device, read_all_at, read_direct};

/// A multiple of the logical sectors that devices have, in bytes.
const SECTOR: usize = 4096;

pub(super) enum Medium {
    Image {
        reader: Box<dyn ForwardRead>,
        /// Its size in bytes, by the map.
        size: u64,
    },
    Device {
        file: File,
        path: ReadPath,
    },
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
            return Ok(Self::Image { reader, size });
        };
        let open = |flags| OpenOptions::new().read(true).custom_flags(flags).open(path);
        let (file, path) = match open(libc::O_DIRECT) {
            Ok(file) => (file, ReadPath::Direct),
            Err(_) => (
                open(0).map_err(|source| source::Error::Open { location: location.clone(), source })?,
                ReadPath::AfterDrop,
            ),
        };
        Ok(Self::Device { file, path })
    }

    /// Reads the parts of `window` to where they belong in `buf`, which has room for all of the window.
    pub(super) fn read<T>(&mut self, window: &Window<T>, buf: &mut [u8]) -> Result<(), Error> {
        match self {
            Self::Image { reader, size } => window.parts.iter().try_for_each(|part| {
                let range = part.bytes;
                let failed = |source| Error::Read { offset: range.start, source };
                let reached = reader.skip_to(range.start).map_err(failed)?;
                if reached < range.start {
                    return Err(Error::EndedEarly { at: reached, expected: *size });
                }
                let buf = &mut buf[window.position(range)];
                match read_full(&mut **reader, buf).map_err(failed)? {
                    got if got == buf.len() => Ok(()),
                    got => Err(Error::EndedEarly { at: range.start + got as u64, expected: *size }),
                }
            }),
            Self::Device { file, path } => {
                let span = window.span();
                let buf = &mut buf[window.position(span)];
                let failed = |ReadError { offset, source }| Error::Read { offset, source };
                if *path == ReadPath::Direct {
                    match read_direct(file, SECTOR, buf, span.start) {
                        Err(error) if error.source.raw_os_error() == Some(libc::EINVAL) => {
                            // It need not be set again: this is a device that does not take it.
                            let _ = fcntl(&*file, FcntlArg::F_SETFL(OFlag::empty()));
                            *path = ReadPath::AfterDrop;
                        }
                        read => return read.map_err(failed),
                    }
                }
                drop_cached_device(file);
                read_all_at(file, buf, span.start).map_err(failed)
            }
        }
    }

    pub(super) fn read_path(&self) -> Option<ReadPath> {
        match self {
            Self::Image { .. } => None,
            Self::Device { path, .. } => Some(*path),
        }
    }
}
