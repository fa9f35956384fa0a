//! Buffers for O_DIRECT.

use std::io;

/// A buffer whose start lies on a page boundary, as O_DIRECT wants it (open(2)).
#[derive(Default)]
pub struct AlignedBuf {
    memory: Vec<u8>,
    start: usize,
    length: usize,
}

/// At least the logical sector size of any device that is written to directly, and the size of a page, in bytes.
const ALIGNMENT: usize = 4096;

impl AlignedBuf {
    /// A buffer of `length` zeroes.
    ///
    /// # Errors
    ///
    /// Where there is not enough memory.
    pub fn zeroed(length: usize) -> io::Result<Self> {
        let mut memory = Vec::new();
        let room = length.saturating_add(ALIGNMENT);
        memory.try_reserve_exact(room).map_err(|_| io::ErrorKind::OutOfMemory)?;
        memory.resize(room, 0);
        // `align_offset` may decline only where the address is not known, at compile time; alignment is then lost, and
        // the device is written to without O_DIRECT.
        let start = memory.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        Ok(Self { memory, start, length })
    }
}

impl std::ops::Deref for AlignedBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.length]
    }
}

impl std::ops::DerefMut for AlignedBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_begin_on_a_page_and_have_their_length() {
        for length in [0, 1, 4096, 1 << 20] {
            let buf = AlignedBuf::zeroed(length).unwrap();
            assert_eq!(buf.len(), length);
            assert!(buf.as_ptr().addr().is_multiple_of(ALIGNMENT));
        }
    }
}
