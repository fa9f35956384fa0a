//! An image that is attached to a loop device: what was written to that need not be in the image yet.

use std::fs::File;
use std::path::Path;

use super::Error;
use super::kin::Kin;
use super::places;
use super::sysfs::Sysfs;
use crate::file_id::FileId;

/// Has what was written to the loop devices over the file `image`, which is `id`, reach it; warns of what may be missing from
/// it, for it is in use, or because we may not open the device.
///
/// # Errors
///
/// Where it cannot be told which these are.
pub fn settle(image: &Path, id: FileId) -> Result<(), Error> {
    let sysfs = Sysfs::new();
    let places = places::of(id, &sysfs).map_err(|source| Error::Unclear { path: image.to_owned(), source })?;
    let kin = Kin::find(image, &places, &sysfs)?;
    for device in kin.others() {
        let node = device.node();
        if let Err(error) = File::open(&node).and_then(|device| device.sync_all()) {
            let (image, node) = (image.display(), node.display());
            log::warn!("what was written to '{node}' may be missing from '{image}', which is attached to it: {error}");
        }
    }
    match kin.refuse_used() {
        Err(Error::SharedInUse { usage, .. }) => {
            let image = image.display();
            log::warn!(
                "what is written to '{image}' may be missing from its map: it is attached to a device that is {usage}"
            );
            Ok(())
        }
        settled => settled,
    }
}
