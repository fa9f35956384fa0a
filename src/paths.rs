//! Paths of this machine.

use std::path::Path;

/// The folder that what is at `path` lies in, as far as the path says: the working folder where it says nothing.
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
