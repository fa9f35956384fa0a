//! SIGINT, SIGTERM and SIGHUP.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bmaptool::copy::Cancel;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::flag;

/// What a signal does: ends the program at once, while there is nothing to clean up, or asks the copy to stop.
pub struct Signals {
    at_once: Arc<AtomicBool>,
    cancel: Cancel,
}

impl Signals {
    /// From now on a signal ends the program with the status that says so.
    pub fn handle() -> io::Result<Self> {
        let signals = Self { at_once: Arc::new(AtomicBool::new(true)), cancel: Cancel::default() };
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            flag::register_conditional_shutdown(signal, status(signal), Arc::clone(&signals.at_once))?;
            flag::register_usize(signal, signals.cancel.flag(), usize::try_from(signal).unwrap_or(1))?;
        }
        // A file that reaches the limit for files (ulimit -f) is an error like others, and is cleaned up.
        flag::register(SIGXFSZ, Arc::default())?;
        Ok(signals)
    }

    /// From now on a signal only asks to stop, through what is returned.
    pub fn defer(&self) -> &Cancel {
        self.at_once.store(false, Ordering::SeqCst);
        &self.cancel
    }

    /// The signal that asked to stop.
    pub fn received(&self) -> Option<i32> {
        self.cancel.reason().and_then(|signal| i32::try_from(signal).ok())
    }
}

/// The exit status after a signal, as shells have it.
pub fn status(signal: i32) -> i32 {
    const BASE: i32 = 128;
    BASE.saturating_add(signal)
}
