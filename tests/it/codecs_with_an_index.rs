//! Compressed images with an index, of which only what is wanted is decompressed.

use std::fs;
use std::ops::Range;
use std::path::Path;

use crate::common::image::{assert_same, disk_like, sparse};
use crate::common::server::{File, Server};
use crate::common::sh;
use crate::common::work::{Work, copy_whole};

/// A block or frame of a compressed file, which can be decompressed by itself.
struct Frame {
    /// The place of a byte in its middle.
    middle: usize,
    /// What it decompresses to: the first byte in the image, and how many.
    start: usize,
    length: usize,
}

#[test(Program("xz"))]
fn xz_holes_are_left_out() {
    let work = Work::new(|image| disk_like(image, 2));
    let blocks = "xz -T2 -0 --block-size=1MiB";
    let compressed = work.output_of(&format!("head -c 5000000 | {blocks}; head -c 8 /dev/zero; {blocks}"));
    let list = sh("xz", &["--robot", "--list", "-vv", compressed.to_str().unwrap()]);
    let blocks = list.lines().filter_map(|line| line.strip_prefix("block\t"));
    let frames = blocks.map(|block| {
        let field: Vec<usize> = block.split('\t').map(|field| field.parse().unwrap_or(0)).collect();
        Frame { middle: field[3] + field[5] / 2, start: field[4], length: field[6] }
    });
    holes_are_left_out(&work, &compressed, &frames.collect::<Vec<_>>(), "the xz data is corrupt");
}

#[test(Program("zstd"))]
fn seekable_zstd_holes_are_left_out() {
    let work = Work::new(|image| disk_like(image, 2));
    let (compressed, stored) = work.seekable_zstd();
    let length = fs::metadata(&work.image).unwrap().len() as usize;
    // The last four bytes of a frame are its checksum.
    let frame = |(number, stored): (usize, Range<usize>)| {
        let start = number << 20;
        Frame { middle: stored.end - 2, start, length: (length - start).min(1 << 20) }
    };
    let frames: Vec<_> = stored.into_iter().enumerate().map(frame).collect();
    holes_are_left_out(&work, &compressed, &frames, "the zstd data is corrupt");
}

/// Expects those frames of `compressed` that decompress to zeroes not to be read where every range has a checksum and
/// the file has an index, and else to be read.
fn holes_are_left_out(work: &Work, compressed: &Path, frames: &[Frame], corrupt: &str) {
    let out = work.path("out");
    work.copy(compressed, &out).ok();
    assert_same(&work.image, &out);

    let image = fs::read(&work.image).unwrap();
    let is_hole = |frame: &&Frame| image[frame.start..frame.start + frame.length].iter().all(|&byte| byte == 0);
    let holes: Vec<&Frame> = frames.iter().filter(is_hole).collect();
    assert!(holes.len() > 3 && holes.len() < frames.len() - 3);
    let mut bytes = fs::read(compressed).unwrap();
    for hole in holes {
        bytes[hole.middle] ^= 0x55;
    }
    fs::write(compressed, &bytes).unwrap();
    work.copy(compressed, &out).ok();
    assert_same(&work.image, &out);
    copy_whole(compressed, &out).fails(&[corrupt]);
    work.copy(Path::new("-"), &out).stdin(bytes).fails(&[corrupt]);
}

/// The index of each stream takes requests of its own, before anything is written.
#[test(Program("xz"), Loopback)]
fn few_requests_are_made_for_an_xz_of_many_streams() {
    let work = Work::new(|image| disk_like(image, 2));
    let length = fs::metadata(&work.image).unwrap().len();
    for (streams, most) in [(1, 9), (2, 12), (8, 30), (150, 30)] {
        let each = length.div_ceil(streams);
        let compressed = work.output_of(&format!("split --bytes={each} --filter='xz -0'"));
        let server = Server::of(File::new(fs::read(compressed).unwrap()));
        work.copy(Path::new(&server.url("disk.img.xz")), &work.path("out")).ok();
        assert_same(&work.image, &work.path("out"));
        let requests = server.requests().len();
        assert!(requests <= most, "{requests} requests for {streams} streams");
    }
}

#[test(Program("xz"))]
fn an_xz_file_of_another_size_is_refused() {
    let [work, other] = [1, 2].map(|mib| Work::new(|image| sparse(image, mib << 20, &[(0, 100_000)], 3)));
    let compressed = other.output_of("xz -T2 -0 --block-size=256KiB");
    work.copy(&compressed, &work.path("out")).fails(&["has 2097152 bytes", "an image of 1048576 bytes"]);
    assert!(!work.path("out").exists());
}

/// The offsets in the bmap are not those of the tar.
#[test(Program("xz"), Program("tar"))]
fn the_index_of_an_xz_of_a_tar_is_not_used() {
    let work = Work::new(|image| disk_like(image, 3));
    let compressed = work.output_of("tar -c disk.img | xz -T2 -0 --block-size=1MiB");
    work.copy(&compressed, &work.path("out")).ok();
    assert_same(&work.image, &work.path("out"));
}
