//! What the engine shares with whoever watches it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// How far a copy is. The engine adds to it, others read it.
#[derive(Debug, Default)]
pub struct Progress {
    written: AtomicU64,
    synchronizing: AtomicBool,
}

/// What a copy is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Data is on its way.
    Copying,
    /// All data is written and is being made durable.
    Synchronizing,
}

impl Progress {
    /// How many bytes have been written.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// What is being done.
    pub fn phase(&self) -> Phase {
        if self.synchronizing.load(Ordering::Relaxed) { Phase::Synchronizing } else { Phase::Copying }
    }

    pub(super) fn add(&self, bytes: u64) {
        self.written.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn all_written(&self) {
        self.synchronizing.store(true, Ordering::Relaxed);
    }
}

/// Asks a copy to stop. A signal handler may set it.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicUsize>);

impl Cancel {
    /// The number of the signal that asked, or another that is not 0.
    pub fn reason(&self) -> Option<usize> {
        Some(self.0.load(Ordering::Relaxed)).filter(|&reason| reason != 0)
    }

    /// The place where a reason is put.
    pub fn flag(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.0)
    }

    pub(super) fn check(&self) -> Result<(), super::Error> {
        self.reason().map_or(Ok(()), |_| Err(super::Error::Cancelled))
    }
}
