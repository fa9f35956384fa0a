//! `create`: what it refuses, and where it writes.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use crate::common::device::{Disk, Loop, Mount};
use crate::common::image::{self, Random, disk_like};
use crate::common::tool::{bmaptool, finish};
use crate::common::{sh, temp_dir, text};
use bmaptool::bmap::Bmap;
use bmaptool::filemap::{self, Method};

#[test(Root)]
fn what_cannot_be_mapped_is_refused() {
    let directory = temp_dir();
    let empty = directory.path().join("empty");
    File::create(&empty).unwrap();
    bmaptool(["create".as_ref(), empty.as_os_str()]).fails(&["empty': its size is zero"]);
    bmaptool(["create".as_ref(), directory.path().as_os_str()]).fails(&["it is a directory"]);
    bmaptool(["create".as_ref(), directory.path().join("none").as_os_str()]).fails(&["none': No such file"]);
    bmaptool(["create", "/dev/null"]).fails(&["'/dev/null': it is a character device"]);
    // It has no writer.
    let pipe = directory.path().join("pipe");
    sh("mkfifo", &[pipe.to_str().unwrap()]);
    bmaptool(["create".as_ref(), pipe.as_os_str()]).fails(&["pipe': it is a pipe"]);
    let disk = Disk::new(1 << 20);
    bmaptool(["create".as_ref(), disk.path().as_os_str()]).fails(&["it is a block device"]);
}

#[test(Program("xz"), Program("zstd"), Program("lz4"), Program("lzop"), Program("zip"))]
fn a_compressed_image_is_mapped_as_it_is_with_a_warning() {
    let directory = temp_dir();
    let image = directory.path().join("disk.img");
    fs::write(&image, Random::new(1).text(100_000)).unwrap();
    let path = image.to_str().unwrap();
    sh("gzip", &["-k", path]);
    sh("bzip2", &["-k", path]);
    sh("xz", &["-k", path]);
    sh("zstd", &["-q", path]);
    sh("lz4", &["-q", path, &format!("{path}.lz4")]);
    sh("lzop", &[path]);
    sh("zip", &["-q", &format!("{path}.zip"), path]);
    fs::write(format!("{path}.lz"), b"LZIP\x01\x0c").unwrap(); // a start is enough
    for (ending, name) in [
        ("gz", "gzip"),
        ("bz2", "bzip2"),
        ("xz", "xz"),
        ("zst", "zstd"),
        ("lz4", "lz4"),
        ("lzo", "lzop"),
        ("zip", "zip"),
        ("lz", "lzip"),
    ] {
        // It is the content that tells, not the name.
        let disguised = directory.path().join("vmlinux");
        fs::rename(format!("{path}.{ending}"), &disguised).unwrap();
        let outcome = bmaptool(["create".as_ref(), disguised.as_os_str()]).ok();
        outcome.says(&[&format!("WARNING: '{}' is compressed ({name}), and mapped as it is", disguised.display())]);
        let map = Bmap::parse(&outcome.stdout).unwrap();
        assert_eq!(map.image_size(), disguised.metadata().unwrap().len(), "{name}");
        assert_eq!(map.mapped_blocks(), map.blocks(), "{name}");
    }
    // A tar is an image of a directory, not compressed.
    let archive = directory.path().join("root.tar");
    sh("tar", &["-cf", text(&archive), "-C", text(directory.path()), "disk.img"]);
    let outcome = bmaptool(["create".as_ref(), archive.as_os_str()]).ok();
    assert!(!outcome.stderr.contains("is compressed"), "{}", outcome.stderr);
}

#[test]
fn a_full_image_is_mapped_with_a_warning() {
    let directory = temp_dir();
    let image = directory.path().join("full.img");
    fs::write(&image, vec![1; 1 << 20]).unwrap();
    let outcome = bmaptool(["create".as_ref(), image.as_os_str()]).ok();
    outcome.says(&["WARNING: all 1.0 MiB are mapped, no holes in '"]);
    assert_eq!(Bmap::parse(&outcome.stdout).unwrap().mapped_bytes(), 1 << 20);
    let quiet = bmaptool(["create".as_ref(), "--quiet".as_ref(), image.as_os_str()]).ok();
    quiet.says(&["WARNING"]);
}

#[test]
fn checksums_can_be_left_out() {
    let directory = temp_dir();
    let image = directory.path().join("disk.img");
    disk_like(&image, 2);
    let with = Bmap::parse(&bmaptool(["create".as_ref(), image.as_os_str()]).ok().stdout).unwrap();
    let without = bmaptool(["create".as_ref(), "--no-checksum".as_ref(), image.as_os_str()]).ok();
    assert!(without.stderr.is_empty(), "{}", without.stderr);
    let without = Bmap::parse(&without.stdout).unwrap();
    assert!(with.checksum_kind().is_some() && without.checksum_kind().is_none());
    assert!(with.ranges().map(|range| range.blocks).eq(without.ranges().map(|range| range.blocks)));
}

#[test(Native, Root)]
fn what_was_written_to_a_loop_device_is_mapped() {
    let directory = temp_dir();
    let image = directory.path().join("disk.img");
    File::create(&image).unwrap().set_len(32 << 20).unwrap();
    let disk = Loop::attach(&image);
    // It stays in the cache of the device.
    let mut device = OpenOptions::new().write(true).open(&disk.path).unwrap();
    device.write_all(&[7; 1 << 20]).unwrap();
    let outcome = bmaptool(["create".as_ref(), image.as_os_str()]).ok();
    assert!(outcome.stderr.is_empty(), "{}", outcome.stderr);
    assert!(String::from_utf8(outcome.stdout).unwrap().contains(" 0-255 </Range>"));
    drop(device);

    // Of ext4, the kernel would go on to write the tables of inodes, at any time. What the mount itself writes is written first.
    sh("mkfs.ext2", &["-q", text(&disk.path)]);
    let mount = Mount::of(&disk.path, "rw");
    sh("sync", &["--file-system", text(mount.path())]);
    bmaptool(["create".as_ref(), image.as_os_str()]).ok().says(&["may be missing from its map", "mounted: "]);
}

#[test(Root, FileSystem("erofs"))]
fn an_image_on_a_file_system_without_sync_is_mapped() {
    let directory = temp_dir();
    let image = directory.path().join("disk.img");
    disk_like(&image, 1);
    let compressed = temp_dir();
    let compressed = compressed.path().join("erofs");
    sh("mkfs.erofs", &[text(&compressed), text(directory.path())]);
    let device = Loop::attach(&compressed);
    let mount = Mount::of(&device.path, "ro");
    let bmap = bmaptool(["create".as_ref(), mount.path().join("disk.img").as_os_str()]).ok();
    let map = Bmap::parse(&bmap.stdout).unwrap();
    assert_eq!(map.image_size(), image.metadata().unwrap().len());
}

/// It grows, and its time is what it was.
#[test]
fn an_image_that_grows_is_refused() {
    let directory = temp_dir();
    let image = directory.path().join("disk.img");
    image::sparse(&image, 200 << 20, &[(0, 150 << 20)], 8);
    let writer = File::options().write(true).open(&image).unwrap();
    let before = writer.metadata().unwrap().modified().unwrap();
    let mut child = bmaptool(["create".as_ref(), image.as_os_str()]).spawn();
    let mut size = 200 << 20;
    while child.try_wait().unwrap().is_none() {
        size += 4096;
        writer.set_len(size).unwrap();
        writer.set_modified(before).unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
    let outcome = finish(child);
    assert_eq!(outcome.status, Some(1));
    outcome.says(&["disk.img' changed while it was being mapped"]);
}

#[test]
fn an_image_that_changes_is_refused() {
    let directory = temp_dir();
    let image = directory.path().join("disk.img");
    image::sparse(&image, 200 << 20, &[(0, 150 << 20)], 8);
    let writer = File::options().write(true).open(&image).unwrap();
    let mut tool = bmaptool(["create".as_ref(), image.as_os_str()]);
    let mut child = tool.spawn();
    let started = Instant::now();
    while child.try_wait().unwrap().is_none() && started.elapsed() < Duration::from_secs(30) {
        writer.write_all_at(b"change", 1000).unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
    let outcome = finish(child);
    assert_eq!(outcome.status, Some(1));
    outcome.says(&["disk.img' changed while it was being mapped"]);
    assert!(outcome.stdout.is_empty());
}

#[test(Native)]
fn little_memory_is_named_as_the_cause() {
    let directory = temp_dir();
    let image = directory.path().join("disk.img");
    // One range, so that it does not matter how many cores there are.
    image::sparse(&image, 5 << 20, &[(0, 4 << 20)], 1);
    let mut said = String::new();
    for kilobytes in (10_000..30_000).step_by(500) {
        let script = format!("ulimit -v {kilobytes}; exec \"$@\"");
        let outcome = bmaptool(["create".as_ref(), image.as_os_str()]).under(&["sh", "-c", &script, "sh"]).run();
        // Less may not be enough for the dynamic loader, or for the small blocks of which no failure can be told.
        assert!(matches!(outcome.status, Some(0 | 1 | 127 | 134) | None), "{kilobytes} KiB: {outcome:?}");
        said.push_str(&outcome.stderr);
    }
    assert!(!said.contains("cannot read") && !said.contains("allocation of 1048576 bytes"), "{said}");
    assert!(said.contains("ERROR: cannot make the buffers: "), "{said}");
}

#[test(Root, FileSystem("ramfs"))]
fn a_file_system_that_cannot_tell_holes_is_named() {
    let mount = Mount::in_memory("ramfs");
    let sparse = mount.path().join("sparse.img");
    image::sparse(&sparse, 1 << 20, &[(0, 4096)], 9);
    bmaptool(["create".as_ref(), sparse.as_os_str()])
        .fails(&["cannot tell which blocks are holes", "cp --sparse=always"]);
    let full = mount.path().join("full.img");
    fs::write(&full, vec![1; 100_000]).unwrap();
    bmaptool(["create".as_ref(), full.as_os_str()]).ok().says(&["no holes"]);
}

#[test(Root, FileSystem("xfs"), FileSystem("btrfs"), FileSystem("ext4"))]
fn both_ways_of_mapping_agree() {
    let mounts = [
        Mount::on_file("ext4", 64 << 20, &["-q", "-F", "-b", "1024"]),
        Mount::on_file("xfs", 400 << 20, &["-q"]),
        Mount::on_file("btrfs", 400 << 20, &["-q"]),
    ];
    for mount in &mounts {
        for seed in 0..5 {
            let path = mount.path().join("image");
            let mut random = Random::new(seed);
            let data: Vec<_> = (0..40).map(|_| (random.below(20 << 20), 1 + random.below(100_000) as usize)).collect();
            image::sparse(&path, 21 << 20, &data, seed);
            let file = File::open(&path).unwrap();
            file.sync_all().unwrap();
            let fiemap = filemap::map_with(Method::Fiemap, &file, &path).unwrap();
            let seek = filemap::map_with(Method::Seek, &file, &path).unwrap();
            assert_eq!(fiemap, seek);
            assert!(fiemap.ranges.len() > 1);
            assert_eq!(filemap::map(&file, &path).unwrap(), fiemap);
        }
    }
    // Where only one way is known, it is the one that is used.
    let mount = Mount::in_memory("tmpfs");
    let path = mount.path().join("image");
    image::sparse(&path, 1 << 20, &[(8192, 5000)], 1);
    let file = File::open(&path).unwrap();
    assert!(filemap::map_with(Method::Fiemap, &file, &path).is_err());
    assert_eq!(filemap::map(&file, &path).unwrap().ranges[0].to_string(), "2-3");
}

/// A file of 1 TiB in 20,000 extents: more than any one answer of the file system holds.
#[test(Root, FileSystem("xfs"), Program("time"))]
fn many_extents_are_mapped_in_time() {
    const EXTENTS: u64 = 20_000;
    const STEP: u64 = (1 << 40) / EXTENTS / 4096 * 4096;
    let mount = Mount::on_file("xfs", 600 << 20, &["-q"]);
    let path = mount.path().join("image");
    let file = image::create(&path, 1 << 40);
    (0..EXTENTS).for_each(|extent| file.write_all_at(&[1], extent * STEP).unwrap());
    file.sync_all().unwrap();
    let map = filemap::map(&file, &path).unwrap();
    assert_eq!(map.ranges.len() as u64, EXTENTS);
    assert!(map.ranges.iter().enumerate().all(|(index, range)| range.start() == index as u64 * STEP / 4096));
    let outcome = bmaptool(["create", text(&path)]).measured().ok();
    assert_eq!(Bmap::parse(&outcome.stdout).unwrap().mapped_blocks(), EXTENTS);
    assert!(outcome.processor_time() < Duration::from_secs(2), "{:?}", outcome.processor_time());
    assert!(outcome.memory() < 64 << 20, "{} MiB", outcome.memory() >> 20);
}
