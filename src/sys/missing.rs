//! Files of the kernel's file systems that may be missing.
//!
//! Every other failure stays an error: a check that could not be made has not been passed.

use std::io;

/// What was found; `None` where there is no such file, or its device has been unplugged or has no medium.
pub(crate) fn ok_if_missing<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) => match error.raw_os_error() {
            Some(libc::ENOENT | libc::ENOTDIR | libc::ENODEV | libc::ENXIO | libc::ENOMEDIUM) => Ok(None),
            _ => Err(error),
        },
    }
}

/// As [`ok_if_missing`], and also `None` for a file to which access is denied, where that cannot matter.
pub(crate) fn ok_if_missing_or_denied<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(None),
        found => ok_if_missing(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_question_is_not_taken_for_a_missing_file() {
        let error = |code| io::Result::<()>::Err(io::Error::from_raw_os_error(code));
        for absent in [libc::ENOENT, libc::ENODEV] {
            assert_eq!(ok_if_missing(error(absent)).unwrap(), None);
            assert_eq!(ok_if_missing_or_denied(error(absent)).unwrap(), None);
        }
        assert_eq!(ok_if_missing_or_denied(error(libc::EACCES)).unwrap(), None);
        for unknown in [libc::EIO, libc::ENOMEM, libc::EMFILE] {
            assert!(ok_if_missing(error(unknown)).is_err() && ok_if_missing_or_denied(error(unknown)).is_err());
        }
        assert!(ok_if_missing(error(libc::EACCES)).is_err());
        assert_eq!(ok_if_missing(Ok(1)).unwrap(), Some(1));
    }
}
