//! The block devices of this machine, what they are used for, and which bytes they share with other devices and files.
//! Nothing is written to a device here.
//!
//! A command reads the `Topology` once; all questions about use and sharing are answered from it. `SharedStorage`
//! finds the devices whose bytes overlap with a target, and claims them, so that no other program begins to use them
//! during a copy.

mod alias;
mod claim;
mod conflicts;
pub mod devtmpfs;
#[cfg(test)]
pub(crate) mod fixture;
mod flush;
mod identity;
mod inventory;
mod loop_device;
mod mounts;
mod storage;
mod topology;
mod usage;

pub use alias::is_alias;
pub(crate) use claim::{Claims, Lock, lock};
pub use conflicts::Conflict;
pub(crate) use conflicts::SharedStorage;
pub use flush::flush_loop_devices;
pub use identity::Identity;
pub use inventory::{DeviceInfo, Disks, ListError, device, disks};
pub use mounts::is_mount_point;
pub use storage::Sharing;
pub(crate) use storage::{StorageStack, source_overlap};
pub(crate) use topology::{Device, Topology};
pub use usage::{Holder, Usage};
