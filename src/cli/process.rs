//! What the process gets from outside: signals and standard streams. And its panics.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Stdout};
use std::mem::{ManuallyDrop, MaybeUninit};
use std::os::fd::{FromRawFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::panic::resume_unwind;
use std::path::Path;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use bmaptool::copy::Cancel;
use libc::{
    SIGABRT, SIGALRM, SIGHUP, SIGINT, SIGIO, SIGPROF, SIGPWR, SIGQUIT, SIGRTMAX, SIGRTMIN, SIGSTKFLT, SIGTERM, SIGUSR1,
    SIGUSR2, SIGVTALRM, SIGXCPU, SIGXFSZ, STDERR_FILENO, STDIN_FILENO, STDOUT_FILENO,
};
use nix::sys::signal::{SigHandler, Signal, signal};
use signal_hook::flag;
use signal_hook::low_level::exit;

use super::hint::DEFECT;
use super::json;
use super::json::stream::{self, Closing};
use super::report::console;

/// The signals that end a program by default (signal(7)), without those of its own errors, of which watchdogs send
/// SIGABRT. The real-time signals are added below.
const HANDLED: [i32; 14] = [
    SIGABRT, SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGALRM, SIGVTALRM, SIGPROF, SIGXCPU, SIGIO, SIGPWR, SIGSTKFLT, SIGUSR1,
    SIGUSR2,
];

/// A signal ends the program at once while there is nothing to clean up; later it asks the copy to stop.
pub struct Signals {
    /// Whether the handler itself ends the program.
    at_once: Arc<AtomicBool>,
    cancel: Cancel,
}

/// Is set by a signal.
static CANCEL: LazyLock<Cancel> = LazyLock::new(Cancel::default);

/// Whether there is nothing to clean up. Who holds it while there is not keeps it so.
static MAY_END: Mutex<bool> = Mutex::new(true);

/// Whether the first thread ends the program after a signal, as something is to be printed before that.
static IS_WATCHED: AtomicBool = AtomicBool::new(false);

/// How often the first thread looks for a signal.
const WATCH_INTERVAL: Duration = Duration::from_millis(50);

impl Signals {
    /// From here on, a signal ends the program with the exit status that shells give it.
    pub fn handle() -> io::Result<Self> {
        let at_once = Arc::new(AtomicBool::new(!IS_WATCHED.load(Ordering::SeqCst)));
        let signals = Self { at_once, cancel: CANCEL.clone() };
        for signal in HANDLED.into_iter().chain(SIGRTMIN()..=SIGRTMAX()).filter(|&signal| !is_ignored(signal)) {
            // The first handler notes the signal, so that none is lost that comes before the second.
            flag::register_usize(signal, signals.cancel.flag(), signal as usize)?;
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&signals.at_once))?;
        }
        // If it is ignored, the kernel keeps no exit status of our child processes.
        // SAFETY: no handler is installed that could be called.
        unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) }?;
        // Without this, a file that reaches its size limit (ulimit -f) ends the program; so it is an error like others.
        flag::register(SIGXFSZ, Arc::default())?;
        Ok(signals)
    }

    /// From here on, a signal only sets what is returned.
    pub fn defer(&self) -> &Cancel {
        self.at_once.store(false, Ordering::SeqCst);
        *may_end() = false;
        self.print_in_background();
        &self.cancel
    }

    /// From here on, messages do not wait for the terminal, nor does the end of the program after a signal.
    pub fn print_in_background(&self) {
        console::print_in_background(&self.cancel);
    }

    /// The signal that asked to stop.
    pub fn received(&self) -> Option<i32> {
        signal_received()
    }

    /// Fails as interrupted after a signal.
    pub fn check(&self) -> io::Result<()> {
        self.received().map_or(Ok(()), |_| Err(ErrorKind::Interrupted.into()))
    }
}

/// The signal that asked to stop.
pub fn signal_received() -> Option<i32> {
    CANCEL.reason().map(|signal| signal as i32)
}

fn may_end() -> MutexGuard<'static, bool> {
    MAY_END.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does `work` in another thread, while this one, to which the kernel delivers the signals of the process, waits for it
/// and has time for them. A system call that waits for a dead file server does not return for a handler. Where no thread
/// is left, this one does the work.
pub fn leave_signals_to_this_thread<T: Send>(work: impl Fn() -> T + Sync) -> T {
    let (this, is_done) = (thread::current(), AtomicBool::new(false));
    let in_thread = || {
        let done = work();
        is_done.store(true, Ordering::SeqCst);
        this.unpark();
        done
    };
    let is_watched = stream::is_open();
    IS_WATCHED.store(is_watched, Ordering::SeqCst);
    thread::scope(|scope| match thread::Builder::new().name("command".to_owned()).spawn_scoped(scope, in_thread) {
        Ok(thread) => {
            if is_watched {
                watch(|| is_done.load(Ordering::SeqCst) || thread.is_finished());
            }
            thread.join().unwrap_or_else(|panic| resume_unwind(panic))
        }
        Err(_) => {
            IS_WATCHED.store(false, Ordering::SeqCst);
            work()
        }
    })
}

/// Waits for a signal that ends the program at once, and prints the last event before that; or until the work `is_done`.
fn watch(is_done: impl Fn() -> bool) {
    while !is_done() {
        thread::park_timeout(WATCH_INTERVAL);
        let Some(signal) = signal_received() else { continue };
        // While it is held, the command begins nothing that must be cleaned up.
        let may_end = may_end();
        // If the command has printed its own last event, it is about to end.
        if *may_end && let Closing::Written(_) = json::interrupted(signal) {
            exit(128 + signal);
        }
    }
}

/// Whether the program was started with `signal` ignored, as by nohup.
fn is_ignored(signal: i32) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: nothing is changed; the kernel fills in one action, and all zeroes are a valid one too.
    let action = unsafe {
        libc::sigaction(signal, ptr::null(), action.as_mut_ptr());
        action.assume_init()
    };
    action.sa_sigaction == libc::SIG_IGN
}

/// The standard streams that were closed when the program was started: bit N is for descriptor N.
static CLOSED: AtomicU8 = AtomicU8::new(0);

fn was_closed(stream: RawFd) -> bool {
    CLOSED.load(Ordering::Relaxed) & (1 << stream) != 0
}

pub fn stdin_was_closed() -> bool {
    was_closed(STDIN_FILENO)
}

/// Standard output, unless it was closed.
pub fn stdout() -> io::Result<Stdout> {
    if was_closed(STDOUT_FILENO) { Err(io::Error::other("it is closed")) } else { Ok(io::stdout()) }
}

/// Fails if `path` leads to a standard stream that was closed, as `/dev/stdout` may.
pub fn refuse_closed(path: &Path) -> io::Result<()> {
    let Ok(file) = fs::metadata(path) else { return Ok(()) };
    for stream in [STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO].into_iter().filter(|&stream| was_closed(stream)) {
        // SAFETY: the descriptor is open, for `fill_closed_streams` has filled it, and stays so: the file is not dropped.
        let stream = ManuallyDrop::new(unsafe { File::from_raw_fd(stream) }).metadata()?;
        if (stream.dev(), stream.ino()) == (file.dev(), file.ino()) {
            return Err(io::Error::other("it is closed"));
        }
    }
    Ok(())
}

/// Puts an empty file in memory in place of each standard stream that is closed. Otherwise the standard library would
/// put `/dev/null` there, and what is lost in it would look like a success.
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

// SAFETY: the functions in this section are called once, before the standard library starts (System V ABI). This one
// makes system calls and stores to an atomic, which do not need it.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = fill_closed_streams;

/// From here on, a panic is a message without a backtrace.
pub fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(|location| format!(" at {location}")).unwrap_or_default();
        let what = panic.payload_as_str().unwrap_or("unknown");
        log::error!("internal error{place}: {what}; {DEFECT}");
    }));
}
