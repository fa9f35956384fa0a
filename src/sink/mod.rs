//! Where bytes go: a regular file, a block device, or a character device for a dry run.
//!
//! [`claim`] does every check that can be done before the first byte is written.

mod block_device;
mod character_device;
mod claim;
mod device_file;
mod error;
mod partitions;
mod positioned;
mod regular_file;
mod tuning;
mod writeback;

use std::io;
use std::path::Path;

pub use claim::{Accept, Claimed, InputFile, Request, claim, claim_all};
pub use error::Error;

pub use crate::sys::file_id::FileId;
pub use crate::sys::read_at::{ReadError, ReadPath};

use crate::device::{DeviceInfo, Identity};
use crate::event::Outcome;
use crate::range::ByteRange;
use crate::sys::past_cache::PastCache;

/// The boot region of a device: where partition tables, boot loaders and the first superblock lie, in bytes.
pub(crate) const BOOT_REGION: u64 = 1 << 20;

/// A target that is claimed until it is finished.
pub trait Sink: Send {
    /// What it is and what it can take.
    fn info(&self) -> SinkInfo;

    /// Prepares the target for an image of `size` bytes, if that is known; a file loses its contents.
    ///
    /// # Errors
    ///
    /// Where the file system refuses that.
    fn prepare(&mut self, size: Option<u64>) -> io::Result<()>;

    /// Like [`Self::prepare`], but the target, which may hold much of the image already, loses nothing of that.
    ///
    /// # Errors
    ///
    /// Where the file system refuses that.
    fn prepare_in_place(&mut self, size: Option<u64>) -> io::Result<()> {
        self.prepare(size)
    }

    /// After [`Self::prepare_in_place`] for an image of unknown size, takes note that it has `size` bytes.
    ///
    /// # Errors
    ///
    /// Where a file cannot be made as long.
    fn set_size(&mut self, _size: u64) -> io::Result<()> {
        Ok(())
    }

    /// A second handle, which reads what the target holds while another thread writes to it.
    ///
    /// # Errors
    ///
    /// Where it cannot be opened for reading.
    fn reader(&self) -> io::Result<TargetReader>;

    /// Whether all of `bytes` is stored, and none of it a hole that only reads as zeroes.
    fn is_stored(&self, _bytes: ByteRange) -> bool {
        true
    }

    /// Whether none of `bytes` is stored, so that [`Self::zero`] changes nothing.
    fn is_hole(&self, _bytes: ByteRange) -> bool {
        false
    }

    /// Writes all of `data` at `offset`, both in bytes.
    ///
    /// # Errors
    ///
    /// Where the target fails, with the offset of the first byte that was not written. A failure may belong to an
    /// earlier write whose writeback failed only now.
    fn write_at(&mut self, data: &[u8], offset: u64) -> Result<(), WriteError>;

    /// Fills `buf` with what the target holds at `offset`, if possible from the medium and not from the page cache.
    ///
    /// # Errors
    ///
    /// Where the target fails or ends before `buf` is full.
    fn read_at(&mut self, buf: &mut [u8], offset: u64) -> Result<(), ReadError>;

    /// How [`Self::read_at`] has read.
    fn read_path(&self) -> ReadPath;

    /// Makes `range` read as zeroes, in the cheapest way that the target has. Returns how many bytes were not known to be
    /// zero.
    ///
    /// # Errors
    ///
    /// Where the target fails, with the offset of the first byte that was not zeroed.
    fn zero(&mut self, range: ByteRange) -> Result<u64, WriteError>;

    /// Tells the target that what `range` holds is not needed any more.
    ///
    /// # Errors
    ///
    /// Where the target fails; `Unsupported` where it has no such command.
    fn discard(&mut self, range: ByteRange) -> Result<(), WriteError>;

    /// Makes durable what was written.
    ///
    /// # Errors
    ///
    /// Where the target fails: earlier writes may be lost.
    fn sync(&mut self) -> io::Result<()>;

    /// Takes note that all that has been written was put back: the target is as it was found.
    fn note_restored(&mut self) {}

    /// What puts back the settings that the target was given for the copy, even while another thread is held up in it;
    /// `None` where it is given none. What comes after that finds them put back.
    fn restore(&self) -> Option<Restore> {
        None
    }

    /// Releases the target, with its previous settings, and says what is on it.
    fn finish(self: Box<Self>, outcome: Outcome) -> TargetState;
}

/// Puts back the settings of a target.
pub type Restore = Box<dyn FnOnce() + Send>;

/// Fills a buffer with what is at an offset in bytes.
pub type ReadAt = dyn FnMut(&mut [u8], u64) -> Result<(), ReadError> + Send;

/// Reads what a target holds.
pub struct TargetReader {
    /// How long the target is in bytes.
    pub length: u64,
    /// How it is read.
    pub path: ReadPath,
    /// Fills a buffer with what is at an offset, if possible from the medium and not from the page cache.
    pub read_at: Box<ReadAt>,
}

impl TargetReader {
    /// Opens the target at `path` once more, which must still be `id`.
    fn open(path: &Path, id: FileId, length: u64) -> io::Result<Self> {
        let opened = PastCache::open_same(path, id)?;
        let path = opened.read_path();
        Ok(Self { length, path, read_at: Box::new(move |buf, offset| opened.read_at(buf, offset)) })
    }
}

/// What a target is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Writing; reading too where that is allowed.
    Write,
    /// Both: it is read back, or compared before it is written to.
    ReadAndWrite,
}

/// Whether what was written is read from the target again, and compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadBack {
    /// It is not.
    No,
    /// It is.
    Yes,
}

/// Whether the target is told to discard something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discard {
    /// It is not.
    No,
    /// It is: a block device must be able to.
    Yes,
}

/// What a sink is and what it can take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkInfo {
    /// A file, or which kind of device.
    pub kind: Kind,
    /// How many bytes it can hold, where there is a limit that is known.
    pub capacity: Option<u64>,
    /// How many bytes at its start make it bootable, which are zeroed first and written last; 0 if it never boots.
    pub boot_region: u64,
    /// The size of a logical sector in bytes, where it has sectors.
    pub sector_size: Option<u32>,
    /// The disk that it is, or is a partition of.
    pub identity: Option<Identity>,
}

impl SinkInfo {
    /// The info of a sink of which nothing else is known.
    pub fn of(kind: Kind) -> Self {
        Self { kind, capacity: None, boot_region: 0, sector_size: None, identity: None }
    }

    /// The info of a block device that is only read.
    pub fn of_device(device: &DeviceInfo) -> Self {
        let (sector_size, identity) = (device.identity.sector_size, Some(device.identity.clone()));
        Self { capacity: device.size, sector_size, identity, ..Self::of(Kind::BlockDevice) }
    }
}

/// A write that failed.
#[derive(Debug)]
pub struct WriteError {
    /// The first byte that was not written, or may not have been, counted from the start of the target.
    pub offset: u64,
    /// The error of the system.
    pub source: io::Error,
}

/// The contents of a target after a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetState {
    /// The image, complete.
    Complete,
    /// Nothing: the file was created for the copy and has been removed.
    Removed,
    /// A file that existed before the copy is incomplete.
    Incomplete,
    /// A file is incomplete, and no longer at its path: it has been moved, removed or replaced.
    Moved,
    /// A device holds no valid image: its boot region is zeroed.
    BootRegionZero,
    /// The same, but the boot region was zeroed only after the failure: it could have looked valid.
    BootRegionCleared,
    /// A device holds no valid image, but may look as if it did: it has been changed, and its boot region may not be zero.
    MaybeBootable,
    /// What was there before: nothing has been written, or all of it has been put back.
    Untouched,
    /// The target keeps nothing.
    NotApplicable,
}

/// The kind of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file, one that exists or one to be created.
    RegularFile,
    /// A block device.
    BlockDevice,
    /// A character device, such as /dev/null.
    CharacterDevice,
}
