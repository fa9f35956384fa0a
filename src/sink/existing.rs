//! What is asked of the kernel's file systems, where it is an answer that something is not there.
//!
//! Whatever else goes wrong is none: a check that could not be made has not been passed.

use std::io;

/// What was found; `None` where there is no such file, or its device has been unplugged or has no medium.
pub(super) fn if_exists<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) => match error.raw_os_error() {
            Some(libc::ENOENT | libc::ENOTDIR | libc::ENODEV | libc::ENXIO | libc::ENOMEDIUM) => Ok(None),
            _ => Err(error),
        },
    }
}

/// The same, where a file that we may not look at can be none that matters.
pub(super) fn if_visible<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(None),
        found => if_exists(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_told_is_not_taken_for_absent() {
        let error = |code| io::Result::<()>::Err(io::Error::from_raw_os_error(code));
        for absent in [libc::ENOENT, libc::ENODEV] {
            assert_eq!(if_exists(error(absent)).unwrap(), None);
            assert_eq!(if_visible(error(absent)).unwrap(), None);
        }
        assert_eq!(if_visible(error(libc::EACCES)).unwrap(), None);
        for unknown in [libc::EIO, libc::ENOMEM, libc::EMFILE] {
            assert!(if_exists(error(unknown)).is_err() && if_visible(error(unknown)).is_err());
        }
        assert!(if_exists(error(libc::EACCES)).is_err());
        assert_eq!(if_exists(Ok(1)).unwrap(), Some(1));
    }
}
