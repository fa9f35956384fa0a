//! The block devices of this machine, what each lies in, and what is mounted and used as swap: read once, from sysfs
//! (Documentation/ABI/stable/sysfs-block) and proc(5).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use super::loop_device::{self, Answer, Question};
use super::mounts::{self, Mount};
use crate::event::{Notice, Observer};
use crate::range::ByteRange;
use crate::sys::eintr::retry_on_eintr;
use crate::sys::file_id::FileId;
use crate::sys::missing::{ok_if_missing, ok_if_missing_or_denied};

/// The unit of sizes and of the starts of partitions in bytes, whatever the sectors of the device are.
pub(super) const SECTOR: u64 = 512;

/// A snapshot of the block devices and of who uses them.
#[derive(Default)]
pub(crate) struct Topology {
    /// In the order of their numbers.
    pub(super) devices: Vec<Device>,
    /// For each mounted btrfs, the numbers of the devices that it lies on: its mount names only one of them.
    pub(super) btrfs: Vec<Vec<u64>>,
    pub(super) mounts: Vec<Mount>,
    /// The numbers of the devices that are used as swap.
    pub(super) swaps: Vec<u64>,
    /// The numbers of the loop devices whose file does not answer.
    pub(super) silent: Vec<u64>,
    /// The numbers of the loop devices that there are, whether sysfs shows them or not; `None` where that is unknown.
    pub(super) loop_devices: Option<Vec<u64>>,
}

/// A block device: a whole disk or a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Device {
    pub(super) number: u64,
    /// As in `sda1`.
    pub(super) name: String,
    /// Its directory in sysfs, with no symbolic link in the path.
    pub(super) directory: PathBuf,
    /// The files and devices that its bytes lie in, and how.
    pub(super) lies_in: Vec<(FileId, Layer)>,
    pub(super) driver: Driver,
}

/// How a device lies in another one, or in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layer {
    /// It is a partition: these bytes of its disk. Who claims the one has a claim to the other.
    Partition(ByteRange),
    /// It is a loop device: these bytes of its file. Its driver has no claim to that.
    Loop(ByteRange),
    /// It is mapped to some of its bytes by device-mapper, RAID or the like, which has a claim to it.
    Mapped,
}

/// What drives a device, as far as that tells how to have it let go of what it is built on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Driver {
    /// The prefix of the UUID tells who set it up, as in `LVM-…`.
    DeviceMapper {
        name: String,
        uuid: String,
    },
    Raid,
    /// `backing` is the path of what is attached to it, in the mount namespace of the process that attached it, and
    /// `bytes` are those of it that it shows.
    Loop {
        backing: PathBuf,
        bytes: ByteRange,
    },
    Other,
}

impl Topology {
    /// Reads all of it.
    ///
    /// # Errors
    ///
    /// Where anything that exists cannot be read: an unknown device could be in use.
    pub(crate) fn read() -> io::Result<Self> {
        // Before sysfs, which shows all that there are by then.
        let loop_devices = loop_device::listed()?;
        let (mounts, swaps) = (mounts::mounts()?, mounts::swaps()?);
        Ok(Self { mounts, swaps, loop_devices, ..Self::of_sysfs(Path::new("/sys"))? })
    }

    /// The devices that the sysfs mounted at `root` shows.
    pub(super) fn of_sysfs(root: &Path) -> io::Result<Self> {
        // A container may have either list hidden.
        let lists = [devices_in(&root.join("dev/block"))?, devices_in(&root.join("class/block"))?];
        let listed: BTreeMap<_, _> = lists.into_iter().flatten().collect();
        let devices = listed.into_iter().map(|(number, directory)| Device::read(number, directory));
        let mut btrfs = Vec::new();
        for file_system in entries(&root.join("fs/btrfs"))? {
            btrfs.push(devices_in(&file_system.join("devices"))?.into_iter().map(|(number, _)| number).collect());
        }
        let mut topology = Self { devices: devices.collect::<io::Result<_>>()?, btrfs, ..Self::default() };
        topology.attach_loop_devices()?;
        Ok(topology)
    }

    /// Finds what the loop devices are attached to.
    fn attach_loop_devices(&mut self) -> io::Result<()> {
        let (mut attached, mut questions) = (Vec::new(), Vec::new());
        for (index, device) in self.devices.iter().enumerate() {
            if let Driver::Loop { backing, .. } = &device.driver {
                questions.push(Question::new(&device.node(), device.number, backing)?);
                attached.push((index, backing.clone()));
            }
        }
        let mut named = Vec::new();
        for ((index, name), answer) in attached.into_iter().zip(loop_device::ask(&questions)?) {
            match answer {
                Answer::Attached(file) => {
                    self.devices[index].attach_to(file);
                    named.push((name, file));
                }
                Answer::Unknown => {}
                Answer::Silent => self.silent.push(self.devices[index].number),
            }
        }
        named.iter().for_each(|(name, file)| self.name(*file, name));
        Ok(())
    }

    /// Makes known that `file` is called `name`: the loop devices that sysfs says to be attached to that, and of which
    /// nothing else could be found out, lie in it.
    pub(crate) fn name(&mut self, file: FileId, name: &Path) {
        let is_nameless = |device: &Device| {
            device.lies_in.is_empty() && matches!(&device.driver, Driver::Loop { backing, .. } if backing == name)
        };
        for device in self.devices.iter_mut().filter(|device| is_nameless(device)) {
            self.silent.retain(|number| *number != device.number);
            device.attach_to(file);
        }
    }

    /// Tells of the loop devices that are left out, because their files do not answer. What can be opened, such as a
    /// target, is none of these.
    pub(crate) fn tell(&self, observer: &dyn Observer) {
        for device in self.silent.iter().filter_map(|number| self.device(*number)) {
            if let Driver::Loop { backing, .. } = &device.driver {
                observer.notice(Notice::NoAnswer { device: &device.node(), file: backing });
            }
        }
    }

    /// Whether there are, or may be, loop devices that sysfs does not show: any file or device may be in use by them.
    pub(crate) fn hides_loop_devices(&self) -> bool {
        match &self.loop_devices {
            Some(numbers) => numbers.iter().any(|number| self.device(*number).is_none()),
            None => !self.has_devices(),
        }
    }

    /// Whether sysfs shows any device: one that is not mounted shows none.
    pub(crate) fn has_devices(&self) -> bool {
        !self.devices.is_empty()
    }

    /// The device with this number; `None` where sysfs does not show it.
    pub(crate) fn device(&self, number: u64) -> Option<&Device> {
        self.devices.iter().find(|device| device.number == number)
    }

    /// The device `id`; `None` where that is a file, or sysfs does not show it.
    pub(super) fn device_of(&self, id: FileId) -> Option<&Device> {
        match id {
            FileId::BlockDevice { number } => self.device(number),
            FileId::File { .. } => None,
        }
    }

    /// Whether it knows the device `id`; true for a file.
    pub(crate) fn knows(&self, id: FileId) -> bool {
        matches!(id, FileId::File { .. }) || self.device_of(id).is_some()
    }

    /// The whole disk: that of a partition, or the device itself.
    pub(crate) fn disk_of<'a>(&'a self, device: &'a Device) -> &'a Device {
        let disk = device.lies_in.iter().find(|(_, layer)| matches!(layer, Layer::Partition(_)));
        disk.and_then(|(disk, _)| self.device_of(*disk)).unwrap_or(device)
    }

    /// The devices directly above `base`, and how they lie in it.
    pub(super) fn built_on(&self, base: FileId) -> impl Iterator<Item = (&Device, Layer)> {
        let lies_in = self.devices.iter().flat_map(|device| device.lies_in.iter().map(move |below| (device, below)));
        lies_in.filter(move |(_, (below, _))| *below == base).map(|(device, (_, layer))| (device, *layer))
    }

    pub(super) fn partitions_of(&self, disk: &Device) -> impl Iterator<Item = &Device> {
        let above = self.built_on(disk.id());
        above.filter(|(_, layer)| matches!(layer, Layer::Partition(_))).map(|(device, _)| device)
    }
}

impl Device {
    fn read(number: u64, directory: PathBuf) -> io::Result<Self> {
        // A slash in a name stands as an exclamation mark, as in cciss!c0d0.
        let name = directory.file_name().unwrap_or_default().to_string_lossy().replace('!', "/");
        let mut device = Self { number, name, directory, lies_in: Vec::new(), driver: Driver::Other };
        let bases = devices_in(&device.file("slaves"))?.into_iter();
        device.lies_in.extend(bases.map(|(number, _)| (FileId::BlockDevice { number }, Layer::Mapped)));
        if !device.lies_in.is_empty() {
            device.driver = device.mapper();
        }
        if device.attribute("partition")?.is_some() {
            let layer = Layer::Partition(device.window("start", SECTOR)?);
            let disk = device.directory.parent().map(number_of).transpose()?.flatten();
            device.lies_in.extend(disk.map(|number| (FileId::BlockDevice { number }, layer)));
        }
        if let Some(mut backing) = ok_if_missing(fs::read(device.file("loop/backing_file")))? {
            backing.pop_if(|&mut last| last == b'\n');
            let backing = PathBuf::from(OsString::from_vec(backing));
            device.driver = Driver::Loop { backing, bytes: device.window("loop/offset", 1)? };
        }
        Ok(device)
    }

    /// Makes known which file or device it, a loop device, is attached to.
    fn attach_to(&mut self, file: FileId) {
        if let Driver::Loop { bytes, .. } = self.driver {
            self.lies_in.push((file, Layer::Loop(bytes)));
        }
    }

    /// Which device it is.
    pub(crate) fn id(&self) -> FileId {
        FileId::BlockDevice { number: self.number }
    }

    /// Its usual device node.
    pub(crate) fn node(&self) -> PathBuf {
        Path::new("/dev").join(&self.name)
    }

    /// The path of one of its attributes in sysfs.
    pub(crate) fn file(&self, attribute: &str) -> PathBuf {
        self.directory.join(attribute)
    }

    /// One of its attributes, without the spaces around it; `None` where it has none of this name.
    ///
    /// # Errors
    ///
    /// Where it cannot be read.
    pub(crate) fn attribute(&self, name: &str) -> io::Result<Option<String>> {
        attribute(&self.directory, name)
    }

    fn mapper(&self) -> Driver {
        let told = |name| self.attribute(name).ok().flatten();
        match told("dm/name") {
            Some(name) => Driver::DeviceMapper { name, uuid: told("dm/uuid").unwrap_or_default() },
            None if self.file("md").is_dir() => Driver::Raid,
            None => Driver::Other,
        }
    }

    /// The bytes of what it lies in: as many as its size, from the attribute `start` on, which is in this unit; all
    /// where sysfs does not say.
    fn window(&self, start: &str, unit: u64) -> io::Result<ByteRange> {
        let number = |name| io::Result::Ok(self.attribute(name)?.and_then(|text| text.parse::<u64>().ok()));
        let (Some(start), Some(sectors)) = (number(start)?, number("size")?) else { return Ok(ByteRange::ALL) };
        let start = start.saturating_mul(unit);
        Ok(ByteRange { start, end: start.saturating_add(sectors.saturating_mul(SECTOR)) })
    }
}

/// A device's number as the kernel writes it: `MAJOR:MINOR`.
pub(super) fn parse_number(text: &str) -> Option<u64> {
    let (major, minor) = text.split_once(':')?;
    Some(libc::makedev(major.parse().ok()?, minor.parse().ok()?))
}

fn attribute(directory: &Path, name: &str) -> io::Result<Option<String>> {
    let text = ok_if_missing(fs::read(directory.join(name)))?;
    // A descriptor that a device makes up need not be UTF-8.
    Ok(text.map(|text| String::from_utf8_lossy(&text).trim().to_owned()))
}

/// The number of the device whose directory this is; `None` where it is gone.
fn number_of(directory: &Path) -> io::Result<Option<u64>> {
    Ok(attribute(directory, "dev")?.as_deref().and_then(parse_number))
}

/// The paths of what is in `directory`; nothing where there is no such directory.
fn entries(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = ok_if_missing(retry_on_eintr(|| fs::read_dir(directory)))?;
    entries.into_iter().flatten().map(|entry| Ok(entry?.path())).collect()
}

/// The numbers and directories of the devices that the links in `directory` lead to, if they are still readable.
fn devices_in(directory: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut devices = Vec::new();
    for link in entries(directory)? {
        let Some(directory) = ok_if_missing_or_denied(fs::canonicalize(link))? else { continue };
        devices.extend(number_of(&directory)?.map(|number| (number, directory)));
    }
    Ok(devices)
}

#[cfg(test)]
mod tests {
    use std::slice;

    use super::super::fixture::{Tree, disk, number};
    use super::*;

    fn names<'a>(devices: impl IntoIterator<Item = &'a Device>) -> Vec<&'a str> {
        devices.into_iter().map(|device| device.name.as_str()).collect()
    }

    #[test]
    fn a_partition_lies_in_its_disk() {
        let tree = Tree::new();
        let topology = tree.topology();
        let [disk, partition] = [0, 1].map(|minor| topology.device(number(8, minor)).unwrap());
        assert_eq!((topology.disk_of(partition), topology.disk_of(disk)), (disk, disk));
        assert_eq!(names(topology.partitions_of(disk)), ["sda1"]);
        assert_eq!(partition.number, number(8, 1));
        assert_eq!(partition.node(), Path::new("/dev/sda1"));
        let on_disk = |bytes| [(FileId::BlockDevice { number: number(8, 0) }, Layer::Partition(bytes))];
        assert_eq!(partition.lies_in, on_disk(ByteRange::ALL));
        assert!(disk.lies_in.is_empty());
        tree.write("usb/sda/sda1/start", "2\n");
        tree.write("usb/sda/sda1/size", "3\n");
        let partition = tree.device_with(number(8, 1));
        assert_eq!(partition.lies_in, on_disk(ByteRange { start: 1024, end: 2560 }));
        assert_eq!(tree.topology().device(number(9, 0)), None);
    }

    #[test]
    fn devices_are_found_by_either_list() {
        let tree = Tree::new();
        let listed = tree.topology().devices;
        assert_eq!(names(&listed), ["sda", "sda1"]);
        tree.link("usb/sda", "class/block/sda");
        tree.link("usb/sda/sda1", "class/block/sda1");
        assert_eq!(tree.topology().devices, listed);
        fs::remove_dir_all(tree.root().join("dev")).unwrap();
        assert_eq!(tree.topology().devices, listed);
        assert!(tree.topology().has_devices());
        fs::remove_dir_all(tree.root().join("class")).unwrap();
        assert_eq!(tree.topology().device(number(8, 1)), None);
        assert!(!tree.topology().has_devices());
    }

    #[test]
    fn a_device_that_is_gone_is_left_out_and_one_that_cannot_be_read_is_an_error() {
        let tree = Tree::new();
        fs::remove_file(tree.root().join("devices/usb/sda/sda1/dev")).unwrap();
        assert_eq!(names(&tree.topology().devices), ["sda"]);
        fs::create_dir(tree.root().join("devices/usb/sda/sda1/dev")).unwrap();
        assert!(Topology::of_sysfs(tree.root()).is_err());
    }

    #[test]
    fn a_mapped_device_lies_in_those_below_it() {
        let tree = Tree::new();
        tree.holder("virtual/dm-0", "252:0", "usb/sda/sda1");
        let topology = tree.topology();
        let partition = FileId::BlockDevice { number: number(8, 1) };
        assert_eq!(topology.device(number(252, 0)).unwrap().lies_in, [(partition, Layer::Mapped)]);
        assert_eq!(names(topology.built_on(partition).map(|(device, _)| device)), ["dm-0"]);
    }

    #[test]
    fn a_loop_device_without_a_node_lies_in_the_file_of_its_name() {
        let tree = Tree::new();
        tree.device("virtual/none", "7:9999");
        let file = tree.write("file", "");
        tree.write("virtual/none/loop/backing_file", format!("{}\n", file.display()));
        tree.write("virtual/none/loop/offset", "1024\n");
        tree.write("virtual/none/size", "1\n");
        let device = tree.device_with(number(7, 9999));
        let window = ByteRange { start: 1024, end: 1536 };
        assert_eq!(device.lies_in, [(FileId::of(&fs::metadata(&file).unwrap()), Layer::Loop(window))]);
        assert_eq!(device.driver, Driver::Loop { backing: file, bytes: window });
    }

    #[test]
    fn a_loop_device_of_which_only_a_name_is_known_lies_in_the_file_of_that_name() {
        let named =
            |minor, name: &str| disk(7, minor).driven_by(Driver::Loop { backing: name.into(), bytes: ByteRange::ALL });
        let devices = Topology::of(vec![named(0, "/a"), named(1, "/b"), disk(8, 0)]);
        let mut topology = Topology { silent: vec![number(7, 0), number(7, 1)], ..devices };
        let file = FileId::File { device: 1, inode: 2 };
        topology.name(file, Path::new("/a"));
        assert_eq!(topology.devices[0].lies_in, [(file, Layer::Loop(ByteRange::ALL))]);
        assert!(topology.devices[1..].iter().all(|device| device.lies_in.is_empty()));
        assert_eq!(topology.silent, [number(7, 1)]);
        // What is known stays.
        topology.name(FileId::File { device: 1, inode: 3 }, Path::new("/a"));
        assert_eq!(topology.devices[0].lies_in.len(), 1);
    }

    #[test]
    fn loop_devices_that_sysfs_does_not_show_are_noticed() {
        let hides = |devices: &[Device], loop_devices| {
            Topology { loop_devices, ..Topology::of(devices.to_vec()) }.hides_loop_devices()
        };
        let (sda, loop0) = (disk(8, 0), disk(7, 0));
        assert!(hides(slice::from_ref(&sda), Some(vec![number(7, 0)])) && hides(&[], None));
        assert!(!hides(&[sda.clone(), loop0], Some(vec![number(7, 0)])));
        assert!(!hides(&[], Some(vec![])) && !hides(&[sda], None));
    }

    #[test]
    fn how_a_mapped_device_is_driven_is_read() {
        let tree = Tree::new();
        for (name, numbers) in [("dm-0", "252:0"), ("md127", "9:127"), ("bcache0", "250:0")] {
            tree.holder(&format!("virtual/{name}"), numbers, "usb/sda/sda1");
        }
        tree.write("virtual/dm-0/dm/name", "vg-root\n");
        tree.write("virtual/dm-0/dm/uuid", "LVM-abc");
        tree.write("virtual/md127/md/level", "raid1\n");
        let driver = |major, minor| tree.device_with(number(major, minor)).driver;
        assert_eq!(driver(252, 0), Driver::DeviceMapper { name: "vg-root".into(), uuid: "LVM-abc".into() });
        assert_eq!((driver(9, 127), driver(250, 0), driver(8, 0)), (Driver::Raid, Driver::Other, disk(8, 0).driver));
    }

    #[test]
    fn the_devices_of_a_btrfs_are_read() {
        let tree = Tree::new();
        tree.device("usb/sdb", "8:16");
        tree.link("usb/sda/sda1", "fs/btrfs/some-uuid/devices/sda1");
        tree.link("usb/sdb", "fs/btrfs/some-uuid/devices/sdb");
        let mut btrfs = tree.topology().btrfs;
        btrfs.iter_mut().for_each(|members| members.sort_unstable());
        assert_eq!(btrfs, [[number(8, 1), number(8, 16)]]);
    }
}
