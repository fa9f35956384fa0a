//! Repeating system calls that a signal interrupted.

use std::io;

/// Repeats a system call while signals interrupt it (EINTR, signal(7)). Cancellation is checked elsewhere.
///
/// # Errors
///
/// Those of the call, except interruptions.
pub fn retry_on_eintr<T, E: Into<io::Error>>(mut call: impl FnMut() -> Result<T, E>) -> io::Result<T> {
    loop {
        match call().map_err(Into::into) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;

    use super::*;

    #[test]
    fn only_interruptions_are_passed_over() {
        let mut results = [Err(Errno::EINTR), Err(Errno::EINTR), Ok(7), Err(Errno::EIO)].into_iter();
        assert_eq!(retry_on_eintr(|| results.next().unwrap()).unwrap(), 7);
        assert_eq!(retry_on_eintr(|| results.next().unwrap()).unwrap_err().raw_os_error(), Some(libc::EIO));
    }
}
