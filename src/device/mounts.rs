//! What the kernel says is mounted and used as swap: /proc/self/mountinfo and /proc/swaps (proc(5)).

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::topology::parse_number;
use crate::sys::missing::{ok_if_missing, ok_if_missing_or_denied};

/// A mounted file system.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// The number of the device that was mounted, as far as that is known. A file system on several devices may have a
    /// number that belongs to none of them.
    pub(super) number: u64,
    /// The directory that it is mounted at.
    pub(super) point: PathBuf,
}

/// What is mounted in our mount namespace, in the order in which it was mounted.
pub(super) fn mounts() -> io::Result<Vec<Mount>> {
    let mountinfo = ok_if_missing(fs::read("/proc/self/mountinfo"))?.unwrap_or_default();
    let mut mounts = Vec::new();
    for (mount, source) in parse_mounts(&mountinfo) {
        // Other sources are not inspected: that could wake a network file system.
        let is_anonymous = libc::major(mount.number) == 0 && source.starts_with("/dev");
        let device = if is_anonymous { block_device(&source)? } else { None };
        mounts.push(Mount { number: device.unwrap_or(mount.number), ..mount });
    }
    Ok(mounts)
}

/// Whether something is known to be mounted at `path`.
pub fn is_mount_point(path: &Path) -> bool {
    let (Ok(path), Ok(mountinfo)) = (fs::canonicalize(path), fs::read("/proc/self/mountinfo")) else { return false };
    parse_mounts(&mountinfo).any(|(mount, _)| mount.point == path)
}

/// The numbers of the devices that are used as swap.
pub(super) fn swaps() -> io::Result<Vec<u64>> {
    let paths = parse_swaps(&ok_if_missing(fs::read("/proc/swaps"))?.unwrap_or_default());
    paths.iter().filter_map(|path| block_device(path).transpose()).collect()
}

fn block_device(node: &Path) -> io::Result<Option<u64>> {
    let metadata = ok_if_missing_or_denied(fs::metadata(node))?;
    Ok(metadata.filter(|metadata| metadata.file_type().is_block_device()).map(|metadata| metadata.rdev()))
}

/// The mounts of a mountinfo file, each with what was mounted, in the file system's words: mostly a device node.
fn parse_mounts(mountinfo: &[u8]) -> impl Iterator<Item = (Mount, PathBuf)> {
    mountinfo.split(|&byte| byte == b'\n').filter_map(parse_mount)
}

/// `ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [TAG]... - TYPE SOURCE SUPER-OPTIONS`
fn parse_mount(line: &[u8]) -> Option<(Mount, PathBuf)> {
    let mut fields = line.split(|&byte| byte == b' ');
    let number = parse_number(std::str::from_utf8(fields.nth(2)?).ok()?)?;
    let point = unescape(fields.nth(1)?);
    let source = unescape(fields.skip_while(|&field| field != b"-").nth(2)?);
    Some((Mount { number, point }, source))
}

/// The first field of each line but the first, which has the titles.
fn parse_swaps(swaps: &[u8]) -> Vec<PathBuf> {
    let lines = swaps.split(|&byte| byte == b'\n').skip(1);
    lines.filter_map(|line| line.split(|&byte| byte == b' ' || byte == b'\t').next()).map(unescape).collect()
}

/// Bytes that would divide fields or lines stand as a backslash and three octal digits.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        let escaped = after.first_chunk::<3>().filter(|_| first == b'\\').and_then(|digits| octal(digits));
        bytes.push(escaped.unwrap_or(first));
        rest = if escaped.is_some() { after.get(3..).unwrap_or_default() } else { after };
    }
    OsString::from_vec(bytes).into()
}

fn octal(digits: &[u8]) -> Option<u8> {
    let digits = std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
    u8::from_str_radix(digits, 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_with_and_without_tags_are_parsed_and_broken_lines_left_out() {
        let text = b"27 1 254:3 / / rw,relatime - ext4 /dev/vda3 rw\n\
            40 27 0:35 /sub /mnt/a\\040b\\134c rw shared:1 master:2 - btrfs /dev/sd\\011b rw,space_cache\n\
            cut off\n\
            41 27 x:y / /mnt - ext4 a b\n";
        let mount = |number, point: &str, source: &str| (Mount { number, point: point.into() }, source.into());
        assert_eq!(
            parse_mounts(text).collect::<Vec<_>>(),
            [mount(libc::makedev(254, 3), "/", "/dev/vda3"), mount(libc::makedev(0, 35), "/mnt/a b\\c", "/dev/sd\tb")]
        );
    }

    #[test]
    fn swaps_are_parsed_whether_files_or_devices() {
        let text = b"Filename\t\t\tType\t\tSize\tUsed\tPriority\n\
            /dev/sda2                              partition\t65532\t0\t-2\n\
            /swap\\040file                          file\t65532\t0\t-3\n";
        assert_eq!(parse_swaps(text)[..2], [PathBuf::from("/dev/sda2"), PathBuf::from("/swap file")]);
    }

    #[test]
    fn only_octal_escapes_are_escapes() {
        for (field, text) in
            [("\\040", " "), ("a\\04", "a\\04"), ("\\777", "\\777"), ("\\+40", "\\+40"), ("\\\\040", "\\ "), ("", "")]
        {
            assert_eq!(unescape(field.as_bytes()), Path::new(text), "{field}");
        }
    }
}
