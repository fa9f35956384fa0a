//! Reading a file or device past the page cache, through a handle of its own.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::Path;

use super::aligned::AlignedBuf;
use super::below::best_path;
use super::eintr::retry_on_eintr;
use super::file_id::FileId;
use super::read_at::{ReadError, ReadPath, drop_cached, drop_cached_device, read_all_at, read_direct};

/// A multiple of the logical sectors that devices and file systems have, in bytes.
const SECTOR: usize = 4096;

/// A file or device that is read past the page cache; where it does not take O_DIRECT, the cache is dropped before each
/// read: other programs may fill it meanwhile.
#[derive(Debug)]
pub struct PastCache {
    file: File,
    path: ReadPath,
    /// Drops the cache, where O_DIRECT is not taken.
    drop_cached: Option<fn(&File) -> ReadPath>,
}

impl PastCache {
    /// Opens what is at `path`. A lease on it (`F_SETLEASE` of fcntl(2)) is not waited for.
    ///
    /// # Errors
    ///
    /// Where it cannot be opened for reading.
    pub fn open(path: &Path) -> io::Result<Self> {
        let open = |flags| OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | flags).open(path);
        let direct = open(libc::O_DIRECT).and_then(tried).ok();
        let takes_direct = direct.is_some();
        let file = direct.map_or_else(|| open(0), Ok)?;
        let (drop, best): (fn(&File) -> ReadPath, _) = match file.metadata()?.file_type().is_block_device() {
            true => (drop_cached_device, ReadPath::Direct),
            false => (drop_cached, best_path(&file)),
        };
        let drop_cached = (!takes_direct).then_some(drop);
        let path = drop_cached.map_or(best, |drop| drop(&file).max(best));
        Ok(Self { file, path, drop_cached })
    }

    /// Opens what is at `path`, which must be the file or device `id`.
    ///
    /// # Errors
    ///
    /// Where it cannot be opened for reading, or something else is there.
    pub fn open_same(path: &Path, id: FileId) -> io::Result<Self> {
        let opened = Self::open(path)?;
        match FileId::of(&opened.file.metadata()?) {
            found if found == id => Ok(opened),
            _ => Err(io::Error::other("something else is at its path now")),
        }
    }

    /// Fills `buf` with what is at `offset`; several threads may do so at a time.
    ///
    /// # Errors
    ///
    /// Where the file or device ends before that, or cannot be read.
    pub fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<(), ReadError> {
        match self.drop_cached {
            None => read_direct(&self.file, SECTOR, buf, offset),
            Some(drop) => {
                drop(&self.file);
                read_all_at(&self.file, buf, offset)
            }
        }
    }

    /// Its length in bytes.
    ///
    /// # Errors
    ///
    /// Where it has none.
    pub fn length(&self) -> io::Result<u64> {
        (&self.file).seek(SeekFrom::End(0))
    }

    /// How it is read.
    pub fn read_path(&self) -> ReadPath {
        self.path
    }
}

/// A file that was opened with O_DIRECT, if it can be read so: some drivers refuse that only now, and so do devices
/// whose sectors are larger than ours.
fn tried(file: File) -> io::Result<File> {
    let mut buf = AlignedBuf::zeroed(SECTOR)?;
    match retry_on_eintr(|| file.read_at(&mut buf, 0)) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Err(error),
        // Where it cannot be read at all, whoever reads it will be told.
        _ => Ok(file),
    }
}
