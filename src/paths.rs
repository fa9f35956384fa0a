//! Paths of this machine.

use std::path::Path;

/// The directory of what is at `path`, as far as the path says: the working directory where it says nothing.
pub fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
