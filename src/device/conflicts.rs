//! The devices that share bytes with a target: above it, below it and beside it.

use std::io;
use std::path::{Path, PathBuf};

use super::storage::{Level, StorageStack};
use super::topology::{Device, Layer, Topology};
use super::usage::{self, Usage};
use crate::sys::file_id::FileId;

/// The devices that share bytes with a target.
pub(crate) struct SharedStorage<'a> {
    pub(super) target: &'a Path,
    /// Where the bytes of the target are stored.
    pub(super) stack: &'a StorageStack,
    pub(super) topology: &'a Topology,
    /// The target, the disk that it is a partition of, and what is built on them; nothing where it is a file.
    own: Vec<&'a Device>,
    /// The devices that the target lies in, and others that are built on these.
    pub(super) others: Vec<&'a Device>,
}

/// Why the bytes of the device or file at `target` must not be written.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the variants say what their fields are")]
pub enum Conflict {
    /// It is used for something else.
    #[error("block device '{target}' is {usage}")]
    InUse { target: PathBuf, usage: Usage },
    /// It shares bytes with another device, which is used for something else; the usage names it.
    #[error("'{target}' shares its data with a device that is {usage}")]
    SharedInUse { target: PathBuf, usage: Usage },
    /// It lies in `device`, and another part of that is used for something else; the usage names it.
    #[error("'{target}' lies in '{device}', another part of which is {usage}")]
    PartInUse { target: PathBuf, device: PathBuf, usage: Usage },
    /// It shares bytes with `device`, which cannot be opened to find out whether it is used.
    #[error("'{target}' shares its data with '{device}', and it cannot be told whether that is in use")]
    SharedUnclear { target: PathBuf, device: PathBuf, source: io::Error },
    /// It shares bytes with `device`, which another program has opened exclusively.
    #[error("'{target}' shares its data with '{device}', in use by another program or mount namespace")]
    SharedBusy { target: PathBuf, device: PathBuf },
    /// It lies in `file`, which another copy writes to.
    #[error("'{target}' lies in the file '{file}', which is locked by another program, perhaps another copy")]
    FileLocked { target: PathBuf, file: PathBuf },
}

impl<'a> SharedStorage<'a> {
    /// Finds what shares bytes with `target`, whose bytes are those of `stack`.
    pub(crate) fn find(target: &'a Path, stack: &'a StorageStack, topology: &'a Topology) -> Self {
        let is_own = |level: &&Level| {
            matches!(level.id, FileId::BlockDevice { .. }) && matches!(level.layer, None | Some(Layer::Partition(_)))
        };
        let (own, below) = stack.levels.split_at(stack.levels.iter().take_while(is_own).count());
        let own = stacked_on(own, stack, topology);
        let mut others = stacked_on(below, stack, topology);
        others.retain(|device| !own.contains(device));
        Self { target, stack, topology, own, others }
    }

    /// Refuses a target that is in use, or that shares bytes with a device in use.
    pub(crate) fn refuse_used(&self) -> Result<(), Conflict> {
        let target = || self.target.to_owned();
        if let Some(usage) = self.usage(&self.own) {
            return Err(Conflict::InUse { target: target(), usage });
        }
        match self.usage(&self.others) {
            Some(usage) => Err(Conflict::SharedInUse { target: target(), usage }),
            None => Ok(()),
        }
    }

    /// What `devices` are used for, if anything.
    pub(super) fn usage(&self, devices: &[&Device]) -> Option<Usage> {
        usage::usage(devices, self.stack, self.topology)
    }

    /// Where the target is a partition: others of its disk that overlap with it, as in an isohybrid image, and what is
    /// built on these. A claim to one partition keeps others from the disk, but not from the other partitions.
    pub(super) fn siblings(&self) -> Vec<&'a Device> {
        match self.stack.levels.get(1).map(|level| level.layer) {
            Some(Some(Layer::Partition(_))) => self.beside(&self.own),
            _ => Vec::new(),
        }
    }

    /// The ones among `devices` that the target does not lie in.
    pub(super) fn beside(&self, devices: &[&'a Device]) -> Vec<&'a Device> {
        devices.iter().copied().filter(|device| !self.stack.contains(device.id())).collect()
    }
}

/// What the device at `path`, with this number, is used for, if anything.
pub(super) fn usage_in(topology: &Topology, path: &Path, number: u64) -> Option<Usage> {
    let stack = StorageStack::of(FileId::BlockDevice { number }, topology);
    let shared = SharedStorage::find(path, &stack, topology);
    shared.usage(&shared.own)
}

/// The devices among `bases`, and those built on `bases` that have bytes of `stack`; each after what it is built on.
fn stacked_on<'a>(bases: &[Level], stack: &StorageStack, topology: &'a Topology) -> Vec<&'a Device> {
    let mut bases: Vec<_> = bases.iter().map(|level| level.id).collect();
    let mut found: Vec<&Device> = Vec::new();
    for device in bases.iter().filter_map(|&base| topology.device_of(base)) {
        if !found.contains(&device) {
            found.push(device);
        }
    }
    while let Some(base) = bases.pop() {
        for (device, _) in topology.built_on(base) {
            if !found.contains(&device) && StorageStack::of(device.id(), topology).overlaps(stack) {
                found.push(device);
                bases.push(device.id());
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{disk, number};
    use super::*;

    /// A disk with two partitions, the second of which holds two logical volumes, `dm-0` and `dm-1`.
    fn devices(of_first: std::ops::Range<u64>) -> Vec<Device> {
        let sda = disk(8, 0).called("sda");
        let first = disk(8, 1).called("sda1").partition_of(&sda, of_first);
        let second = disk(8, 2).called("sda2").partition_of(&sda, 8..16);
        let volumes = [0, 1].map(|minor| disk(252, minor).called(&format!("dm-{minor}")).mapped_to(&second));
        [sda, first, second].into_iter().chain(volumes).collect()
    }

    fn names<'a>(devices: impl IntoIterator<Item = &'a Device>) -> String {
        let mut names: Vec<_> = devices.into_iter().map(|device| device.name.as_str()).collect();
        names.sort_unstable();
        names.join(" ")
    }

    /// The names of its own devices, of others and of siblings, of a target.
    fn shared(topology: &Topology, major: u32, minor: u32) -> [String; 3] {
        let stack = StorageStack::of(FileId::BlockDevice { number: number(major, minor) }, topology);
        let shared = SharedStorage::find(Path::new("target"), &stack, topology);
        [shared.own.clone(), shared.others.clone(), shared.siblings()].map(names)
    }

    #[test]
    fn devices_that_share_bytes_are_found_above_and_below() {
        let topology = Topology::of(devices(0..8));
        assert_eq!(shared(&topology, 8, 0), ["dm-0 dm-1 sda sda1 sda2", "", ""]);
        assert_eq!(shared(&topology, 8, 1), ["sda sda1", "", ""]);
        assert_eq!(shared(&topology, 8, 2)[..2], ["dm-0 dm-1 sda sda2", ""]);
        // The volumes lie in the same partition, but not in the same bytes of it.
        assert_eq!(shared(&topology, 252, 0), ["dm-0", "sda sda2", ""]);
    }

    #[test]
    fn partitions_with_the_same_bytes_are_siblings() {
        // The first has all of the disk, the second a part of that.
        let topology = Topology::of(devices(0..16));
        assert_eq!(shared(&topology, 8, 1)[2], "dm-0 dm-1 sda2");
        assert_eq!(shared(&topology, 8, 2)[2], "dm-0 dm-1 sda1");
        assert_eq!(shared(&topology, 8, 0)[2], "");
    }

    #[test]
    fn what_is_built_on_a_volume_shares_nothing_with_another_volume() {
        let mut devices = devices(0..8);
        devices.push(disk(252, 2).called("dm-2").mapped_to(&devices[4]));
        let topology = Topology::of(devices);
        assert_eq!(shared(&topology, 252, 0), ["dm-0", "sda sda2", ""]);
        assert_eq!(shared(&topology, 252, 1), ["dm-1 dm-2", "sda sda2", ""]);
    }

    #[test]
    fn loop_devices_over_a_file_share_their_bytes_with_it() {
        let file = FileId::File { device: 1, inode: 1 };
        let parts = [(0, 0..8), (1, 8..16), (2, 4..12)];
        let topology = Topology::of(parts.map(|(minor, bytes)| disk(7, minor).attached_to(file, bytes)).to_vec());
        let stack = StorageStack::of(file, &topology);
        assert_eq!(names(SharedStorage::find(Path::new("file"), &stack, &topology).others), "7:0 7:1 7:2");
        assert_eq!(shared(&topology, 7, 0), ["7:0", "7:2", ""]);
    }
}
