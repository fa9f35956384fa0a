//! What the pipe of an image still has when all that is wanted of the image has been read.
//!
//! It is read and dropped in a thread of its own, so that its writer ends as if everything had been wanted. Nothing in it
//! can make a command fail, and a writer that stalls is not waited for.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use super::Pipe;
use crate::event::{Notice, Observer};

/// How long is waited for the next byte of the pipe before that is left alone.
const STALL: Duration = Duration::from_secs(10);

/// After how much waiting the user is told.
const NOTICE_AFTER: Duration = Duration::from_secs(1);

/// How long is waited at a time.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Drains the pipe, in a thread that may be left in it.
pub(crate) struct Drain {
    pipe: Option<Pipe>,
    /// Gets something whenever a part has been read, and is dropped at the end.
    reads: SyncSender<()>,
}

/// Waits for a [`Drain`].
pub(crate) struct Drained(Receiver<()>);

/// The two ends of draining `pipe`, if the image comes through one.
pub(crate) fn drain(pipe: Option<Pipe>) -> (Drain, Drained) {
    let (reads, waiting) = sync_channel(1);
    (Drain { pipe, reads }, Drained(waiting))
}

impl Drain {
    /// Drains the pipe, once an image of `size` bytes has been read up to byte `offset`.
    pub(crate) fn run(self, offset: u64, size: u64) {
        let Self { pipe, reads } = self;
        if let Some(pipe) = pipe {
            pipe.drain(offset, size, || {
                let _ = reads.try_send(()); // one that was not seen yet says as much
            });
        }
    }
}

impl Drained {
    /// Waits until the pipe is drained, but not for a writer that stalls, nor once `is_cancelled`.
    pub(crate) fn wait(&self, is_cancelled: impl Fn() -> bool, observer: &dyn Observer) {
        self.wait_for(STALL, is_cancelled, observer);
    }

    fn wait_for(&self, stall: Duration, is_cancelled: impl Fn() -> bool, observer: &dyn Observer) {
        let started = Instant::now();
        let (mut last_read, mut is_told) = (started, false);
        while !is_cancelled() && last_read.elapsed() < stall {
            match self.0.recv_timeout(POLL_INTERVAL) {
                Ok(()) => last_read = Instant::now(),
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
            }
            if !is_told && started.elapsed() >= NOTICE_AFTER {
                observer.notice(Notice::DrainsPipe);
                is_told = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Silent;

    #[test]
    fn a_pipe_that_stalls_is_left_alone() {
        let (drain, drained) = drain(None);
        let started = Instant::now();
        drained.wait_for(Duration::from_millis(300), || false, &Silent);
        assert!(started.elapsed() >= Duration::from_millis(300));
        drop(drain);
        drained.wait(|| false, &Silent);
    }

    #[test]
    fn a_signal_ends_the_waiting() {
        let (_drain, drained) = drain(None);
        drained.wait_for(Duration::from_secs(3600), || true, &Silent);
    }
}
