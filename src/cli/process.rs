//! This process among others: the signals that it gets, the standard streams that it was given, and what becomes of a panic.

use std::any::Any;
use std::io::{self, Stdout};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, RawFd};
use std::path::Path;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use bmaptool::copy::Cancel;
use libc::{
    SIGABRT, SIGALRM, SIGHUP, SIGINT, SIGIO, SIGPROF, SIGPWR, SIGQUIT, SIGRTMAX, SIGRTMIN, SIGSTKFLT, SIGTERM, SIGUSR1,
    SIGUSR2, SIGVTALRM, SIGXCPU, SIGXFSZ, STDERR_FILENO, STDIN_FILENO, STDOUT_FILENO,
};
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::sys::stat::{fstat, stat};
use signal_hook::flag;

use super::report::console;

/// The signals that end a program by default and can be handled (signal(7)), but for those of its own errors, of which
/// watchdogs send SIGABRT. The real-time signals do so as well.
const HANDLED: [i32; 14] = [
    SIGABRT, SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGALRM, SIGVTALRM, SIGPROF, SIGXCPU, SIGIO, SIGPWR, SIGSTKFLT, SIGUSR1,
    SIGUSR2,
];

/// What a signal does: it ends the program at once while there is nothing to clean up, or asks the copy to stop.
pub struct Signals {
    at_once: Arc<AtomicBool>,
    cancel: Cancel,
}

impl Signals {
    /// From here on, a signal ends the program with the status that says so.
    pub fn handle() -> io::Result<Self> {
        let signals = Self { at_once: Arc::new(AtomicBool::new(true)), cancel: Cancel::default() };
        for signal in HANDLED.into_iter().chain(SIGRTMIN()..=SIGRTMAX()).filter(|&signal| !is_ignored(signal)) {
            flag::register_conditional_shutdown(signal, status(signal), Arc::clone(&signals.at_once))?;
            flag::register_usize(signal, signals.cancel.flag(), signal as usize)?;
        }
        // Where it is ignored, the kernel keeps no exit status of a program that we run.
        // SAFETY: no handler is installed that could be called.
        unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) }?;
        // A file that reaches the limit for files (ulimit -f) is an error like others, and is cleaned up.
        flag::register(SIGXFSZ, Arc::default())?;
        Ok(signals)
    }

    /// From here on, a signal only asks to stop, through what is returned.
    pub fn defer(&self) -> &Cancel {
        self.at_once.store(false, Ordering::SeqCst);
        console::print_in_background(&self.cancel);
        &self.cancel
    }

    /// The signal that asked to stop.
    pub fn received(&self) -> Option<i32> {
        self.cancel.reason().map(|signal| signal as i32)
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
    128 + signal
}

/// The standard streams that were closed when the program was started: bit N is for descriptor N.
static CLOSED: AtomicU8 = AtomicU8::new(0);

fn was_closed(stream: RawFd) -> bool {
    CLOSED.load(Ordering::Relaxed) & (1 << stream) != 0
}

/// Whether there is no standard input.
pub fn stdin_was_closed() -> bool {
    was_closed(STDIN_FILENO)
}

/// The standard output, where there is one.
pub fn stdout() -> io::Result<Stdout> {
    if was_closed(STDOUT_FILENO) { Err(io::Error::other("it is closed")) } else { Ok(io::stdout()) }
}

/// Fails where `path` leads to a standard stream that was closed, as `/dev/stdout` does.
pub fn refuse_closed(path: &Path) -> io::Result<()> {
    let Ok(named) = stat(path) else { return Ok(()) };
    let streams: [(RawFd, &dyn AsFd); 3] =
        [(STDIN_FILENO, &io::stdin()), (STDOUT_FILENO, &io::stdout()), (STDERR_FILENO, &io::stderr())];
    for (number, stream) in streams {
        let found = fstat(stream.as_fd())?;
        if was_closed(number) && (found.st_dev, found.st_ino) == (named.st_dev, named.st_ino) {
            return Err(io::Error::other("it is closed"));
        }
    }
    Ok(())
}

/// Puts an empty file in memory in the place of each standard stream that is closed. Otherwise the standard library would put
/// `/dev/null` there, so that no other file gets that number; but what is lost in `/dev/null` looks like a success, and is not
/// told from what the user wants to be lost. A file in memory has no other name than the stream's.
extern "C" fn fill_closed_streams() {
    for stream in [STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO] {
        // SAFETY: F_GETFD takes any number, and memfd_create a string that lives as long as the program.
        unsafe {
            if libc::fcntl(stream, libc::F_GETFD) == -1 {
                CLOSED.fetch_or(1 << stream, Ordering::Relaxed);
                libc::memfd_create(c"closed stream".as_ptr(), 0); // gets the lowest free number
            }
        }
    }
}

// SAFETY: the functions in this section are called once, before the standard library starts (System V ABI). This one makes
// system calls and stores to an atomic, which need nothing of it.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = fill_closed_streams;

/// From here on, a panic is a message, without a backtrace. What the thread holds is put back as it ends.
pub fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(|location| format!(" at {location}")).unwrap_or_default();
        let what = words(panic.payload());
        log::error!("internal error{place}: {what}; this is a defect of bmaptool, please report it");
    }));
}

fn words(payload: &dyn Any) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("unknown")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_panic_says() {
        assert_eq!(words(&"text"), "text");
        assert_eq!(words(&"text".to_owned()), "text");
        assert_eq!(words(&1), "unknown");
    }
}
