//! A regular file as target. Blocks that are not written stay holes.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::writeback::Writeback;
use super::{Error, Remains, Target, WriteError};
use crate::range::ByteRange;

pub(super) struct RegularFile {
    path: PathBuf,
    file: File,
    origin: Origin,
    writeback: Writeback,
}

/// Where the file is from; it decides what becomes of it when the copy fails.
#[derive(Clone, Copy)]
enum Origin {
    Created,
    Existed,
}

impl RegularFile {
    /// Opens the file, or creates it where it does not exist.
    pub(super) fn open(path: &Path, exists: bool) -> Result<Self, Error> {
        let (origin, action) = if exists { (Origin::Existed, "open") } else { (Origin::Created, "create") };
        let file = OpenOptions::new().write(true).create_new(!exists).open(path).map_err(|source| Error::Access {
            path: path.to_owned(),
            action,
            source,
        })?;
        Ok(Self { path: path.to_owned(), file, origin, writeback: Writeback::default() })
    }
}

impl Target for RegularFile {
    fn begin(&mut self, size: Option<u64>) -> io::Result<()> {
        self.file.set_len(0)?;
        size.map_or(Ok(()), |size| self.file.set_len(size))
    }

    fn write_all_at(&mut self, buf: &[u8], offset: u64) -> Result<(), WriteError> {
        write_all_at(&self.file, buf, offset)?;
        let bytes = ByteRange { start: offset, end: offset.saturating_add(buf.len() as u64) };
        self.writeback.written(&self.file, bytes).map_err(|source| WriteError { offset, source })
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_all()
    }

    fn capacity(&self) -> Option<u64> {
        None
    }

    fn boot_region(&self) -> u64 {
        0
    }

    fn finish(&mut self) {}

    fn abandon(&mut self) -> Remains {
        match self.origin {
            Origin::Created if fs::remove_file(&self.path).is_ok() => Remains::Removed,
            Origin::Created | Origin::Existed => Remains::Incomplete,
        }
    }
}

/// Writes all of `buf` at `offset`; an error comes with the offset of the first byte that was not written.
pub(super) fn write_all_at(file: &File, buf: &[u8], offset: u64) -> Result<(), WriteError> {
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
