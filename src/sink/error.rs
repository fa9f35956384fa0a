//! Why a target cannot be written to, and what the user can do.

use std::io;
use std::path::{Path, PathBuf};

use crate::device::{Conflict, Sharing};
use crate::size::human;

/// Why a target cannot be written to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be inspected, opened or created.
    #[error("cannot {action} '{path}'")]
    Access {
        /// The target.
        path: PathBuf,
        /// What was being done.
        action: &'static str,
        /// Why.
        source: io::Error,
    },
    /// It is neither a file nor a device.
    #[error("cannot copy to '{path}': it is {what}; the target must be a block device or a regular file")]
    WrongKind {
        /// The target.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// The user has no right to write to it.
    #[error("no permission to write to '{path}'; run this as root, with sudo for example")]
    Denied {
        /// The target.
        path: PathBuf,
    },
    /// Not even root may write to it.
    #[error(
        "not even root may write to '{path}' here: a container must be given the device, with 'docker run --device {path}' for \
         example; a security module may forbid it, or the device takes no writes"
    )]
    Forbidden {
        /// The target.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel does not say what it is used for, though it might be used.
    #[error("cannot tell whether '{path}' is in use, or is where the image comes from")]
    Unclear {
        /// The target.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Another file or device has taken its name since it was inspected.
    #[error("'{path}' has become another file or device while it was being inspected; try again")]
    Replaced {
        /// The target.
        path: PathBuf,
    },
    /// Nothing tells what block devices are used for.
    #[error(
        "cannot tell whether '{path}' is in use, or is where the image comes from: sysfs is not mounted, or shows no devices; \
         mount it with: mount -t sysfs sysfs /sys"
    )]
    NoSysfs {
        /// The target.
        path: PathBuf,
    },
    /// It is the node of a device that is not there.
    #[error(
        "'{path}' is the node of a device that the kernel does not show, and so it cannot be told whether it is in use; is the \
         device plugged in? 'lsblk' lists the devices"
    )]
    UnknownDevice {
        /// The target.
        path: PathBuf,
    },
    /// It would be created among the device nodes.
    #[error(
        "'{path}' does not exist, and it would be no device but a file in memory; is the device plugged in? 'lsblk' lists \
         the devices"
    )]
    NoDevice {
        /// The target.
        path: PathBuf,
    },
    /// It is a file among the device nodes.
    #[error(
        "'{path}' is no device but a file in memory, perhaps left behind by a program that wrote there while the device was \
         missing; is the device plugged in? Remove the file and plug the device in again"
    )]
    FileAmongDevices {
        /// The target.
        path: PathBuf,
    },
    /// It is not a removable device, as it was asked to be.
    #[error("'{path}' is not a removable device: {why}")]
    NotRemovable {
        /// The target.
        path: PathBuf,
        /// What it is instead.
        why: &'static str,
    },
    /// It shares bytes with something that is read during the copy.
    #[error("{}", in_words(path, role, *sharing))]
    Source {
        /// The target.
        path: PathBuf,
        /// What the source is to the user.
        role: &'static str,
        /// How the two are related.
        sharing: Sharing,
    },
    /// It has data, and the image is a device: somebody has mistaken one for the other.
    #[error(
        "the image is a block device, and the target '{path}' a file that has data: the image comes first, then the target; \
         to keep the contents of the device in this file, remove the file first"
    )]
    Swapped {
        /// The target.
        path: PathBuf,
    },
    /// It is used for something else, or shares bytes with what is.
    #[error(transparent)]
    Conflict(#[from] Conflict),
    /// Another copy writes to it.
    #[error(
        "'{path}' is locked by another program, perhaps another copy that writes to it; 'fuser -v {path}' shows which"
    )]
    Locked {
        /// The target.
        path: PathBuf,
    },
    /// It takes no writes.
    #[error(
        "block device '{path}' is read-only: it may have a switch against writing, or 'blockdev --setrw {path}' may help"
    )]
    ReadOnly {
        /// The target.
        path: PathBuf,
    },
    /// It is a drive or a card reader without a medium.
    #[error("block device '{path}' has no medium, or none that works: insert one and try again")]
    NoMedium {
        /// The target.
        path: PathBuf,
    },
    /// It is opened exclusively by someone else.
    #[error(
        "block device '{path}' is in use by another program, or mounted in a container or another mount namespace; \
         'fuser -v {path}' and 'grep -l {path} /proc/*/mountinfo' show which"
    )]
    Busy {
        /// The target.
        path: PathBuf,
    },
    /// It cannot hold the image.
    #[error(
        "the image does not fit on '{path}': it has {size} bytes ({}), the device {capacity} bytes ({})",
        human(*size), human(*capacity)
    )]
    TooSmall {
        /// The target.
        path: PathBuf,
        /// The size of the image in bytes.
        size: u64,
        /// The size of the device in bytes.
        capacity: u64,
    },
}

fn in_words(path: &Path, role: &str, sharing: Sharing) -> String {
    let path = path.display();
    match sharing {
        Sharing::Same => format!("'{path}' is the {role} itself and cannot be the target too"),
        Sharing::TargetInSource => format!(
            "'{path}' lies in the {role}, as a partition of it or a loop device over it: the {role} would be overwritten \
             while it is read"
        ),
        Sharing::SourceInTarget => format!("the {role} lies in '{path}' and would be overwritten while it is read"),
        Sharing::Overlapping => format!(
            "'{path}' shares its data with the {role}, as a loop device over the same file or device: the {role} would be \
             overwritten while it is read"
        ),
    }
}
