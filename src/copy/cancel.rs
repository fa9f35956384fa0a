//! How a copy is asked to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};

use super::error::Error;
use super::pace::Pulse;

/// Asks a copy to stop. A signal handler may set it.
#[derive(Clone, Debug, Default)]
pub struct Cancel {
    reason: Arc<AtomicUsize>,
    /// That of the target whose writer looks here.
    pulse: Option<Pulse>,
}

impl Cancel {
    /// The number of the signal that asked, or another number that is not 0.
    pub fn reason(&self) -> Option<usize> {
        Some(self.reason.load(Ordering::Relaxed)).filter(|&reason| reason != 0)
    }

    /// Where a reason is put.
    pub fn flag(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.reason)
    }

    /// The same for the writer of one target, which is asked to stop also when that is given up.
    pub(super) fn of_target(&self, pulse: Pulse) -> Self {
        Self { reason: self.flag(), pulse: Some(pulse) }
    }

    /// Fails if the copy was asked to stop. A writer looks here between any two requests to its target, which is also
    /// the sign that the target does what it is asked for.
    pub(super) fn check(&self) -> Result<(), Error> {
        self.pulse.iter().try_for_each(Pulse::beat)?;
        self.check_waiting()
    }

    /// The same for a writer that waits: it gives no sign of life.
    pub(super) fn check_waiting(&self) -> Result<(), Error> {
        self.pulse.iter().try_for_each(Pulse::check)?;
        self.reason().map_or(Ok(()), |_| Err(Error::Cancelled))
    }
}

/// Has this thread take the signals that have come for the process. The kernel has chosen the first thread for them,
/// which may be yet to run on a busy machine; but a thread whose mask changes looks for itself (`recalc_sigpending` in
/// kernel/signal.c).
pub(super) fn take_signals() {
    let mut mask = SigSet::empty();
    if pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&SigSet::all()), Some(&mut mask)).is_ok() {
        let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&mask), None);
    }
}
