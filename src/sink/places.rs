//! Where bytes lie: those of a partition also in its disk, those of a loop device also in its file, and so on down.
//!
//! Two files or devices share bytes where both lie in the same bytes of something.

use std::io;

use super::sysfs::{Layer, Sysfs};
use crate::file_id::FileId;
use crate::range::ByteRange;

/// How deep devices may lie in each other. The kernel stops at about eight; a circle must not stop us.
const DEPTH: usize = 16;

/// Bytes of a file or device, which hold those of another one, or are its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The file or device.
    pub(super) id: FileId,
    /// How the one above lies in it; `None` for what was asked about.
    pub(super) layer: Option<Layer>,
    bytes: ByteRange,
    share: Share,
}

/// How much of the bytes of a place is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Share {
    /// All of them.
    All,
    /// Some, of which the kernel does not tell: those of a mapped device, or of a file on a file system. Two such shares are
    /// taken to have no byte in common. A file system sees to that, and so do LVM and cryptsetup, but not the kernel: what
    /// `dmsetup` is given by hand may overlap.
    Some,
}

/// The places of all bytes of `id`: itself first, then what it lies in, from the top down. The file systems of files are none.
pub(super) fn of(id: FileId, sysfs: &Sysfs) -> io::Result<Vec<Place>> {
    downward(Place { id, layer: None, bytes: ByteRange::ALL, share: Share::All }, sysfs)
}

/// The same, with the device that the file system of a file lies on.
pub(super) fn with_file_system(id: FileId, sysfs: &Sysfs) -> io::Result<Vec<Place>> {
    let mut places = of(id, sysfs)?;
    if let FileId::File { device, .. } = id {
        let id = FileId::BlockDevice { number: device };
        places.extend(downward(Place { id, layer: None, bytes: ByteRange::ALL, share: Share::Some }, sysfs)?);
    }
    Ok(places)
}

/// Whether any byte lies in both.
pub(super) fn overlap(one: &[Place], other: &[Place]) -> bool {
    let share_bytes = |one: &Place, other: &Place| {
        one.id == other.id && one.bytes.overlaps(other.bytes) && (one.share == Share::All || other.share == Share::All)
    };
    one.iter().any(|one| other.iter().any(|other| share_bytes(one, other)))
}

fn downward(top: Place, sysfs: &Sysfs) -> io::Result<Vec<Place>> {
    let mut places = vec![top];
    let mut layer = places.clone();
    for _ in 0..DEPTH {
        let below: io::Result<Vec<_>> = layer.iter().map(|place| place.directly_below(sysfs)).collect();
        layer = below?.concat();
        places.extend_from_slice(&layer);
    }
    Ok(places)
}

impl Place {
    /// What the bytes of this place lie in.
    fn directly_below(&self, sysfs: &Sysfs) -> io::Result<Vec<Self>> {
        let FileId::BlockDevice { number } = self.id else { return Ok(Vec::new()) };
        let Some(device) = sysfs.device(number)? else { return Ok(Vec::new()) };
        let place = |(id, layer)| match layer {
            Layer::Partition(window) | Layer::Loop(window) => {
                Self { id, layer: Some(layer), bytes: self.bytes.within(window), share: self.share }
            }
            Layer::Mapped => Self { id, layer: Some(layer), bytes: ByteRange::ALL, share: Share::Some },
        };
        Ok(device.lies_in()?.into_iter().map(place).collect())
    }
}
