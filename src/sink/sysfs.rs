//! Block devices as the kernel shows them in sysfs (Documentation/ABI/stable/sysfs-block).

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::existing::{if_exists, if_visible};
use crate::file_id::FileId;
use crate::range::ByteRange;
use crate::retry::uninterrupted;

/// The unit of sizes and of the starts of partitions in bytes, whatever the sectors of the device are.
const SECTOR: u64 = 512;

/// Where sysfs is mounted.
pub(super) struct Sysfs {
    root: PathBuf,
}

/// How a device lies in another one, or in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layer {
    /// It is a partition: these bytes of its disk. Who claims the one has a claim to the other.
    Partition(ByteRange),
    /// It is a loop device: these bytes of its file. Its driver has no claim to that.
    Loop(ByteRange),
    /// It is mapped to some of its bytes by device-mapper, RAID or the like, which has a claim to it.
    Mapped,
}

/// A block device: a whole disk or a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Device {
    /// Its folder, with no symbolic link in it.
    folder: PathBuf,
}

impl Sysfs {
    pub(super) fn new() -> Self {
        Self { root: PathBuf::from("/sys") }
    }

    /// A tree that a test made.
    #[cfg(test)]
    pub(super) fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Whether it can be asked about devices at all.
    pub(super) fn has_devices(&self) -> io::Result<bool> {
        Ok(!entries(&self.by_number())?.is_empty() || !entries(&self.disks())?.is_empty())
    }

    /// The list of all devices by their numbers. A container may have it hidden, or the other one.
    fn by_number(&self) -> PathBuf {
        self.root.join("dev/block")
    }

    /// The list of all disks by their names.
    fn disks(&self) -> PathBuf {
        self.root.join("block")
    }

    /// The device with this number; `None` where sysfs does not show it.
    pub(super) fn device(&self, number: u64) -> io::Result<Option<Device>> {
        let (major, minor) = (libc::major(number), libc::minor(number));
        match Device::at(self.by_number().join(format!("{major}:{minor}")))? {
            // Numbers of this major are those of file systems that lie on no device.
            None if major != 0 => self.search(number),
            device => Ok(device),
        }
    }

    /// The same, among the disks and their partitions.
    fn search(&self, number: u64) -> io::Result<Option<Device>> {
        for disk in devices_in(&self.disks())? {
            let partitions = disk.partitions()?;
            for device in [vec![disk], partitions].concat() {
                if device.number()? == Some(number) {
                    return Ok(Some(device));
                }
            }
        }
        Ok(None)
    }

    /// The device `id`; `None` where that is a file, or sysfs does not show it.
    pub(super) fn device_of(&self, id: FileId) -> io::Result<Option<Device>> {
        match id {
            FileId::BlockDevice { number } => self.device(number),
            FileId::File { .. } => Ok(None),
        }
    }

    /// Whether it shows `id`, if that is a device.
    pub(super) fn shows(&self, id: FileId) -> io::Result<bool> {
        Ok(matches!(id, FileId::File { .. }) || self.device_of(id)?.is_some())
    }

    /// The loop devices, each with the file or device that is attached to it.
    pub(super) fn loops(&self) -> io::Result<Vec<(Device, FileId)>> {
        let mut devices = devices_in(&self.disks())?;
        for device in devices_in(&self.by_number())? {
            if !devices.contains(&device) {
                devices.push(device);
            }
        }
        let mut loops = Vec::new();
        for device in devices {
            if let Some(file) = device.backing_file()? {
                loops.push((device, file));
            }
        }
        Ok(loops)
    }

    /// The numbers of all devices of the btrfs file systems that are mounted and lie on one of `numbers`. A mount of such
    /// a file system names only one of its devices.
    pub(super) fn btrfs_companions(&self, numbers: &[u64]) -> io::Result<Vec<u64>> {
        let mut companions = Vec::new();
        for file_system in entries(&self.root.join("fs/btrfs"))? {
            let members = numbers_of(&devices_in(&file_system.join("devices"))?)?;
            if members.iter().any(|number| numbers.contains(number)) {
                companions.extend(members);
            }
        }
        Ok(companions)
    }
}

impl Device {
    fn at(link: PathBuf) -> io::Result<Option<Self>> {
        Ok(if_visible(fs::canonicalize(link))?.map(|folder| Self { folder }))
    }

    /// Its name, as in `sda1`.
    pub(super) fn name(&self) -> String {
        // A slash in a name stands as an exclamation mark, as in cciss!c0d0.
        self.folder.file_name().map(|name| name.to_string_lossy().replace('!', "/")).unwrap_or_default()
    }

    /// Its usual device node.
    pub(super) fn node(&self) -> PathBuf {
        Path::new("/dev").join(self.name())
    }

    /// One of its attributes; `None` where it has no such one.
    pub(super) fn attribute(&self, name: &str) -> io::Result<Option<String>> {
        Ok(if_exists(fs::read_to_string(self.file(name)))?.map(|text| text.trim_end().to_owned()))
    }

    /// The same, for those who can do without it.
    pub(super) fn attribute_if_told(&self, name: &str) -> Option<String> {
        self.attribute(name).ok().flatten()
    }

    /// Whether it has such an attribute, or group of them.
    fn has(&self, attribute: &str) -> io::Result<bool> {
        Ok(if_exists(fs::metadata(self.file(attribute)))?.is_some())
    }

    /// Where one of its attributes stands.
    pub(super) fn file(&self, attribute: &str) -> PathBuf {
        self.folder.join(attribute)
    }

    /// Its number.
    pub(super) fn number(&self) -> io::Result<Option<u64>> {
        Ok(self.attribute("dev")?.as_deref().and_then(parse_number))
    }

    /// Which device it is.
    pub(super) fn id(&self) -> io::Result<Option<FileId>> {
        Ok(self.number()?.map(|number| FileId::BlockDevice { number }))
    }

    fn is_partition(&self) -> io::Result<bool> {
        self.has("partition")
    }

    /// The whole disk: a partition's parent, or the device itself.
    pub(super) fn disk(&self) -> io::Result<Self> {
        Ok(match self.folder.parent() {
            Some(parent) if self.is_partition()? => Self { folder: parent.to_owned() },
            _ => self.clone(),
        })
    }

    /// Its partitions.
    pub(super) fn partitions(&self) -> io::Result<Vec<Self>> {
        let mut partitions = Vec::new();
        for child in entries(&self.folder)?.into_iter().map(|folder| Self { folder }) {
            if child.is_partition()? {
                partitions.push(child);
            }
        }
        Ok(partitions)
    }

    /// The devices that the kernel has built on this one: device-mapper, RAID and the like, but not loop devices.
    pub(super) fn holders(&self) -> io::Result<Vec<Self>> {
        devices_in(&self.folder.join("holders"))
    }

    /// What its bytes lie in: a partition's disk, the devices under a device-mapper or RAID device, a loop device's file.
    pub(super) fn lies_in(&self) -> io::Result<Vec<(FileId, Layer)>> {
        let mut below = Vec::new();
        for device in devices_in(&self.folder.join("slaves"))? {
            below.extend(device.id()?.map(|id| (id, Layer::Mapped)));
        }
        if self.is_partition()? {
            let bytes = self.window("start", SECTOR)?;
            below.extend(self.disk()?.id()?.map(|disk| (disk, Layer::Partition(bytes))));
        }
        if let Some(file) = self.backing_file()? {
            below.push((file, Layer::Loop(self.window("loop/offset", 1)?)));
        }
        Ok(below)
    }

    /// The name of the file or device that a loop device is attached to, as it was then in the mount namespace of whoever
    /// did it.
    pub(super) fn backing_name(&self) -> io::Result<Option<PathBuf>> {
        let text = if_exists(fs::read(self.file("loop/backing_file")))?;
        Ok(text.map(|mut text| {
            text.pop_if(|&mut last| last == b'\n');
            PathBuf::from(OsString::from_vec(text))
        }))
    }

    /// The file or device that a loop device is attached to.
    pub(super) fn backing_file(&self) -> io::Result<Option<FileId>> {
        let Some(name) = self.backing_name()? else { return Ok(None) };
        let number = self.number()?;
        let is_it = |node: &File| node.metadata().is_ok_and(|metadata| Some(metadata.rdev()) == number);
        match if_visible(File::open(self.node()))?.filter(is_it).and_then(|node| loop_status(&node)) {
            Some(asked) => Ok(Some(asked)),
            // The name may be one of another mount namespace, or gone, while the file lives on under another.
            None => Ok(if_visible(fs::metadata(name))?.as_ref().map(FileId::of)),
        }
    }

    /// Which bytes it shows of what it lies in: as many as its size, from where the attribute `start` says in this unit; all
    /// where sysfs does not say.
    fn window(&self, start: &str, unit: u64) -> io::Result<ByteRange> {
        let number = |name| io::Result::Ok(self.attribute(name)?.and_then(|text| text.parse::<u64>().ok()));
        let (Some(start), Some(sectors)) = (number(start)?, number("size")?) else { return Ok(ByteRange::ALL) };
        let start = start.saturating_mul(unit);
        Ok(ByteRange { start, end: start.saturating_add(sectors.saturating_mul(SECTOR)) })
    }
}

/// A device's number as sysfs writes it: `MAJOR:MINOR`.
fn parse_number(text: &str) -> Option<u64> {
    let (major, minor) = text.split_once(':')?;
    Some(libc::makedev(major.parse().ok()?, minor.parse().ok()?))
}

fn numbers_of(devices: &[Device]) -> io::Result<Vec<u64>> {
    devices.iter().filter_map(|device| device.number().transpose()).collect()
}

/// The paths of what is in `folder`, in order; nothing where there is no such folder.
fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let Some(entries) = if_exists(uninterrupted(|| fs::read_dir(folder)))? else { return Ok(Vec::new()) };
    let mut paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

/// The devices that the symbolic links in `folder` lead to.
fn devices_in(folder: &Path) -> io::Result<Vec<Device>> {
    entries(folder)?.into_iter().filter_map(|link| Device::at(link).transpose()).collect()
}

/// The file or device that a loop device is attached to, by LOOP_GET_STATUS64 (linux/loop.h).
fn loop_status(device: &File) -> Option<FileId> {
    /// `struct loop_info64`.
    #[repr(C)]
    struct LoopInfo {
        device: u64,
        inode: u64,
        /// The number of a block device that is attached, or 0.
        backing_number: u64,
        _rest: [u64; 26],
    }
    const LOOP_GET_STATUS64: libc::c_ulong = 0x4c05;
    nix::ioctl_read_bad!(loop_get_status64, LOOP_GET_STATUS64, LoopInfo);

    let mut info = LoopInfo { device: 0, inode: 0, backing_number: 0, _rest: [0; 26] };
    // SAFETY: LOOP_GET_STATUS64 writes one `loop_info64`, 232 bytes, to a place that is one and outlives the call.
    unsafe { loop_get_status64(device.as_raw_fd(), &raw mut info) }.ok()?;
    Some(match info.backing_number {
        0 => FileId::File { device: info.device, inode: info.inode },
        number => FileId::BlockDevice { number },
    })
}

#[cfg(test)]
pub(super) mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A sysfs tree with one disk, 8:0 (`sda`), and its partition 8:1, and what a test adds.
    pub(in crate::sink) struct Tree {
        pub(in crate::sink) folder: tempfile::TempDir,
    }

    impl Tree {
        pub(in crate::sink) fn new() -> Self {
            let tree = Self { folder: tempfile::tempdir().unwrap() };
            tree.device("usb/sda", "8:0");
            tree.device("usb/sda/sda1", "8:1");
            tree.write("usb/sda/sda1/partition", "1\n");
            tree
        }

        pub(in crate::sink) fn sysfs(&self) -> Sysfs {
            Sysfs::at(self.folder.path())
        }

        /// The device with this number.
        pub(in crate::sink) fn device_with(&self, number: u64) -> Device {
            self.sysfs().device(number).unwrap().unwrap()
        }

        pub(in crate::sink) fn device(&self, place: &str, numbers: &str) {
            self.write(&format!("{place}/dev"), &format!("{numbers}\n"));
            self.link(place, &format!("dev/block/{numbers}"));
        }

        /// A device that is built on the one at `base`.
        pub(in crate::sink) fn holder(&self, place: &str, numbers: &str, base: &str) {
            let name = |place: &str| place.rsplit('/').next().unwrap().to_owned();
            self.device(place, numbers);
            self.link(base, &format!("devices/{place}/slaves/{}", name(base)));
            self.link(place, &format!("devices/{base}/holders/{}", name(place)));
        }

        /// Writes a file below devices/.
        pub(in crate::sink) fn write(&self, place: &str, text: &str) -> PathBuf {
            let path = self.folder.path().join("devices").join(place);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            path
        }

        /// Makes `link` lead to a place below devices/.
        pub(in crate::sink) fn link(&self, place: &str, link: &str) {
            let link = self.folder.path().join(link);
            fs::create_dir_all(link.parent().unwrap()).unwrap();
            symlink(self.folder.path().join("devices").join(place), link).unwrap();
        }
    }

    fn names(devices: &[Device]) -> Vec<String> {
        devices.iter().map(Device::name).collect()
    }

    #[test]
    fn a_partition_lies_in_its_disk() {
        let tree = Tree::new();
        let disk = tree.device_with(libc::makedev(8, 0));
        let partition = tree.device_with(libc::makedev(8, 1));
        assert!(partition.is_partition().unwrap() && !disk.is_partition().unwrap());
        assert_eq!(partition.disk().unwrap(), disk);
        assert_eq!(names(&disk.partitions().unwrap()), ["sda1"]);
        assert_eq!(partition.number().unwrap(), Some(libc::makedev(8, 1)));
        assert_eq!(partition.node(), Path::new("/dev/sda1"));
        let on_disk = |bytes| [(FileId::BlockDevice { number: libc::makedev(8, 0) }, Layer::Partition(bytes))];
        assert_eq!(partition.lies_in().unwrap(), on_disk(ByteRange::ALL));
        tree.write("usb/sda/sda1/start", "2\n");
        tree.write("usb/sda/sda1/size", "3\n");
        assert_eq!(partition.lies_in().unwrap(), on_disk(ByteRange { start: 1024, end: 2560 }));
        assert_eq!(tree.sysfs().device(libc::makedev(9, 0)).unwrap(), None);
    }

    #[test]
    fn devices_are_found_by_either_list() {
        let tree = Tree::new();
        let number = libc::makedev(8, 1);
        let listed = tree.device_with(number);
        tree.link("usb/sda", "block/sda");
        fs::remove_dir_all(tree.folder.path().join("dev")).unwrap();
        assert_eq!(tree.device_with(number), listed);
        assert!(tree.sysfs().has_devices().unwrap());
        fs::remove_dir_all(tree.folder.path().join("block")).unwrap();
        assert_eq!(tree.sysfs().device(number).unwrap(), None);
        assert!(!tree.sysfs().has_devices().unwrap());
    }

    #[test]
    fn a_mapped_device_lies_in_those_below_it() {
        let tree = Tree::new();
        tree.holder("virtual/dm-0", "252:0", "usb/sda/sda1");
        let mapped = tree.device_with(libc::makedev(252, 0));
        let partition = FileId::BlockDevice { number: libc::makedev(8, 1) };
        assert_eq!(mapped.lies_in().unwrap(), [(partition, Layer::Mapped)]);
        assert_eq!(names(&tree.device_with(libc::makedev(8, 1)).holders().unwrap()), ["dm-0"]);
    }

    #[test]
    fn the_devices_of_a_btrfs_are_found_by_any_of_them() {
        let tree = Tree::new();
        tree.device("usb/sdb", "8:16");
        tree.link("usb/sda/sda1", "fs/btrfs/some-uuid/devices/sda1");
        tree.link("usb/sdb", "fs/btrfs/some-uuid/devices/sdb");
        let (one, other) = (libc::makedev(8, 1), libc::makedev(8, 16));
        assert_eq!(tree.sysfs().btrfs_companions(&[other]).unwrap(), [one, other]);
        assert!(tree.sysfs().btrfs_companions(&[libc::makedev(8, 0)]).unwrap().is_empty());
    }
}
