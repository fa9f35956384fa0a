//! Bytes that have been read already.

use std::io::{self, Cursor, Read};

use super::Transport;

/// A file in memory.
pub struct Memory(Cursor<Vec<u8>>);

impl Memory {
    /// The file that consists of `bytes`.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Cursor::new(bytes))
    }
}

impl Read for Memory {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl Transport for Memory {
    fn size(&self) -> Option<u64> {
        Some(self.0.get_ref().len() as u64)
    }

    fn can_seek(&self) -> bool {
        true
    }

    fn seek_to(&mut self, offset: u64) -> io::Result<()> {
        self.0.set_position(offset);
        Ok(())
    }
}
