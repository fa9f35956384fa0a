//! Threads that run.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread::{Builder, JoinHandle, park};
use std::time::Duration;

/// How many threads are waited for to run.
static AWAITED: AtomicUsize = AtomicUsize::new(0);

/// How many of them never will.
static STILLBORN: AtomicUsize = AtomicUsize::new(0);

/// Starts a thread, and waits until it runs: it needs more memory before it does, and the runtime gives up the whole
/// program where there is none. So it must not begin after something has changed that is to be put back.
///
/// # Errors
///
/// Where the machine has no thread or no memory left.
pub fn start<T: Send + 'static>(name: &str, work: impl FnOnce() -> T + Send + 'static) -> io::Result<JoinHandle<T>> {
    const PATIENCE: Duration = Duration::from_millis(20);

    let stillborn = STILLBORN.load(Ordering::SeqCst);
    let (runs, started) = sync_channel(1);
    AWAITED.fetch_add(1, Ordering::SeqCst);
    let thread = Builder::new().name(name.to_owned()).spawn(move || {
        let _ = runs.send(()); // it is waited for
        work()
    });
    let is_running = thread.and_then(|thread| {
        loop {
            match started.recv_timeout(PATIENCE) {
                Ok(()) => return Ok(thread),
                Err(RecvTimeoutError::Timeout) if STILLBORN.load(Ordering::SeqCst) == stillborn => {}
                Err(_) => return Err(io::ErrorKind::OutOfMemory.into()),
            }
        }
    });
    AWAITED.fetch_sub(1, Ordering::SeqCst);
    is_running
}

/// For a thread whose start has failed in the runtime: makes [`start`] fail, and never returns, for the runtime would
/// give up the program. Returns where nobody waits for a thread.
pub fn give_up_start() {
    if AWAITED.load(Ordering::SeqCst) > 0 {
        STILLBORN.fetch_add(1, Ordering::SeqCst);
        loop {
            park();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_runs_once_it_has_been_started() {
        assert_eq!(start("test", || 7).unwrap().join().unwrap(), 7);
        give_up_start(); // nobody waits
    }
}
