//! A block device as target.
//!
//! It is written to directly, past the page cache, where offset, length and memory lie on its sectors; the unaligned rest
//! goes through the cache. One descriptor serves both, for O_EXCL holds the device for that descriptor alone.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::geteuid;

use super::aligned::ALIGNMENT;
use super::kin::Kin;
use super::places::Place;
use super::sysfs::{Device, Sysfs};
use super::tuning::Tuning;
use super::writeback::Writeback;
use super::{
    Accept, Error, Kind, ReadError, Request, Sink, SinkInfo, TargetState, WriteError, partitions, refuse_replaced,
    write_all_at,
};
use crate::event::Outcome;
use crate::file_id::FileId;
use crate::range::ByteRange;
use crate::retry::uninterrupted;

/// The boot region: where partition tables, boot loaders and the first superblock lie.
const BOOT_REGION: u64 = 1 << 20;

pub(super) struct BlockDevice {
    path: PathBuf,
    file: File,
    extent: Extent,
    /// The disk that it is, or is a part of.
    disk: Device,
    capacity: u64,
    /// The size of a logical sector in bytes.
    sector: u64,
    access: Access,
    writeback: Writeback,
    /// Once the copy has begun.
    tuning: Option<Tuning>,
    /// Keep others away from what the device lies in.
    _claims: Vec<File>,
}

/// What the device is of a disk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    Whole,
    Partition,
}

/// How the descriptor writes at the moment.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Direct,
    /// Through the page cache, until the next aligned write.
    Buffered,
    /// Through the page cache for good: the device does not take O_DIRECT.
    OnlyBuffered,
}

impl BlockDevice {
    /// Checks that the device with this number, the bytes of which lie in `places`, is free and can be written to; then opens
    /// it, and keeps everyone else from mounting or claiming it.
    pub(super) fn open(request: &Request<'_>, number: u64, places: &[Place], sysfs: &Sysfs) -> Result<Self, Error> {
        let path = request.path.to_owned();
        let unclear = |source| Error::Unclear { path: path.clone(), source };
        let Some(device) = sysfs.device(number).map_err(unclear)? else { return Err(Error::UnknownDevice { path }) };
        let disk = device.disk().map_err(unclear)?;
        if request.accept == Accept::Removable {
            refuse_fixed(&path, &disk)?;
        }
        let kin = Kin::find(&path, places, sysfs)?;
        kin.refuse_used()?;
        if device.attribute("ro").map_err(unclear)?.as_deref() == Some("1") {
            return Err(Error::ReadOnly { path });
        }
        let extent = if device == disk { Extent::Whole } else { Extent::Partition };
        let mut file = match OpenOptions::new().read(true).write(true).custom_flags(libc::O_EXCL).open(&path) {
            Ok(file) => file,
            Err(source) => return Err(open_error(path, source)),
        };
        refuse_replaced(&path, FileId::BlockDevice { number }, &file)?;
        // Two copies to devices that share bytes both have theirs by now, so that one of them sees the other.
        let claims = kin.claim()?;
        let inspect = |source| Error::Access { path: path.clone(), action: "inspect", source };
        let capacity = file.seek(SeekFrom::End(0)).map_err(inspect)?;
        if capacity == 0 {
            return Err(Error::NoMedium { path });
        }
        let sector = sector_size(&file).map_err(inspect)?;
        let access = Access::Buffered;
        let writeback = Writeback::default();
        Ok(Self { path, file, extent, disk, capacity, sector, access, writeback, tuning: None, _claims: claims })
    }

    /// Writes the bytes that lie on sectors, from the first on; returns how many there were.
    fn write_direct(&mut self, buf: &[u8], offset: u64) -> Result<usize, WriteError> {
        let sector = usize::try_from(self.sector).unwrap_or(ALIGNMENT);
        let aligned = offset.is_multiple_of(self.sector) && buf.as_ptr().addr().is_multiple_of(sector);
        let length = buf.len().checked_rem(sector).filter(|_| aligned).map_or(0, |rest| buf.len().saturating_sub(rest));
        let Some(whole) = buf.get(..length).filter(|whole| !whole.is_empty()) else { return Ok(0) };
        if !self.switch_to(Access::Direct) {
            return Ok(0);
        }
        match write_all_at(&self.file, whole, offset) {
            // Some drivers notice only now that they cannot.
            Err(error) if error.source.raw_os_error() == Some(libc::EINVAL) => {
                self.switch_to(Access::OnlyBuffered);
                Ok(0)
            }
            result => result.map(|()| length),
        }
    }

    fn write_buffered(&mut self, buf: &[u8], offset: u64) -> Result<(), WriteError> {
        self.switch_to(Access::Buffered);
        write_all_at(&self.file, buf, offset)?;
        let bytes = ByteRange { start: offset, end: offset.saturating_add(buf.len() as u64) };
        self.writeback.written(&self.file, bytes)
    }

    /// Changes the way of writing, unless the device knows only one; returns whether it is now the one wanted.
    fn switch_to(&mut self, wanted: Access) -> bool {
        if self.access == wanted || self.access == Access::OnlyBuffered {
            return self.access == wanted;
        }
        let flags = if wanted == Access::Direct { OFlag::O_DIRECT } else { OFlag::empty() };
        self.access = match fcntl(&self.file, FcntlArg::F_SETFL(flags)) {
            Ok(_) => wanted,
            Err(_) => Access::OnlyBuffered,
        };
        self.access == wanted
    }
}

impl Sink for BlockDevice {
    fn info(&self) -> SinkInfo {
        let boot_region = BOOT_REGION.min(self.capacity);
        SinkInfo { kind: Kind::BlockDevice, capacity: Some(self.capacity), boot_region }
    }

    fn prepare(&mut self, _size: Option<u64>) -> io::Result<()> {
        self.tuning = Some(Tuning::apply(&self.disk));
        Ok(())
    }

    fn write_at(&mut self, data: &[u8], offset: u64) -> Result<(), WriteError> {
        let done = self.write_direct(data, offset)?;
        match data.get(done..) {
            Some(rest) if !rest.is_empty() => self.write_buffered(rest, offset.saturating_add(done as u64)),
            _ => Ok(()),
        }
    }

    fn read_at(&mut self, buf: &mut [u8], offset: u64) -> Result<(), ReadError> {
        self.file.read_exact_at(buf, offset).map_err(|source| ReadError { offset, source })
    }

    fn zero(&mut self, range: ByteRange) -> Result<(), WriteError> {
        Err(WriteError { offset: range.start, source: io::ErrorKind::Unsupported.into() })
    }

    fn discard(&mut self, range: ByteRange) -> Result<(), WriteError> {
        Err(WriteError { offset: range.start, source: io::ErrorKind::Unsupported.into() })
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_all()
    }

    fn finish(mut self: Box<Self>, outcome: Outcome) -> TargetState {
        let Some(tuning) = &mut self.tuning else { return TargetState::Untouched };
        tuning.restore();
        if outcome == Outcome::Failed {
            return TargetState::BootRegionZero;
        }
        if self.extent == Extent::Whole {
            partitions::reread(&self.file, &self.path);
        }
        TargetState::Complete
    }
}

/// Refuses a disk that the kernel does not call removable. An SD card in a slot of its own is called fixed, as an eMMC is
/// (type `MMC`), but can be taken out.
fn refuse_fixed(path: &Path, disk: &Device) -> Result<(), Error> {
    let why = match disk.attribute_if_told("removable").as_deref() {
        Some("1") => return Ok(()),
        Some(_) if disk.attribute_if_told("device/type").as_deref() == Some("SD") => return Ok(()),
        Some(_) => "it is a fixed disk",
        None => "the kernel does not say what it is",
    };
    Err(Error::NotRemovable { path: path.to_owned(), why })
}

fn open_error(path: PathBuf, source: io::Error) -> Error {
    match source.raw_os_error() {
        Some(libc::EBUSY) => Error::Busy { path },
        Some(libc::EACCES | libc::EPERM) if geteuid().is_root() => Error::Forbidden { path, source },
        Some(libc::EACCES | libc::EPERM) => Error::Denied { path },
        Some(libc::EROFS) => Error::ReadOnly { path },
        Some(libc::ENOMEDIUM) => Error::NoMedium { path },
        _ => Error::Access { path, action: "open", source },
    }
}

/// The size of a logical sector, by BLKSSZGET (linux/fs.h).
fn sector_size(device: &File) -> io::Result<u64> {
    nix::ioctl_read_bad!(blksszget, libc::BLKSSZGET, libc::c_int);
    let mut bytes: libc::c_int = 0;
    // SAFETY: BLKSSZGET writes one int, to a place that is one and outlives the call.
    uninterrupted(|| unsafe { blksszget(device.as_raw_fd(), &raw mut bytes) })?;
    u64::try_from(bytes).ok().filter(|&bytes| bytes > 0).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::super::sysfs::tests::Tree;
    use super::*;

    #[test]
    fn a_partition_is_as_removable_as_its_disk() {
        let tree = Tree::new();
        let disk = tree.device_with(libc::makedev(8, 1)).disk().unwrap();
        let refusal = || refuse_fixed(Path::new("/dev/sda1"), &disk);
        let unknown = refusal().unwrap_err().to_string();
        assert!(unknown.ends_with("the kernel does not say what it is"), "{unknown}");
        tree.write("usb/sda/removable", "0\n");
        let fixed = refusal().unwrap_err().to_string();
        assert!(fixed.ends_with("it is a fixed disk"), "{fixed}");
        tree.write("usb/sda/removable", "1\n");
        assert!(refusal().is_ok());
    }

    #[test]
    fn of_what_the_mmc_driver_calls_fixed_a_card_can_be_taken_out() {
        let tree = Tree::new();
        tree.write("usb/sda/removable", "0\n");
        let disk = tree.device_with(libc::makedev(8, 0));
        for (kind, is_accepted) in [("MMC", false), ("0", false), ("SD", true)] {
            tree.write("usb/sda/device/type", &format!("{kind}\n"));
            assert_eq!(refuse_fixed(Path::new("/dev/mmcblk0"), &disk).is_ok(), is_accepted, "{kind}");
        }
    }
}
