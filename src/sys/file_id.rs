//! The identity of files, whatever their names.

use std::fs::Metadata;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

/// What a name or a descriptor leads to, symbolic and hard links seen through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileId {
    /// A file on a file system.
    File {
        /// The number of the device that the file system lies on.
        device: u64,
        /// The inode's number.
        inode: u64,
    },
    /// A block device, through any of its nodes.
    BlockDevice {
        /// The device's number.
        number: u64,
    },
}

impl FileId {
    /// The identity of the file that `metadata` describes.
    pub fn of(metadata: &Metadata) -> Self {
        if metadata.file_type().is_block_device() {
            Self::BlockDevice { number: metadata.rdev() }
        } else {
            Self::File { device: metadata.dev(), inode: metadata.ino() }
        }
    }
}
