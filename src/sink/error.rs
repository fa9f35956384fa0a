//! Why a target cannot be written to.

use std::io;
use std::path::{Path, PathBuf};

use crate::device::{Conflict, Sharing};
use crate::size::human;

/// Why the target at `path` cannot be written to.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the variants say what their fields are")]
pub enum Error {
    /// It cannot be inspected, opened or created: `action` says which.
    #[error("cannot {action} '{path}'")]
    Access { path: PathBuf, action: &'static str, source: io::Error },
    /// It is neither a file nor a device but `what`, with its article.
    #[error("cannot copy to '{path}': it is {what}")]
    WrongKind { path: PathBuf, what: &'static str },
    /// It is flash memory without a controller, a device of the kernel's MTD, which must be erased to be written to.
    #[error("cannot copy to '{path}': it is raw flash memory (MTD)")]
    RawFlash { path: PathBuf },
    /// It is a character device, from which nothing can be read back.
    #[error("'{path}' is a character device: nothing can be read back from it")]
    KeepsNothing { path: PathBuf },
    /// The user has no right to write to it.
    #[error("no permission to write to '{path}'")]
    Denied { path: PathBuf },
    /// Not even root may write to it.
    #[error("not even root may write to '{path}' here")]
    Forbidden { path: PathBuf, source: io::Error },
    /// The kernel does not tell what it is used for, though it may be used.
    #[error("cannot tell whether '{path}' is in use, or is where the image comes from")]
    Unclear { path: PathBuf, source: io::Error },
    /// Another file or device has taken its name since it was inspected.
    #[error("'{path}' became another file or device while it was inspected")]
    Replaced { path: PathBuf },
    /// Nothing tells what block devices are used for.
    #[error("cannot tell whether '{path}' is in use: sysfs is not mounted, or hides devices")]
    NoSysfs { path: PathBuf },
    /// It is the node of a device that is not there.
    #[error("'{path}' is the node of a device that is not there")]
    UnknownDevice { path: PathBuf },
    /// It would be created among the device nodes, in memory.
    #[error("there is no device '{path}'")]
    NoDevice { path: PathBuf },
    /// It is a file among the device nodes, perhaps left by a program that wrote there while the device was missing.
    #[error("'{path}' is a file in memory, not a device")]
    FileAmongDevices { path: PathBuf },
    /// It is not a block device, as it was asked to be, but what `why` says.
    #[error("only a block device has an end for the backup of a GPT, not '{path}': {why}")]
    NotBlockDevice { path: PathBuf, why: &'static str },
    /// It is not a removable device, as it was asked to be, but what `why` says.
    #[error("'{path}' is not a removable device: {why}")]
    NotRemovable { path: PathBuf, why: &'static str },
    /// It shares bytes with something that is read during the copy, which is `role` to the user, as in `image`.
    #[error("{}", in_words(path, role, *sharing))]
    Source { path: PathBuf, role: &'static str, sharing: Sharing },
    /// It shares bytes with `other`, another target of the same copy; in `sharing`, that is the source.
    #[error("{}", of_targets_in_words(path, other, *sharing))]
    SharesTarget { path: PathBuf, other: PathBuf, sharing: Sharing },
    /// It has data, and the image is a device: one is mistaken for the other.
    #[error("the image is a device, and the target '{path}' a file that has data")]
    Swapped { path: PathBuf },
    /// It is used for something else, or shares bytes with what is.
    #[error(transparent)]
    Conflict(#[from] Conflict),
    /// Another copy writes to it.
    #[error("'{path}' is locked by another program, perhaps another copy that writes to it")]
    Locked { path: PathBuf },
    /// It takes no writes. `force_ro` is the setting of its driver that makes it so, where there is one.
    #[error("block device '{path}' is read-only")]
    ReadOnly { path: PathBuf, force_ro: Option<PathBuf> },
    /// It is a drive or a card reader without a medium.
    #[error("block device '{path}' has no medium, or none that works")]
    NoMedium { path: PathBuf },
    /// It has no command to discard, which is asked for.
    #[error("block device '{path}' cannot discard")]
    CannotDiscard { path: PathBuf },
    /// Another program has opened it exclusively.
    #[error("block device '{path}' is in use by another program or mount namespace")]
    Busy { path: PathBuf },
    /// It cannot hold the image. `size` is the image's, `capacity` the device's, in bytes.
    #[error(
        "the image does not fit on '{path}': it has {size} bytes ({}), the device {capacity} bytes ({})",
        human(*size), human(*capacity)
    )]
    TooSmall { path: PathBuf, size: u64, capacity: u64 },
}

fn of_targets_in_words(path: &Path, other: &Path, sharing: Sharing) -> String {
    const ONE: &str = "only one of them can be a target";
    let (path, other) = (path.display().to_string(), other.display().to_string());
    match sharing {
        Sharing::Same if path == other => format!("'{path}' is given twice as target"),
        Sharing::Same => format!("'{path}' and '{other}' are the same: {ONE}"),
        Sharing::TargetInSource => format!("'{path}' lies in '{other}': {ONE}"),
        Sharing::SourceInTarget => format!("'{other}' lies in '{path}': {ONE}"),
        Sharing::Overlapping => {
            format!("'{path}' and '{other}' share their data (two loop devices over one file, say): {ONE}")
        }
        Sharing::Alias => format!("'{path}' and '{other}' seem to be the same, with the same size and time: {ONE}"),
    }
}

fn in_words(path: &Path, role: &str, sharing: Sharing) -> String {
    let path = path.display();
    match sharing {
        Sharing::Same => format!("'{path}' is the {role} itself and cannot be the target too"),
        Sharing::TargetInSource => format!(
            "'{path}' lies in the {role} (a partition of it, or a loop device over it), which would be overwritten"
        ),
        Sharing::SourceInTarget => format!("the {role} lies in '{path}' and would be overwritten"),
        Sharing::Overlapping => format!(
            "'{path}' shares its data with the {role} (two loop devices over one file, say), which would be overwritten"
        ),
        Sharing::Alias => format!(
            "'{path}' seems to be the {role} itself, or lie in it, on another file system: it has the same size and time"
        ),
    }
}
