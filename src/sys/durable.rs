//! What tells that a file is stored, beside fsync(2) on it.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Has the file system say whether it stored what was written, as if the descriptor were closed: NFS and many file
/// systems in user space (FUSE) report only at close(2) that a quota or a server's disk is full. They do so for each
/// descriptor of a file, and so a duplicate is closed.
///
/// # Errors
///
/// Those of dup(2) and close(2).
pub fn check_close(file: impl AsFd) -> io::Result<()> {
    let duplicate = file.as_fd().try_clone_to_owned()?;
    Ok(nix::unistd::close(duplicate)?)
}

/// Makes the names in `directory` durable.
///
/// # Errors
///
/// Those of open(2) and fsync(2), except where the directory may not be read or its file system syncs no directories.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(directory);
    match opened.and_then(|directory| directory.sync_all()) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP | libc::ENOSYS)) => Ok(()),
        synced => synced,
    }
}
