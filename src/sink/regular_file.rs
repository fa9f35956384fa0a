//! A regular file as target. Blocks that are not written stay holes.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;

use super::existing::if_exists;
use super::lock::Lock;
use super::writeback::Writeback;
use super::{
    Error, Kind, ReadError, Sink, SinkInfo, TargetState, WriteError, open_error, refuse_replaced, write_all_at,
};
use crate::event::Outcome;
use crate::file_id::FileId;
use crate::range::ByteRange;

pub(super) struct RegularFile {
    path: PathBuf,
    file: File,
    origin: Origin,
    writeback: Writeback,
    /// Where the image ends, as far as that is known.
    end: u64,
    /// Keep others away from loop devices over the file.
    claims: Vec<File>,
}

/// What becomes of the file when the copy fails.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// It was created for the copy: it is removed, also by a panic.
    Created,
    /// It existed, and has still what it had.
    Existed,
    /// It existed, and has been emptied.
    Emptied,
    /// It is complete, or has been removed.
    Settled,
}

impl RegularFile {
    /// Creates the file.
    pub(super) fn create(path: &Path) -> Result<Self, Error> {
        let created = OpenOptions::new().write(true).create_new(true).open(path);
        let file = created.map_err(|source| Error::Access { path: path.to_owned(), action: "create", source })?;
        Self::lock(path, file, Origin::Created)
    }

    /// Opens the file as it is, if it is still the one that has been `inspected`.
    pub(super) fn open(path: &Path, inspected: FileId) -> Result<Self, Error> {
        let file = open_unleased(path).map_err(|source| open_error(path, source))?;
        let opened = Self::lock(path, file, Origin::Existed)?;
        refuse_replaced(path, inspected, &opened.file)?;
        Ok(opened)
    }

    fn lock(path: &Path, file: File, origin: Origin) -> Result<Self, Error> {
        if !Lock::Exclusive.take(&file) {
            return Err(Error::Locked { path: path.to_owned() });
        }
        Ok(Self { path: path.to_owned(), file, origin, writeback: Writeback::default(), end: 0, claims: Vec::new() })
    }

    /// Has `claims` live as long as this.
    pub(super) fn keep(&mut self, claims: Vec<File>) {
        self.claims = claims;
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        // What is no offset has no file system's own words.
        libc::off64_t::try_from(length).map_err(|_| io::Error::from(Errno::EFBIG))?;
        self.file.set_len(length)
    }

    /// Whether the name still leads to the file: somebody may have moved it, or put another one in its place.
    fn is_in_place(&self) -> io::Result<bool> {
        let named = if_exists(fs::metadata(&self.path))?.as_ref().map(FileId::of);
        Ok(named == Some(FileId::of(&self.file.metadata()?)))
    }

    /// Notices what somebody has done to the file: it must be in its place, and as long as the image.
    fn check(&self) -> io::Result<()> {
        if !self.is_in_place()? {
            return Err(io::Error::other("somebody has removed or replaced it during the copy"));
        }
        let length = self.file.metadata()?.len();
        if length != self.end {
            return Err(io::Error::other(format!("somebody has changed its size to {length} bytes during the copy")));
        }
        Ok(())
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
        SinkInfo { kind: Kind::RegularFile, capacity: None, boot_region: 0 }
    }

    fn prepare(&mut self, size: Option<u64>) -> io::Result<()> {
        let length = self.file.metadata()?.len();
        // A size that the file system cannot take is found out while what the file held is still there.
        if let (Origin::Existed, Some(size)) = (self.origin, size) {
            self.set_len(size.max(length))?;
        }
        self.file.set_len(0).inspect_err(|_| drop(self.file.set_len(length)))?;
        if self.origin == Origin::Existed {
            self.origin = Origin::Emptied;
        }
        self.end = size.unwrap_or(0);
        self.set_len(self.end)
    }

    fn write_at(&mut self, data: &[u8], offset: u64) -> Result<(), WriteError> {
        write_all_at(&self.file, data, offset)?;
        let bytes = ByteRange { start: offset, end: offset.saturating_add(data.len() as u64) };
        self.end = self.end.max(bytes.end);
        self.writeback.written(&self.file, bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_all()?;
        self.check()
    }

    fn read_at(&mut self, buf: &mut [u8], offset: u64) -> Result<(), ReadError> {
        self.file.read_exact_at(buf, offset).map_err(|source| ReadError { offset, source })
    }

    fn zero(&mut self, range: ByteRange) -> Result<(), WriteError> {
        Err(WriteError { offset: range.start, source: io::ErrorKind::Unsupported.into() })
    }

    fn discard(&mut self, range: ByteRange) -> Result<(), WriteError> {
        Err(WriteError { offset: range.start, source: io::ErrorKind::Unsupported.into() })
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

/// Opens a file for writing. Whoever has a lease on it (`F_SETLEASE` of fcntl(2)), a file server for one, is asked to give it up,
/// and has a moment to do so. To wait in the call would be to wait as long as he likes, deaf to signals.
fn open_unleased(path: &Path) -> io::Result<File> {
    const TRIES: u32 = 10;
    const PAUSE: Duration = Duration::from_millis(80);

    let open = || OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(path);
    let mut opened = open();
    for _ in 1..TRIES {
        if opened.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
            thread::sleep(PAUSE);
            opened = open();
        }
    }
    opened
}
