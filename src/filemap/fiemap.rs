//! The extents of a file by FIEMAP (Linux: Documentation/filesystems/fiemap.rst, include/uapi/linux/fiemap.h).

// Extents come from the file system, and so perhaps from a damaged disk: no number in them may cause a panic.
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects, clippy::indexing_slicing))]

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

/// How many extents are asked for at a time: about 56 KiB.
const BATCH: usize = 1024;

/// A request, with room for the answer.
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
        let inconsistent = || Error::Inconsistent { path: path.to_owned(), offset: start };
        let batch = request.extents.get(..request.header.mapped_extents as usize).ok_or_else(inconsistent)?;
        let Some(last) = batch.last() else { break }; // all the rest is a hole
        let mut end = start;
        for extent in batch {
            // The start of an extent may have been reported with the last batch.
            let bytes = ByteRange {
                start: extent.logical.max(end),
                end: extent.logical.saturating_add(extent.length).min(size),
            };
            if !bytes.is_empty() {
                each(bytes);
            }
            end = end.max(bytes.end);
        }
        if last.flags & FIEMAP_EXTENT_LAST != 0 {
            break;
        }
        if end == start {
            return Err(inconsistent());
        }
        start = end;
        flags = 0;
    }
    Ok(())
}

fn query(file: &File, request: &mut Request, start: u64, length: u64, flags: u32) -> io::Result<()> {
    retry_on_eintr(|| {
        request.header = Header { start, length, flags, extent_count: BATCH as u32, ..Header::default() };
        // SAFETY: the request is a `struct fiemap` followed by room for `extent_count` extents, laid out as in the
        // kernel's header. The kernel writes no more extents than that, and all fields are integers, valid with any
        // bytes.
        unsafe { fs_ioc_fiemap(file.as_raw_fd(), request) }.map(drop)
    })
}

const _: () = assert!(size_of::<Header>() == 32 && size_of::<Extent>() == 56);
