//! Where bytes are stored: those of a partition also in its disk, those of a loop device also in its file, and so on.
//!
//! Two files or devices share bytes where both lie in the same bytes of something.

use std::path::Path;

use super::topology::{Device, Driver, Layer, Topology};
use crate::range::ByteRange;
use crate::sys::file_id::FileId;

/// How deep devices may be stacked. The kernel stops at about eight; this ends the search in a circle.
const DEPTH: usize = 16;

/// The bytes of a file or device: in itself first, then in what it lies in, from the top down.
#[derive(Clone, Debug)]
pub(crate) struct StorageStack {
    pub(super) levels: Vec<Level>,
}

/// Bytes of one file or device of a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Level {
    pub(super) id: FileId,
    /// How the level above lies in this one; `None` at the top.
    pub(super) layer: Option<Layer>,
    bytes: ByteRange,
    coverage: Coverage,
}

/// How much of a range of bytes is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coverage {
    Whole,
    /// Unknown bytes of it: those of a mapped device, or of a file on a file system. Two such parts are assumed to have
    /// no byte in common, as file systems, LVM and cryptsetup make sure; mappings by `dmsetup` itself may overlap.
    Part,
}

/// How a source and the target share bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// They are one file or device.
    Same,
    /// The target lies in the source: it is a loop device over it, or a partition of it.
    TargetInSource,
    /// The source lies in the target, or is a file on a file system that does.
    SourceInTarget,
    /// Both lie in the same bytes of something else: they are two loop devices over one file, say.
    Overlapping,
    /// They, or what they lie in, have all the signs of one file that two file systems show.
    Alias,
}

impl StorageStack {
    /// The stack of all bytes of `id`. It does not include the file system of a file.
    pub(crate) fn of(id: FileId, topology: &Topology) -> Self {
        Self { levels: downward(id, Coverage::Whole, topology) }
    }

    /// The same, with what the file system of a file lies on.
    fn with_file_system(id: FileId, topology: &Topology) -> Self {
        let mut stack = Self::of(id, topology);
        if let FileId::File { device, .. } = id {
            stack.levels.extend(downward(FileId::BlockDevice { number: device }, Coverage::Part, topology));
        }
        stack
    }

    pub(super) fn contains(&self, id: FileId) -> bool {
        self.levels.iter().any(|level| level.id == id)
    }

    /// A loop device in it of which it is not known what it lies in, because that does not answer.
    pub(crate) fn silent_device<'a>(&self, topology: &'a Topology) -> Option<&'a Device> {
        let mut devices = self.levels.iter().filter_map(|level| topology.device_of(level.id));
        devices.find(|device| topology.silent.contains(&device.number))
    }

    /// The names of the files that loop devices in it are attached to.
    pub(crate) fn backing_files<'a>(&self, topology: &'a Topology) -> impl Iterator<Item = &'a Path> {
        let devices = self.levels.iter().filter_map(|level| topology.device_of(level.id));
        devices.filter_map(|device| match &device.driver {
            Driver::Loop { backing, .. } => Some(backing.as_path()),
            _ => None,
        })
    }

    /// Whether any byte lies in both.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        self.levels.iter().any(|one| other.levels.iter().any(|other| one.overlaps(other)))
    }
}

/// How `input`, which is read, and `target`, whose bytes are those of `stack`, share bytes; `None` where they do not.
pub(crate) fn source_overlap(
    target: FileId,
    stack: &StorageStack,
    input: FileId,
    topology: &Topology,
) -> Option<Sharing> {
    let source = StorageStack::with_file_system(input, topology);
    source.overlaps(stack).then(|| match () {
        () if input == target => Sharing::Same,
        () if stack.contains(input) => Sharing::TargetInSource,
        () if source.contains(target) => Sharing::SourceInTarget,
        () => Sharing::Overlapping,
    })
}

fn downward(id: FileId, coverage: Coverage, topology: &Topology) -> Vec<Level> {
    let mut levels = vec![Level { id, layer: None, bytes: ByteRange::ALL, coverage }];
    let mut lowest = levels.clone();
    for _ in 0..DEPTH {
        lowest = lowest.iter().flat_map(|level| level.below(topology)).collect();
        levels.extend_from_slice(&lowest);
    }
    levels
}

impl Level {
    /// What the bytes of this level lie in.
    fn below(self, topology: &Topology) -> impl Iterator<Item = Self> {
        let lies_in = topology.device_of(self.id).map_or(&[][..], |device| &device.lies_in);
        lies_in.iter().map(move |&(id, layer)| match layer {
            Layer::Partition(window) | Layer::Loop(window) => {
                Self { id, layer: Some(layer), bytes: self.bytes.within(window), coverage: self.coverage }
            }
            Layer::Mapped => Self { id, layer: Some(layer), bytes: ByteRange::ALL, coverage: Coverage::Part },
        })
    }

    fn overlaps(&self, other: &Self) -> bool {
        let is_whole = self.coverage == Coverage::Whole || other.coverage == Coverage::Whole;
        self.id == other.id && self.bytes.overlaps(other.bytes) && is_whole
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{disk, number};
    use super::*;

    const FILE: FileId = FileId::File { device: 7, inode: 1 };

    fn sharing(topology: &Topology, target: FileId, input: FileId) -> Option<Sharing> {
        source_overlap(target, &StorageStack::of(target, topology), input, topology)
    }

    #[test]
    fn a_source_shares_bytes_through_partitions_loop_devices_and_file_systems() {
        let sda = disk(8, 0);
        let [one, two] = [(1, 0..8), (2, 8..16)].map(|(minor, bytes)| disk(8, minor).partition_of(&sda, bytes));
        let [all, upper] = [(0, 0..16), (1, 4..12)].map(|(minor, bytes)| disk(7, minor).attached_to(sda.id(), bytes));
        let (id, on_one) =
            ([&sda, &one, &two, &all, &upper].map(|device| device.id()), FileId::File { device: one.number, inode: 1 });
        let [sda_id, one_id, two_id, all_id, upper_id] = id;
        let topology = Topology::of(vec![sda, one, two, all, upper]);
        let cases = [
            (sda_id, sda_id, Some(Sharing::Same)),
            (one_id, sda_id, Some(Sharing::TargetInSource)),
            (sda_id, one_id, Some(Sharing::SourceInTarget)),
            (one_id, two_id, None),
            (all_id, one_id, Some(Sharing::Overlapping)),
            (upper_id, two_id, Some(Sharing::Overlapping)),
            (one_id, on_one, Some(Sharing::SourceInTarget)),
            (sda_id, on_one, Some(Sharing::SourceInTarget)),
            (two_id, on_one, None),
            (FILE, FILE, Some(Sharing::Same)),
            (FILE, on_one, None),
        ];
        for (target, input, expected) in cases {
            assert_eq!(sharing(&topology, target, input), expected, "{target:?} {input:?}");
        }
    }

    #[test]
    fn parts_of_a_device_that_are_mapped_share_nothing_with_each_other() {
        let sda = disk(8, 0);
        let [one, other] = [0, 1].map(|minor| disk(252, minor).mapped_to(&sda));
        let [below, one_id, other_id] = [&sda, &one, &other].map(|device| device.id());
        let topology = Topology::of(vec![sda, one, other]);
        assert_eq!(sharing(&topology, one_id, other_id), None);
        assert_eq!(sharing(&topology, one_id, below), Some(Sharing::TargetInSource));
    }

    #[test]
    fn a_circle_of_devices_ends() {
        let (one, other) = (disk(7, 0), disk(7, 1));
        let other = other.attached_to(one.id(), 0..8);
        let one = one.attached_to(other.id(), 0..8);
        let id = FileId::BlockDevice { number: number(7, 0) };
        let stack = StorageStack::of(id, &Topology::of(vec![one, other]));
        assert!(stack.contains(id) && stack.levels.len() <= DEPTH + 1);
    }
}
