//! Buffers that are used again: memory is their number.

use std::io;
use std::ops::{Deref, DerefMut};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::aligned::AlignedBuf;

/// The buffers that are free, and where they are given back. A clone shares them.
#[derive(Clone)]
pub struct Pool {
    free: Arc<Mutex<Receiver<AlignedBuf>>>,
    give_back: SyncSender<AlignedBuf>,
    length: usize,
}

/// Adds buffers to a [`Pool`] that others take them from.
pub struct Supply {
    give_back: SyncSender<AlignedBuf>,
    length: usize,
}

impl Supply {
    /// Adds a buffer. One that was lost and comes back after all is dropped if all others are free.
    ///
    /// # Errors
    ///
    /// Where there is not enough memory.
    pub fn add(&self) -> io::Result<()> {
        let _ = self.give_back.try_send(AlignedBuf::zeroed(self.length)?);
        Ok(())
    }
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
        Ok(Self { free: Arc::new(Mutex::new(free)), give_back, length })
    }

    /// A buffer that is free, if there is one at the moment.
    pub fn try_take(&self) -> Option<PooledBuf> {
        let buf = self.free().try_recv().ok()?;
        Some(PooledBuf { buf, pool: self.give_back.clone() })
    }

    fn free(&self) -> MutexGuard<'_, Receiver<AlignedBuf>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What adds buffers to it, as others may be lost.
    pub fn supply(&self) -> Supply {
        Supply { give_back: self.give_back.clone(), length: self.length }
    }

    /// Waits for a buffer that is free; its contents are of no meaning.
    pub fn take(&self) -> PooledBuf {
        let buf = self.free().recv().expect("the pool itself can give buffers back");
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
        // The pool has room for as many as it began with; if it is gone, they are not needed.
        let _ = self.pool.try_send(std::mem::take(&mut self.buf));
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
    fn a_buffer_that_is_lost_can_be_replaced_and_may_come_back() {
        let pool = Pool::new(1, 10).unwrap();
        let lost = pool.take();
        assert!(pool.try_take().is_none());
        pool.supply().add().unwrap();
        let replaced = pool.try_take().unwrap();
        assert_eq!(replaced.len(), 10);
        drop(lost);
        drop(replaced);
        assert_eq!(pool.try_take().map(|buf| buf.len()), Some(10));
    }

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
