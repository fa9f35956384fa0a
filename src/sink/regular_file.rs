//! A regular file as target. Blocks that are not written stay holes.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::{Whence, lseek64};

use super::claim::{open_error, refuse_replaced};
use super::positioned::{is_unsupported, steps, write_all_at, write_zeroes};
use super::writeback::Writeback;
use super::{Access, Error, Kind, ReadError, ReadPath, Sink, SinkInfo, TargetReader, TargetState, WriteError};
use crate::device::{Claims, Lock, lock};
use crate::event::Outcome;
use crate::range::ByteRange;
use crate::sys::below::best_path;
use crate::sys::durable::{check_close, sync_directory};
use crate::sys::eintr::retry_on_eintr;
use crate::sys::file_id::FileId;
use crate::sys::missing::ok_if_missing;
use crate::sys::paths::parent_dir;
use crate::sys::read_at::{drop_cached, read_all_at, read_direct};

/// A multiple of the logical sectors that a file system may have, in bytes.
const SECTOR: usize = 4096;

pub(super) struct RegularFile {
    path: PathBuf,
    file: File,
    origin: Origin,
    writeback: Writeback,
    /// How long the file is, unless another program has changed that.
    length: u64,
    /// Where the image ends, as far as that is known.
    end: u64,
    /// How it has been read.
    read_path: ReadPath,
    /// Keep others away from loop devices over the file.
    claims: Claims,
}

/// What becomes of the file when the copy fails.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// It was created for the copy: it is removed, also by a panic.
    Created,
    /// It existed, and has still what it had.
    Existed,
    /// It existed, and has been changed.
    Changed,
    /// It is complete, or has been removed.
    Settled,
}

impl RegularFile {
    /// Creates the file.
    pub(super) fn create(path: &Path) -> Result<Self, Error> {
        let created = File::create_new(path);
        let file = created.map_err(|source| Error::Access { path: path.to_owned(), action: "create", source })?;
        Self::locked(path, file, Origin::Created)
    }

    /// Opens the file as it is, if it is still the one that has been `inspected`.
    pub(super) fn open(path: &Path, inspected: FileId, access: Access) -> Result<Self, Error> {
        let file = open_unleased(path, access).map_err(|source| open_error(path, source))?;
        let opened = Self::locked(path, file, Origin::Existed)?;
        refuse_replaced(path, inspected, &opened.file)?;
        Ok(opened)
    }

    fn locked(path: &Path, file: File, origin: Origin) -> Result<Self, Error> {
        if !lock(&file, Lock::Exclusive) {
            return Err(Error::Locked { path: path.to_owned() });
        }
        let (path, writeback, claims) = (path.to_owned(), Writeback::default(), Claims::default());
        let read_path = best_path(&file);
        Ok(Self { path, file, origin, writeback, length: 0, end: 0, read_path, claims })
    }

    /// Keeps `claims` as long as this lives.
    pub(super) fn keep(&mut self, claims: Claims) {
        self.claims = claims;
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        // An invalid offset would fail with EINVAL.
        libc::off64_t::try_from(length).map_err(|_| io::Error::from(Errno::EFBIG))?;
        self.file.set_len(length)
    }

    /// Empties a file that existed, and gives it the length of the image.
    fn empty(&mut self, size: Option<u64>) -> io::Result<()> {
        let length = self.file.metadata()?.len();
        // A size that the file system does not support is refused while the file still has its contents.
        if let Some(size) = size {
            self.set_len(size.max(length))?;
        }
        self.file.set_len(0).inspect_err(|_| drop(self.file.set_len(length)))?;
        self.origin = Origin::Changed;
        self.length = self.end;
        self.set_len(self.end)
    }

    /// Takes note that a file that existed has no longer what it had.
    fn change(&mut self) {
        if self.origin == Origin::Existed {
            self.origin = Origin::Changed;
        }
    }

    /// Gives a new file the length of the image, so that its holes stay holes: XFS allocates blocks after the end of a
    /// file that grows. Only a size that is too large is an error here: some file systems take data and nothing else.
    fn reserve(&mut self, size: u64) -> io::Result<()> {
        match self.set_len(size) {
            Ok(()) => self.length = size,
            Err(error) if error.raw_os_error() == Some(libc::EFBIG) => return Err(error),
            Err(error) => log::debug!("cannot set the length of '{}' yet: {error}", self.path.display()),
        }
        Ok(())
    }

    /// Makes the file as long as the image, where that ends with a hole.
    fn extend(&mut self) -> io::Result<()> {
        // Bytes that another program has cut off are missing, and must not become zeroes.
        if self.length < self.end && self.file.metadata()?.len() == self.length {
            self.set_len(self.end)?;
            self.length = self.end;
        }
        Ok(())
    }

    /// As much of `range` as the file reaches.
    fn held(&self, range: ByteRange) -> Result<ByteRange, WriteError> {
        let metadata = self.file.metadata().map_err(|source| WriteError { offset: range.start, source })?;
        Ok(ByteRange { end: range.end.min(metadata.len()), ..range })
    }

    /// Reads past the page cache, through which all else goes.
    fn read_direct(&self, buf: &mut [u8], offset: u64) -> Result<(), ReadError> {
        let set = |flags| {
            fcntl(&self.file, FcntlArg::F_SETFL(flags)).map_err(|errno| ReadError { offset, source: errno.into() })
        };
        set(OFlag::O_DIRECT)?;
        let read = read_direct(&self.file, SECTOR, buf, offset);
        set(OFlag::empty())?;
        read
    }

    /// The first part of `range` that is no hole; all of it where the file system cannot tell.
    fn data_in(&self, range: ByteRange) -> Option<ByteRange> {
        if range.is_empty() {
            return None;
        }
        let start = match next(&self.file, Whence::SeekData, range.start) {
            Ok(start) => start,
            Err(Errno::ENXIO) => return None, // a hole up to the end of the file
            Err(_) => return Some(range),
        };
        let end = next(&self.file, Whence::SeekHole, start).unwrap_or(range.end).min(range.end);
        (start < end).then_some(ByteRange { start, end })
    }

    /// Makes `range` a hole (`FALLOC_FL_PUNCH_HOLE` of fallocate(2)).
    fn punch(&self, range: ByteRange) -> Result<(), WriteError> {
        const MODE: libc::c_int = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        let offset_of = |bytes: u64| libc::off64_t::try_from(bytes).map_err(|_| io::Error::from(Errno::EFBIG));
        for step in steps(range) {
            let punch = || -> io::Result<()> {
                let (offset, length) = (offset_of(step.start)?, offset_of(step.len())?);
                // SAFETY: fallocate takes a descriptor, which is open as long as `self` is borrowed, and numbers.
                match unsafe { libc::fallocate64(self.file.as_raw_fd(), MODE, offset, length) } {
                    0 => Ok(()),
                    _ => Err(io::Error::last_os_error()),
                }
            };
            retry_on_eintr(punch).map_err(|source| WriteError { offset: step.start, source })?;
        }
        Ok(())
    }

    /// Whether the path still leads to the file, which may have been moved or replaced.
    fn is_in_place(&self) -> io::Result<bool> {
        let named = ok_if_missing(fs::metadata(&self.path))?.as_ref().map(FileId::of);
        Ok(named == Some(FileId::of(&self.file.metadata()?)))
    }

    /// Checks that no other program has moved the file or changed its size.
    fn check(&self) -> io::Result<()> {
        if !self.is_in_place()? {
            return Err(io::Error::other("another program has removed or replaced it during the copy"));
        }
        match self.file.metadata()?.len() {
            length if length == self.end => Ok(()),
            length => {
                Err(io::Error::other(format!("another program has changed its size to {length} bytes during the copy")))
            }
        }
    }

    /// Removes the file if it was created for the copy; says what is left.
    fn give_up(&mut self) -> io::Result<TargetState> {
        let origin = std::mem::replace(&mut self.origin, Origin::Settled);
        if origin == Origin::Existed {
            return Ok(TargetState::Untouched);
        }
        if !self.is_in_place()? {
            return Ok(TargetState::Moved);
        }
        if origin == Origin::Created {
            fs::remove_file(&self.path)?;
            return Ok(TargetState::Removed);
        }
        Ok(TargetState::Incomplete)
    }
}

impl Drop for RegularFile {
    fn drop(&mut self) {
        if self.origin == Origin::Created {
            let _ = self.give_up();
        }
    }
}

impl Sink for RegularFile {
    fn info(&self) -> SinkInfo {
        SinkInfo::of(Kind::RegularFile)
    }

    fn prepare(&mut self, size: Option<u64>) -> io::Result<()> {
        self.end = size.unwrap_or(0);
        match (self.origin, size) {
            (Origin::Created, None) => Ok(()),
            (Origin::Created, Some(size)) => self.reserve(size),
            _ => self.empty(size),
        }
    }

    fn prepare_in_place(&mut self, size: Option<u64>) -> io::Result<()> {
        match (self.origin, size) {
            (Origin::Created, _) => self.prepare(size),
            (_, Some(size)) => self.set_size(size),
            (_, None) => Ok(()),
        }
    }

    fn set_size(&mut self, size: u64) -> io::Result<()> {
        self.end = size;
        self.length = self.file.metadata()?.len();
        if self.length != size {
            self.change();
            self.set_len(size)?;
            self.length = size;
        }
        Ok(())
    }

    fn reader(&self) -> io::Result<TargetReader> {
        let metadata = self.file.metadata()?;
        TargetReader::open(&self.path, FileId::of(&metadata), metadata.len())
    }

    fn is_stored(&self, bytes: ByteRange) -> bool {
        bytes.end <= next(&self.file, Whence::SeekHole, bytes.start).unwrap_or(0)
    }

    fn is_hole(&self, bytes: ByteRange) -> bool {
        self.held(bytes).is_ok_and(|held| self.data_in(held).is_none())
    }

    fn write_at(&mut self, data: &[u8], offset: u64) -> Result<(), WriteError> {
        self.change();
        write_all_at(&self.file, data, offset)?;
        let bytes = ByteRange { start: offset, end: offset.saturating_add(data.len() as u64) };
        self.length = self.length.max(bytes.end);
        self.end = self.end.max(bytes.end);
        self.writeback.written(&self.file, bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.extend()?;
        self.file.sync_all()?;
        check_close(&self.file)?;
        if self.origin == Origin::Created {
            sync_directory(parent_dir(&self.path))?;
        }
        self.check()
    }

    fn read_at(&mut self, buf: &mut [u8], offset: u64) -> Result<(), ReadError> {
        let dropped = drop_cached(&self.file);
        match self.read_direct(buf, offset) {
            Err(error) if error.source.raw_os_error() == Some(libc::EINVAL) => {
                self.read_path = self.read_path.max(dropped);
                read_all_at(&self.file, buf, offset)
            }
            result => result,
        }
    }

    fn read_path(&self) -> ReadPath {
        self.read_path
    }

    fn zero(&mut self, range: ByteRange) -> Result<u64, WriteError> {
        if range.is_empty() {
            return Ok(0);
        }
        let held = self.held(range)?;
        // What the file grows by, when it is synchronized, is a hole.
        self.end = self.end.max(range.end);
        let (mut left, mut zeroed) = (held, 0);
        while let Some(data) = self.data_in(left) {
            self.change();
            match self.punch(data) {
                Err(error) if is_unsupported(&error.source) => {
                    let rest = ByteRange { start: error.offset, ..data };
                    write_zeroes(rest, |zeroes, offset| self.write_at(zeroes, offset))?;
                }
                result => result?,
            }
            zeroed += data.len();
            left.start = data.end;
        }
        Ok(zeroed)
    }

    fn discard(&mut self, range: ByteRange) -> Result<(), WriteError> {
        self.change();
        match self.punch(self.held(range)?) {
            Err(error) if is_unsupported(&error.source) => {
                Err(WriteError { source: io::ErrorKind::Unsupported.into(), ..error })
            }
            result => result,
        }
    }

    fn finish(mut self: Box<Self>, outcome: Outcome) -> TargetState {
        match outcome {
            Outcome::Complete => {
                self.origin = Origin::Settled;
                TargetState::Complete
            }
            Outcome::Failed => self.give_up().unwrap_or(TargetState::Incomplete),
        }
    }
}

/// Where the next hole or the next data of `file` begins, from `offset` on (lseek(2)).
fn next(file: &File, whence: Whence, offset: u64) -> nix::Result<u64> {
    let offset = libc::off64_t::try_from(offset).map_err(|_| Errno::EOVERFLOW)?;
    lseek64(file, offset, whence).map(|found| found.unsigned_abs())
}

/// Opens a file for writing, and for reading too where that is allowed or asked for. It does not wait for a lease on the
/// file (`F_SETLEASE` of fcntl(2)), as a file server may have it: no signal would end that.
fn open_unleased(path: &Path, access: Access) -> io::Result<File> {
    let open = |read| OpenOptions::new().read(read).write(true).custom_flags(libc::O_NONBLOCK).open(path);
    match open(true) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && access == Access::Write => open(false),
        opened => opened,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::*;

    const MIB: u64 = 1 << 20;

    fn created(size: u64) -> (tempfile::TempDir, PathBuf, Box<RegularFile>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let mut file = RegularFile::create(&path).unwrap();
        file.prepare(Some(size)).unwrap();
        (directory, path, Box::new(file))
    }

    fn range(start: u64, end: u64) -> ByteRange {
        ByteRange { start, end }
    }

    #[test]
    fn what_was_written_is_read_back_and_beyond_the_end_nothing_is() {
        let (_directory, _path, mut file) = created(3 * MIB);
        file.write_at(&[7; 5000], MIB - 1).unwrap();
        file.sync().unwrap();
        let mut found = vec![1; 5002];
        file.read_at(&mut found, MIB - 2).unwrap();
        assert!(found[0] == 0 && found[1..5001] == [7; 5000] && found[5001] == 0);
        assert_eq!(file.read_at(&mut found, 3 * MIB - 2).unwrap_err().offset, 3 * MIB);
    }

    #[test]
    fn zeroed_and_discarded_ranges_become_holes() {
        let (_directory, path, mut file) = created(4 * MIB);
        file.write_at(&vec![7; 4 << 20], 0).unwrap();
        file.zero(range(MIB + 3, 2 * MIB + 5)).unwrap();
        file.discard(range(3 * MIB, 4 * MIB)).unwrap();
        file.zero(range(7, 7)).unwrap();
        file.sync().unwrap();
        let mut expected = vec![7; 4 << 20];
        expected[(1 << 20) + 3..(2 << 20) + 5].fill(0);
        expected[3 << 20..].fill(0);
        assert!(fs::read(&path).unwrap() == expected);
        assert!(fs::metadata(&path).unwrap().blocks() * 512 < 3 * MIB);
    }

    #[test]
    fn zeroes_beyond_the_end_make_a_file_longer_and_a_discarded_range_does_not() {
        let (_directory, path, mut file) = created(10);
        file.write_at(&[7; 10], 0).unwrap();
        file.discard(range(20, 30)).unwrap();
        file.sync().unwrap();
        file.zero(range(5, 2 * MIB)).unwrap();
        file.sync().unwrap();
        let found = fs::read(&path).unwrap();
        assert!(found.len() as u64 == 2 * MIB && found[..5] == [7; 5] && found[5..].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn a_file_that_may_not_be_read_is_written_all_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "what was there").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o200)).unwrap();
        let inspected = FileId::of(&fs::metadata(&path).unwrap());
        let mut file = RegularFile::open(&path, inspected, Access::Write).unwrap();
        file.prepare(Some(1)).unwrap();
        file.write_at(&[7], 0).unwrap();
        file.sync().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), 1);
    }
}
