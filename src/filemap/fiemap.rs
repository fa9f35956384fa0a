//! The extents of a file by FIEMAP (Linux: Documentation/filesystems/fiemap.rst, include/uapi/linux/fiemap.h).

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use super::Error;
use crate::range::ByteRange;
use crate::sys::eintr::retry_on_eintr;

/// `struct fiemap`, without the extents that follow it.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Header {
    start: u64,
    length: u64,
    flags: u32,
    mapped_extents: u32,
    extent_count: u32,
    reserved: u32,
}

/// `struct fiemap_extent`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Extent {
    logical: u64,
    physical: u64,
    length: u64,
    reserved64: [u64; 2],
    flags: u32,
    reserved: [u32; 3],
}

/// How many extents are asked for at a time; with the header they fill some 56 KiB.
const BATCH: usize = 1024;

/// A request and the place for its answer.
#[repr(C)]
struct Request {
    header: Header,
    extents: [Extent; BATCH],
}

/// Write dirty data out first, so that its extents are known.
const FIEMAP_FLAG_SYNC: u32 = 1;
/// The file's last extent.
const FIEMAP_EXTENT_LAST: u32 = 1;

// FS_IOC_FIEMAP is _IOWR('f', 11, struct fiemap): the size in its number is that of the header alone.
const FS_IOC_FIEMAP: libc::Ioctl = nix::request_code_readwrite!(b'f', 11, size_of::<Header>());
nix::ioctl_readwrite_bad!(fs_ioc_fiemap, FS_IOC_FIEMAP, Request);

/// Calls `each` for every extent of the file's first `size` bytes, in order.
pub(super) fn extents(file: &File, path: &Path, size: u64, each: &mut dyn FnMut(ByteRange)) -> Result<(), Error> {
    let mut request = Box::new(Request { header: Header::default(), extents: [Extent::default(); BATCH] });
    let mut start = 0;
    let mut flags = FIEMAP_FLAG_SYNC;
    while start < size {
        query(file, &mut request, start, size.saturating_sub(start), flags).map_err(|source| Error::Query {
            path: path.to_owned(),
            method: "FIEMAP",
            offset: start,
            source,
        })?;
        let count = usize::try_from(request.header.mapped_extents).unwrap_or(BATCH);
        let Some(batch) = request.extents.get(..count).filter(|batch| !batch.is_empty()) else { break };
        let batch_start = start;
        for extent in batch {
            let end = extent.logical.saturating_add(extent.length).min(size);
            // An extent that began before the place that was asked for was told with the batch before.
            let extent = ByteRange { start: extent.logical.max(start), end };
            if !extent.is_empty() {
                each(extent);
            }
            start = start.max(end);
        }
        if batch.last().is_some_and(|extent| extent.flags & FIEMAP_EXTENT_LAST != 0) {
            break;
        }
        if start == batch_start {
            return Err(Error::Inconsistent { path: path.to_owned(), offset: start });
        }
        flags = 0;
    }
    Ok(())
}

fn query(file: &File, request: &mut Request, start: u64, length: u64, flags: u32) -> io::Result<()> {
    retry_on_eintr(|| {
        request.header = Header { start, length, flags, extent_count: BATCH as u32, ..Header::default() };
        // SAFETY: the request is a `struct fiemap` followed by room for `extent_count` extents, both laid out as the kernel
        // has them; the kernel writes no more extents than that, and any bytes make valid values of their integer fields.
        unsafe { fs_ioc_fiemap(file.as_raw_fd(), request) }.map(drop)
    })
}

const _: () = assert!(size_of::<Header>() == 32 && size_of::<Extent>() == 56);
