//! Topologies for tests: made by hand, or read from a tree that looks like sysfs.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::topology::{Device, Driver, Layer, Topology};
use crate::range::ByteRange;
use crate::sys::file_id::FileId;

/// The number of a device.
pub(crate) fn number(major: u32, minor: u32) -> u64 {
    libc::makedev(major, minor)
}

/// A device that lies in nothing, called `MAJOR:MINOR`.
pub(super) fn disk(major: u32, minor: u32) -> Device {
    Device {
        number: number(major, minor),
        name: format!("{major}:{minor}"),
        directory: PathBuf::new(),
        lies_in: Vec::new(),
        driver: Driver::Other,
    }
}

impl Device {
    /// The same, in these bytes of `disk`.
    pub(super) fn partition_of(mut self, disk: &Self, bytes: std::ops::Range<u64>) -> Self {
        self.lies_in.push((disk.id(), Layer::Partition(ByteRange { start: bytes.start, end: bytes.end })));
        self
    }

    /// The same, mapped to `base`.
    pub(super) fn mapped_to(mut self, base: &Self) -> Self {
        self.lies_in.push((base.id(), Layer::Mapped));
        self
    }

    /// The same, a loop device over these bytes of `base`.
    pub(super) fn attached_to(mut self, base: FileId, bytes: std::ops::Range<u64>) -> Self {
        let bytes = ByteRange { start: bytes.start, end: bytes.end };
        self.lies_in.push((base, Layer::Loop(bytes)));
        self.driver = Driver::Loop { backing: "/none".into(), bytes };
        self
    }

    pub(super) fn driven_by(mut self, driver: Driver) -> Self {
        self.driver = driver;
        self
    }

    pub(super) fn called(mut self, name: &str) -> Self {
        self.name = name.to_owned();
        self
    }
}

impl Topology {
    pub(super) fn of(devices: Vec<Device>) -> Self {
        Self { devices, ..Self::default() }
    }
}

/// A sysfs tree with one disk, 8:0 (`sda`), and its partition 8:1, and what a test adds.
pub(crate) struct Tree {
    root: tempfile::TempDir,
}

impl Tree {
    pub(crate) fn new() -> Self {
        let tree = Self { root: tempfile::tempdir().unwrap() };
        tree.device("usb/sda", "8:0");
        tree.device("usb/sda/sda1", "8:1");
        tree.write("usb/sda/sda1/partition", "1\n");
        tree
    }

    pub(super) fn root(&self) -> &Path {
        self.root.path()
    }

    pub(crate) fn topology(&self) -> Topology {
        Topology::of_sysfs(self.root()).unwrap()
    }

    /// The device with this number.
    pub(crate) fn device_with(&self, number: u64) -> Device {
        self.topology().device(number).unwrap().clone()
    }

    /// The disk `sda`.
    pub(crate) fn disk(&self) -> Device {
        self.device_with(number(8, 0))
    }

    /// Adds a device, in this directory below devices/.
    pub(super) fn device(&self, directory: &str, numbers: &str) {
        self.write(&format!("{directory}/dev"), format!("{numbers}\n"));
        self.link(directory, &format!("dev/block/{numbers}"));
    }

    /// Adds a device that is built on the one at `base`.
    pub(super) fn holder(&self, directory: &str, numbers: &str, base: &str) {
        self.device(directory, numbers);
        self.link(base, &format!("devices/{directory}/slaves/{}", base.rsplit('/').next().unwrap()));
    }

    /// Writes a file below devices/.
    pub(crate) fn write(&self, file: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.root().join("devices").join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// Makes `link` lead to a directory below devices/.
    pub(super) fn link(&self, directory: &str, link: &str) {
        let link = self.root().join(link);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(self.root().join("devices").join(directory), link).unwrap();
    }
}
