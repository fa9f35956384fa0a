//! What the kernel says is mounted and used as swap: /proc/self/mountinfo and /proc/swaps (proc(5)).

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

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
    let (mut mounts, sources): (Vec<_>, Vec<_>) = parse_mounts(&mountinfo).unzip();
    for (index, source) in sources.iter().enumerate() {
        if libc::major(mounts[index].number) == 0 && is_device_node(source, &mounts) {
            let device = block_device(source)?;
            mounts[index].number = device.unwrap_or(mounts[index].number);
        }
    }
    Ok(mounts)
}

/// Whether `source` is a name in /dev itself. Others are not inspected, nor those in what is mounted below /dev: that
/// may be a network file system, which would be woken, or waited for.
fn is_device_node(source: &Path, mounts: &[Mount]) -> bool {
    let dev = Path::new("/dev");
    let is_elsewhere =
        |mount: &Mount| mount.point != dev && mount.point.starts_with(dev) && source.starts_with(&mount.point);
    source.starts_with(dev)
        && !source.components().any(|part| part == Component::ParentDir)
        && !mounts.iter().any(is_elsewhere)
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

/// The first fields of the lines whose second one is `partition`, as it is for all block devices.
fn parse_swaps(swaps: &[u8]) -> Vec<PathBuf> {
    let parse = |line: &[u8]| {
        let mut fields = line.split(|&byte| byte == b' ' || byte == b'\t').filter(|field| !field.is_empty());
        let name = fields.next()?;
        (fields.next()? == b"partition").then(|| unescape(name))
    };
    swaps.split(|&byte| byte == b'\n').filter_map(parse).collect()
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
    fn devices_that_are_swap_are_found_among_files() {
        let text = b"Filename\t\t\tType\t\tSize\tUsed\tPriority\n\
            /swapfile                              file\t65532\t0\t-3\n\
            /dev/mapper/a\\040b                    partition\t65532\t0\t-2\n";
        assert_eq!(parse_swaps(text), [PathBuf::from("/dev/mapper/a b")]);
    }

    #[test]
    fn only_what_is_named_in_dev_itself_is_looked_at() {
        let mounts = ["/", "/dev", "/dev/shm", "/mnt"].map(|point| Mount { number: 1, point: point.into() });
        for (source, expected) in [
            ("/dev/sda1", true),
            ("/dev/mapper/vg-root", true),
            ("/dev/shm/node", false),
            ("/dev/../mnt/node", false),
            ("/mnt/node", false),
            ("tmpfs", false),
        ] {
            assert_eq!(is_device_node(Path::new(source), &mounts), expected, "{source}");
        }
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
