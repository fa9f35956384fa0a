//! Starting threads.

use std::io;
use std::sync::mpsc::sync_channel;
use std::thread::{Builder, JoinHandle};

/// Spawns a thread and waits until it runs. Starting one allocates, and the standard library aborts the program where
/// that fails, so start every thread before changing anything that must be undone.
///
/// # Errors
///
/// Where the machine has no thread or no memory left.
pub fn start<T: Send + 'static>(name: &str, work: impl FnOnce() -> T + Send + 'static) -> io::Result<JoinHandle<T>> {
    let (runs, started) = sync_channel(1);
    let thread = Builder::new().name(name.to_owned()).spawn(move || {
        let _ = runs.send(()); // it is waited for
        work()
    })?;
    started.recv().map_err(|_| io::ErrorKind::OutOfMemory)?;
    Ok(thread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_runs_once_it_has_been_started() {
        assert_eq!(start("test", || 7).unwrap().join().unwrap(), 7);
    }
}
