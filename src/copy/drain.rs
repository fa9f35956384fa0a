//! What the pipe of an image still has when the image is complete.
//!
//! It is read and dropped while the targets are synchronized, so that its writer ends as if everything had been wanted.
//! Nothing in it can make the copy fail, and a writer that stalls is not waited for.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use super::cancel::Cancel;
use super::plan::Plan;
use crate::event::{Notice, Observer};
use crate::source::Pipe;

/// How long a complete copy waits for the next byte of the pipe before it leaves the pipe alone.
const STALL: Duration = Duration::from_secs(10);

/// After how much waiting the user is told.
const NOTICE_AFTER: Duration = Duration::from_secs(1);

/// How long is waited at a time.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Drains the pipe, in the thread that has read the image.
pub(super) struct Drain {
    pipe: Option<Pipe>,
    /// Gets something whenever a part has been read, and is dropped at the end.
    reads: SyncSender<()>,
}

/// Waits for a [`Drain`].
pub(super) struct Drained(Receiver<()>);

/// The two ends of draining `pipe`, if the image comes through one.
pub(super) fn drain(pipe: Option<Pipe>) -> (Drain, Drained) {
    let (reads, waiting) = sync_channel(1);
    (Drain { pipe, reads }, Drained(waiting))
}

impl Drain {
    /// Drains the pipe, once all that `plan` writes has been read.
    pub(super) fn run(self, plan: &Plan) {
        let Self { pipe, reads } = self;
        // An image of unknown size was read to the end of the pipe.
        if let Some((pipe, size)) = pipe.zip(plan.image_size()) {
            let offset = plan.writes().last().map_or(0, |range| range.end);
            pipe.drain(offset, size, || {
                let _ = reads.try_send(()); // one that was not seen yet says as much
            });
        }
    }
}

impl Drained {
    /// Waits until the pipe is drained, but not for a writer that stalls, nor after `cancel`.
    pub(super) fn wait(&self, cancel: &Cancel, observer: &dyn Observer) {
        self.wait_for(STALL, cancel, observer);
    }

    fn wait_for(&self, stall: Duration, cancel: &Cancel, observer: &dyn Observer) {
        let started = Instant::now();
        let (mut last_read, mut is_told) = (started, false);
        while cancel.reason().is_none() && last_read.elapsed() < stall {
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
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::event::Silent;

    #[test]
    fn a_pipe_that_stalls_is_left_alone() {
        let (drain, drained) = drain(None);
        let started = Instant::now();
        drained.wait_for(Duration::from_millis(300), &Cancel::default(), &Silent);
        assert!(started.elapsed() >= Duration::from_millis(300));
        drop(drain);
        drained.wait(&Cancel::default(), &Silent);
    }

    #[test]
    fn a_signal_ends_the_waiting() {
        let (_drain, drained) = drain(None);
        let cancel = Cancel::default();
        cancel.flag().store(2, Ordering::Relaxed);
        drained.wait_for(Duration::from_secs(3600), &cancel, &Silent);
    }
}
