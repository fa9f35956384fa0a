//! The device that is copied to.

use std::fs;
use std::path::Path;

use crate::common::device::Loop;
use crate::common::image::create;
use crate::run::Preparation;

/// How many bytes a second a device takes and gives.
#[derive(Clone, Copy)]
pub enum Limit {
    /// As many as it can.
    None,
    /// It takes no more than these.
    Writes(u64),
    /// It takes and gives no more than these.
    WritesAndReads(u64),
}

/// A loop device over a file on tmpfs, which this program has attached and detaches again.
pub struct Target {
    // Its limit is lifted before it is detached.
    _throttle: Option<Throttle>,
    device: Loop,
    _directory: tempfile::TempDir,
}

impl Target {
    /// A device of `size` bytes.
    pub fn new(directory: &Path, size: u64, limit: Limit) -> Self {
        let directory = tempfile::tempdir_in(directory).unwrap();
        let backing = directory.path().join("device");
        create(&backing, size);
        let device = Loop::attach(&backing);
        let throttle = match limit {
            Limit::None => None,
            Limit::Writes(limit) => Some(Throttle::new(&device, limit, &LIMITS[..1])),
            Limit::WritesAndReads(limit) => Some(Throttle::new(&device, limit, &LIMITS)),
        };
        Self { _throttle: throttle, device, _directory: directory }
    }

    pub fn path(&self) -> &Path {
        &self.device.path
    }

    /// Drops what the page cache holds of the device, so that each copy begins alike.
    pub fn forget(&self) -> Preparation {
        Preparation::new("blockdev", ["--flushbufs".into(), self.path().into()])
    }

    /// The same, after other data has been written to these places, each an offset and a length in MiB.
    pub fn change(&self, places: &[(u64, u64)]) -> Preparation {
        let write = |(start, length): &(u64, u64)| {
            format!("dd if=/dev/urandom of=\"$0\" bs=1M seek={start} count={length} oflag=direct status=none && ")
        };
        let script: String = places.iter().map(write).collect();
        Preparation::new("sh", ["-c".into(), (script + "blockdev --flushbufs \"$0\"").into(), self.path().into()])
    }
}

/// Where the kernel is told how much a device takes (cgroup-v1/blkio-controller.rst). In the root group it holds for
/// all that is written to the device, also by the kernel's own threads from the page cache.
const LIMITS: [&str; 2] =
    ["/sys/fs/cgroup/blkio/blkio.throttle.write_bps_device", "/sys/fs/cgroup/blkio/blkio.throttle.read_bps_device"];

/// Limits on a device.
struct Throttle {
    number: String,
}

impl Throttle {
    fn new(device: &Loop, limit: u64, limits: &[&str]) -> Self {
        let name = device.path.file_name().unwrap();
        let number = fs::read_to_string(Path::new("/sys/block").join(name).join("dev")).unwrap().trim().to_owned();
        for limits in limits {
            let set = fs::write(limits, format!("{number} {limit}"));
            set.expect("the throttled tables need cgroup v1's blkio controller");
        }
        Self { number }
    }
}

impl Drop for Throttle {
    fn drop(&mut self) {
        LIMITS.iter().for_each(|limits| drop(fs::write(limits, format!("{} 0", self.number))));
    }
}
