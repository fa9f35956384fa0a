//! Claims to devices and files, which keep others from using them during a copy.
//!
//! What the kernel builds on a device has a claim to it, as O_EXCL gives us one, and two claims exclude each other; all devices
//! of device-mapper have one in common. Only a loop device has none to what it lies in. So whoever uses what is below a loop
//! device, or another one beside it, does not notice us, nor does the kernel keep us from each other.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use super::conflicts::{Conflict, SharedStorage};
use super::topology::{Device, Driver, Layer};
use crate::event::{Notice, Observer};
use crate::sys::eintr::retry_on_eintr;
use crate::sys::file_id::FileId;
use crate::sys::missing::ok_if_missing_or_denied;

/// Whom a lock keeps away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lock {
    /// All other copies, which would mix their image with this one.
    Exclusive,
    /// Copies to the file itself: those to other parts of it, as other devices show them, may go on.
    Shared,
}

/// Locks `file` (flock(2)) as long as it is open, for the kernel lets any number of programs write to one; returns whether
/// nobody is in the way. A file system that knows no locks keeps nobody away.
pub(crate) fn lock(file: &File, lock: Lock) -> bool {
    let kind = match lock {
        Lock::Exclusive => libc::LOCK_EX,
        Lock::Shared => libc::LOCK_SH,
    };
    // SAFETY: flock takes a descriptor, which is open, and a number.
    let locked = retry_on_eintr(|| match unsafe { libc::flock(file.as_raw_fd(), kind | libc::LOCK_NB) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    });
    !locked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

/// What others are kept away from, as long as this lives.
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
    /// Where somebody has a claim to these bytes whom nothing else tells of, such as a mount of another namespace.
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
            // Nobody uses it, so it stays attached.
            if self.claim_device(device, &mut claims)? {
                observer.notice(Notice::SharesData { device: &device.node(), target: self.target });
            }
        }
        Ok(claims)
    }

    /// Claims `device`: where it has partitions that share bytes with the target, only those. That keeps others from all of
    /// it, but not from its other partitions, which may be in use. Returns whether there is a new claim: none where there was
    /// one already, or where the device is gone.
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

    /// Why there is no claim to `device`: perhaps there is one to a partition of it, though that shares nothing with the target.
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

    /// Keeps copies away from the file that a loop device shows, if the name that we have for it is the right one.
    fn lock_backing_file(&self, device: &Device, claims: &mut Claims) -> Result<(), Conflict> {
        match self.open_backing_file(device).map_err(|source| self.unclear(device, source))? {
            Some((name, file)) if !lock(&file, Lock::Shared) => {
                Err(Conflict::FileLocked { target: self.target.to_owned(), file: name })
            }
            opened => {
                claims.locked.extend(opened.map(|(_, file)| file));
                Ok(())
            }
        }
    }

    fn open_backing_file(&self, device: &Device) -> io::Result<Option<(PathBuf, File)>> {
        let (Driver::Loop { backing }, [(file @ FileId::File { .. }, _)]) = (&device.driver, &device.lies_in[..])
        else {
            return Ok(None);
        };
        let is_it = |found: &Metadata| FileId::of(found) == *file;
        if !ok_if_missing_or_denied(fs::metadata(backing))?.is_some_and(|found| is_it(&found)) {
            return Ok(None);
        }
        // What has taken its place by now may be a pipe, which is not to be waited for.
        let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(backing);
        let Some(opened) = ok_if_missing_or_denied(opened)? else { return Ok(None) };
        Ok(is_it(&opened.metadata()?).then(|| (backing.clone(), opened)))
    }

    fn unclear(&self, device: &Device, source: io::Error) -> Conflict {
        Conflict::SharedUnclear { target: self.target.to_owned(), device: device.node(), source }
    }
}

/// Opens the node of `device`, which nobody else has a claim to then.
fn open_exclusively(device: &Device) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_EXCL).open(device.node())?;
    match FileId::of(&file.metadata()?) == device.id() {
        true => Ok(file),
        false => Err(io::Error::other("its node is that of another device")),
    }
}
