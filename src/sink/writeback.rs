//! Bounded dirty data for writes that go through the page cache.
//!
//! What is written would otherwise pile up in memory, and the last sync, which nothing can interrupt, would take
//! minutes on a slow device.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use super::WriteError;
use crate::range::ByteRange;
use crate::sys::eintr::retry_on_eintr;

/// How many bytes are gathered before their writeback starts. At most twice as many are dirty, which a device that
/// takes 10 MB/s writes in half a second.
const GATHERED_LEN: u64 = 2 << 20;

/// Follows the writes to one file.
#[derive(Default)]
pub(super) struct Writeback {
    /// Written, but its writeback has not been started.
    gathered: Option<ByteRange>,
    /// Its writeback has been started.
    under_way: Option<ByteRange>,
}

impl Writeback {
    /// Records that `bytes` were written to `file`; may wait for earlier ones. The offset of an error is the start of
    /// the range that it belongs to: the kernel does not say which byte it was.
    pub(super) fn written(&mut self, file: &File, bytes: ByteRange) -> Result<(), WriteError> {
        let gathered = match self.gathered {
            Some(before) => ByteRange { start: before.start.min(bytes.start), end: before.end.max(bytes.end) },
            None => bytes,
        };
        self.gathered = Some(gathered);
        if gathered.len() < GATHERED_LEN {
            return Ok(());
        }
        self.gathered = None;
        sync_range(file, gathered, libc::SYNC_FILE_RANGE_WRITE)?;
        if let Some(before) = self.under_way.replace(gathered) {
            const WAIT: libc::c_uint =
                libc::SYNC_FILE_RANGE_WAIT_BEFORE | libc::SYNC_FILE_RANGE_WRITE | libc::SYNC_FILE_RANGE_WAIT_AFTER;
            sync_range(file, before, WAIT)?;
        }
        Ok(())
    }
}

/// sync_file_range(2). A file system or device that does not know it has no dirty data to bound.
fn sync_range(file: &File, bytes: ByteRange, flags: libc::c_uint) -> Result<(), WriteError> {
    let (Ok(offset), Ok(length)) = (libc::off64_t::try_from(bytes.start), libc::off64_t::try_from(bytes.len())) else {
        return Ok(());
    };
    // SAFETY: sync_file_range takes no pointer; the descriptor is open as long as `file` is borrowed.
    let call = || match unsafe { libc::sync_file_range(file.as_raw_fd(), offset, length, flags) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    };
    match retry_on_eintr(call) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::ESPIPE | libc::EINVAL)) => Ok(()),
        result => result.map_err(|source| WriteError { offset: bytes.start, source }),
    }
}
