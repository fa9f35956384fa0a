//! How a copy is asked to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::error::Error;

/// Asks a copy to stop. A signal handler may set it.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicUsize>);

impl Cancel {
    /// The number of the signal that asked, or another number that is not 0.
    pub fn reason(&self) -> Option<usize> {
        Some(self.0.load(Ordering::Relaxed)).filter(|&reason| reason != 0)
    }

    /// Where a reason is put.
    pub fn flag(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.0)
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        self.reason().map_or(Ok(()), |_| Err(Error::Cancelled))
    }
}
