//! Claims to devices and files, which keep others from using them during a copy.
//!
//! Mounts, partitions, device-mapper and RAID open their devices with O_EXCL, as we do, and two such claims exclude
//! each other; all devices of device-mapper share one. Only loop devices have no claim to what they lie in. O_EXCL on a
//! loop device therefore does not protect what is below it, nor another loop device over the same file.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::conflicts::{Conflict, SharedStorage};
use super::topology::{Device, Driver, Layer};
use crate::event::{Notice, Observer};
use crate::sys::eintr::retry_on_eintr;
use crate::sys::file_id::FileId;
use crate::sys::missing::ok_if_missing_or_denied;

/// Which other locks a lock excludes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lock {
    /// All other copies, which would mix their image with this one.
    Exclusive,
    /// Copies to the file itself: those to other parts of it, as other devices show them, may go on.
    Shared,
}

/// Locks `file` (flock(2)) as long as it is open; returns `false` where another program has a lock. A file system
/// without locks keeps no one away.
pub(crate) fn lock(file: &File, lock: Lock) -> bool {
    let locked = retry_on_eintr(|| match lock {
        Lock::Exclusive => file.try_lock(),
        Lock::Shared => file.try_lock_shared(),
    });
    !locked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

/// Devices and files that are claimed as long as this lives.
#[derive(Default)]
pub(crate) struct Claims {
    devices: Vec<(u64, File)>,
    locked: Vec<File>,
}

impl SharedStorage<'_> {
    /// Keeps others away from all devices that share bytes with the target.
    ///
    /// # Errors
    ///
    /// Where another program has a claim to these bytes that sysfs does not show, such as a mount of another namespace.
    pub(crate) fn claim(&self, observer: &dyn Observer) -> Result<Claims, Conflict> {
        let mut claims = Claims::default();
        for level in &self.stack.levels {
            let Some(device) = self.topology.device_of(level.id) else { continue };
            if matches!(level.layer, Some(Layer::Loop(_))) {
                self.claim_device(device, &mut claims)?;
            }
            self.lock_backing_file(device, &mut claims)?;
        }
        for device in self.siblings() {
            self.claim_device(device, &mut claims)?;
        }
        for device in self.beside(&self.others) {
            // It is not in use, so it may stay attached.
            if self.claim_device(device, &mut claims)? {
                observer.notice(Notice::SharesData { device: &device.node(), target: self.target });
            }
        }
        Ok(claims)
    }

    /// Claims `device`: where it has partitions that share bytes with the target, only those. That keeps others from
    /// the whole device, but not from its other partitions, which may be in use. Returns whether there is a new claim,
    /// which there is not where there was one already or the device is gone.
    fn claim_device(&self, device: &Device, claims: &mut Claims) -> Result<bool, Conflict> {
        let partitions = self.topology.partitions_of(device);
        let mut wanted: Vec<_> = partitions.filter(|part| self.others.contains(part)).collect();
        if wanted.is_empty() {
            wanted.push(device);
        }
        let mut is_new = false;
        for part in wanted {
            // Several loop devices may lie in it, and the target in all of them.
            if claims.devices.iter().any(|(number, _)| *number == part.number) {
                continue;
            }
            match open_exclusively(part) {
                Ok(claim) => {
                    claims.devices.push((part.number, claim));
                    is_new = true;
                }
                Err(error) => match error.raw_os_error() {
                    Some(libc::EBUSY) => return Err(self.busy(device)),
                    Some(libc::ENXIO | libc::ENODEV) => {}
                    _ => return Err(self.unclear(part, error)),
                },
            }
        }
        Ok(is_new)
    }

    /// Why `device` cannot be claimed: perhaps a partition of it is in use, though that shares nothing with the target.
    fn busy(&self, device: &Device) -> Conflict {
        let mut parts: Vec<_> = self.topology.partitions_of(device).collect();
        for part in parts.clone() {
            let above = self.topology.built_on(part.id());
            parts.extend(above.filter(|(_, layer)| *layer == Layer::Mapped).map(|(mapped, _)| mapped));
        }
        let (target, device) = (self.target.to_owned(), device.node());
        match self.usage(&parts) {
            Some(usage) => Conflict::PartInUse { target, device, usage },
            None => Conflict::SharedBusy { target, device },
        }
    }

    /// Keeps copies away from the backing file of a loop device, if it can be found by its name in sysfs.
    fn lock_backing_file(&self, device: &Device, claims: &mut Claims) -> Result<(), Conflict> {
        let (Driver::Loop { backing, .. }, [(id @ FileId::File { .. }, _)]) = (&device.driver, &device.lies_in[..])
        else {
            return Ok(());
        };
        let Some(file) = open_file(backing, *id).map_err(|source| self.unclear(device, source))? else { return Ok(()) };
        if !lock(&file, Lock::Shared) {
            return Err(Conflict::FileLocked { target: self.target.to_owned(), file: backing.clone() });
        }
        claims.locked.push(file);
        Ok(())
    }

    fn unclear(&self, device: &Device, source: io::Error) -> Conflict {
        Conflict::SharedUnclear { target: self.target.to_owned(), device: device.node(), source }
    }
}

/// Opens the file `id` at `path`; `None` where that is missing, denied or another file.
fn open_file(path: &Path, id: FileId) -> io::Result<Option<File>> {
    let is_it = |found: &Metadata| FileId::of(found) == id;
    if !ok_if_missing_or_denied(fs::metadata(path))?.is_some_and(|found| is_it(&found)) {
        return Ok(None);
    }
    // It may have been replaced by a pipe, which must not block.
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let Some(file) = ok_if_missing_or_denied(opened)? else { return Ok(None) };
    Ok(is_it(&file.metadata()?).then_some(file))
}

/// Opens the node of `device` exclusively.
fn open_exclusively(device: &Device) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_EXCL).open(device.node())?;
    match FileId::of(&file.metadata()?) == device.id() {
        true => Ok(file),
        false => Err(io::Error::other("its node is that of another device")),
    }
}
