//! The file system of device nodes, in which no file must be created: it would fill memory, and not the stick that the
//! user forgot to plug in.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// How many symbolic links may follow each other, as in path_resolution(7).
const MAX_LINKS: usize = 40;

/// The path of the file that creating `path` would make: a dangling symbolic link is followed.
pub(super) fn place_of_new(path: &Path) -> io::Result<PathBuf> {
    let mut place = path.to_owned();
    for _ in 0..MAX_LINKS {
        match fs::read_link(&place) {
            Ok(link) => place = place.parent().unwrap_or(Path::new("/")).join(link),
            Err(_) => return Ok(place),
        }
    }
    Err(io::Error::from_raw_os_error(libc::ELOOP))
}

/// Whether `path`, which need not exist, lies on the file system of device nodes: the one that is mounted at /dev, but
/// not others that are mounted below it, such as /dev/shm.
pub(super) fn holds(path: &Path) -> bool {
    let number = |path: &Path| fs::metadata(path).ok().map(|metadata| metadata.dev());
    let devices = number(Path::new("/dev"));
    // A /dev that is a folder of the root file system tells nothing.
    if devices == number(Path::new("/")) {
        return false;
    }
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    absolute.ancestors().find_map(number) == devices
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dev_is_told_from_what_is_mounted_below_it() {
        // In a chroot /dev may be a mere folder.
        let is_mounted = fs::metadata("/dev").unwrap().dev() != fs::metadata("/").unwrap().dev();
        assert_eq!(holds(Path::new("/dev/sdnone")), is_mounted);
        assert_eq!(holds(Path::new("/dev/none/such/by-id/stick")), is_mounted);
        assert!(!holds(Path::new("/dev/shm/none")) || fs::metadata("/dev/shm").is_err());
        assert!(!holds(Path::new("/none/such")));
        assert!(!holds(Path::new("none")));
    }

    #[test]
    fn dangling_links_are_followed_and_circles_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let link = |name: &str, to: &str| std::os::unix::fs::symlink(to, folder.path().join(name)).unwrap();
        link("first", "second");
        link("second", "/dev/none");
        link("circle", "circle");
        assert_eq!(place_of_new(&folder.path().join("first")).unwrap(), Path::new("/dev/none"));
        assert_eq!(place_of_new(Path::new("plain")).unwrap(), Path::new("plain"));
        assert!(place_of_new(&folder.path().join("circle")).is_err());
    }
}
