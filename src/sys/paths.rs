//! Directories and symbolic links.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

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
/// one.
///
/// # Errors
///
/// ELOOP where links lead in a circle, and the error of readlink(2) where one cannot be read.
pub fn resolve_symlinks(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        match fs::read_link(&path) {
            Ok(link) => path = path.parent().unwrap_or(Path::new("/")).join(link),
            // It is not a link, or does not exist.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOENT | libc::ENOTDIR)) => {
                return Ok(path);
            }
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::from_raw_os_error(libc::ELOOP))
}

#[cfg(test)]
mod tests {
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
}
