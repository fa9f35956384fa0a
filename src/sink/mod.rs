//! Where bytes go: a regular file, a block device, or a character device for a dry run.
//!
//! [`claim`] does every check that can be done before the first byte is written.

mod aligned;
mod block_device;
mod character_device;
mod device_fs;
mod error;
mod existing;
mod in_use;
mod kin;
mod lock;
mod mounts;
mod partitions;
mod places;
mod regular_file;
mod sameness;
mod settle;
mod sysfs;
mod tuning;
mod writeback;

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;

pub use aligned::AlignedBuf;
pub use device_fs::place_of;
pub use error::Error;
pub use in_use::{Holder, Usage};
pub use mounts::is_mount_point;
pub use sameness::Sharing;
pub use settle::settle;

use crate::event::{Observer, Outcome};
use crate::file_id::FileId;
use crate::range::ByteRange;
use kin::Kin;
use sysfs::Sysfs;

/// A place that an image is written to, and that is ours until it is finished.
pub trait Sink: Send {
    /// What it is and what it can take.
    fn info(&self) -> SinkInfo;

    /// Gives up what the target held and makes it ready for an image of `size` bytes, if that is known.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    fn prepare(&mut self, size: Option<u64>) -> io::Result<()>;

    /// Writes all of `data` at `offset`, both in bytes.
    ///
    /// # Errors
    ///
    /// Those of the target, with the offset of the first byte that was not written. A failure may belong to an earlier write
    /// whose writeback failed only now.
    fn write_at(&mut self, data: &[u8], offset: u64) -> Result<(), WriteError>;

    /// Fills `buf` with what the target holds at `offset`, read from the medium and not from the page cache where that can be
    /// had.
    ///
    /// # Errors
    ///
    /// Those of the target, and where it ends before `buf` is full.
    fn read_at(&mut self, buf: &mut [u8], offset: u64) -> Result<(), ReadError>;

    /// Has `range` read as zeroes from now on, in the cheapest way that the target has.
    ///
    /// # Errors
    ///
    /// Those of [`Sink::write_at`].
    fn zero(&mut self, range: ByteRange) -> Result<(), WriteError>;

    /// Tells the target that what `range` holds is not needed any more.
    ///
    /// # Errors
    ///
    /// Those of the target; `Unsupported` where it has no such command.
    fn discard(&mut self, range: ByteRange) -> Result<(), WriteError>;

    /// Makes durable what was written.
    ///
    /// # Errors
    ///
    /// Those of the target: then what was written before may be lost.
    fn sync(&mut self) -> io::Result<()>;

    /// Gives the target back, with the settings that it had, and says what is on it.
    fn finish(self: Box<Self>, outcome: Outcome) -> TargetState;
}

/// What a sink is and what it can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SinkInfo {
    /// What it is.
    pub kind: Kind,
    /// How many bytes it can hold, where there is a limit that is known.
    pub capacity: Option<u64>,
    /// How many bytes at its start make it bootable. They are zeroed first and written last; 0 where nothing boots from it.
    pub boot_region: u64,
}

/// A write that failed.
#[derive(Debug)]
pub struct WriteError {
    /// The first byte that was not written, or may not have been, counted from the start of the target.
    pub offset: u64,
    /// Why.
    pub source: io::Error,
}

/// A read that failed.
#[derive(Debug)]
pub struct ReadError {
    /// The first byte that was not read, counted from the start of the target.
    pub offset: u64,
    /// Why.
    pub source: io::Error,
}

/// Writes all of `buf` at `offset`; an error comes with the offset of the first byte that was not written.
fn write_all_at(file: &File, buf: &[u8], offset: u64) -> Result<(), WriteError> {
    let mut rest = buf;
    let mut offset = offset;
    while !rest.is_empty() {
        match file.write_at(rest, offset) {
            Ok(0) => return Err(WriteError { offset, source: io::ErrorKind::WriteZero.into() }),
            Ok(count) => {
                rest = rest.get(count..).unwrap_or_default();
                offset = offset.saturating_add(count as u64);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => return Err(WriteError { offset, source }),
        }
    }
    Ok(())
}

/// What is on a target after a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetState {
    /// The image, complete.
    Complete,
    /// Nothing: the file was created for the copy and has been removed.
    Removed,
    /// A file that existed before the copy is incomplete.
    Incomplete,
    /// A file is incomplete, and no longer at its name: somebody has moved, removed or replaced it.
    Moved,
    /// A device holds no valid image: its boot region is zeroed.
    BootRegionZero,
    /// The same, but the boot region had been written already and was zeroed again.
    BootRegionCleared,
    /// A device holds no valid image, but may look as if it did: its boot region was written, may not be durable, and
    /// could not be zeroed again.
    MaybeBootable,
    /// What was there before: nothing has been written.
    Untouched,
    /// The target keeps nothing.
    NotApplicable,
}

/// What a target is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file, one that exists or one to be created.
    RegularFile,
    /// A block device.
    BlockDevice,
    /// A character device, such as /dev/null.
    CharacterDevice,
}

/// Which devices may be a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accept {
    /// All of them, and regular files.
    Any,
    /// Only a block device that the kernel calls removable.
    Removable,
}

/// A file that is read during the copy and must not be its target.
#[derive(Clone, Copy, Debug)]
pub struct InputFile {
    /// What it is to the user, as in `image`.
    pub role: &'static str,
    /// Which file it is.
    pub id: FileId,
}

/// What is asked of a target.
pub struct Request<'a> {
    /// Its path.
    pub path: &'a Path,
    /// How many bytes it must hold, where that is known.
    pub size: Option<u64>,
    /// What it must not be, nor share bytes with.
    pub inputs: &'a [InputFile],
    /// Which devices it may be.
    pub accept: Accept,
    /// Is told what is worth telling, as long as the target is ours.
    pub observer: &'a Arc<dyn Observer>,
}

/// A target that is ours.
pub struct Claimed {
    /// What it is.
    pub kind: Kind,
    /// Takes the bytes.
    pub sink: Box<dyn Sink>,
}

/// Checks that the target can take the image and opens it for us alone. Nothing in it changes yet; but a file that does
/// not exist is created.
///
/// # Errors
///
/// Where the target is not one, is in use, is read-only, shares bytes with a source of the copy, is too small, or is not
/// what the request accepts.
pub fn claim(request: &Request<'_>) -> Result<Claimed, Error> {
    let path = request.path;
    let (kind, sink): (_, Box<dyn Sink>) = match fs::metadata(path) {
        Ok(metadata) => {
            let kind = kind_of(&metadata, path)?;
            let target = match open(request, kind, &metadata, &Sysfs::new()) {
                // An overlay file system gives a file another identity the first time that it is opened for writing.
                Err(error @ Error::Replaced { .. }) if kind == Kind::RegularFile => {
                    log::debug!("{error}");
                    match fs::metadata(path) {
                        Ok(metadata) if metadata.is_file() => open(request, kind, &metadata, &Sysfs::new()),
                        _ => Err(error),
                    }
                }
                opened => opened,
            };
            (kind, target?)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => (Kind::RegularFile, Box::new(create(request)?)),
        Err(source) => return Err(Error::Access { path: path.to_owned(), action: "inspect", source }),
    };
    if let Some((size, capacity)) = request.size.zip(sink.info().capacity).filter(|(size, capacity)| size > capacity) {
        return Err(Error::TooSmall { path: path.to_owned(), size, capacity });
    }
    Ok(Claimed { kind, sink })
}

/// Whether a file that is created at `path` would lie among the device nodes, in memory, where it has no place.
///
/// # Errors
///
/// Where the file system does not tell.
pub fn is_among_devices(path: &Path) -> io::Result<bool> {
    device_fs::holds(&device_fs::place_of(path)?)
}

/// Creates a file for the image.
fn create(request: &Request<'_>) -> Result<regular_file::RegularFile, Error> {
    let path = request.path.to_owned();
    if request.accept == Accept::Removable {
        return Err(Error::NotRemovable { path, why: "it does not exist; is it plugged in?" });
    }
    let create_error = |source| Error::Access { path: path.clone(), action: "create", source };
    let place = device_fs::place_of(&path).map_err(create_error)?;
    if device_fs::holds(&place).map_err(create_error)? {
        return Err(Error::NoDevice { path });
    }
    regular_file::RegularFile::create(&place)
}

/// Opens what exists, if it may be written to.
fn open(request: &Request<'_>, kind: Kind, metadata: &Metadata, sysfs: &Sysfs) -> Result<Box<dyn Sink>, Error> {
    let path = request.path;
    if request.accept == Accept::Removable && kind != Kind::BlockDevice {
        return Err(Error::NotRemovable { path: path.to_owned(), why: "it is not a block device" });
    }
    let id = FileId::of(metadata);
    let unclear = |source| Error::Unclear { path: path.to_owned(), source };
    let is_device = |id: FileId| matches!(id, FileId::BlockDevice { .. });
    if !sysfs.shows(id).map_err(unclear)? && sysfs.has_devices().map_err(unclear)? {
        return Err(Error::UnknownDevice { path: path.to_owned() });
    }
    for used in request.inputs.iter().map(|input| input.id).chain([id]) {
        if !sysfs.shows(used).map_err(unclear)? {
            return Err(Error::NoSysfs { path: path.to_owned() });
        }
    }
    let places = places::of(id, sysfs).map_err(unclear)?;
    sameness::refuse(request, id, &places, sysfs)?;
    Ok(match kind {
        Kind::RegularFile => {
            if device_fs::holds(path).map_err(unclear)? {
                return Err(Error::FileAmongDevices { path: path.to_owned() });
            }
            // The arguments in the wrong order would cost the image.
            if metadata.len() > 0 && request.inputs.iter().any(|input| is_device(input.id)) {
                return Err(Error::Swapped { path: path.to_owned() });
            }
            let mut file = regular_file::RegularFile::open(path, id)?;
            // Loop devices over it change with it.
            if sysfs.has_devices().map_err(unclear)? {
                let kin = Kin::find(path, &places, sysfs)?;
                kin.refuse_used()?;
                file.keep(kin.claim()?);
            }
            Box::new(file)
        }
        Kind::BlockDevice => Box::new(block_device::BlockDevice::open(request, metadata.rdev(), &places, sysfs)?),
        Kind::CharacterDevice => Box::new(character_device::CharacterDevice::open(path)?),
    })
}

/// Why a file or character device at `path` cannot be opened without waiting.
fn open_error(path: &Path, source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::WouldBlock => Error::Locked { path: path.to_owned() },
        _ => Error::Access { path: path.to_owned(), action: "open", source },
    }
}

/// Refuses what was opened at `path` if that is no longer what has been inspected.
fn refuse_replaced(path: &Path, inspected: FileId, opened: &File) -> Result<(), Error> {
    match opened.metadata() {
        Ok(metadata) if FileId::of(&metadata) == inspected => Ok(()),
        Ok(_) => Err(Error::Replaced { path: path.to_owned() }),
        Err(source) => Err(Error::Access { path: path.to_owned(), action: "inspect", source }),
    }
}

fn kind_of(metadata: &Metadata, path: &Path) -> Result<Kind, Error> {
    let kind = metadata.file_type();
    let what = match () {
        () if kind.is_file() => return Ok(Kind::RegularFile),
        () if kind.is_block_device() => return Ok(Kind::BlockDevice),
        () if kind.is_char_device() => return Ok(Kind::CharacterDevice),
        () if kind.is_dir() => "a directory",
        () if kind.is_fifo() => "a pipe (FIFO)",
        () if kind.is_socket() => "a socket",
        () => "of an unknown kind",
    };
    Err(Error::WrongKind { path: path.to_owned(), what })
}
