//! SIGINT, SIGTERM, SIGHUP, and whatever else would end the program.

use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bmaptool::copy::Cancel;
use libc::{
    SIGABRT, SIGALRM, SIGHUP, SIGINT, SIGIO, SIGPROF, SIGPWR, SIGQUIT, SIGRTMAX, SIGRTMIN, SIGSTKFLT, SIGTERM, SIGUSR1,
    SIGUSR2, SIGVTALRM, SIGXCPU, SIGXFSZ,
};
use nix::sys::signal::{SigHandler, Signal, signal};
use signal_hook::flag;

use super::console;

/// The signals that end a program by default and can be handled, but for those of its own errors (signal(7)), of which watchdogs
/// send SIGABRT; the real-time signals do so as well.
const HANDLED: [i32; 14] = [
    SIGABRT, SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGALRM, SIGVTALRM, SIGPROF, SIGXCPU, SIGIO, SIGPWR, SIGSTKFLT, SIGUSR1,
    SIGUSR2,
];

/// What a signal does: ends the program at once, while there is nothing to clean up, or asks the copy to stop.
pub struct Signals {
    at_once: Arc<AtomicBool>,
    cancel: Cancel,
}

impl Signals {
    /// From now on a signal ends the program with the status that says so.
    pub fn handle() -> io::Result<Self> {
        let signals = Self { at_once: Arc::new(AtomicBool::new(true)), cancel: Cancel::default() };
        for signal in HANDLED.into_iter().chain(SIGRTMIN()..=SIGRTMAX()).filter(|signal| !is_ignored(*signal)) {
            flag::register_conditional_shutdown(signal, status(signal), Arc::clone(&signals.at_once))?;
            flag::register_usize(signal, signals.cancel.flag(), usize::try_from(signal).unwrap_or(1))?;
        }
        // Where it is ignored, the kernel keeps no exit status of a program that we run.
        // SAFETY: no handler is installed that could be called.
        unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) }?;
        // A file that reaches the limit for files (ulimit -f) is an error like others, and is cleaned up.
        flag::register(SIGXFSZ, Arc::default())?;
        Ok(signals)
    }

    /// From now on a signal only asks to stop, through what is returned.
    pub fn defer(&self) -> &Cancel {
        self.at_once.store(false, Ordering::SeqCst);
        console::wait_for_nobody(&self.cancel);
        &self.cancel
    }

    /// The signal that asked to stop.
    pub fn received(&self) -> Option<i32> {
        self.cancel.reason().and_then(|signal| i32::try_from(signal).ok())
    }
}

/// Whether whoever started the program wants it to ignore `signal`, as nohup does.
fn is_ignored(signal: i32) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: nothing is changed; the kernel writes to a place for one action, for which zeroes are a value as well.
    let action = unsafe {
        libc::sigaction(signal, ptr::null(), action.as_mut_ptr());
        action.assume_init()
    };
    action.sa_sigaction == libc::SIG_IGN
}

/// The exit status after a signal, as shells have it.
pub fn status(signal: i32) -> i32 {
    const BASE: i32 = 128;
    BASE.saturating_add(signal)
}
