//! Sparse images that are larger than what 32 bits can count.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use bmaptool::bmap::Bmap;

use crate::common::device::Loop;
use crate::common::image::{self, sparse};
use crate::common::text;
use crate::common::tool::{bmaptool, copy};
use crate::common::work::Work;

const GIB: u64 = 1 << 30;

const SIZE: u64 = 5 * GIB + 777;

/// What is mapped, in whole blocks but for the end: across each limit of 32 bits, with and without a sign, and at the end.
const MAPPED: [(u64, usize); 4] = [(0, 12_288), (2 * GIB - 4096, 8192), (4 * GIB - 4096, 8192), (5 * GIB, 777)];

fn work() -> Work {
    Work::new(|path| sparse(path, SIZE, &MAPPED, 3))
}

/// Expects a file or device to hold what is mapped.
fn assert_mapped(image: &Path, copy: &Path) {
    let [image, copied] = [image, copy].map(|path| File::open(path).unwrap());
    for (offset, length) in MAPPED {
        let mut bytes = [vec![0; length], vec![0; length]];
        for (file, bytes) in [&image, &copied].into_iter().zip(&mut bytes) {
            file.read_exact_at(bytes, offset).unwrap();
        }
        assert!(bytes[0] == bytes[1], "{} differs at {offset}", copy.display());
    }
}

#[test]
fn they_are_mapped_copied_and_verified() {
    let work = work();
    let bmap = Bmap::parse(&fs::read(&work.bmap).unwrap()).unwrap();
    let ranges: Vec<_> = bmap.ranges().map(|range| (range.bytes.start, range.bytes.len() as usize)).collect();
    assert_eq!((bmap.image_size(), &ranges[..]), (SIZE, &MAPPED[..]));

    let out = work.path("out");
    work.copy(&work.image, &out).ok().says(&["(5.0 GiB)"]);
    let copied = fs::metadata(&out).unwrap();
    assert!((copied.len(), copied.blocks() < 1000) == (SIZE, true), "{copied:?}");
    assert_mapped(&work.image, &out);
    let verify = || bmaptool(["verify", "--bmap", text(&work.bmap), text(&out)]);
    verify().ok();
    let at = 4 * GIB + 5;
    File::options().write(true).open(&out).unwrap().write_all_at(&[0xff], at).unwrap();
    verify().fails(&[&format!("bytes {}-{}", 4 * GIB - 4096, 4 * GIB + 4095)]);
    copy(["--only-changed", "--bmap", text(&work.bmap), text(&work.image), text(&out)]).ok();
    assert_mapped(&work.image, &out);
}

#[test(Program("tar"))]
fn they_are_read_from_sparse_archives() {
    let work = work();
    let archive = work.output_of("tar --create --sparse disk.img");
    let out = work.path("out");
    work.copy(&archive, &out).ok();
    assert_mapped(&work.image, &out);
}

#[test(Root)]
fn they_reach_devices() {
    let work = work();
    let medium = work.path("medium");
    image::create(&medium, 6 * GIB);
    let device = Loop::attach(&medium);
    work.copy(&work.image, &device.path).ok();
    assert_mapped(&work.image, &device.path);
    bmaptool(["verify", "--bmap", text(&work.bmap), text(&device.path)]).ok();
}
