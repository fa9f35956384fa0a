//! Which of the standard streams were open when the program was started.
//!
//! Before `main`, the standard library puts `/dev/null` in the place of those that were not, so that no file gets their
//! numbers. What is written there is lost, and that would be taken for a success.

use std::io::{self, Stdout};
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, Ordering};

static STDIN: AtomicBool = AtomicBool::new(true);
static STDOUT: AtomicBool = AtomicBool::new(true);

/// Whether there was a standard input.
pub fn stdin_was_open() -> bool {
    STDIN.load(Ordering::Relaxed)
}

/// The standard output, where there was one.
pub fn stdout() -> io::Result<Stdout> {
    if STDOUT.load(Ordering::Relaxed) { Ok(io::stdout()) } else { Err(io::Error::other("it is closed")) }
}

extern "C" fn look() {
    STDIN.store(is_open(libc::STDIN_FILENO), Ordering::Relaxed);
    STDOUT.store(is_open(libc::STDOUT_FILENO), Ordering::Relaxed);
}

fn is_open(descriptor: RawFd) -> bool {
    // SAFETY: F_GETFD only reads the flags of a number that need not be a descriptor.
    unsafe { libc::fcntl(descriptor, libc::F_GETFD) != -1 }
}

// SAFETY: the functions in this section are called once, before the standard library starts (System V ABI); this one makes
// two system calls and stores to atomics, which need nothing of it.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = look;
