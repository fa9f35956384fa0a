//! The same images through the peer, Debian's bmap-tools: equal maps, and each flashes with the other's.

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use crate::common::device::{Disk, Mount};
use crate::common::image::{self, Random, assert_same};
use crate::common::tool::{copy, create, peer};
use crate::common::{sh, temp_dir};
use crate::registry::{Need, Test};

#[test_cases]
fn file_systems() -> Vec<Test> {
    let on_file = |name: &str, kind: &'static str, megabytes: u64, options: &'static [&'static str]| {
        let needs = [Need::Root, Need::Peer, Need::FileSystem(kind)];
        Test::new(format!("maps_and_copies_agree_on_{name}"), &needs, move || {
            compare_on(Mount::on_file(kind, megabytes << 20, options).path());
        })
    };
    vec![
        on_file("ext2", "ext2", 200, &["-q", "-F"]),
        on_file("ext4_4k", "ext4", 200, &["-q", "-F", "-b", "4096"]),
        on_file("ext4_1k", "ext4", 200, &["-q", "-F", "-b", "1024"]),
        on_file("xfs", "xfs", 400, &["-q"]),
        on_file("btrfs", "btrfs", 400, &["-q"]),
    ]
}

#[test(Root, Peer)]
fn maps_and_copies_agree_on_tmpfs() {
    compare_on(Mount::in_memory("tmpfs").path());
}

/// How an image is made.
type Shape = fn(&Path);

const SHAPES: [(&str, Shape); 12] = [
    ("all hole", |path| drop(image::create(path, 3 << 20))),
    ("all data", |path| image::sparse(path, 1 << 20, &[(0, 1 << 20)], 2)),
    ("one byte", |path| image::sparse(path, 1, &[(0, 1)], 3)),
    ("block - 1", |path| image::sparse(path, 4095, &[(0, 4095)], 4)),
    ("block + 1", |path| image::sparse(path, 4097, &[(0, 4097)], 5)),
    ("tail", |path| image::sparse(path, 1_234_567, &[(8192, 100), (1_230_000, 4567)], 6)),
    ("checkerboard", checkerboard),
    ("preallocated", preallocated),
    ("partition", partition),
    ("random 1", |path| random(path, 101)),
    ("random 2", |path| random(path, 202)),
    ("random 3", |path| random(path, 303)),
];

fn checkerboard(path: &Path) {
    const BLOCK: u64 = 64 << 10; // holes of this size are holes on every file system
    let data: Vec<_> = (0..32).map(|square| (square * 2 * BLOCK, BLOCK as usize)).collect();
    image::sparse(path, 64 * BLOCK, &data, 7);
}

/// An extent that is reserved but holds no data yet, between two that do.
fn preallocated(path: &Path) {
    image::sparse(path, 4 << 20, &[(0, 10_000), (2 << 20, 10_000)], 8);
    let reserved = Command::new("fallocate").args(["-o", "1048576", "-l", "200000"]).arg(path).output().unwrap();
    // Those of ext2 cannot; there the image is one more with holes.
    let words = String::from_utf8_lossy(&reserved.stderr);
    assert!(reserved.status.success() || words.contains("not supported"), "{words}");
}

/// A disk with a partition table and a file system with files in its partition.
fn partition(path: &Path) {
    const START: u64 = 1 << 20;
    let directory = temp_dir();
    let files = directory.path().join("files");
    std::fs::create_dir(&files).unwrap();
    for number in 0..8_u64 {
        let length = 1000 * (number as usize + 1).pow(2);
        std::fs::write(files.join(number.to_string()), Random::new(number).text(length)).unwrap();
    }
    drop(image::create(path, 12 << 20));
    sh("mkfs.ext4", &["-q", "-F", "-d", files.to_str().unwrap(), "-E", "offset=1048576", path.to_str().unwrap(), "8M"]);
    let mut table = [0; 512];
    table[446..462].copy_from_slice(&[0, 0, 2, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 64, 0, 0]);
    table[510..].copy_from_slice(&[0x55, 0xaa]);
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(&table, 0).unwrap();
    assert!(START < file.metadata().unwrap().len());
}

fn random(path: &Path, seed: u64) {
    let mut random = Random::new(seed);
    let size = 1 + random.below(6 << 20);
    let data: Vec<_> = (0..random.below(20))
        .map(|_| {
            let offset = random.below(size);
            (offset, random.below((size - offset).min(400_000) + 1) as usize)
        })
        .collect();
    image::sparse(path, size, &data, seed);
}

fn compare_on(directory: &Path) {
    let disk = Disk::new(16 << 20);
    let theirs = directory.join("theirs.bmap");
    for (name, make) in SHAPES {
        let image = directory.join("image");
        make(&image);
        let ours = create(&image);
        std::fs::write(&theirs, peer(["create".as_ref(), image.as_os_str()])).unwrap();
        assert_eq!(map_lines(&ours), map_lines(&theirs), "{name}");

        let target = directory.join("copy");
        peer(["copy".as_ref(), "--bmap".as_ref(), ours.as_os_str(), image.as_os_str(), target.as_os_str()]);
        assert_same(&image, &target);
        std::fs::remove_file(&target).unwrap();
        copy(["--bmap".as_ref(), theirs.as_os_str(), image.as_os_str(), target.as_os_str()]).ok();
        assert_same(&image, &target);
        std::fs::remove_file(&target).unwrap();

        compare_devices(&image, &ours, &theirs, &disk);
    }
}

/// Each flashes a device with the other's map.
fn compare_devices(image: &Path, ours: &Path, theirs: &Path, disk: &Disk) {
    disk.refill();
    peer(["copy".as_ref(), "--bmap".as_ref(), ours.as_os_str(), image.as_os_str(), disk.path().as_os_str()]);
    disk.assert_flashed(image, ours);
    disk.refill();
    copy(["--bmap".as_ref(), theirs.as_os_str(), image.as_os_str(), disk.path().as_os_str()]).ok();
    disk.assert_flashed(image, theirs);
}

/// The lines of a bmap that say what is mapped, without white space, comments and the file's own checksum.
fn map_lines(bmap: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(bmap).unwrap();
    let names = ["<ImageSize>", "<BlockSize>", "<BlocksCount>", "<MappedBlocksCount>", "<ChecksumType>", "<Range"];
    let is_ours = |line: &&str| names.iter().any(|name| line.trim_start().starts_with(name));
    text.lines().filter(is_ours).map(|line| line.split_whitespace().collect()).collect()
}
