//! Whether a target and a source share bytes, under whatever names.

use super::places::{self, Place, overlap};
use super::sysfs::Sysfs;
use super::{Error, Request};
use crate::file_id::FileId;

/// How a source and the target share bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// They are one file or device.
    Same,
    /// The target lies in the source: it is a loop device over it, or a partition of it.
    TargetInSource,
    /// The source lies in the target, or is a file on a file system that does.
    SourceInTarget,
    /// Both lie in the same bytes of something else: they are two loop devices over one file, say.
    Overlapping,
}

/// Refuses a target, the bytes of which lie in `places`, where something that is read during the copy has bytes there too.
pub(super) fn refuse(request: &Request<'_>, target: FileId, places: &[Place], sysfs: &Sysfs) -> Result<(), Error> {
    for input in request.inputs {
        let of_source = places::with_file_system(input.id, sysfs)
            .map_err(|source| Error::Unclear { path: request.path.to_owned(), source })?;
        if !overlap(&of_source, places) {
            continue;
        }
        let is_in = |id, places: &[Place]| places.iter().any(|place| place.id == id);
        let sharing = match () {
            () if input.id == target => Sharing::Same,
            () if is_in(input.id, places) => Sharing::TargetInSource,
            () if is_in(target, &of_source) => Sharing::SourceInTarget,
            () => Sharing::Overlapping,
        };
        return Err(Error::Source { path: request.path.to_owned(), role: input.role, sharing });
    }
    Ok(())
}
