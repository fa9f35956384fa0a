//! What lies below a file system.

use std::fs::File;
use std::os::unix::fs::MetadataExt;

use nix::sys::stat::major;
use nix::sys::statfs::{BTRFS_SUPER_MAGIC, FUSE_SUPER_MAGIC, FsType, OVERLAYFS_SUPER_MAGIC, TMPFS_MAGIC, fstatfs};

use super::read_at::ReadPath;

/// The most that can be said of what is read from `file`, however that is done.
pub fn best_path(file: &File) -> ReadPath {
    /// linux/magic.h
    const RAMFS_MAGIC: FsType = FsType(0x858458f6_u32 as _);
    match fstatfs(file).map(|fs| fs.filesystem_type()) {
        // They are nothing but page cache. Some take O_DIRECT all the same.
        Ok(TMPFS_MAGIC | RAMFS_MAGIC) => ReadPath::Cache,
        // What it shows may lie in memory, or be read through the page cache.
        Err(_) | Ok(OVERLAYFS_SUPER_MAGIC | FUSE_SUPER_MAGIC) => ReadPath::Unsure,
        // It lies on several devices, and counts as none.
        Ok(BTRFS_SUPER_MAGIC) => ReadPath::Direct,
        // On a block device, which has a number.
        Ok(_) if file.metadata().is_ok_and(|metadata| major(metadata.dev()) != 0) => ReadPath::Direct,
        Ok(_) => ReadPath::Unsure,
    }
}
