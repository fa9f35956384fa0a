//! A directory with an image and its bmap, in which tests compress and copy it.

use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::image::assert_same;
use super::tool::{Tool, copy, create};
use super::{sh, temp_dir, text};

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

    /// Compresses the image as seekable zstd, in frames of 1 MiB; returns the file with it, whose name has no ending, and
    /// where each frame lies in it.
    pub fn seekable_zstd(&self) -> (PathBuf, Vec<Range<usize>>) {
        let image = std::fs::read(&self.image).unwrap();
        let (mut compressed, mut table, mut frames) = (Vec::new(), Vec::new(), Vec::new());
        let number = |count: usize| u32::try_from(count).unwrap().to_le_bytes();
        for chunk in image.chunks(1 << 20) {
            std::fs::write(self.path("chunk"), chunk).unwrap();
            sh("zstd", &["-q", "-f", text(&self.path("chunk"))]);
            let frame = std::fs::read(self.path("chunk.zst")).unwrap();
            table.extend([number(frame.len()), number(chunk.len())].concat());
            frames.push(compressed.len()..compressed.len() + frame.len());
            compressed.extend(frame);
        }
        // The table, in a skippable frame.
        compressed.extend(0x184d_2a5e_u32.to_le_bytes());
        compressed.extend(number(table.len() + 9));
        compressed.extend(&table);
        compressed.extend(number(frames.len()));
        compressed.push(0);
        compressed.extend(0x8f92_eab1_u32.to_le_bytes());
        std::fs::write(self.path("output"), compressed).unwrap();
        (self.path("output"), frames)
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
