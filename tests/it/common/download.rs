//! What is copied from servers.

use std::path::{Path, PathBuf};

use super::image::{assert_same, disk_like, sparse};
use super::server::File;
use super::tool::{Tool, copy};
use super::work::Work;

/// An image, its bmap, and where it is copied to.
pub struct Case {
    pub directory: tempfile::TempDir,
    pub image: PathBuf,
    pub bmap: PathBuf,
}

impl Case {
    pub fn new(make: impl FnOnce(&Path)) -> Self {
        let Work { directory, image, bmap } = Work::new(make);
        Self { directory, image, bmap }
    }

    pub fn disk_like() -> Self {
        Self::new(|path| disk_like(path, 7))
    }

    /// An image without holes.
    pub fn full() -> Self {
        Self::new(|path| sparse(path, 3_000_000, &[(0, 3_000_000)], 3))
    }

    pub fn bytes(&self) -> Vec<u8> {
        std::fs::read(&self.image).unwrap()
    }

    pub fn file(&self) -> File {
        File::new(self.bytes())
    }

    pub fn out(&self) -> PathBuf {
        self.directory.path().join("out")
    }

    pub fn copy(&self, url: &str) -> Tool {
        hasty(copy(["--bmap".as_ref(), self.bmap.as_os_str(), url.as_ref(), self.out().as_os_str()]))
    }

    pub fn copy_all(&self, url: &str) -> Tool {
        hasty(copy(["--nobmap".as_ref(), url.as_ref(), self.out().as_os_str()]))
    }

    pub fn assert_copied(&self) {
        assert_same(&self.image, &self.out());
        std::fs::remove_file(self.out()).unwrap();
    }

    pub fn assert_nothing_left(&self) {
        assert!(!self.out().exists());
    }
}

/// With time-outs of about a second, and given up after about four without a new byte.
pub fn hasty(tool: Tool) -> Tool {
    tool.env("BMAPTOOL_TIMEOUT_SCALE", "0.03")
}
