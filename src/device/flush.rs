//! Loop devices over an image: data that was written to one may not be in the image yet.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::conflicts::{Conflict, SharedStorage};
use super::storage::StorageStack;
use super::topology::Topology;
use crate::event::{Notice, Observer};
use crate::sys::file_id::FileId;

/// Flushes the loop devices over the file `image`, which is `id`. The observer is told where data may be missing from
/// the image: where such a device cannot be opened, and where one is in use; and of those that cannot be asked.
///
/// # Errors
///
/// Where sysfs cannot be read.
pub fn flush_loop_devices(image: &Path, id: FileId, observer: &dyn Observer) -> io::Result<()> {
    let mut topology = Topology::read()?;
    if let Ok(name) = fs::canonicalize(image) {
        topology.name(id, &name);
    }
    topology.tell(observer);
    let stack = StorageStack::of(id, &topology);
    let shared = SharedStorage::find(image, &stack, &topology);
    for device in shared.others.iter().map(|device| device.node()) {
        if let Err(error) = File::open(&device).and_then(|device| device.sync_all()) {
            observer.notice(Notice::LoopDeviceNotFlushed { device: &device, image, error: &error });
        }
    }
    if let Err(Conflict::SharedInUse { usage, .. }) = shared.refuse_used() {
        observer.notice(Notice::ImageInUse { image, usage: &usage });
    }
    Ok(())
}
