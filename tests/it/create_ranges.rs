//! `create --range-size` and `create --map`.

use std::ffi::OsStr;
use std::path::Path;

use crate::common::image::{self, assert_same};
use crate::common::tool::{Tool, bmaptool};
use crate::common::{sh, sha256, temp_dir, text};
use crate::partitions;
use bmaptool::bmap::Bmap;
use bmaptool::range::ByteRange;

const MIB: u64 = 1 << 20;

const VERITY: &str = "\
label: gpt
start=1MiB, size=2MiB, type=linux
start=4MiB, size=3MiB, type=2c7357ed-ebd2-46d9-aec1-23d437ec2bf5
";

fn create(options: &[&str], image: &Path) -> Tool {
    let options = options.iter().map(OsStr::new);
    bmaptool([OsStr::new("create")].into_iter().chain(options).chain([image.as_os_str()]))
}

fn map(options: &[&str], image: &Path) -> Bmap {
    Bmap::parse(&create(options, image).ok().stdout).unwrap()
}

fn ranges(map: &Bmap) -> Vec<(u64, u64)> {
    map.ranges().map(|range| (range.bytes.start, range.bytes.end)).collect()
}

#[test]
fn ranges_are_cut_and_their_checksums_are_those_of_their_bytes() {
    let directory = temp_dir();
    let (image, copy) = (directory.path().join("disk.img"), directory.path().join("copy.img"));
    image::sparse(&image, 20 * MIB + 100, &[(0, 4096), (3 * MIB + 4096, 6 << 20), (20 * MIB, 100)], 1);
    let bmap = directory.path().join("disk.bmap");
    let cut = create(&["--range-size", "2M"], &image).ok().stdout;
    std::fs::write(&bmap, &cut).unwrap();
    let cut = Bmap::parse(&cut).unwrap();
    let whole = map(&[], &image);
    assert_eq!(whole.ranges().count(), 3);
    assert_eq!(cut.mapped_blocks(), whole.mapped_blocks());
    let bytes = ranges(&cut);
    let start = 3 * MIB + 4096;
    let cuts = [(start, 4 * MIB), (4 * MIB, 6 * MIB), (6 * MIB, 8 * MIB), (8 * MIB, start + 6 * MIB)];
    assert_eq!(bytes[1..5], cuts);
    assert_eq!((bytes.len(), bytes[0], bytes[5]), (6, (0, 4096), (20 * MIB, 20 * MIB + 100)));
    // Each checksum is compared with the bytes that are written.
    bmaptool(["copy".as_ref(), "--bmap".as_ref(), bmap.as_os_str(), image.as_os_str(), copy.as_os_str()]).ok();
    assert_same(&image, &copy);
}

#[test(Program("/usr/bin/bmaptool"))]
fn the_peer_reads_cut_ranges() {
    let directory = temp_dir();
    let (image, copy) = (directory.path().join("disk.img"), directory.path().join("copy.img"));
    image::disk_like(&image, 3);
    let bmap = directory.path().join("disk.bmap");
    std::fs::write(&bmap, create(&["--range-size", "64K"], &image).ok().stdout).unwrap();
    sh("/usr/bin/bmaptool", &["copy", "--bmap", text(&bmap), text(&image), text(&copy)]);
    assert_eq!(sha256(&image), sha256(&copy));
}

#[test]
fn equal_content_of_two_builds_has_equal_checksums() {
    let directory = temp_dir();
    let (one, other) = (directory.path().join("one.img"), directory.path().join("other.img"));
    image::sparse(&one, 16 * MIB, &[(MIB, 8 << 20)], 1);
    image::sparse(&other, 16 * MIB, &[(MIB, 8 << 20), (12 * MIB, 4096)], 1);
    let checksums = |image| -> Vec<_> {
        let map = map(&["--range-size", "1M"], image);
        map.ranges().map(|range| range.checksum.unwrap().to_vec()).collect()
    };
    assert_eq!(checksums(&one)[..], checksums(&other)[..8]);
}

#[test]
fn holes_are_mapped_where_that_is_asked_for() {
    let directory = temp_dir();
    let image = directory.path().join("disk.img");
    image::sparse(&image, 16 * MIB, &[(4 * MIB, 4096)], 1);
    assert_eq!(ranges(&map(&[], &image)), [(4 * MIB, 4 * MIB + 4096)]);
    let all = map(&["--map", "8M-8388609", "--map", "3M-5M", "--map", "4M-6M"], &image);
    assert_eq!(ranges(&all), [(3 * MIB, 6 * MIB), (8 * MIB, 8 * MIB + 4096)]);
    let both = map(&["--map=2M-5M", "--range-size=1M"], &image);
    assert_eq!(ranges(&both), [(2 * MIB, 3 * MIB), (3 * MIB, 4 * MIB), (4 * MIB, 5 * MIB)]);
}

#[test(Program("sfdisk"))]
fn a_partition_is_mapped_by_its_number() {
    let directory = temp_dir();
    let image = directory.path().join("disk.img");
    partitions::make(&image, VERITY);
    assert!(
        map(&["--map", "p2"], &image)
            .ranges()
            .any(|range| { (range.bytes.start, range.bytes.end) == (4 * MIB, 7 * MIB) })
    );
    create(&["--map", "p3"], &image).fails(&["cannot map partition 3 of '", "there is no such partition"]);
    let bare = directory.path().join("bare.img");
    image::sparse(&bare, MIB, &[(0, 4096)], 1);
    create(&["--map", "p1"], &bare).fails(&["there is no such partition"]);
}

#[test(Program("sfdisk"))]
fn a_logical_partition_is_mapped_by_its_number() {
    let directory = temp_dir();
    let image = directory.path().join("disk.img");
    partitions::make(&image, partitions::MBR);
    let logical = ByteRange { start: 5 * MIB, end: 7 * MIB };
    assert!(!map(&[], &image).maps(logical));
    assert!(map(&["--map", "p6"], &image).maps(logical));
}

#[test(Program("sfdisk"))]
fn verity_in_holes_is_warned_about() {
    let directory = temp_dir();
    let image = directory.path().join("disk.img");
    partitions::make(&image, VERITY);
    create(&[], &image)
        .ok()
        .says(&["WARNING: partition 2 of '", "is for dm-verity and has holes; map it whole with '--map p2'"]);
    let outcome = create(&["--map", "p2"], &image).ok();
    assert!(!outcome.stderr.contains("verity"), "{}", outcome.stderr);
}

#[test]
fn wrong_sizes_and_ranges_are_usage_errors_that_show_the_form() {
    let directory = temp_dir();
    let image = directory.path().join("disk.img");
    image::sparse(&image, MIB, &[(0, 4096)], 1);
    let cases: [(&[&str], &str); 8] = [
        (&["--range-size", "0"], "as in 4M"),
        (&["--range-size", "4X"], "as in 4M"),
        (&["--range-size", "1000"], "is no multiple of the block size"),
        (&["--map", "1M"], "START-END"),
        (&["--map", "p0"], "START-END"),
        (&["--map", "5-5"], "the range is empty: of START-END, as in 1M-4M, "),
        (&["--map", "0-2M"], "START-END"),
        (&["--map", "1M-1048577"], "the image has 1048576 bytes"),
    ];
    for (options, words) in cases {
        let outcome = create(options, &image).run();
        assert_eq!(outcome.status, Some(2), "{options:?}: {}", outcome.stderr);
        assert!(outcome.stderr.contains(words) && outcome.stdout.is_empty(), "{options:?}: {}", outcome.stderr);
    }
}
