//! Whether a target and a source share bytes, under whatever names.

use std::io;

use super::sysfs::Sysfs;
use super::{Error, Request};
use crate::file_id::FileId;

/// How deep devices may lie in each other. The kernel stops at about eight; a circle must not stop us.
const DEPTH: usize = 16;

/// How a source and the target share bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// They are one file or device.
    Same,
    /// The target lies in the source: it is a loop device over it, or a partition of it.
    TargetInSource,
    /// The source lies in the target, or is a file on a file system that does.
    SourceInTarget,
}

/// Refuses a target that shares bytes with something that is read during the copy.
pub(super) fn refuse(request: &Request<'_>, target: FileId, sysfs: &Sysfs) -> Result<(), Error> {
    let unclear = |source| Error::Unclear { path: request.path.to_owned(), source };
    let around_target = surroundings(target, sysfs).map_err(unclear)?;
    for reserved in request.reserved {
        let sharing = if reserved.id == target {
            Sharing::Same
        } else if around_target.contains(&reserved.id) {
            Sharing::TargetInSource
        } else if lies_in(reserved.id, target, sysfs).map_err(unclear)? {
            Sharing::SourceInTarget
        } else {
            continue;
        };
        return Err(Error::Source { path: request.path.to_owned(), role: reserved.role, sharing });
    }
    Ok(())
}

fn lies_in(source: FileId, target: FileId, sysfs: &Sysfs) -> io::Result<bool> {
    let device = match source {
        FileId::File { device, .. } => FileId::BlockDevice { number: device },
        FileId::BlockDevice { .. } => source,
    };
    Ok(device == target || surroundings(device, sysfs)?.contains(&target))
}

/// The devices and files that the bytes of `id` lie in, but for the file systems of the files.
fn surroundings(id: FileId, sysfs: &Sysfs) -> io::Result<Vec<FileId>> {
    let mut all = Vec::new();
    let mut layer = vec![id];
    for _ in 0..DEPTH {
        let around: io::Result<Vec<_>> = layer.into_iter().map(|id| directly_around(id, sysfs)).collect();
        layer = around?.concat();
        all.extend_from_slice(&layer);
    }
    Ok(all)
}

fn directly_around(id: FileId, sysfs: &Sysfs) -> io::Result<Vec<FileId>> {
    match id {
        FileId::BlockDevice { number } => sysfs.device(number)?.map_or(Ok(Vec::new()), |device| device.lies_in()),
        FileId::File { .. } => Ok(Vec::new()),
    }
}
