//! One file under two identities: an overlay, a FUSE file system or a network mount of this machine shows a file of
//! another one with a number of its own.

use std::ffi::CString;
use std::fs::{self, Metadata};
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::sys::statfs::statfs;

use crate::sys::missing::ok_if_missing_or_denied;

/// The file systems that show files of others: FUSE, overlayfs, NFS, SMB (two), 9p (linux/magic.h, statfs(2)).
const LAYERED: [u32; 6] = [0x6573_5546, 0x794c_7630, 0x6969, 0xff53_4d42, 0xfe53_4d42, 0x0102_1997];

/// Whether the files at `one` and `other`, on two file systems, have all the signs of being one: size and time, which
/// every file system passes on, are the same, and one of the file systems shows files of others.
///
/// Nothing is changed to find out. So a copy that kept the time, as by `cp -p`, is taken for its original.
///
/// # Errors
///
/// Where a file that exists cannot be inspected.
pub fn is_alias(one: &Path, other: &Path) -> io::Result<bool> {
    let (Some(first), Some(second)) = (inspect(one)?, inspect(other)?) else { return Ok(false) };
    let are_files = first.is_file() && second.is_file() && first.dev() != second.dev();
    let time = |file: &Metadata| (file.mtime(), file.mtime_nsec());
    if !are_files || first.len() != second.len() || first.len() == 0 || !is_same_time(time(&first), time(&second)) {
        return Ok(false);
    }
    Ok(is_layered(one)? || is_layered(other)?)
}

/// Compares times in seconds and nanoseconds, which some protocols round: SFTP to seconds, SMB to 100 nanoseconds.
fn is_same_time(one: (i64, i64), other: (i64, i64)) -> bool {
    one.0 == other.0 && (one.1 == 0 || other.1 == 0 || one.1 / 100 == other.1 / 100)
}

/// The metadata of a file, from its server and not from a cache; `None` where there is none that we may look at.
fn inspect(path: &Path) -> io::Result<Option<Metadata>> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    let mut refreshed = MaybeUninit::<libc::statx>::uninit();
    // What it returns does not matter: a kernel without statx(2) has a cache that lasts a second.
    // SAFETY: statx reads a string and fills in a `statx`, both of which outlive the call.
    unsafe {
        let (flags, wanted) = (libc::AT_STATX_FORCE_SYNC, libc::STATX_SIZE | libc::STATX_MTIME);
        libc::statx(libc::AT_FDCWD, name.as_ptr(), flags, wanted, refreshed.as_mut_ptr());
    }
    ok_if_missing_or_denied(fs::metadata(path))
}

fn is_layered(path: &Path) -> io::Result<bool> {
    let kind = statfs(path)?.filesystem_type().0;
    // Its type differs between machines; the number has 32 bits.
    Ok(LAYERED.contains(&(kind as u32)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_equal_as_far_as_a_protocol_passes_them_on() {
        for other in [(5, 123_456_789), (5, 123_456_700), (5, 0)] {
            assert!(is_same_time((5, 123_456_789), other) && is_same_time(other, (5, 123_456_789)), "{other:?}");
        }
        for other in [(4, 123_456_789), (5, 123_456_999), (5, 1)] {
            assert!(!is_same_time((5, 123_456_789), other), "{other:?}");
        }
    }

    #[test]
    fn a_file_that_is_missing_is_no_alias() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(!is_alias(file.path(), Path::new("/none")).unwrap());
    }
}
