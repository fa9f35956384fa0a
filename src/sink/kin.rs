//! Who else has the bytes of a target: the devices above it, below it and beside it.
//!
//! What the kernel builds on a device has a claim to it, as O_EXCL gives us one, and two claims exclude each other; all devices
//! of device-mapper have one in common. Only a loop device has none to what it lies in. So whoever uses what is below a loop
//! device, or another one beside it, does not notice us, nor does the kernel keep us from each other.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::Error;
use super::existing::if_visible;
use super::in_use::{self, Usage};
use super::lock::Lock;
use super::places::{self, Place, overlap};
use super::sysfs::{Device, Layer, Sysfs};
use crate::file_id::FileId;

/// The devices that share bytes with a target.
pub(super) struct Kin<'a> {
    target: &'a Path,
    /// Where the bytes of the target lie.
    places: &'a [Place],
    /// The target, the disk that it is a partition of, and what is built on them; nothing where it is a file.
    own: Vec<Device>,
    /// What the target lies in, and what else is built on that.
    others: Vec<Device>,
    sysfs: &'a Sysfs,
}

impl<'a> Kin<'a> {
    /// Those of `target`, the bytes of which lie in `places`.
    pub(super) fn find(target: &'a Path, places: &'a [Place], sysfs: &'a Sysfs) -> Result<Self, Error> {
        let unclear = |source| Error::Unclear { path: target.to_owned(), source };
        let is_own = |place: &&Place| {
            matches!(place.id, FileId::BlockDevice { .. }) && matches!(place.layer, None | Some(Layer::Partition(_)))
        };
        let (own, below) = places.split_at(places.iter().take_while(is_own).count());
        let mut search = Search { places, sysfs, loops: sysfs.loops().map_err(unclear)?, found: Vec::new() };
        search.upward(own).map_err(unclear)?;
        let end = search.found.len();
        search.upward(below).map_err(unclear)?;
        let others = search.found.split_off(end);
        Ok(Self { target, places, own: search.found, others, sysfs })
    }

    /// What the target lies in, and what else is built on that.
    pub(super) fn others(&self) -> &[Device] {
        &self.others
    }

    /// Refuses a target that is used under one of its names, or whose bytes are.
    pub(super) fn refuse_used(&self) -> Result<(), Error> {
        let path = || self.target.to_owned();
        if let Some(usage) = self.usage(&self.own)? {
            return Err(Error::InUse { path: path(), usage });
        }
        match self.usage(&self.others)? {
            Some(usage) => Err(Error::SharedInUse { path: path(), usage }),
            None => Ok(()),
        }
    }

    fn usage(&self, devices: &[Device]) -> Result<Option<Usage>, Error> {
        let unclear = |source| Error::Unclear { path: self.target.to_owned(), source };
        in_use::usage(devices, self.places, self.sysfs).map_err(unclear)
    }

    /// Keeps others away from what the target lies in, as long as what is returned is open; refuses a target whose bytes
    /// somebody has a claim to whom nothing else tells of, such as a mount of another namespace.
    pub(super) fn claim(&self) -> Result<Vec<File>, Error> {
        let unclear = |source| Error::Unclear { path: self.target.to_owned(), source };
        let mut claims = Claims::default();
        let mut locks = Vec::new();
        for place in self.places {
            let Some(device) = self.sysfs.device_of(place.id).map_err(unclear)? else { continue };
            if matches!(place.layer, Some(Layer::Loop(_))) {
                self.claim_device(&device, &mut claims)?;
            }
            locks.extend(self.lock_file_of(&device)?);
        }
        for device in self.siblings().map_err(unclear)? {
            self.claim_device(device, &mut claims)?;
        }
        for device in self.beside(&self.others).map_err(unclear)? {
            // It is left to others, for nobody uses it now.
            if self.claim_device(device, &mut claims)? == News::Claimed {
                let (device, target) = (device.node(), self.target.display());
                log::warn!(
                    "'{}' shares data with '{target}': it may show what was there before, until it is detached",
                    device.display()
                );
            }
        }
        Ok(claims.files.into_iter().chain(locks).collect())
    }

    /// Where the target is a partition: others of its disk that have bytes of it, as those of an isohybrid image have. A claim to
    /// one partition keeps others from the disk, but not from the other partitions.
    fn siblings(&self) -> io::Result<Vec<&Device>> {
        match self.places.get(1).map(|place| place.layer) {
            Some(Some(Layer::Partition(_))) => self.beside(&self.own),
            _ => Ok(Vec::new()),
        }
    }

    /// Those of `devices` that the target does not lie in.
    fn beside<'d>(&self, devices: &'d [Device]) -> io::Result<Vec<&'d Device>> {
        let mut beside = Vec::new();
        for device in devices {
            let id = device.id()?;
            if !self.places.iter().any(|place| Some(place.id) == id) {
                beside.push(device);
            }
        }
        Ok(beside)
    }

    /// Claims `device`, unless it is gone: where it has partitions that share bytes with the target, only those. That keeps
    /// others from all of it, but not from its other partitions, which may be in use.
    fn claim_device(&self, device: &Device, claims: &mut Claims) -> Result<News, Error> {
        let mut parts = device.partitions().map_err(|source| self.unclear(device, source))?;
        parts.retain(|part| self.others.contains(part));
        if parts.is_empty() {
            parts.push(device.clone());
        }
        let mut news = News::Nothing;
        for part in parts {
            // Several loop devices may lie in it, and the target in all of them.
            if claims.devices.contains(&part) {
                continue;
            }
            match open_exclusively(&part) {
                Ok(claim) => {
                    claims.files.push(claim);
                    claims.devices.push(part);
                    news = News::Claimed;
                }
                Err(error) => match error.raw_os_error() {
                    Some(libc::EBUSY) => return Err(self.busy(device)?),
                    Some(libc::ENXIO | libc::ENODEV) => {}
                    _ => return Err(self.unclear(&part, error)),
                },
            }
        }
        Ok(news)
    }

    /// Why there is no claim to `device`: perhaps there is one to a partition of it, though that shares nothing with the target.
    fn busy(&self, device: &Device) -> Result<Error, Error> {
        let unclear = |source| self.unclear(device, source);
        let mut parts = device.partitions().map_err(unclear)?;
        for part in parts.clone() {
            parts.extend(part.holders().map_err(unclear)?);
        }
        let (path, device) = (self.target.to_owned(), device.node());
        Ok(match self.usage(&parts)? {
            Some(usage) => Error::PartInUse { path, device, usage },
            None => Error::SharedBusy { path, device },
        })
    }

    /// Keeps copies away from the file that a loop device shows, if our name for it is the right one.
    fn lock_file_of(&self, device: &Device) -> Result<Option<File>, Error> {
        let Some((name, file)) = self.open_file_of(device).map_err(|source| self.unclear(device, source))? else {
            return Ok(None);
        };
        if Lock::Shared.take(&file) {
            Ok(Some(file))
        } else {
            Err(Error::FileLocked { path: self.target.to_owned(), file: name })
        }
    }

    fn open_file_of(&self, device: &Device) -> io::Result<Option<(PathBuf, File)>> {
        let Some(name) = device.backing_name()? else { return Ok(None) };
        let is_it = |found: &Metadata| {
            let id = FileId::of(found);
            found.is_file() && self.places.iter().any(|place| place.id == id)
        };
        if !if_visible(fs::metadata(&name))?.is_some_and(|found| is_it(&found)) {
            return Ok(None);
        }
        // What has taken its place by now may be a pipe, which is not to be waited for.
        let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&name);
        let Some(file) = if_visible(opened)? else { return Ok(None) };
        Ok(is_it(&file.metadata()?).then_some((name, file)))
    }

    fn unclear(&self, device: &Device, source: io::Error) -> Error {
        Error::SharedUnclear { path: self.target.to_owned(), device: device.node(), source }
    }
}

/// Devices that others are kept away from, as long as the files are open.
#[derive(Default)]
struct Claims {
    devices: Vec<Device>,
    files: Vec<File>,
}

/// What has come of a claim.
#[derive(Clone, Copy, PartialEq, Eq)]
enum News {
    Claimed,
    /// It was there already, or the device is gone.
    Nothing,
}

/// Opens the node of `device`, which nobody else has a claim to then.
fn open_exclusively(device: &Device) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_EXCL).open(device.node())?;
    if Some(FileId::of(&file.metadata()?)) == device.id()? {
        Ok(file)
    } else {
        Err(io::Error::other("its node is that of another device"))
    }
}

/// Gathers the devices whose bytes lie where those of a target do.
struct Search<'a> {
    places: &'a [Place],
    sysfs: &'a Sysfs,
    /// All loop devices, and what they lie in.
    loops: Vec<(Device, FileId)>,
    found: Vec<Device>,
}

impl Search<'_> {
    /// Finds `bases`, and what is built on them.
    fn upward(&mut self, bases: &[Place]) -> io::Result<()> {
        let mut bases: Vec<_> = bases.iter().map(|place| place.id).collect();
        for &base in &bases {
            let device = self.sysfs.device_of(base)?;
            self.found.extend(device.filter(|device| !self.found.contains(device)));
        }
        while let Some(base) = bases.pop() {
            for device in self.directly_above(base)? {
                let Some(id) = device.id()? else { continue };
                if !self.found.contains(&device) && overlap(&places::of(id, self.sysfs)?, self.places) {
                    self.found.push(device);
                    bases.push(id);
                }
            }
        }
        Ok(())
    }

    fn directly_above(&self, base: FileId) -> io::Result<Vec<Device>> {
        let attached = self.loops.iter().filter(|(_, file)| *file == base).map(|(device, _)| device.clone());
        let mut above: Vec<_> = attached.collect();
        if let Some(device) = self.sysfs.device_of(base)? {
            above.extend(device.holders()?);
            above.extend(device.partitions()?);
        }
        Ok(above)
    }
}

#[cfg(test)]
mod tests {
    use super::super::sysfs::tests::Tree;
    use super::*;

    /// The tree of two partitions, of which the second holds two logical volumes, `dm-0` and `dm-1`.
    fn tree() -> Tree {
        let tree = Tree::new();
        tree.device("usb/sda/sda2", "8:2");
        for (place, text) in
            [("sda1/start", "0"), ("sda1/size", "8"), ("sda2/partition", "2"), ("sda2/start", "8"), ("sda2/size", "8")]
        {
            tree.write(&format!("usb/sda/{place}"), text);
        }
        tree.holder("virtual/dm-0", "252:0", "usb/sda/sda2");
        tree.holder("virtual/dm-1", "252:1", "usb/sda/sda2");
        tree
    }

    /// The names of the kin of a target.
    fn kin(tree: &Tree, major: u32, minor: u32) -> [String; 2] {
        let sysfs = tree.sysfs();
        let places = places::of(FileId::BlockDevice { number: libc::makedev(major, minor) }, &sysfs).unwrap();
        let kin = Kin::find(Path::new("target"), &places, &sysfs).unwrap();
        [kin.own, kin.others].map(|devices| {
            let mut names: Vec<_> = devices.iter().map(Device::name).collect();
            names.sort();
            names.join(" ")
        })
    }

    #[test]
    fn kin_are_those_that_share_bytes() {
        let tree = tree();
        assert_eq!(kin(&tree, 8, 0), ["dm-0 dm-1 sda sda1 sda2", ""]);
        assert_eq!(kin(&tree, 8, 1), ["sda sda1", ""]);
        assert_eq!(kin(&tree, 8, 2), ["dm-0 dm-1 sda sda2", ""]);
        // The volumes lie in the same partition, but not in the same bytes of it.
        assert_eq!(kin(&tree, 252, 0), ["dm-0", "sda sda2"]);
    }

    #[test]
    fn partitions_with_the_same_bytes_are_siblings() {
        let tree = tree();
        let siblings = |number| {
            let sysfs = tree.sysfs();
            let places = places::of(FileId::BlockDevice { number: libc::makedev(8, number) }, &sysfs).unwrap();
            let kin = Kin::find(Path::new("target"), &places, &sysfs).unwrap();
            let mut names: Vec<_> = kin.siblings().unwrap().into_iter().map(Device::name).collect();
            names.sort();
            names
        };
        assert_eq!(siblings(1), [""; 0]);
        // The first has all of the disk, the second a part of that.
        tree.write("usb/sda/sda1/size", "16");
        assert_eq!(siblings(1), ["dm-0", "dm-1", "sda2"]);
        assert_eq!(siblings(2), ["dm-0", "dm-1", "sda1"]);
        assert_eq!(siblings(0), [""; 0]);
    }

    #[test]
    fn what_is_built_on_a_volume_is_no_kin_of_another() {
        let tree = tree();
        tree.holder("virtual/dm-2", "252:2", "virtual/dm-1");
        assert_eq!(kin(&tree, 252, 0), ["dm-0", "sda sda2"]);
        assert_eq!(kin(&tree, 252, 1), ["dm-1 dm-2", "sda sda2"]);
    }
}
