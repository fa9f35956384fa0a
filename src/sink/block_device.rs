//! A block device as target.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::unistd::geteuid;

use super::claim::refuse_replaced;
use super::device_file::{Access, DeviceFile};
use super::positioned::{is_unsupported, steps, write_zeroes};
use super::tuning::{Tuning, Tunings};
use super::{
    Accept, BOOT_REGION, Discard, Error, FileId, Kind, ReadError, ReadPath, Request, Restore, Sink, SinkInfo,
    TargetReader, TargetState, WriteError, partitions,
};
use crate::device::{Claims, Device, Identity, SharedStorage, Topology};
use crate::event::{Observer, Outcome};
use crate::range::ByteRange;
use crate::sys::eintr::retry_on_eintr;

pub(super) struct BlockDevice {
    path: PathBuf,
    device: DeviceFile,
    scope: Scope,
    /// That of the disk that it is, or is a partition of.
    identity: Identity,
    capacity: u64,
    /// The size of a logical sector in bytes.
    sector: u32,
    observer: Arc<dyn Observer>,
    contents: Contents,
    /// Shared with what puts it back while the device is held up.
    tuning: Arc<Tuning>,
    /// Keep others away from what the device lies in.
    _claims: Claims,
}

/// How much of a disk the device is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    Disk,
    Partition,
}

/// What the device holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Contents {
    AsFound,
    /// Something has been written, zeroed or discarded, or that was begun.
    Changed,
}

impl BlockDevice {
    /// Checks that the device with this number is free and can be written to; then opens it, and claims it and the
    /// devices that it shares bytes with.
    pub(super) fn open(
        request: &Request<'_>,
        number: u64,
        shared: &SharedStorage<'_>,
        topology: &Topology,
        tunings: &Tunings,
    ) -> Result<Self, Error> {
        let path = request.path.to_owned();
        let Some(device) = topology.device(number) else { return Err(Error::UnknownDevice { path }) };
        let disk = topology.disk_of(device);
        let identity = Identity::of(disk);
        if request.accept == Accept::Removable {
            refuse_fixed(&path, &identity)?;
        }
        shared.refuse_used()?;
        let read_only = device.attribute("ro").map_err(|source| Error::Unclear { path: path.clone(), source })?;
        if read_only.as_deref() == Some("1") {
            return Err(Error::ReadOnly { path, force_ro: force_ro(disk) });
        }
        if request.discard == Discard::Yes && !discards(disk) {
            return Err(Error::CannotDiscard { path });
        }
        let opened = OpenOptions::new().read(true).write(true).custom_flags(libc::O_EXCL).open(&path);
        let mut file = opened.map_err(|source| open_error(path.clone(), source))?;
        refuse_replaced(&path, device.id(), &file)?;
        // Of two copies to devices that share bytes, both have opened theirs by now, so that one of them sees the
        // other.
        let claims = shared.claim(&*request.observer)?;
        let inspect = |source| Error::Access { path: path.clone(), action: "inspect", source };
        let capacity = file.seek(SeekFrom::End(0)).map_err(inspect)?;
        if capacity == 0 {
            return Err(Error::NoMedium { path });
        }
        let sector = sector_size(&file).map_err(inspect)?;
        Ok(Self {
            path,
            device: DeviceFile::new(file, sector, Access::Buffered),
            scope: if device == disk { Scope::Disk } else { Scope::Partition },
            tuning: Arc::new(Tuning::of(request.path, disk, tunings, Arc::clone(&request.observer))),
            identity,
            // A loop device may end within a sector, of which nothing can be read or written.
            capacity: capacity - capacity % u64::from(sector),
            sector,
            observer: Arc::clone(&request.observer),
            contents: Contents::AsFound,
            _claims: claims,
        })
    }

    /// The whole sectors of `range`; perhaps none.
    fn sectors_of(&self, range: ByteRange) -> ByteRange {
        let sector = u64::from(self.sector);
        // A start that no sector follows has none.
        let start = range.start.checked_next_multiple_of(sector).unwrap_or(u64::MAX);
        ByteRange { start, end: range.end.saturating_sub(range.end.checked_rem(sector).unwrap_or(0)).max(start) }
    }
}

impl Sink for BlockDevice {
    fn info(&self) -> SinkInfo {
        SinkInfo {
            capacity: Some(self.capacity),
            boot_region: BOOT_REGION.min(self.capacity),
            sector_size: Some(self.sector),
            identity: Some(self.identity.clone()),
            ..SinkInfo::of(Kind::BlockDevice)
        }
    }

    fn prepare(&mut self, _size: Option<u64>) -> io::Result<()> {
        self.tuning.apply();
        Ok(())
    }

    fn reader(&self) -> io::Result<TargetReader> {
        TargetReader::open(&self.path, FileId::of(&self.device.as_file().metadata()?), self.capacity)
    }

    fn write_at(&mut self, data: &[u8], offset: u64) -> Result<(), WriteError> {
        self.contents = Contents::Changed;
        self.device.write_at(data, offset)
    }

    fn read_at(&mut self, buf: &mut [u8], offset: u64) -> Result<(), ReadError> {
        self.device.read_at(buf, offset)
    }

    fn read_path(&self) -> ReadPath {
        self.device.read_path()
    }

    /// What does not lie on sectors is written.
    fn zero(&mut self, range: ByteRange) -> Result<u64, WriteError> {
        self.contents = Contents::Changed;
        let sectors = self.sectors_of(range);
        let zeroed = commands(self.device.as_file(), sectors, |device, range| {
            // SAFETY: BLKZEROOUT reads two numbers, from `range`, which outlives the call.
            unsafe { blkzeroout(device.as_raw_fd(), range) }
        });
        // The device does not know the command.
        let done = match zeroed {
            Ok(()) => sectors.end,
            Err(error) if is_unsupported(&error.source) || error.source.raw_os_error() == Some(libc::EINVAL) => {
                error.offset
            }
            Err(error) => return Err(error),
        };
        let edges = [
            ByteRange { end: range.end.min(sectors.start), ..range },
            ByteRange { start: done.max(range.start), ..range },
        ];
        edges.into_iter().try_for_each(|edge| write_zeroes(edge, |zeroes, offset| self.write_at(zeroes, offset)))?;
        Ok(range.len())
    }

    /// What does not lie on sectors is left as it is.
    fn discard(&mut self, range: ByteRange) -> Result<(), WriteError> {
        let discarded = commands(self.device.as_file(), self.sectors_of(range), |device, range| {
            // SAFETY: BLKDISCARD reads two numbers, from `range`, which outlives the call.
            unsafe { blkdiscard(device.as_raw_fd(), range) }
        });
        match discarded {
            Err(error) if is_unsupported(&error.source) => {
                Err(WriteError { source: io::ErrorKind::Unsupported.into(), ..error })
            }
            discarded => {
                self.contents = Contents::Changed;
                discarded
            }
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        self.device.as_file().sync_all()
    }

    fn restore(&self) -> Option<Restore> {
        let tuning = Arc::clone(&self.tuning);
        Some(Box::new(move || tuning.restore()))
    }

    fn note_restored(&mut self) {
        self.contents = Contents::AsFound;
    }

    fn finish(self: Box<Self>, outcome: Outcome) -> TargetState {
        self.tuning.restore();
        match (outcome, self.contents) {
            (Outcome::Failed, Contents::AsFound) => TargetState::Untouched,
            // What is at its start is known to who wrote it.
            (Outcome::Failed, Contents::Changed) => TargetState::MaybeBootable,
            (Outcome::Complete, _) => {
                if self.scope == Scope::Disk {
                    partitions::reread(self.device.as_file(), &self.path, &*self.observer);
                }
                TargetState::Complete
            }
        }
    }
}

// Both take a range of bytes, as its start and its length, that lies on sectors (linux/fs.h).
nix::ioctl_write_ptr_bad!(blkzeroout, nix::request_code_none!(0x12, 127), [u64; 2]);
nix::ioctl_write_ptr_bad!(blkdiscard, nix::request_code_none!(0x12, 119), [u64; 2]);

/// Gives the device a command about a range, in steps; an error comes with the offset of the step that failed.
fn commands(
    device: &File,
    range: ByteRange,
    command: impl Fn(&File, &[u64; 2]) -> nix::Result<libc::c_int>,
) -> Result<(), WriteError> {
    steps(range).try_for_each(|step| {
        let done = retry_on_eintr(|| command(device, &[step.start, step.len()]));
        done.map(drop).map_err(|source| WriteError { offset: step.start, source })
    })
}

/// Refuses a disk that the kernel does not call removable.
fn refuse_fixed(path: &Path, disk: &Identity) -> Result<(), Error> {
    let why = match disk.removable {
        Some(true) => return Ok(()),
        Some(false) => "it is a fixed disk",
        None => "the kernel does not say what it is",
    };
    Err(Error::NotRemovable { path: path.to_owned(), why })
}

/// Whether `disk` can discard, as far as the kernel says (Documentation/ABI/stable/sysfs-block).
fn discards(disk: &Device) -> bool {
    disk.attribute("queue/discard_max_bytes").ok().flatten().as_deref() != Some("0")
}

/// The setting that makes `disk` read-only, if that is what does it: the driver of eMMC protects its boot areas so
/// (Documentation/driver-api/mmc/mmc-dev-attrs.rst).
fn force_ro(disk: &Device) -> Option<PathBuf> {
    let is_set = disk.attribute("force_ro").ok().flatten().as_deref() == Some("1");
    is_set.then(|| disk.file("force_ro"))
}

fn open_error(path: PathBuf, source: io::Error) -> Error {
    match source.raw_os_error() {
        Some(libc::EBUSY) => Error::Busy { path },
        Some(libc::EACCES | libc::EPERM) if geteuid().is_root() => Error::Forbidden { path, source },
        Some(libc::EACCES | libc::EPERM) => Error::Denied { path },
        Some(libc::EROFS) => Error::ReadOnly { path, force_ro: None },
        Some(libc::ENOMEDIUM) => Error::NoMedium { path },
        _ => Error::Access { path, action: "open", source },
    }
}

/// The size of a logical sector in bytes, by BLKSSZGET (linux/fs.h).
fn sector_size(device: &File) -> io::Result<u32> {
    nix::ioctl_read_bad!(blksszget, libc::BLKSSZGET, libc::c_int);
    let mut bytes: libc::c_int = 0;
    // SAFETY: BLKSSZGET writes one int, into `bytes`, which is one and outlives the call.
    retry_on_eintr(|| unsafe { blksszget(device.as_raw_fd(), &raw mut bytes) })?;
    u32::try_from(bytes).ok().filter(|bytes| bytes.is_power_of_two()).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::device::fixture::{Tree, number};
    use crate::event::Silent;
    use crate::sink::positioned::write_all_at;

    #[test]
    fn a_partition_is_as_removable_as_its_disk() {
        let tree = Tree::new();
        let refusal = || {
            let topology = tree.topology();
            let partition = topology.device(number(8, 1)).unwrap();
            refuse_fixed(Path::new("/dev/sda1"), &Identity::of(topology.disk_of(partition)))
        };
        let unknown = refusal().unwrap_err().to_string();
        assert!(unknown.ends_with("the kernel does not say what it is"), "{unknown}");
        tree.write("usb/sda/removable", "0\n");
        let fixed = refusal().unwrap_err().to_string();
        assert!(fixed.ends_with("it is a fixed disk"), "{fixed}");
        tree.write("usb/sda/removable", "1\n");
        assert!(refusal().is_ok());
    }

    /// A file of 3 MiB of sevens, which answers to no command of a device, as one.
    fn device(access: Access) -> BlockDevice {
        let file = tempfile::tempfile().unwrap();
        write_all_at(&file, &vec![7; 3 << 20], 0).unwrap();
        BlockDevice {
            path: PathBuf::new(),
            device: DeviceFile::new(file, 512, access),
            scope: Scope::Partition,
            tuning: Arc::new(Tuning::of(Path::new(""), &Tree::new().disk(), &Tunings::default(), Arc::new(Silent))),
            identity: Identity::default(),
            capacity: 3 << 20,
            sector: 512,
            observer: Arc::new(Silent),
            contents: Contents::AsFound,
            _claims: Claims::default(),
        }
    }

    #[test]
    fn the_setting_that_makes_a_disk_read_only_is_found() {
        let tree = Tree::new();
        assert_eq!(force_ro(&tree.disk()), None);
        let setting = tree.write("usb/sda/force_ro", "1\n");
        assert_eq!(force_ro(&tree.disk()), Some(fs::canonicalize(&setting).unwrap()));
        tree.write("usb/sda/force_ro", "0\n");
        assert_eq!(force_ro(&tree.disk()), None);
    }

    #[test]
    fn a_disk_that_discards_nothing_at_once_cannot_discard() {
        let tree = Tree::new();
        assert!(discards(&tree.disk()), "an old kernel does not say");
        for (bytes, expected) in [("0\n", false), ("4096\n", true)] {
            tree.write("usb/sda/queue/discard_max_bytes", bytes);
            assert_eq!(discards(&tree.disk()), expected);
        }
    }

    #[test]
    fn a_device_without_commands_has_zeroes_written_and_cannot_discard() {
        for access in [Access::Buffered, Access::OnlyBuffered] {
            let mut device = device(access);
            let mut expected = vec![7; 3 << 20];
            for (start, end) in [(0, 512), (1000, 1001), (1500, 2000), (2047, 2_100_000), (5, 5)] {
                device.zero(ByteRange { start, end }).unwrap();
                expected[start as usize..end as usize].fill(0);
                let mut found = vec![1; 3 << 20];
                device.read_at(&mut found, 0).unwrap();
                assert!(found == expected, "{start}..{end}");
            }
            let error = device.discard(ByteRange { start: 1, end: 4096 }).unwrap_err();
            assert_eq!((error.offset, error.source.kind()), (512, io::ErrorKind::Unsupported));
            device.discard(ByteRange { start: 1, end: 1000 }).unwrap();
        }
    }
}
