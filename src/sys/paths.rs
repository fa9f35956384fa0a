//! Directories and symbolic links.

use std::fs::{self, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::readlinkat;
use nix::unistd::geteuid;

use super::missing::ok_if_missing;

/// How many symbolic links may follow each other, as in path_resolution(7).
const MAX_LINKS: usize = 40;

/// The directory part of `path`; `.` if it has none.
pub fn parent_dir(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// The path of the file that is, or would be created, at `path`: a symbolic link there is followed, even a dangling
/// one, as far as the kernel follows it where `fs.protected_symlinks` is set (proc_sys_fs(5)).
///
/// The path is for calls that follow no link at its end; one may have been put there since.
///
/// # Errors
///
/// Permission denied for a link that another user may have put there for us to follow, ELOOP where links lead in a
/// circle, and the error of open(2) or readlink(2) where one cannot be read.
pub fn resolve_symlinks(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        match read_link(&path)? {
            Some(link) => path = path.parent().unwrap_or(Path::new("/")).join(link),
            None => return Ok(path),
        }
    }
    Err(io::Error::from_raw_os_error(libc::ELOOP))
}

/// What the symbolic link at `path` says; `None` where there is no link. Its owner is asked of the link that is read:
/// what has its name may change at any time.
fn read_link(path: &Path) -> io::Result<Option<PathBuf>> {
    let flags = libc::O_PATH | libc::O_NOFOLLOW;
    let Some(link) = ok_if_missing(OpenOptions::new().read(true).custom_flags(flags).open(path))? else {
        return Ok(None);
    };
    let metadata = link.metadata()?;
    if !metadata.is_symlink() {
        return Ok(None);
    }
    if !may_follow(&metadata, &fs::metadata(parent_dir(path))?) {
        let reason = "Permission denied: it is another user's link, in a directory that all may write to";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
    }
    Ok(Some(readlinkat(&link, "")?.into()))
}

/// Whether the kernel would follow a link in this directory: in one such as /tmp, only if it is ours or belongs to the
/// directory's owner.
fn may_follow(link: &Metadata, directory: &Metadata) -> bool {
    const SHARED: u32 = libc::S_ISVTX | libc::S_IWOTH;
    directory.mode() & SHARED != SHARED || link.uid() == geteuid().as_raw() || link.uid() == directory.uid()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn dangling_links_are_followed_and_circles_are_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let link = |name: &str, to: &str| std::os::unix::fs::symlink(to, directory.path().join(name)).unwrap();
        link("first", "second");
        link("second", "/dev/none");
        link("circle", "circle");
        assert_eq!(resolve_symlinks(&directory.path().join("first")).unwrap(), Path::new("/dev/none"));
        assert_eq!(resolve_symlinks(Path::new("plain")).unwrap(), Path::new("plain"));
        assert!(resolve_symlinks(&directory.path().join("circle")).is_err());
    }

    #[test]
    fn links_in_shared_directories_are_followed_if_they_are_ours() {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o1777)).unwrap();
        let link = directory.path().join("link");
        std::os::unix::fs::symlink("target", &link).unwrap();
        assert_eq!(resolve_symlinks(&link).unwrap(), directory.path().join("target"));
    }
}
