//! Files that are made to do harm: each is refused with a reason, in little time and memory, without a panic.

mod bmaps;
mod codecs;
mod compressors;
mod tars;
mod zips;

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::common::tool::{Outcome, Tool, copy};
use crate::common::{temp_dir, text};
use crate::registry::Need;

/// Tells how much memory was taken.
const TIME: Need = Need::Program("time");

const MIB: u64 = 1 << 20;

/// What a copy may take of memory, whatever it copies from.
const MEMORY: u64 = 64 * MIB;

/// The size of the image that the bmap is for.
const SIZE: usize = 8192;

/// A directory with a bmap for an image of [`SIZE`] zeroes, and a target that has something in it.
struct Victim {
    directory: tempfile::TempDir,
}

impl Victim {
    fn new() -> Self {
        let victim = Self { directory: temp_dir() };
        victim.file("bmap", &[bmap(SIZE as u64, 4096, 2, 2, "<Range>0-1</Range>").as_bytes()]);
        victim.file("target", &[b"precious"]);
        victim
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Makes a file of parts.
    fn file(&self, name: &str, parts: &[&[u8]]) -> PathBuf {
        fs::write(self.path(name), parts.concat()).unwrap();
        self.path(name)
    }

    /// Makes a file of `head`, `count` times `part`, and `tail`.
    fn repeated(&self, name: &str, head: &[u8], part: &[u8], count: usize, tail: &[u8]) -> PathBuf {
        let mut file = std::io::BufWriter::new(File::create(self.path(name)).unwrap());
        file.write_all(head).unwrap();
        (0..count).for_each(|_| file.write_all(part).unwrap());
        file.write_all(tail).unwrap();
        file.flush().unwrap();
        self.path(name)
    }

    /// A copy of an image to nowhere, with the bmap.
    fn copy(&self, image: &Path) -> Tool {
        copy(["--bmap", text(&self.path("bmap")), text(image), "/dev/null"]).measured()
    }

    /// A copy of a whole image to nowhere.
    fn copy_whole(&self, image: &Path) -> Tool {
        copy(["--nobmap", text(image), "/dev/null"]).measured()
    }

    /// Expects a bmap to be refused before the target is touched.
    fn refuses_bmap(&self, bmap: &Path, fragments: &[&str]) -> Outcome {
        let image = self.file("image", &[&[0; SIZE]]);
        let tool = copy(["--bmap", text(bmap), text(&image), text(&self.path("target"))]);
        let outcome = tool.measured().fails(fragments);
        assert_eq!(fs::read(self.path("target")).unwrap(), b"precious");
        outcome
    }
}

/// Runs it in bounded memory; it must exit with this status and say all of `fragments`.
#[track_caller]
fn bounded(tool: Tool, status: i32, fragments: &[&str]) {
    let outcome = tool.exits(status, fragments);
    assert!(outcome.memory() < MEMORY, "it took {} MiB of memory", outcome.memory() / MIB);
}

/// A bmap of version 1.1, which has no checksums.
fn bmap(image_size: u64, block_size: u64, blocks: u64, mapped: u64, ranges: &str) -> String {
    format!(
        "<bmap version=\"1.1\"><ImageSize>{image_size}</ImageSize><BlockSize>{block_size}</BlockSize>\
         <BlocksCount>{blocks}</BlocksCount><MappedBlocksCount>{mapped}</MappedBlocksCount>\
         <BlockMap>{ranges}</BlockMap></bmap>"
    )
}
