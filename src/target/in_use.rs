//! Who uses a device: mounted file systems, swap, and what the kernel has built on it.
//!
//! O_EXCL would refuse such a device too, but it cannot say why.

use std::fmt;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use super::mounts::{self, Mount};
use super::sysfs::{Device, Sysfs};
use crate::file_id::FileId;

/// What a device is used for.
#[derive(Debug, PartialEq, Eq)]
pub enum Usage {
    /// File systems on it or on its partitions are mounted: device nodes, and where.
    Mounted(Vec<(PathBuf, PathBuf)>),
    /// It or its partitions are swap: device nodes.
    Swap(Vec<PathBuf>),
    /// Other devices are built on it.
    Held(Vec<Holder>),
}

/// A device that is built on another one.
#[derive(Debug, PartialEq, Eq)]
pub struct Holder {
    /// What it is called, as in `dm-0 (vg-root)`.
    name: String,
    /// The command that takes it away, where there is one.
    release: Option<String>,
}

/// What is wrong, and the commands that put it right.
impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mounted(mounts) => {
                let points = mounts.iter().map(|(node, point)| format!("{} on '{}'", node.display(), point.display()));
                // What is mounted on top of another comes off first.
                let commands = mounts.iter().rev().map(|(_, point)| format!("'{}'", point.display()));
                write!(f, "mounted: {}; unmount it with: umount {}", join(points, ", "), join(commands, " "))
            }
            Self::Swap(nodes) => {
                let nodes = join(nodes.iter().map(|node| node.display().to_string()), " ");
                write!(f, "in use as swap: {nodes}; turn that off with: swapoff {nodes}")
            }
            Self::Held(holders) => {
                write!(f, "held by {}", join(holders.iter().map(|holder| holder.name.clone()), ", "))?;
                match join(holders.iter().filter_map(|holder| holder.release.clone()), "; ") {
                    commands if commands.is_empty() => Ok(()),
                    commands => write!(f, "; release it with: {commands}"),
                }
            }
        }
    }
}

fn join(parts: impl Iterator<Item = String>, between: &str) -> String {
    parts.collect::<Vec<_>>().join(between)
}

/// What `device` is used for, if anything; the first of several uses, in the order in which they must be ended.
pub(super) fn usage(device: &Device, sysfs: &Sysfs) -> io::Result<Option<Usage>> {
    let family = numbered(device.family()?)?;
    if let Some(mounted) = mounted(&family, &mounts::mounts()?, sysfs)? {
        return Ok(Some(Usage::Mounted(mounted)));
    }
    if let Some(swap) = swap(&family, &mounts::swaps()?) {
        return Ok(Some(Usage::Swap(swap)));
    }
    Ok(held(&family, sysfs)?.map(Usage::Held))
}

/// Devices with their numbers; one without a number is gone.
fn numbered(devices: Vec<Device>) -> io::Result<Vec<(u64, Device)>> {
    devices.into_iter().filter_map(|device| device.number().map(|number| Some((number?, device))).transpose()).collect()
}

/// The devices with the file or device `id` behind them.
pub(super) fn loops_over(id: FileId, sysfs: &Sysfs) -> io::Result<Vec<Device>> {
    loops_where(|behind| behind == id, sysfs)
}

/// The other loop devices that show bytes of the file behind the disk of `device`, if that is a loop device.
pub(super) fn twins(device: &Device, sysfs: &Sysfs) -> io::Result<Vec<Device>> {
    let disk = device.disk()?;
    let Some(file) = disk.backing_file()? else { return Ok(Vec::new()) };
    let Some(place) = disk.backing_range()? else { return Ok(Vec::new()) };
    let mut twins = Vec::new();
    for other in loops_over(file, sysfs)? {
        let overlaps = other.backing_range()?.is_none_or(|other| other.start < place.end && place.start < other.end);
        if other != disk && overlaps {
            twins.push(other);
        }
    }
    Ok(twins)
}

/// Whether someone holds `device` for himself, whom nothing else tells of: a mount of another namespace, say.
pub(super) fn is_held_elsewhere(device: &Device) -> bool {
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_EXCL).open(device.node());
    opened.is_err_and(|error| error.raw_os_error() == Some(libc::EBUSY))
}

/// The loop devices over a file or device of this kind.
fn loops_where(is_meant: impl Fn(FileId) -> bool, sysfs: &Sysfs) -> io::Result<Vec<Device>> {
    let mut found = Vec::new();
    for device in sysfs.loops()? {
        if device.backing_file()?.is_some_and(&is_meant) {
            found.push(device);
        }
    }
    Ok(found)
}

fn mounted(family: &[(u64, Device)], mounts: &[Mount], sysfs: &Sysfs) -> io::Result<Option<Vec<(PathBuf, PathBuf)>>> {
    let numbers: Vec<_> = family.iter().map(|(number, _)| *number).collect();
    let companions = sysfs.btrfs_companions(&numbers)?;
    let mut found = Vec::new();
    for mount in mounts {
        let number = mount.device()?;
        if numbers.contains(&number) || companions.contains(&number) {
            let node = sysfs.device(number)?.map(|device| device.node()).unwrap_or_default();
            found.push((node, mount.point.clone()));
        }
    }
    Ok(some(found))
}

fn swap(family: &[(u64, Device)], swaps: &[u64]) -> Option<Vec<PathBuf>> {
    some(family.iter().filter(|(number, _)| swaps.contains(number)).map(|(_, device)| device.node()).collect())
}

fn held(family: &[(u64, Device)], sysfs: &Sysfs) -> io::Result<Option<Vec<Holder>>> {
    let mut holders = Vec::new();
    for (_, device) in family {
        holders.extend(device.holders()?);
    }
    let is_ours = |id| family.iter().any(|&(number, _)| id == FileId::BlockDevice { number });
    holders.extend(loops_where(is_ours, sysfs)?);
    Ok(some(holders.iter().map(holder).collect()))
}

fn some<T>(found: Vec<T>) -> Option<Vec<T>> {
    Some(found).filter(|found| !found.is_empty())
}

/// Names a holder as its own tools do.
fn holder(device: &Device) -> Holder {
    let name = device.name();
    let node = device.node();
    let node = node.display();
    if let Some(mapped) = device.attribute_if_told("dm/name") {
        // The prefix of the UUID tells who made it (LVM, cryptsetup).
        let release = match device.attribute_if_told("dm/uuid").as_deref().and_then(|uuid| uuid.split('-').next()) {
            Some("LVM") => format!("lvchange -an /dev/mapper/{mapped}"),
            Some("CRYPT") => format!("cryptsetup close {mapped}"),
            _ => format!("dmsetup remove {mapped}"),
        };
        return Holder { name: format!("{name} (device-mapper: {mapped})"), release: Some(release) };
    }
    if device.file("md").is_dir() {
        return Holder { name: format!("{name} (RAID)"), release: Some(format!("mdadm --stop {node}")) };
    }
    if device.file("loop").is_dir() {
        return Holder { name: format!("loop device {node}"), release: Some(format!("losetup --detach {node}")) };
    }
    Holder { name, release: None }
}

#[cfg(test)]
mod tests {
    use super::super::sysfs::tests::Tree;
    use super::*;

    fn uses_of_sda(tree: &Tree) -> Option<String> {
        let sysfs = tree.sysfs();
        let family = numbered(tree.device_with(libc::makedev(8, 0)).family().unwrap()).unwrap();
        held(&family, &sysfs).unwrap().map(|holders| Usage::Held(holders).to_string())
    }

    #[test]
    fn holders_are_named_and_so_is_the_command_that_releases_them() {
        let cases = [
            ("LVM-abc", "lvchange -an /dev/mapper/vg-root"),
            ("CRYPT-LUKS2-abc", "cryptsetup close vg-root"),
            ("", "dmsetup remove vg-root"),
        ];
        for (uuid, command) in cases {
            let tree = Tree::new();
            tree.device("virtual/dm-0", "252:0");
            tree.write("virtual/dm-0/dm/name", "vg-root\n");
            tree.write("virtual/dm-0/dm/uuid", uuid);
            tree.link("virtual/dm-0", "devices/usb/sda/sda1/holders/dm-0");
            assert_eq!(
                uses_of_sda(&tree),
                Some(format!("held by dm-0 (device-mapper: vg-root); release it with: {command}"))
            );
        }
    }

    #[test]
    fn a_disk_of_a_raid_and_one_of_something_unknown() {
        let tree = Tree::new();
        assert_eq!(uses_of_sda(&tree), None);
        tree.device("virtual/md127", "9:127");
        tree.write("virtual/md127/md/level", "raid1\n");
        tree.link("virtual/md127", "devices/usb/sda/holders/md127");
        tree.device("virtual/bcache0", "250:0");
        tree.link("virtual/bcache0", "devices/usb/sda/sda1/holders/bcache0");
        assert_eq!(
            uses_of_sda(&tree).as_deref(),
            Some("held by md127 (RAID), bcache0; release it with: mdadm --stop /dev/md127")
        );
    }
}
