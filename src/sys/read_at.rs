//! Reading at an offset, in as many calls as it takes; also past the page cache.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use super::aligned::AlignedBuf;
use super::eintr::retry_on_eintr;

/// A read that failed.
#[derive(Debug)]
pub struct ReadError {
    /// The first byte that was not read, counted from the start of the file or device.
    pub offset: u64,
    /// The error of the system.
    pub source: io::Error,
}

/// How a file or device is read; the later of two says less of the medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReadPath {
    /// From the medium, past the page cache.
    Direct,
    /// From the medium through the page cache, which was dropped before: it does not take O_DIRECT.
    AfterDrop,
    /// Perhaps from memory: the page cache cannot be dropped, or the file system has the file from another one, or from a
    /// server.
    Unsure,
    /// From the page cache itself, in which the file system lies.
    Cache,
}

impl ReadPath {
    /// Whether what is read comes from the medium.
    pub fn is_from_medium(self) -> bool {
        self <= Self::AfterDrop
    }
}

/// How much is read at once of what does not lie on sectors, in bytes.
const BOUNCE: usize = 1 << 20;

/// Fills `buf` with what is at `offset`.
///
/// # Errors
///
/// Where the file ends before that, or cannot be read.
pub fn read_all_at(file: &File, buf: &mut [u8], offset: u64) -> Result<(), ReadError> {
    let length = buf.len();
    read_at_least(file, buf, length, offset)
}

/// Reads into `buf` until at least `needed` bytes are there.
fn read_at_least(file: &File, buf: &mut [u8], needed: usize, offset: u64) -> Result<(), ReadError> {
    let mut done = 0;
    while done < needed {
        let offset = offset + done as u64;
        match retry_on_eintr(|| file.read_at(&mut buf[done..], offset)) {
            Ok(0) => return Err(ReadError { offset, source: io::ErrorKind::UnexpectedEof.into() }),
            Ok(count) => done += count,
            Err(source) => return Err(ReadError { offset, source }),
        }
    }
    Ok(())
}

/// How many bytes of `buf`, from the first on, lie on sectors of `sector` bytes both in memory and, at `offset`, in the
/// file.
pub fn direct_len(buf: &[u8], offset: u64, sector: usize) -> usize {
    let is_aligned = offset.is_multiple_of(sector as u64) && buf.as_ptr().addr().is_multiple_of(sector);
    if is_aligned { buf.len() - buf.len() % sector } else { 0 }
}

/// Fills `buf` with what is at `offset` of a file whose O_DIRECT is set, and which has sectors of `sector` bytes. The
/// kernel has what is dirty in the page cache written first.
///
/// # Errors
///
/// Where the file ends before that, or cannot be read; `EINVAL` where it does not take O_DIRECT.
pub fn read_direct(file: &File, sector: usize, buf: &mut [u8], offset: u64) -> Result<(), ReadError> {
    let (whole, rest) = buf.split_at_mut(direct_len(buf, offset, sector));
    read_all_at(file, whole, offset)?;
    read_bounced(file, sector, rest, offset + whole.len() as u64)
}

/// The same for what does not lie on sectors: reads whole sectors into memory that does, and copies from there.
fn read_bounced(file: &File, sector: usize, buf: &mut [u8], offset: u64) -> Result<(), ReadError> {
    if buf.is_empty() {
        return Ok(());
    }
    let mut skipped = (offset % sector as u64) as usize;
    let length = (skipped + buf.len()).next_multiple_of(sector).min(BOUNCE.max(sector));
    let mut bounce = AlignedBuf::zeroed(length).map_err(|source| ReadError { offset, source })?;
    let mut done = 0;
    while done < buf.len() {
        let offset = offset + done as u64;
        let count = (length - skipped).min(buf.len() - done);
        // A file may end within its last sector.
        let needed = skipped + count;
        let sectors = &mut bounce[..needed.next_multiple_of(sector)];
        read_at_least(file, sectors, needed, offset - skipped as u64)
            .map_err(|error| ReadError { offset: error.offset.max(offset), ..error })?;
        buf[done..done + count].copy_from_slice(&bounce[skipped..needed]);
        done += count;
        skipped = 0;
    }
    Ok(())
}

/// Drops `file` from the page cache, so that it is read from the medium; what has not been written back yet stays. A
/// file system in memory keeps all. Returns how it is read then.
pub fn drop_cached(file: &File) -> ReadPath {
    // All of it, as a part of a large folio is not dropped alone.
    // SAFETY: posix_fadvise takes a descriptor, which is open as long as `file` is borrowed, and numbers.
    unsafe { libc::posix_fadvise64(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
    ReadPath::AfterDrop
}

/// Drops a device from the page cache, so that it is read from the medium. BLKFLSBUF does so for all of it, but for root
/// alone (linux/fs.h); else some of it may stay. Returns how it is read then.
pub fn drop_cached_device(device: &File) -> ReadPath {
    nix::ioctl_none_bad!(blkflsbuf, nix::request_code_none!(0x12, 97));
    // SAFETY: BLKFLSBUF takes no argument; the descriptor is open as long as `device` is borrowed.
    let flushed = retry_on_eintr(|| unsafe { blkflsbuf(device.as_raw_fd()) });
    let dropped = drop_cached(device);
    flushed.map_or_else(
        |error| {
            log::debug!("cannot flush the buffers of the device: {error}");
            ReadPath::Unsure
        },
        |_| dropped,
    )
}
