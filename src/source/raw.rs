//! An image that is stored as it is.

use std::io::{self, Read};

use super::peek::StoredFile;
use super::transport::{Seek, Transport};
use super::{ForwardRead, ReadPolicy, Skipping, discard};

/// The bytes of a file, as they are stored.
pub struct Raw {
    file: StoredFile,
    position: u64,
    /// The size in bytes, where the file is seekable.
    seekable: Option<u64>,
    /// Where the image ends; the bytes after that are not part of it.
    end: u64,
}

impl Raw {
    /// The file that `file` delivers from its first byte on.
    pub fn new(file: StoredFile) -> Self {
        let seekable = file.info().seekable_size();
        Self { file, position: 0, seekable, end: u64::MAX }
    }

    /// The same, where its bytes up to `end` are the image itself. Over a network, only what must be read is fetched.
    pub(super) fn image(mut file: StoredFile, end: u64, policy: &ReadPolicy) -> Self {
        if let ReadPolicy::SkipHoles { wanted } = policy {
            file.fetch_only(wanted);
        }
        let must_be_fetched = *policy == ReadPolicy::ReadAll && file.info().seek == Seek::Costly;
        let raw = Self::new(file);
        let seekable = raw.seekable.filter(|_| !must_be_fetched).map(|size| size.min(end));
        Self { seekable, end, ..raw }
    }

    fn discard(&mut self, count: u64) -> io::Result<()> {
        self.position = self.position.saturating_add(discard(&mut self.file, count)?);
        Ok(())
    }
}

impl Read for Raw {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.file.by_ref().take(self.end.saturating_sub(self.position)).read(buf)?;
        self.position = self.position.saturating_add(count as u64);
        Ok(count)
    }
}

impl ForwardRead for Raw {
    fn skip_to(&mut self, offset: u64) -> io::Result<u64> {
        match self.seekable {
            Some(size) if offset != self.position => {
                let reached = offset.min(size);
                self.file.seek_to(reached)?;
                self.position = reached;
            }
            _ => self.discard(offset.saturating_sub(self.position))?,
        }
        Ok(self.position)
    }

    fn skipping(&self) -> Skipping {
        if self.seekable.is_some() { Skipping::LeavesOut } else { Skipping::Reads }
    }

    fn finish(&mut self) -> io::Result<u64> {
        self.file.check_unchanged()?;
        match self.seekable {
            Some(size) => Ok(size),
            None => {
                self.discard(self.end.saturating_sub(self.position))?;
                Ok(self.position)
            }
        }
    }
}
