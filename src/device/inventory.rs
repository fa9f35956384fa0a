//! What devices there are, for people who choose a target among them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::conflicts::usage_in;
use super::identity::Identity;
use super::topology::{Device, Layer, SECTOR, Topology};
use super::usage::Usage;
use crate::event::Observer;
use crate::visible::visible;

/// The names that udev gives to disks after what they say of themselves (udev's 60-persistent-storage.rules).
const BY_ID: &str = "/dev/disk/by-id";

/// The major numbers of disks in memory and of optical drives (Documentation/admin-guide/devices.txt), neither of which
/// an image is flashed to.
const NO_TARGETS: [u32; 2] = [1, 11];

/// Where the kernel lists the block devices. Where there are none, it is empty.
const LISTED: &str = "/sys/class/block";

/// A disk or a partition, and what it is used for.
#[derive(Debug)]
pub struct DeviceInfo {
    /// Its usual device node.
    pub path: PathBuf,
    /// The disk that it is a partition of.
    pub partition_of: Option<PathBuf>,
    /// Its name in `/dev/disk/by-id`, the shortest if it has several; characters that could deceive are replaced.
    pub by_id: Option<String>,
    /// The size in bytes: that of the partition, where it is one.
    pub size: Option<u64>,
    /// Whether the kernel refuses writes.
    pub read_only: bool,
    /// What the disk is.
    pub identity: Identity,
    /// What it is used for, if anything.
    pub usage: Option<Usage>,
}

/// Why nothing can be told of the devices.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// Their list cannot be read: sysfs is not mounted, perhaps.
    #[error("cannot read '{LISTED}'")]
    NoSysfs(#[source] io::Error),
    /// What is known of one, or what uses one, cannot be read.
    #[error(transparent)]
    Unclear(#[from] io::Error),
}

/// Which disks are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disks {
    /// Those that can be taken out.
    Removable,
    /// All.
    All,
}

/// The disks that an image can be flashed to, in the order of their numbers: those that hold something, and no optical
/// drives.
///
/// # Errors
///
/// Where the kernel does not tell.
pub fn disks(which: Disks, observer: &dyn Observer) -> Result<Vec<DeviceInfo>, ListError> {
    let topology = Topology::read()?;
    if !topology.has_devices() {
        fs::read_dir(LISTED).map_err(ListError::NoSysfs)?;
    }
    topology.tell(observer);
    Ok(topology.disks(which, Path::new(BY_ID)))
}

/// The device with this number; `None` where sysfs does not show it.
///
/// # Errors
///
/// Where the kernel does not tell.
pub fn device(number: u64, observer: &dyn Observer) -> io::Result<Option<DeviceInfo>> {
    let topology = Topology::read()?;
    topology.tell(observer);
    Ok(topology.device(number).map(|device| topology.info(device, &names_in(Path::new(BY_ID)))))
}

impl Topology {
    fn disks(&self, which: Disks, by_id: &Path) -> Vec<DeviceInfo> {
        let names = names_in(by_id);
        let disks = self.devices.iter().filter(|device| device.is_disk()).map(|disk| self.info(disk, &names));
        let is_meant = |disk: &DeviceInfo| {
            disk.size.is_some_and(|size| size > 0) && (which == Disks::All || disk.identity.removable == Some(true))
        };
        disks.filter(is_meant).collect()
    }

    fn info(&self, device: &Device, names: &[Name]) -> DeviceInfo {
        let told = |name| device.attribute(name).ok().flatten();
        let (path, disk) = (device.node(), self.disk_of(device));
        DeviceInfo {
            partition_of: (disk != device).then(|| disk.node()),
            by_id: name_of(device, names),
            size: told("size").and_then(|sectors| sectors.parse::<u64>().ok()?.checked_mul(SECTOR)),
            read_only: told("ro").as_deref() == Some("1"),
            identity: Identity::of(disk),
            usage: usage_in(self, &path, device.number),
            path,
        }
    }
}

impl Device {
    /// Whether it is a disk of its own, and no partition of one nor mapped to others.
    fn is_disk(&self) -> bool {
        let lies_in_a_disk = |layer: &Layer| matches!(layer, Layer::Partition(_) | Layer::Mapped);
        !NO_TARGETS.contains(&libc::major(self.number)) && !self.lies_in.iter().any(|(_, layer)| lies_in_a_disk(layer))
    }
}

/// A name, and where that symbolic link leads.
type Name = (String, PathBuf);

/// The links in a directory, which are read and not followed.
fn names_in(directory: &Path) -> Vec<Name> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let link = |entry: fs::DirEntry| {
        Some((entry.file_name().to_string_lossy().into_owned(), fs::read_link(entry.path()).ok()?))
    };
    entries.filter_map(link).collect()
}

/// Of several names, those that people recognise come before those that are numbers.
fn name_of(device: &Device, names: &[Name]) -> Option<String> {
    const NUMBERS: [&str; 4] = ["wwn-", "nvme-eui.", "nvme-nvme.", "scsi-3"];
    let own = names.iter().filter(|(_, link)| link.ends_with(&device.name)).map(|(name, _)| name);
    let is_number = |name: &str| NUMBERS.iter().any(|start| name.starts_with(start));
    own.min_by_key(|name| (is_number(name), name.len(), *name)).map(|name| visible(name, &[]))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::super::fixture::{Tree, number};
    use super::super::mounts::Mount;
    use super::*;

    /// A stick with a partition, a fixed disk, a reader without a card, an optical drive, and a device that is mapped
    /// to the fixed disk.
    fn tree() -> Tree {
        let tree = Tree::new();
        for (name, numbers) in [("sdb", "8:16"), ("sdc", "8:32"), ("sr0", "11:0")] {
            tree.device(&format!("usb/{name}"), numbers);
            tree.write(&format!("usb/{name}/removable"), "1\n");
            tree.write(&format!("usb/{name}/size"), "2000\n");
        }
        tree.write("usb/sda/removable", "1\n");
        tree.write("usb/sda/size", "4000\n");
        tree.write("usb/sda/sda1/size", "1000\n");
        tree.write("usb/sdb/removable", "0\n");
        tree.write("usb/sdb/ro", "1\n");
        tree.write("usb/sdc/size", "0\n");
        tree.holder("virtual/dm-0", "252:0", "usb/sdb");
        tree.write("virtual/dm-0/size", "2000\n");
        tree
    }

    fn paths(disks: &[DeviceInfo]) -> Vec<&str> {
        disks.iter().map(|disk| disk.path.to_str().unwrap()).collect()
    }

    #[test]
    fn disks_that_can_be_flashed_are_listed() {
        let tree = tree();
        let list = |which| tree.topology().disks(which, Path::new("/nonexistent"));
        assert_eq!(paths(&list(Disks::Removable)), ["/dev/sda"]);
        let all = list(Disks::All);
        assert_eq!(paths(&all), ["/dev/sda", "/dev/sdb"]);
        assert_eq!((all[0].size, all[0].read_only, all[1].read_only), (Some(2_048_000), false, true));
        assert!(all[0].usage.is_none() && matches!(&all[1].usage, Some(Usage::Held(_))));
    }

    #[test]
    fn a_partition_has_its_own_size_and_the_identity_of_its_disk() {
        let tree = tree(); // the attributes are read when they are asked for
        let topology =
            Topology { mounts: vec![Mount { number: number(8, 1), point: "/card".into() }], ..tree.topology() };
        let partition = topology.info(topology.device(number(8, 1)).unwrap(), &[]);
        assert_eq!((partition.size, partition.identity.size), (Some(512_000), Some(2_048_000)));
        assert_eq!(partition.partition_of.as_deref(), Some(Path::new("/dev/sda")));
        let mounted = Some(Usage::Mounted(vec![("/dev/sda1".into(), "/card".into())]));
        assert_eq!(partition.usage, mounted);
        assert_eq!(topology.disks(Disks::Removable, Path::new("/nonexistent"))[0].usage, mounted);
    }

    #[test]
    fn the_name_that_people_recognise_is_taken() {
        let (tree, directory) = (tree(), tempfile::tempdir().unwrap());
        for (name, device) in [
            ("wwn-0x5", "sda"),
            ("usb-SanDisk_Ultra_4C53-0:0", "sda"),
            ("scsi-SSanDisk_Ultra_4C53000000001", "sda"),
            ("usb-SanDisk_Ultra_4C53-0:0-part1", "sda1"),
            ("wwn-0x6\u{202e}", "sdb"),
        ] {
            symlink(format!("../../{device}"), directory.path().join(name)).unwrap();
        }
        let disks = tree.topology().disks(Disks::All, directory.path());
        let names: Vec<_> = disks.iter().map(|disk| disk.by_id.as_deref()).collect();
        assert_eq!(names, [Some("usb-SanDisk_Ultra_4C53-0:0"), Some("wwn-0x6\u{fffd}")]);
    }
}
