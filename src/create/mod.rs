//! Making a block map: what the file system says is mapped, and what the caller adds, with a checksum for each range.

mod hashing;
mod include;
mod ranges;

use std::fs::{File, FileType, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

pub use include::{Include, InvalidInclude};

use crate::bmap::{Bmap, Checksums, Invalid};
use crate::digest::ChecksumKind;
use crate::event::{Notice, Observer};
use crate::filemap::{self, FileMap};
use crate::partition::{self, PartitionTable};
use crate::range::{BlockRange, ByteRange};

/// What a map shall be like.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The kind of checksum that each range gets.
    pub checksums: Option<ChecksumKind>,
    /// Ranges are cut at the multiples of this many bytes, itself a multiple of the block size. `None`: a range is a
    /// whole extent.
    pub range_size: Option<u64>,
    /// What is mapped though the file system may call it a hole.
    pub include: Vec<Include>,
}

impl Request {
    fn names_partitions(&self) -> bool {
        self.include.iter().any(|include| matches!(include, Include::Partition(_)))
    }
}

/// Why the image at `path` cannot be mapped.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the variants say what their fields are")]
pub enum Error {
    /// It cannot be read at `offset`, in bytes.
    #[error("cannot read image '{path}' at byte {offset}")]
    Read { path: PathBuf, offset: u64, source: io::Error },
    /// It cannot be inspected or synchronized: `action` says which.
    #[error("cannot {action} image '{path}'")]
    Access { path: PathBuf, action: &'static str, source: io::Error },
    /// It is not a regular file but `what`, with an article.
    #[error("cannot map '{path}': it is {what}")]
    NotAFile { path: PathBuf, what: &'static str },
    /// It has no bytes.
    #[error("cannot map image '{path}': its size is zero")]
    Empty { path: PathBuf },
    /// It was written to while it was read.
    #[error("image '{path}' changed while it was being mapped")]
    Changed { path: PathBuf },
    /// There is not enough memory.
    #[error("cannot make the buffers")]
    Memory(#[source] io::Error),
    /// The ranges cannot have this size, in bytes.
    #[error("a range size of {size} bytes is no multiple of the block size of '{path}', {block_size} bytes")]
    RangeSize { path: PathBuf, size: u64, block_size: u64 },
    /// There would be `count` ranges, more than a bmap can list.
    #[error("the map of '{path}' would have {count} ranges, a bmap can list {max}")]
    TooManyRanges { path: PathBuf, count: u64, max: u64 },
    /// What is to be included ends past the image, which has `size` bytes.
    #[error("cannot map {include} of '{path}': the image has {size} bytes")]
    PastTheEnd { path: PathBuf, include: Include, size: u64 },
    /// The image has a partition table or not, but not this partition.
    #[error("cannot map {include} of '{path}': there is no such partition")]
    NoPartition { path: PathBuf, include: Include },
    /// The partition table, which says where a partition lies, cannot be used.
    #[error("cannot find the partitions of '{path}'")]
    Partitions { path: PathBuf, source: partition::Error },
    /// The file system does not tell what is mapped.
    #[error(transparent)]
    Map(#[from] filemap::Error),
    /// The file system reported a map that cannot be.
    #[error("the file system reports an impossible map of '{path}'")]
    Impossible { path: PathBuf, source: Invalid },
}

/// Maps the image that was opened from `path`, as `request` says; hashes its ranges on all cores, and tells `observer`
/// how far that is, with the image as its only target.
///
/// # Errors
///
/// Among others, where the image is not a regular file with data, or changes meanwhile.
pub fn create(image: &File, path: &Path, request: &Request, observer: &dyn Observer) -> Result<Bmap, Error> {
    Mapping::of(image, path, request)?.finish(observer)
}

/// An image whose mapped ranges are known, and whose checksums are not.
pub struct Mapping<'a> {
    image: &'a File,
    path: &'a Path,
    checksums: Option<ChecksumKind>,
    map: FileMap,
    ranges: Vec<BlockRange>,
    partitions: Option<PartitionTable>,
    /// The image before it was mapped.
    before: Metadata,
}

impl<'a> Mapping<'a> {
    /// Maps the image that was opened from `path`, as `request` says.
    ///
    /// # Errors
    ///
    /// Among others, where the image is not a regular file with data, or `request` does not fit it.
    pub fn of(image: &'a File, path: &'a Path, request: &Request) -> Result<Self, Error> {
        check_kind(inspect(image, path)?.file_type(), path)?;
        // A file system may not report data as mapped before it has allocated blocks for it. A read-only one may refuse
        // to sync (fsync(2)), and need not.
        match image.sync_all() {
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EROFS)) => {}
            result => result.map_err(|source| access(path, "synchronize", source))?,
        }
        let before = inspect(image, path)?;
        let map = filemap::map(image, path)?;
        if map.size == 0 {
            return Err(Error::Empty { path: path.to_owned() });
        }
        let partitions = match PartitionTable::read(&mut &*image) {
            Err(source) if request.names_partitions() => {
                return Err(Error::Partitions { path: path.to_owned(), source });
            }
            partitions => partitions.unwrap_or(None),
        };
        let ranges = ranges::all(&map, path, request, partitions.as_ref())?;
        Ok(Self { image, path, checksums: request.checksums, map, ranges, partitions, before })
    }

    /// The size of the image in bytes.
    pub fn image_size(&self) -> u64 {
        self.map.size
    }

    /// Hashes the ranges on all cores, and tells `observer` how far that is, with the image as its only target.
    ///
    /// # Errors
    ///
    /// Among others, where the image cannot be read, or has changed since it was mapped.
    pub fn finish(self, observer: &dyn Observer) -> Result<Bmap, Error> {
        let Self { image, path, checksums, map, ranges, partitions, before } = self;
        let checksums = checksums.map(|kind| hash(image, path, &map, &ranges, kind, observer));
        // What changes when a file is written to.
        let state = |metadata: &Metadata| (metadata.size(), metadata.mtime(), metadata.mtime_nsec());
        // Before the errors of hashing: a file that shrinks ends too early.
        if state(&inspect(image, path)?) != state(&before) || map.size != before.size() {
            return Err(Error::Changed { path: path.to_owned() });
        }
        let checksums = checksums.transpose()?;
        let bmap = Bmap::new(map.size, map.block_size, ranges, checksums)
            .map_err(|source| Error::Impossible { path: path.to_owned(), source })?;
        if let Some(partitions) = partitions {
            tell_verity_in_holes(&bmap, path, &partitions, observer);
        }
        Ok(bmap)
    }
}

fn inspect(image: &File, path: &Path) -> Result<Metadata, Error> {
    image.metadata().map_err(|source| access(path, "inspect", source))
}

fn access(path: &Path, action: &'static str, source: io::Error) -> Error {
    Error::Access { path: path.to_owned(), action, source }
}

/// A partition with hashes or signatures of dm-verity is read as it is: a device that keeps old data in its holes fails
/// to verify.
fn tell_verity_in_holes(bmap: &Bmap, path: &Path, table: &PartitionTable, observer: &dyn Observer) {
    for partition in table.partitions.iter().filter(|partition| partition.kind.is_verity()) {
        let bytes = ByteRange { end: partition.bytes.end.min(bmap.image_size()), ..partition.bytes };
        if !bmap.maps(bytes) {
            observer.notice(Notice::VerityInHoles { image: path, partition: partition.number });
        }
    }
}

/// Refuses the file at `path` unless it is a regular file by its `kind`. To be called before the file is opened:
/// opening a pipe waits for a writer, and opening some devices has side effects.
///
/// # Errors
///
/// [`Error::NotAFile`]
pub fn check_kind(kind: FileType, path: &Path) -> Result<(), Error> {
    let what = match () {
        () if kind.is_file() => return Ok(()),
        () if kind.is_dir() => "a directory",
        () if kind.is_block_device() => "a block device",
        () if kind.is_char_device() => "a character device",
        () if kind.is_fifo() => "a pipe",
        () => "not a regular file",
    };
    Err(Error::NotAFile { path: path.to_owned(), what })
}

fn hash(
    image: &File,
    path: &Path,
    map: &FileMap,
    ranges: &[BlockRange],
    kind: ChecksumKind,
    observer: &dyn Observer,
) -> Result<Checksums, Error> {
    let ranges: Vec<_> = ranges.iter().map(|range| range.bytes(map.block_size, map.size)).collect();
    let digests = hashing::hash(image, path, &ranges, kind, observer)?;
    let mut checksums = Checksums::new(kind);
    digests.iter().for_each(|digest| checksums.push(digest));
    Ok(checksums)
}
