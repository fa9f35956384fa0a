//! Who uses a device: mounted file systems, swap, and what the kernel has built on it.
//!
//! O_EXCL would refuse such a device too, but it cannot say why.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::mounts::{self, Mount};
use super::places::Place;
use super::sysfs::{Device, Layer, Sysfs};
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
                // What is built on top of another comes off first.
                match join(holders.iter().rev().filter_map(|holder| holder.release.clone()), "; ") {
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

/// What `devices` are used for, if anything, by others than the target that lies in `places`; the first of several uses, in
/// the order in which they must be ended.
pub(super) fn usage(devices: &[Device], places: &[Place], sysfs: &Sysfs) -> io::Result<Option<Usage>> {
    if devices.is_empty() {
        return Ok(None);
    }
    let numbered = numbered(devices)?;
    if let Some(mounted) = mounted(&numbered, &mounts::mounts()?, sysfs)? {
        return Ok(Some(Usage::Mounted(mounted)));
    }
    if let Some(swap) = swap(&numbered, &mounts::swaps()?) {
        return Ok(Some(Usage::Swap(swap)));
    }
    Ok(held(&numbered, places)?.map(Usage::Held))
}

/// Devices with their numbers; one without a number is gone.
fn numbered(devices: &[Device]) -> io::Result<Vec<(u64, Device)>> {
    let number = |device: &Device| Ok(device.number()?.map(|number| (number, device.clone())));
    devices.iter().filter_map(|device| number(device).transpose()).collect()
}

fn mounted(devices: &[(u64, Device)], mounts: &[Mount], sysfs: &Sysfs) -> io::Result<Option<Vec<(PathBuf, PathBuf)>>> {
    let numbers: Vec<_> = devices.iter().map(|(number, _)| *number).collect();
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

fn swap(devices: &[(u64, Device)], swaps: &[u64]) -> Option<Vec<PathBuf>> {
    some(devices.iter().filter(|(number, _)| swaps.contains(number)).map(|(_, device)| device.node()).collect())
}

/// Those of `devices` that are built on another one, and that the target does not lie in itself. A loop device over a file is
/// none: it holds nobody up.
fn held(devices: &[(u64, Device)], places: &[Place]) -> io::Result<Option<Vec<Holder>>> {
    let mut holders = Vec::new();
    for (number, device) in devices {
        let holds = |(base, layer): &(FileId, Layer)| match layer {
            Layer::Partition(_) => false,
            Layer::Loop(_) => matches!(base, FileId::BlockDevice { .. }),
            Layer::Mapped => true,
        };
        let is_below = places.iter().any(|place| place.id == FileId::BlockDevice { number: *number });
        if !is_below && device.lies_in()?.iter().any(holds) {
            holders.push(holder(device));
        }
    }
    Ok(some(holders))
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
        let (disk, partition) = (tree.device_with(libc::makedev(8, 0)), tree.device_with(libc::makedev(8, 1)));
        let devices = [disk.holders().unwrap(), partition.holders().unwrap(), vec![partition]].concat();
        held(&numbered(&devices).unwrap(), &[]).unwrap().map(|holders| Usage::Held(holders).to_string())
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
            tree.holder("virtual/dm-0", "252:0", "usb/sda/sda1");
            tree.write("virtual/dm-0/dm/name", "vg-root\n");
            tree.write("virtual/dm-0/dm/uuid", uuid);
            assert_eq!(
                uses_of_sda(&tree),
                Some(format!("held by dm-0 (device-mapper: vg-root); release it with: {command}"))
            );
        }
    }

    #[test]
    fn what_is_built_on_a_holder_is_released_before_it() {
        let tree = Tree::new();
        for (name, number, below, uuid) in
            [("dm-0", "252:0", "usb/sda/sda1", "CRYPT-LUKS2-abc"), ("dm-1", "252:1", "virtual/dm-0", "LVM-abc")]
        {
            tree.holder(&format!("virtual/{name}"), number, below);
            tree.write(&format!("virtual/{name}/dm/name"), &format!("of-{name}\n"));
            tree.write(&format!("virtual/{name}/dm/uuid"), uuid);
        }
        let partition = tree.device_with(libc::makedev(8, 1));
        let crypt = partition.holders().unwrap();
        let volume = crypt[0].holders().unwrap();
        let devices = [vec![partition], crypt, volume].concat();
        let holders = held(&numbered(&devices).unwrap(), &[]).unwrap().unwrap();
        let words = Usage::Held(holders).to_string();
        assert!(words.starts_with("held by dm-0 (device-mapper: of-dm-0), dm-1"), "{words}");
        let order = "release it with: lvchange -an /dev/mapper/of-dm-1; cryptsetup close of-dm-0";
        assert!(words.ends_with(order), "{words}");
    }

    #[test]
    fn a_disk_of_a_raid_and_one_of_something_unknown() {
        let tree = Tree::new();
        assert_eq!(uses_of_sda(&tree), None);
        tree.holder("virtual/md127", "9:127", "usb/sda");
        tree.write("virtual/md127/md/level", "raid1\n");
        tree.holder("virtual/bcache0", "250:0", "usb/sda/sda1");
        assert_eq!(
            uses_of_sda(&tree).as_deref(),
            Some("held by md127 (RAID), bcache0; release it with: mdadm --stop /dev/md127")
        );
    }
}
