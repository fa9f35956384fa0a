//! Where bytes go: a regular file, a block device, or a character device for a dry run.
//!
//! [`claim`] does every check that can be done before the first byte is written.

mod aligned;
mod block_device;
mod character_device;
mod regular_file;
mod writeback;

use std::fmt;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

pub use aligned::AlignedBuf;

use crate::file_id::FileId;
use crate::size::human;

/// A place that an image is written to.
pub trait Target: Send {
    /// Gives up what the target held and makes it ready for an image of `size` bytes, if that is known.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    fn begin(&mut self, size: Option<u64>) -> io::Result<()>;

    /// Writes all of `buf` at `offset`, both in bytes.
    ///
    /// # Errors
    ///
    /// Those of the target, with the offset of the first byte that was not written.
    fn write_all_at(&mut self, buf: &[u8], offset: u64) -> Result<(), WriteError>;

    /// Makes durable what was written.
    ///
    /// # Errors
    ///
    /// Those of the target: then what was written before may be lost.
    fn sync(&mut self) -> io::Result<()>;

    /// How many bytes it can hold, where there is a limit that is known.
    fn capacity(&self) -> Option<u64>;

    /// How many bytes at its start make it bootable. They are zeroed first and written last.
    fn boot_region(&self) -> u64;

    /// Ends a copy that succeeded, after the last sync.
    fn finish(&mut self);

    /// Ends a copy that failed, and says what is left of it.
    fn abandon(&mut self) -> Remains;
}

/// A write that failed.
#[derive(Debug)]
pub struct WriteError {
    /// The first byte that was not written, counted from the start of the target.
    pub offset: u64,
    /// Why.
    pub source: io::Error,
}

/// What is left of a target after a copy that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remains {
    /// Nothing: the file was created for the copy and has been removed.
    Removed,
    /// A file that existed before the copy is incomplete.
    Incomplete,
    /// A device holds no valid image.
    Invalid,
    /// There is nothing to hold anything.
    Nothing,
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

/// `block device` or `file`.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RegularFile => "file",
            Self::BlockDevice => "block device",
            Self::CharacterDevice => "character device",
        })
    }
}

/// A file that is read during the copy and must not be its target.
#[derive(Clone, Copy)]
pub struct Reserved {
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
    /// What it must not be.
    pub reserved: &'a [Reserved],
}

/// A target that is ours.
pub struct Claimed {
    /// What it is.
    pub kind: Kind,
    /// Takes the bytes.
    pub target: Box<dyn Target>,
}

/// Why a target cannot be written to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be inspected, opened or created.
    #[error("cannot {action} '{path}'")]
    Access {
        /// The target.
        path: PathBuf,
        /// What was being done.
        action: &'static str,
        /// Why.
        source: io::Error,
    },
    /// It is neither a file nor a device.
    #[error("cannot copy to '{path}': it is {what}; the target must be a block device or a regular file")]
    WrongKind {
        /// The target.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// It is read during the copy.
    #[error("'{path}' is the {role} itself and cannot be the target too")]
    Source {
        /// The target.
        path: PathBuf,
        /// What it is to the user.
        role: &'static str,
    },
    /// It is opened exclusively by someone else.
    #[error(
        "block device '{path}' is in use: it or one of its partitions is mounted, perhaps in a container or another mount \
         namespace, or held by another program; 'lsblk {path}' shows what uses it"
    )]
    Busy {
        /// The target.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// It cannot hold the image.
    #[error(
        "the image does not fit on '{path}': it has {size} bytes ({}), the device {capacity} bytes ({})",
        human(*size), human(*capacity)
    )]
    TooSmall {
        /// The target.
        path: PathBuf,
        /// The size of the image in bytes.
        size: u64,
        /// The size of the device in bytes.
        capacity: u64,
    },
}

/// Checks that the target can take the image and opens it for us alone. Nothing in it changes yet; but a file that does
/// not exist is created.
///
/// # Errors
///
/// Where the target is not one, is in use, is a source of the copy, or is too small.
pub fn claim(request: &Request<'_>) -> Result<Claimed, Error> {
    let path = request.path;
    let existing = match fs::metadata(path) {
        Ok(metadata) => Some(metadata),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(source) => return Err(Error::Access { path: path.to_owned(), action: "inspect", source }),
    };
    let kind = existing.as_ref().map_or(Ok(Kind::RegularFile), |metadata| kind_of(metadata, path))?;
    if let Some(metadata) = &existing {
        refuse_reserved(metadata, request)?;
    }
    let target: Box<dyn Target> = match kind {
        Kind::RegularFile => Box::new(regular_file::RegularFile::open(path, existing.is_some())?),
        Kind::BlockDevice => Box::new(block_device::BlockDevice::open(path)?),
        Kind::CharacterDevice => Box::new(character_device::CharacterDevice::open(path)?),
    };
    if let Some((size, capacity)) = request.size.zip(target.capacity()).filter(|(size, capacity)| size > capacity) {
        return Err(Error::TooSmall { path: path.to_owned(), size, capacity });
    }
    Ok(Claimed { kind, target })
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

fn refuse_reserved(metadata: &Metadata, request: &Request<'_>) -> Result<(), Error> {
    let mut ids = vec![FileId::of(metadata)];
    ids.extend(block_device::backing_file(metadata));
    match request.reserved.iter().find(|reserved| ids.contains(&reserved.id)) {
        Some(reserved) => Err(Error::Source { path: request.path.to_owned(), role: reserved.role }),
        None => Ok(()),
    }
}
