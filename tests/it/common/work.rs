//! A directory with an image and its bmap, in which tests compress and copy it.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::image::assert_same;
use super::tool::{Tool, copy, create};
use super::{sh, temp_dir};

/// An image, its bmap, and a directory for more.
pub struct Work {
    pub directory: tempfile::TempDir,
    pub image: PathBuf,
    pub bmap: PathBuf,
}

impl Work {
    /// The image is `disk.img`, as `make` makes it.
    pub fn new(make: impl FnOnce(&Path)) -> Self {
        let directory = temp_dir();
        let image = directory.path().join("disk.img");
        make(&image);
        let bmap = create(&image);
        Self { directory, image, bmap }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Runs a shell command in the directory, with the image for standard input, and returns the file with its output,
    /// whose name has no ending.
    pub fn output_of(&self, command: &str) -> PathBuf {
        let script = format!("set -e; cd '{}'; ({command}) < disk.img > output", self.directory.path().display());
        sh("sh", &["-c", &script]);
        self.path("output")
    }

    /// Copies `from` with the bmap to a new file, or to a device.
    pub fn copy(&self, from: &Path, to: &Path) -> Tool {
        make_new(to);
        copy(["--bmap".as_ref(), self.bmap.as_os_str(), from.as_os_str(), to.as_os_str()])
    }
}

/// Copies all that `from` holds to a new file, or to a device, without a bmap.
pub fn copy_whole(from: &Path, to: &Path) -> Tool {
    make_new(to);
    copy(["--nobmap".as_ref(), from.as_os_str(), to.as_os_str()])
}

/// What an earlier copy has written is not to be taken for the work of this one.
fn make_new(to: &Path) {
    if to.is_file() {
        std::fs::remove_file(to).unwrap();
    }
}

/// Expects a copy to fail with status 1, or else to be the image: not all bytes of a compressed file matter.
pub fn never_wrong(tool: Tool, image: &Path, out: &Path) {
    let outcome = tool.run();
    match outcome.status {
        Some(0) => assert_same(image, out),
        Some(1) => assert!(outcome.stderr.contains("bmaptool: ERROR: "), "{}", outcome.stderr),
        _ => panic!("{outcome:?}"),
    }
}

/// Bytes compressed by gzip.
pub fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}
