//! Which of the standard streams were open when the program was started.
//!
//! Before `main`, the standard library puts `/dev/null` in the place of those that were not, so that no file gets their
//! numbers. What is written there is lost, and that would be taken for a success.

use std::fs;
use std::io::{self, Stdout};
use std::os::fd::RawFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use bmaptool::sys::paths::parent_dir;

static STDIN: AtomicBool = AtomicBool::new(true);
static STDOUT: AtomicBool = AtomicBool::new(true);
static STDERR: AtomicBool = AtomicBool::new(true);

/// Whether there was a standard input.
pub fn stdin_was_open() -> bool {
    STDIN.load(Ordering::Relaxed)
}

/// The standard output, where there was one.
pub fn stdout() -> io::Result<Stdout> {
    if STDOUT.load(Ordering::Relaxed) { Ok(io::stdout()) } else { Err(closed()) }
}

fn closed() -> io::Error {
    io::Error::other("it is closed")
}

/// Fails where `path` is another name of a standard stream that was closed, as `/dev/stdout` is.
pub fn check(path: &Path) -> io::Result<()> {
    let was_open = match descriptor(path) {
        Some(libc::STDIN_FILENO) => &STDIN,
        Some(libc::STDOUT_FILENO) => &STDOUT,
        Some(libc::STDERR_FILENO) => &STDERR,
        _ => return Ok(()),
    };
    if was_open.load(Ordering::Relaxed) { Ok(()) } else { Err(closed()) }
}

/// The descriptor of ours that `path` leads to (proc_pid_fd(5)).
fn descriptor(path: &Path) -> Option<RawFd> {
    const LINKS_MAX: usize = 40; // as the kernel has it, path_resolution(7)
    let ours = ["/proc/self/fd", "/proc/thread-self/fd"].map(|folder| fs::canonicalize(folder).ok());
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        let folder = fs::canonicalize(parent_dir(&path)).ok()?;
        if ours.iter().flatten().any(|ours| *ours == folder) {
            return path.file_name()?.to_str()?.parse().ok();
        }
        path = folder.join(fs::read_link(&path).ok()?);
    }
    None
}

extern "C" fn look() {
    STDIN.store(is_open(libc::STDIN_FILENO), Ordering::Relaxed);
    STDOUT.store(is_open(libc::STDOUT_FILENO), Ordering::Relaxed);
    STDERR.store(is_open(libc::STDERR_FILENO), Ordering::Relaxed);
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
