//! What the engine shares with whoever watches or stops it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::event::{Event, Observer, Phase, Silent, TargetId};

/// The only target that there is.
const TARGET: TargetId = TargetId(0);

/// Tells an observer how far a copy is.
pub struct Progress {
    observer: Arc<dyn Observer>,
    total: Option<u64>,
    written: AtomicU64,
}

impl Progress {
    /// Tells `observer` of a copy that begins, of `total` bytes where that is known.
    pub fn new(observer: Arc<dyn Observer>, total: Option<u64>) -> Self {
        observer.event(Event::Phase(TARGET, Phase::Copying));
        observer.event(Event::Progress { target: TARGET, done: 0, total });
        Self { observer, total, written: AtomicU64::new(0) }
    }

    /// How many bytes have been written.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, bytes: u64) {
        let done = self.written.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        self.observer.event(Event::Progress { target: TARGET, done, total: self.total });
    }

    pub(super) fn all_written(&self) {
        self.observer.event(Event::Phase(TARGET, Phase::Synchronizing));
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new(Arc::new(Silent), None)
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
