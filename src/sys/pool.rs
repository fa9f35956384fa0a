//! Buffers that are used again: memory is their number.

use std::io;
use std::ops::{Deref, DerefMut};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::aligned::AlignedBuf;

/// The buffers that are free, and where they are given back.
pub struct Pool {
    free: Receiver<AlignedBuf>,
    give_back: SyncSender<AlignedBuf>,
}

impl Pool {
    /// `count` buffers of `length` bytes each.
    ///
    /// # Errors
    ///
    /// Where there is not enough memory.
    pub fn new(count: usize, length: usize) -> io::Result<Self> {
        let (give_back, free) = sync_channel(count);
        for _ in 0..count {
            let _ = give_back.send(AlignedBuf::zeroed(length)?); // there is room
        }
        Ok(Self { free, give_back })
    }

    /// Waits for a buffer that is free; its contents are of no meaning.
    pub fn take(&self) -> PooledBuf {
        let buf = self.free.recv().expect("the pool itself can give buffers back");
        PooledBuf { buf, pool: self.give_back.clone() }
    }
}

/// A buffer of a [`Pool`], to which it goes back when it is dropped.
pub struct PooledBuf {
    buf: AlignedBuf,
    pool: SyncSender<AlignedBuf>,
}

impl Drop for PooledBuf {
    fn drop(&mut self) {
        // The pool has room for all buffers; if it is gone, they are not needed.
        let _ = self.pool.send(std::mem::take(&mut self.buf));
    }
}

impl Deref for PooledBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.buf
    }
}

impl DerefMut for PooledBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.buf
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_that_is_dropped_is_free_again() {
        let pool = Pool::new(1, 10).unwrap();
        for _ in 0..3 {
            assert_eq!(pool.take().len(), 10);
        }
        let last = pool.take();
        drop(pool);
        drop(last);
    }
}
