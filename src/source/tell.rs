//! Tells how much of a file has been read.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use super::transport::{Info, Transport};
use crate::event::{Event, Observer};
use crate::range::ByteRange;

/// A file whose observer is told how far it has been read.
pub(super) struct Told {
    pub(super) file: Box<dyn Transport>,
    /// In bytes from the start of the file, as is `size`.
    pub(super) position: u64,
    pub(super) size: u64,
    pub(super) observer: Arc<dyn Observer>,
}

impl Read for Told {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buf)?;
        self.position = self.position.saturating_add(count as u64);
        self.observer.event(Event::SourceRead { done: self.position, total: self.size });
        Ok(count)
    }
}

impl Transport for Told {
    fn info(&self) -> Info {
        self.file.info()
    }

    fn seek_to(&mut self, offset: u64) -> io::Result<()> {
        self.file.seek_to(offset)?;
        self.position = offset;
        Ok(())
    }

    fn fetch_only(&mut self, wanted: &[ByteRange]) {
        self.file.fetch_only(wanted);
    }

    fn pipe(&self) -> io::Result<Option<File>> {
        self.file.pipe()
    }

    fn check_unchanged(&self) -> io::Result<()> {
        self.file.check_unchanged()
    }
}
