//! The file system of device nodes, in which no file must be created: it would fill memory, and not the stick that the
//! user forgot to plug in.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::existing::if_exists;

/// How many symbolic links may follow each other, as in path_resolution(7).
const MAX_LINKS: usize = 40;

/// The path of the file that is or would be at `path`: symbolic links in its place are followed.
///
/// # Errors
///
/// Where links go round in a circle, or cannot be read.
pub fn place_of(path: &Path) -> io::Result<PathBuf> {
    let mut place = path.to_owned();
    for _ in 0..MAX_LINKS {
        match fs::read_link(&place) {
            Ok(link) => place = place.parent().unwrap_or(Path::new("/")).join(link),
            // It is no link, or nothing at all.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOENT | libc::ENOTDIR)) => {
                return Ok(place);
            }
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::from_raw_os_error(libc::ELOOP))
}

/// Whether `path`, which need not exist, lies on the file system of device nodes: the one that is mounted at /dev, but
/// not others that are mounted below it, such as /dev/shm.
pub(super) fn holds(path: &Path) -> io::Result<bool> {
    let number = |path: &Path| io::Result::Ok(if_exists(fs::metadata(path))?.map(|metadata| metadata.dev()));
    let devices = number(Path::new("/dev"))?;
    // A /dev that is a folder of the root file system tells nothing.
    if devices == number(Path::new("/"))? {
        return Ok(false);
    }
    // Its own name for the folder is enough; those of the folders above, which an absolute one goes through, may be closed to us.
    for ancestor in path.ancestors().chain([Path::new(".")]) {
        if let Some(found) = number(ancestor)? {
            return Ok(Some(found) == devices);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dev_is_told_from_what_is_mounted_below_it() {
        // In a chroot /dev may be a mere folder.
        let is_mounted = fs::metadata("/dev").unwrap().dev() != fs::metadata("/").unwrap().dev();
        assert_eq!(holds(Path::new("/dev/sdnone")).unwrap(), is_mounted);
        assert_eq!(holds(Path::new("/dev/none/such/by-id/stick")).unwrap(), is_mounted);
        assert!(!holds(Path::new("/dev/shm/none")).unwrap() || fs::metadata("/dev/shm").is_err());
        assert!(!holds(Path::new("/none/such")).unwrap());
        assert!(!holds(Path::new("none")).unwrap());
    }

    #[test]
    fn dangling_links_are_followed_and_circles_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let link = |name: &str, to: &str| std::os::unix::fs::symlink(to, folder.path().join(name)).unwrap();
        link("first", "second");
        link("second", "/dev/none");
        link("circle", "circle");
        assert_eq!(place_of(&folder.path().join("first")).unwrap(), Path::new("/dev/none"));
        assert_eq!(place_of(Path::new("plain")).unwrap(), Path::new("plain"));
        assert!(place_of(&folder.path().join("circle")).is_err());
    }
}
