//! The partition table of a disk, read anew by the kernel after a copy.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::event::{Notice, Observer};
use crate::sys::eintr::retry_on_eintr;

/// How often it is tried, and how long is waited in between: others, such as udev, open a device for a moment when it
/// has changed.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(200);

/// Makes the kernel read the partition table of `disk`, so that the partitions' nodes are there when the copy ends. The
/// copy is complete without it, so that a failure is only told.
pub(super) fn reread(disk: &File, path: &Path, observer: &dyn Observer) {
    nix::ioctl_none_bad!(blkrrpart, nix::request_code_none!(0x12, 95)); // BLKRRPART of linux/fs.h
    for attempt in 1..=TRIES {
        // SAFETY: BLKRRPART takes no argument; the descriptor is open as long as `disk` is borrowed.
        let Err(error) = retry_on_eintr(|| unsafe { blkrrpart(disk.as_raw_fd()) }) else { return };
        match error.raw_os_error() {
            Some(libc::EBUSY) if attempt < TRIES => thread::sleep(PAUSE),
            // A device that has no partitions, such as a loop device attached without --partscan.
            Some(libc::EINVAL | libc::ENOTTY) => return,
            _ => return observer.notice(Notice::PartitionTableNotReread { device: path, error: &error }),
        }
    }
}
