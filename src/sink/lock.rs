//! A lock that copies put on files (flock(2)), for the kernel lets any number of programs write to one.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use crate::retry::uninterrupted;

/// Whom a lock keeps away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lock {
    /// All other copies, which would mix their image with this one.
    Exclusive,
    /// Copies to the file itself: those to other parts of it, as other devices show them, may go on.
    Shared,
}

impl Lock {
    /// Locks `file` as long as it is open; returns whether nobody is in the way. A file system that knows no locks keeps nobody
    /// away.
    pub(super) fn take(self, file: &File) -> bool {
        let kind = match self {
            Self::Exclusive => libc::LOCK_EX,
            Self::Shared => libc::LOCK_SH,
        };
        // SAFETY: flock takes a descriptor, which is open, and a number.
        let locked = uninterrupted(|| match unsafe { libc::flock(file.as_raw_fd(), kind | libc::LOCK_NB) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        });
        !locked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}
