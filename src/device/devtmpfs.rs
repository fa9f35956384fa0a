//! The file system of device nodes. An image must not be written to a new file there: it would fill memory, when the
//! user meant a device that is not plugged in.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::sys::missing::ok_if_missing;

/// Whether `path`, which need not exist, lies on the file system of device nodes: the one that is mounted at /dev, but
/// not others that are mounted below it, such as /dev/shm.
///
/// # Errors
///
/// Where a directory on the way cannot be inspected.
pub fn contains(path: &Path) -> io::Result<bool> {
    let number = |path: &Path| io::Result::Ok(ok_if_missing(fs::metadata(path))?.map(|metadata| metadata.dev()));
    let devices = number(Path::new("/dev"))?;
    // A /dev that is a directory of the root file system tells nothing.
    if devices == number(Path::new("/"))? {
        return Ok(false);
    }
    // The nearest directory that exists tells; those above it may not be readable.
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
    fn dev_is_told_from_what_is_mounted_below_it_and_from_other_directories() {
        // In a chroot /dev may be an ordinary directory.
        let is_mounted = fs::metadata("/dev").unwrap().dev() != fs::metadata("/").unwrap().dev();
        assert_eq!(contains(Path::new("/dev/sdnone")).unwrap(), is_mounted);
        assert_eq!(contains(Path::new("/dev/none/such/by-id/stick")).unwrap(), is_mounted);
        assert!(!contains(Path::new("/dev/shm/none")).unwrap() || fs::metadata("/dev/shm").is_err());
        assert!(!contains(Path::new("/none/such")).unwrap());
        assert!(!contains(Path::new("none")).unwrap());
    }
}
