//! From blocks that are decompressed whole to bytes.

use std::io::{self, Read};

use super::memory_limit;

/// A decoder that decompresses one block at a time.
pub(super) trait BlockDecoder: Send {
    /// Decompresses the next block into the start of `room`, which it makes as long as it needs; returns the block's
    /// length in bytes, or `None` at the clean end of the data.
    ///
    /// # Errors
    ///
    /// Where the data cannot be read or is damaged.
    fn next(&mut self, room: &mut Vec<u8>) -> io::Result<Option<usize>>;
}

/// The bytes of all blocks.
pub(super) struct BlockReader<B> {
    blocks: B,
    room: Vec<u8>,
    /// The length of the block in `room`.
    length: usize,
    /// How much of it has been delivered.
    delivered: usize,
}

impl<B: BlockDecoder> BlockReader<B> {
    pub(super) fn new(blocks: B) -> Self {
        Self { blocks, room: Vec::new(), length: 0, delivered: 0 }
    }
}

impl<B: BlockDecoder> Read for BlockReader<B> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        while self.delivered == self.length {
            (self.length, self.delivered) = (0, 0);
            match self.blocks.next(&mut self.room)? {
                Some(length) => self.length = length,
                None => return Ok(0),
            }
        }
        let mut rest = self.room.get(self.delivered..self.length).unwrap_or_default();
        let count = rest.read(buf)?;
        self.delivered = self.delivered.saturating_add(count);
        Ok(count)
    }
}

/// The first `length` bytes of `room`, which grows to hold them. It never shrinks, so that bytes are zeroed only once.
///
/// # Errors
///
/// Where there is not enough memory.
pub(super) fn first(room: &mut Vec<u8>, length: usize) -> io::Result<&mut [u8]> {
    if let Some(more) = length.checked_sub(room.len()) {
        room.try_reserve_exact(more).map_err(|_| memory_limit::too_little())?;
        room.resize(length, 0);
    }
    Ok(room.get_mut(..length).unwrap_or_default())
}
