//! An image that must not be copied to where it is told.

use std::path::{Path, PathBuf};

use super::tool::{Outcome, Tool, copy, mapped_disk};
use super::{sha256, temp_dir};

/// An image with its bmap, to be copied to where it must not be.
pub struct Stage {
    pub directory: tempfile::TempDir,
    pub image: PathBuf,
}

impl Stage {
    pub fn new() -> Self {
        let directory = temp_dir();
        let image = mapped_disk(directory.path());
        Self { directory, image }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Makes a node of the block device with this number.
    pub fn node(&self, name: &str, number: u64) -> PathBuf {
        let (node, mode) = (self.path(name), nix::sys::stat::Mode::from_bits_truncate(0o600));
        nix::sys::stat::mknod(&node, nix::sys::stat::SFlag::S_IFBLK, mode, number).unwrap();
        node
    }

    pub fn bmap(&self) -> PathBuf {
        self.path("disk.img.bmap")
    }

    /// Expects that the image is not copied to `target`, for the reasons that are given, and that the image and the
    /// files at `untouched` stay as they are.
    pub fn refused(&self, target: &Path, untouched: &[&Path], fragments: &[&str]) -> Outcome {
        self.refused_with(copy([&self.image, target]), untouched, fragments)
    }

    /// The same, for a whole command.
    pub fn refused_with(&self, tool: Tool, untouched: &[&Path], fragments: &[&str]) -> Outcome {
        let digests = || {
            let sources = [sha256(&self.image), sha256(self.bmap())].into_iter();
            sources.chain(untouched.iter().map(sha256)).collect::<Vec<_>>()
        };
        let before = digests();
        let outcome = tool.fails(fragments);
        assert_eq!(digests(), before, "something has changed");
        assert!(!outcome.stderr.contains("copying image"), "{}", outcome.stderr);
        outcome
    }

    /// Expects that the device at `image` is not copied to `target`.
    pub fn device_refused(&self, image: &Path, target: &Path, untouched: &[&Path], fragments: &[&str]) {
        let tool = copy(["--nobmap".as_ref(), image.as_os_str(), target.as_os_str()]);
        self.refused_with(tool, untouched, fragments);
    }
}
