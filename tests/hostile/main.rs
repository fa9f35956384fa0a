//! Files that are made to do harm: each is refused with a reason, in little time and memory, and nothing hangs or panics.

#[path = "../common/mod.rs"]
mod common;

mod bmaps;
mod codecs;
mod packers;
mod tars;
mod zips;

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use bmaps::{bmaps_that_are_bombs, bmaps_with_extreme_numbers};
use codecs::{
    a_frame_to_skip_of_4_gib, blocks_full_of_magics, blocks_that_lie_about_their_length, endless_images_are_cut_off,
    endless_images_end_where_a_device_ends, headers_without_end, indexes_of_too_many_units, members_without_number,
    the_widest_ordinary_window, windows_and_dictionaries_beyond_all_memory,
};
use common::tool::{Outcome, Tool, copy};
use common::{Need, temp_dir, text};
use tars::{tars_that_lie, tars_with_maps_beyond_measure};
use zips::zips_that_lie;

/// Tells how much memory was taken.
const TIME: Need = Need::Program("time");

fn main() {
    common::run(tests![
        bmaps_that_are_bombs[TIME],
        bmaps_with_extreme_numbers[TIME],
        endless_images_are_cut_off[TIME],
        endless_images_end_where_a_device_ends[TIME, Need::Root],
        members_without_number[TIME],
        headers_without_end[TIME],
        blocks_that_lie_about_their_length[TIME],
        a_frame_to_skip_of_4_gib[TIME],
        blocks_full_of_magics[TIME],
        windows_and_dictionaries_beyond_all_memory[TIME],
        the_widest_ordinary_window[TIME, Need::Program("zstd")],
        indexes_of_too_many_units[TIME],
        zips_that_lie[TIME],
        tars_that_lie[TIME],
        tars_with_maps_beyond_measure[TIME],
    ]);
}

const MIB: u64 = 1 << 20;

/// What a copy may take of memory, whatever it copies from.
const MEMORY: u64 = 64 * MIB;

/// The size of the image that the bmap is for.
const SIZE: usize = 8192;

/// A folder with a bmap for an image of [`SIZE`] zeroes, and a target that has something in it.
struct Victim {
    folder: tempfile::TempDir,
}

impl Victim {
    fn new() -> Self {
        let victim = Self { folder: temp_dir() };
        victim.file("bmap", &[bmap(SIZE as u64, 4096, 2, 2, "<Range>0-1</Range>").as_bytes()]);
        victim.file("target", &[b"precious"]);
        victim
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes a file of pieces.
    fn file(&self, name: &str, pieces: &[&[u8]]) -> PathBuf {
        fs::write(self.path(name), pieces.concat()).unwrap();
        self.path(name)
    }

    /// Makes a file of `head`, `count` times `piece`, and `tail`.
    fn repeated(&self, name: &str, head: &[u8], piece: &[u8], count: usize, tail: &[u8]) -> PathBuf {
        let mut file = std::io::BufWriter::new(File::create(self.path(name)).unwrap());
        file.write_all(head).unwrap();
        (0..count).for_each(|_| file.write_all(piece).unwrap());
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
