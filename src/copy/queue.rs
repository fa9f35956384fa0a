//! The queue of chunks before a writer, which others can take away from it while it is held up in its target.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::pipeline::{CHUNKS, ToWriter};

/// The writer's end. Dropped, it closes the queue.
pub(super) struct Incoming(Shared);

/// Closes a queue.
pub(super) struct Closer(Shared);

/// `None` once it is closed.
type Shared = Arc<Mutex<Option<Receiver<ToWriter>>>>;

/// A queue of a copy to so many sinks. Nobody ever waits to put something in: there are fewer chunks, even if each sink
/// is held up and its chunk replaced.
pub(super) fn queue(sinks: usize) -> (SyncSender<ToWriter>, Incoming) {
    let (sender, receiver) = sync_channel(CHUNKS + sinks + 1);
    (sender, Incoming(Arc::new(Mutex::new(Some(receiver)))))
}

impl Incoming {
    /// The next message. A queue that is closed counts as one whose sender has gone.
    pub(super) fn recv_timeout(&self, timeout: Duration) -> Result<ToWriter, RecvTimeoutError> {
        lock(&self.0).as_ref().map_or(Err(RecvTimeoutError::Disconnected), |queue| queue.recv_timeout(timeout))
    }

    pub(super) fn closer(&self) -> Closer {
        Closer(Arc::clone(&self.0))
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.closer().close();
    }
}

impl Closer {
    /// Drops what is in the queue, and has the sender learn that nobody receives any more. A writer that waits for a
    /// message is waited for; one that is held up in its target is not.
    pub(super) fn close(&self) {
        drop(lock(&self.0).take());
    }
}

fn lock(queue: &Shared) -> MutexGuard<'_, Option<Receiver<ToWriter>>> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}
