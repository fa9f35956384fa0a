//! What a loop device is attached to.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::sys::eintr::retry_on_eintr;
use crate::sys::file_id::FileId;
use crate::sys::missing::ok_if_missing_or_denied;

/// The file or device that the loop device `number` is attached to: its driver tells, if we may open `node`; otherwise
/// it is looked up by the `name` in sysfs.
pub(super) fn attached_file(node: &Path, number: u64, name: &Path) -> io::Result<Option<FileId>> {
    let is_it = |node: &File| node.metadata().is_ok_and(|metadata| metadata.rdev() == number);
    match ok_if_missing_or_denied(File::open(node))?.filter(is_it).and_then(|node| status(&node)) {
        Some(told) => Ok(Some(told)),
        // The name may be one of another mount namespace, or gone, while the file lives on under another.
        None => Ok(ok_if_missing_or_denied(fs::metadata(name))?.as_ref().map(FileId::of)),
    }
}

/// The file or device that a loop device is attached to, by LOOP_GET_STATUS64 (linux/loop.h).
fn status(device: &File) -> Option<FileId> {
    /// `struct loop_info64`.
    #[repr(C)]
    struct LoopInfo {
        device: u64,
        inode: u64,
        /// The number of a block device that is attached, or 0.
        backing_number: u64,
        _rest: [u64; 26],
    }
    const LOOP_GET_STATUS64: libc::c_ulong = 0x4c05;
    nix::ioctl_read_bad!(loop_get_status64, LOOP_GET_STATUS64, LoopInfo);

    let mut info = LoopInfo { device: 0, inode: 0, backing_number: 0, _rest: [0; 26] };
    // SAFETY: LOOP_GET_STATUS64 writes one `loop_info64`, 232 bytes, into `info`, which is one and outlives the call.
    retry_on_eintr(|| unsafe { loop_get_status64(device.as_raw_fd(), &raw mut info) }).ok()?;
    Some(match info.backing_number {
        0 => FileId::File { device: info.device, inode: info.inode },
        number => FileId::BlockDevice { number },
    })
}
