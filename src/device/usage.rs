//! What a device is used for: mounted file systems, swap, and what the kernel has built on it.
//!
//! O_EXCL would refuse such a device too, but it cannot say why.

use std::fmt;
use std::path::PathBuf;

use super::storage::StorageStack;
use super::topology::{Device, Driver, Layer, Topology};
use crate::sys::file_id::FileId;
use crate::sys::shell::quoted;

/// What a device is used for.
#[derive(Debug, PartialEq, Eq)]
pub enum Usage {
    /// File systems on it or on its partitions are mounted: device nodes, and the directories that they are mounted at.
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
    /// The command that releases it, where that is known.
    release: Option<String>,
}

/// What the device is, as in `mounted: /dev/sdb1 on '/media/card'`.
impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mounted(mounts) => {
                let points = mounts.iter().map(|(node, point)| format!("{} on '{}'", node.display(), point.display()));
                write!(f, "mounted: {}", join(points, ", "))
            }
            Self::Swap(nodes) => write!(f, "in use as swap: {}", join(nodes.iter().map(|node| node.display()), " ")),
            Self::Held(holders) => write!(f, "held by {}", join(holders.iter(), ", ")),
        }
    }
}

/// What it is called, as in `dm-0 (vg-root)`.
impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Usage {
    /// The commands that end this use, where they are known, in the necessary order: what is mounted or built on top of
    /// another is released first.
    pub fn release(&self) -> Option<String> {
        let commands = match self {
            Self::Mounted(mounts) => {
                let points = mounts.iter().rev().map(|(_, point)| quoted(point.display()));
                format!("umount {}", join(points, " "))
            }
            Self::Swap(nodes) => format!("swapoff {}", join(nodes.iter().map(|node| quoted(node.display())), " ")),
            Self::Held(holders) => join(holders.iter().rev().filter_map(|holder| holder.release.as_ref()), "; "),
        };
        (!commands.is_empty()).then_some(commands)
    }
}

fn join(parts: impl Iterator<Item = impl fmt::Display>, between: &str) -> String {
    parts.map(|part| part.to_string()).collect::<Vec<_>>().join(between)
}

/// What `devices` are used for, if anything, apart from the target's own stack of devices, `stack`. Of several uses,
/// the one that must be ended first.
pub(super) fn usage(devices: &[&Device], stack: &StorageStack, topology: &Topology) -> Option<Usage> {
    let mounted = mounted(devices, topology);
    if !mounted.is_empty() {
        return Some(Usage::Mounted(mounted));
    }
    let swap: Vec<_> = devices.iter().filter(|device| topology.swaps.contains(&device.number)).collect();
    if !swap.is_empty() {
        return Some(Usage::Swap(swap.into_iter().map(|device| device.node()).collect()));
    }
    let held = devices.iter().filter(|device| !stack.contains(device.id()) && is_holder(device));
    let holders: Vec<_> = held.map(|device| Holder::of(device)).collect();
    (!holders.is_empty()).then_some(Usage::Held(holders))
}

fn mounted(devices: &[&Device], topology: &Topology) -> Vec<(PathBuf, PathBuf)> {
    let is_one = |number: &u64| devices.iter().any(|device| device.number == *number);
    let companions: Vec<_> = topology.btrfs.iter().filter(|members| members.iter().any(is_one)).flatten().collect();
    let is_meant = |number: &u64| is_one(number) || companions.contains(&number);
    let mounts = topology.mounts.iter().filter(|mount| is_meant(&mount.number));
    let node = |number| topology.device(number).map(Device::node).unwrap_or_default();
    mounts.map(|mount| (node(mount.number), mount.point.clone())).collect()
}

/// Whether it is built on another device and keeps that from being used. A loop device over a file is not.
fn is_holder(device: &Device) -> bool {
    device.lies_in.iter().any(|(base, layer)| match layer {
        Layer::Partition(_) => false,
        Layer::Loop(_) => matches!(base, FileId::BlockDevice { .. }),
        Layer::Mapped => true,
    })
}

impl Holder {
    /// Names `device` as its own tools do.
    fn of(device: &Device) -> Self {
        let (own, node) = (&device.name, device.node());
        let (node, argument) = (node.display(), quoted(node.display()));
        let (name, release) = match &device.driver {
            Driver::DeviceMapper { name, uuid } => {
                let release = match uuid.split('-').next() {
                    Some("LVM") => format!("lvchange -an {}", quoted(format!("/dev/mapper/{name}"))),
                    Some("CRYPT") => format!("cryptsetup close {}", quoted(name)),
                    _ => format!("dmsetup remove {}", quoted(name)),
                };
                (format!("{own} (device-mapper: {name})"), Some(release))
            }
            Driver::Raid => (format!("{own} (RAID)"), Some(format!("mdadm --stop {argument}"))),
            Driver::Loop { .. } => (format!("loop device {node}"), Some(format!("losetup --detach {argument}"))),
            Driver::Other => (own.clone(), None),
        };
        Self { name, release }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{disk, number};
    use super::super::mounts::Mount;
    use super::*;

    /// What all devices of `topology` but the first are used for in words, where that is the target.
    fn usage_in_words(topology: &Topology) -> Option<String> {
        let stack = StorageStack::of(topology.devices[0].id(), topology);
        usage(&topology.devices.iter().collect::<Vec<_>>(), &stack, topology).map(|usage| match usage.release() {
            Some(commands) => format!("{usage}; {commands}"),
            None => usage.to_string(),
        })
    }

    fn mapper(name: &str, uuid: &str) -> Driver {
        Driver::DeviceMapper { name: name.to_owned(), uuid: uuid.to_owned() }
    }

    #[test]
    fn holders_are_named_and_so_is_the_command_that_releases_them() {
        let cases = [
            ("LVM-abc", "lvchange -an /dev/mapper/vg-root"),
            ("CRYPT-LUKS2-abc", "cryptsetup close vg-root"),
            ("", "dmsetup remove vg-root"),
        ];
        for (uuid, command) in cases {
            let sda = disk(8, 0);
            let volume = disk(252, 0).called("dm-0").mapped_to(&sda).driven_by(mapper("vg-root", uuid));
            let words = format!("held by dm-0 (device-mapper: vg-root); {command}");
            assert_eq!(usage_in_words(&Topology::of(vec![sda, volume])), Some(words));
        }
        for (uuid, command) in [("LVM-a", "lvchange -an '/dev/mapper/a b'"), ("", "dmsetup remove 'a b'")] {
            let sda = disk(8, 0);
            let volume = disk(252, 0).called("dm-0").mapped_to(&sda).driven_by(mapper("a b", uuid));
            assert!(usage_in_words(&Topology::of(vec![sda, volume])).unwrap().ends_with(command));
        }
    }

    #[test]
    fn what_is_built_on_a_holder_is_released_before_it() {
        let sda = disk(8, 0);
        let crypt = disk(252, 0).called("dm-0").mapped_to(&sda).driven_by(mapper("of-dm-0", "CRYPT-LUKS2-abc"));
        let volume = disk(252, 1).called("dm-1").mapped_to(&crypt).driven_by(mapper("of-dm-1", "LVM-abc"));
        let words = usage_in_words(&Topology::of(vec![sda, crypt, volume])).unwrap();
        assert!(words.starts_with("held by dm-0 (device-mapper: of-dm-0), dm-1"), "{words}");
        let order = "lvchange -an /dev/mapper/of-dm-1; cryptsetup close of-dm-0";
        assert!(words.ends_with(order), "{words}");
    }

    #[test]
    fn a_disk_of_a_raid_and_of_something_unknown_is_held_by_both() {
        let sda = disk(8, 0);
        assert_eq!(usage_in_words(&Topology::of(vec![sda.clone()])), None);
        let raid = disk(9, 127).called("md127").mapped_to(&sda).driven_by(Driver::Raid);
        let cache = disk(250, 0).called("bcache0").mapped_to(&sda);
        assert_eq!(
            usage_in_words(&Topology::of(vec![sda, raid, cache])).as_deref(),
            Some("held by md127 (RAID), bcache0; mdadm --stop /dev/md127")
        );
    }

    #[test]
    fn a_loop_device_holds_a_device_but_not_a_file() {
        let sda = disk(8, 0);
        let over_device = disk(7, 0).called("loop0").attached_to(sda.id(), 0..8);
        let over_file = disk(7, 1).called("loop1").attached_to(FileId::File { device: 1, inode: 1 }, 0..8);
        assert_eq!(
            usage_in_words(&Topology::of(vec![sda, over_device, over_file])).as_deref(),
            Some("held by loop device /dev/loop0; losetup --detach /dev/loop0")
        );
    }

    #[test]
    fn mounts_of_a_btrfs_companion_come_before_swap_and_holders() {
        let sda = disk(8, 0).called("sda");
        let volume = disk(252, 0).mapped_to(&sda);
        let topology = Topology {
            btrfs: vec![vec![number(8, 16), number(8, 0)]],
            mounts: vec![
                Mount { number: number(8, 16), point: "/first".into() },
                Mount { number: number(8, 32), point: "/other".into() },
                Mount { number: number(8, 0), point: "/it's the 2nd".into() },
            ],
            swaps: vec![number(8, 0)],
            devices: vec![sda, volume, disk(8, 16).called("sdb")],
            ..Topology::default()
        };
        let usage_of = |topology: &Topology| {
            let sda = &topology.devices[0];
            usage(&[sda], &StorageStack::of(sda.id(), topology), topology).map(|usage| match usage.release() {
                Some(commands) => format!("{usage}; {commands}"),
                None => usage.to_string(),
            })
        };
        assert_eq!(
            usage_of(&topology).unwrap(),
            "mounted: /dev/sdb on '/first', /dev/sda on '/it's the 2nd'; umount '/it'\\''s the 2nd' /first"
        );
        let unmounted = Topology { mounts: Vec::new(), ..topology };
        assert_eq!(usage_of(&unmounted).unwrap(), "in use as swap: /dev/sda; swapoff /dev/sda");
    }
}
