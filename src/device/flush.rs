//! Loop devices over an image: data that was written to one may not be in the image yet.

use std::fs::File;
use std::io;
use std::path::Path;

use super::conflicts::{Conflict, SharedStorage};
use super::storage::StorageStack;
use super::topology::Topology;
use crate::event::{Notice, Observer};
use crate::sys::file_id::FileId;

/// Flushes the loop devices over the file `image`, which is `id`. The observer is told where data may be missing from
/// the image: where such a device cannot be opened, and where one is in use.
///
/// # Errors
///
/// Where sysfs cannot be read.
pub fn flush_loop_devices(image: &Path, id: FileId, observer: &dyn Observer) -> io::Result<()> {
    let topology = Topology::read()?;
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
