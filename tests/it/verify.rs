//! `verify`: a device, a file or an image is compared with its bmap.

use std::fs::{self, OpenOptions};
use std::io::BufWriter;
use std::os::unix::fs::FileExt;
use std::path::Path;

use bmaptool::bmap::{Bmap, Checksums};
use bmaptool::digest::ChecksumKind;
use bmaptool::range::{BlockRange, BlockSize};

use crate::common::device::Disk;
use crate::common::gnupg::{Who, keys};
use crate::common::image::{create, disk_like, sparse};
use crate::common::json::events;
use crate::common::lying::{Lie, LyingDisk};
use crate::common::server::{File, Server};
use crate::common::signed::{BAD, Bench, good};
use crate::common::tool::{Tool, bmaptool, copy};
use crate::common::trace::Trace;
use crate::common::work::Work;
use crate::common::{sha256, temp_dir, text};
use crate::registry::JSON;

const MIB: u64 = 1 << 20;

fn work() -> Work {
    Work::new(|path| disk_like(path, 7))
}

fn verify(arguments: &[&str]) -> Tool {
    bmaptool([&["verify"], arguments].concat())
}

/// Changes a byte.
fn damage(path: &Path, at: u64) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
    file.sync_all().unwrap();
}

#[test(Program("zstd"), Program("xz"), Loopback)]
fn images_of_all_kinds_are_verified() {
    let work = work();
    let (bmap, image) = (text(&work.bmap).to_owned(), text(&work.image).to_owned());
    verify(&[&image]).ok().says(&[
        "discovered bmap file",
        "is what its bmap says: 1.8 MiB in 7 ranges",
        "verifying time: ",
    ]);
    let server = Server::of(File::new(fs::read(&image).unwrap()));
    verify(&["--bmap", &bmap, &server.url("disk.img")]).ok();
    verify(&["--bmap", &bmap, "-"]).stdin(fs::read(&image).unwrap()).ok().says(&["standard input is what its bmap"]);
    for command in ["gzip -c", "xz -c", "zstd -c", "tar -c disk.img"] {
        let packed = work.output_of(command);
        verify(&["--bmap", &bmap, text(&packed)]).ok().says(&["is what its bmap says"]);
        let bytes = fs::read(&packed).unwrap();
        fs::write(&packed, &bytes[..bytes.len() / 2]).unwrap();
        verify(&["--bmap", &bmap, text(&packed)]).fails(&["cannot verify"]);
    }
}

#[test]
fn all_ranges_that_differ_are_told() {
    let work = work();
    // In the first, third, and last range; the last block is partial.
    for at in [100, 3 * MIB + 8192, 16 * MIB + 776] {
        damage(&work.image, at);
    }
    let outcome = verify(&[text(&work.image)]).fails(&[
        "ERROR: bytes 0-20479 (blocks 0-4) differ: the sha256 is ",
        "ERROR: bytes 3153920-3158015 (blocks 770) differ",
        "ERROR: bytes 16777216-16777992 (blocks 4096) differ",
        "disk.img' is not what its bmap says: 3 of 7 ranges differ",
    ]);
    assert_eq!(outcome.stderr.matches("ERROR").count(), 4, "{}", outcome.stderr);
}

#[test(Root, Program("strace"), JSON)]
fn a_device_is_read_past_the_page_cache_and_not_written_to() {
    let work = work();
    let disk = Disk::new(20 * MIB);
    copy([text(&work.image), text(disk.path())]).ok();
    let before = sha256(&disk.backing);
    let (bmap, device) = (text(&work.bmap), text(disk.path()));
    let trace = Trace::new();
    verify(&["--bmap", bmap, device]).under(&trace.strace("open,openat,pwrite64,write")).ok();
    let opened: Vec<_> = trace.lines().into_iter().filter(|line| line.contains(&format!("\"{device}\""))).collect();
    assert!(opened.iter().any(|line| line.contains("O_DIRECT")), "{opened:?}");
    assert!(opened.iter().all(|line| line.contains("O_RDONLY") && !line.contains("O_EXCL")), "{opened:?}");
    assert_eq!(sha256(&disk.backing), before);
    // Where that is refused, the cache is dropped: the second time that the device is opened.
    let strace = ["strace", "-f", "-o", "/dev/null", "-P", device, "-e", "inject=openat:error=EINVAL:when=2"];
    verify(&["--bmap", bmap, device]).under(&strace).ok().says(&["does not take O_DIRECT"]);
    // Where that is not allowed either, a warning says so.
    let strace = [&strace[..], &["-e", "inject=ioctl:error=EACCES"]].concat();
    let outcome = verify(&["--json", "--bmap", bmap, device]).under(&strace).ok();
    outcome.says(&["WARNING: compared 1.8 MiB", "which may have come from memory"]);
    let told = events(&outcome);
    assert!(told.iter().any(|event| event["code"] == "medium-not-read"), "{told:?}");
    assert_eq!(told.last().unwrap()["verified"]["read_from"], "unsure");
    damage(disk.path(), 5 * MIB + 7);
    verify(&["--bmap", bmap, device]).fails(&["ERROR: bytes 5242880-", "1 of 7 ranges differ"]);
    verify(&[device]).fails(&["bmap file not found for '/dev/", "name it with '--bmap BMAP'"]);
}

/// Where the image has data, in a range of 1.5 MB, and the block in which that lies.
const AT: u64 = 5 * MIB + 100_000;
const BLOCK: u64 = AT / 4096 * 4096;

#[test(Root, FileSystem("fuse"))]
fn what_cannot_be_read_hides_no_other_fault() {
    let work = work();
    let fine = work.path("fine.bmap");
    bmaptool(["create", "--range-size", "4096", "-o", text(&fine), text(&work.image)]).ok();
    let disk = LyingDisk::new(20 * MIB);
    copy([text(&work.image), text(disk.path())]).ok();
    damage(disk.path(), 100);
    damage(disk.path(), 16 * MIB + 776);
    let disk = disk.lies(Lie::Unreadable(AT..AT + 1));
    verify(&["--bmap", text(&work.bmap), text(disk.path())]).fails(&[
        "ERROR: bytes 0-20479 (blocks 0-4) differ: the sha256 is ",
        &format!(
            "ERROR: bytes 5242880-6746111 (blocks 1280-1646) cannot be read: Input/output error at byte {BLOCK}\n"
        ),
        "ERROR: bytes 16777216-16777992 (blocks 4096) differ",
        "is not what its bmap says: 2 of 7 ranges differ, 1 cannot be read; it is worn out: use another",
    ]);
    // Of the ranges in the same MiB, the others are right.
    let outcome = verify(&["--bmap", text(&fine), text(disk.path())]).fails(&[
        "ERROR: bytes 0-4095 (blocks 0) differ",
        &format!("ERROR: bytes {BLOCK}-{} (blocks 1304) cannot be read", BLOCK + 4095),
        "2 of ",
        " ranges differ, 1 cannot be read",
    ]);
    assert_eq!(outcome.stderr.matches("ERROR").count(), 4, "{}", outcome.stderr);
    // The first bytes tell what a file is; a device is an image.
    let disk = disk.lies(Lie::Unreadable(0..1));
    verify(&["--bmap", text(&work.bmap), text(disk.path())]).fails(&[
        "ERROR: bytes 0-20479 (blocks 0-4) cannot be read: Input/output error at byte 0\n",
        "1 of 7 ranges differ, 2 cannot be read",
    ]);
}

#[test(Root, FileSystem("fuse"))]
fn of_a_file_too_what_cannot_be_read_hides_no_other_fault() {
    let work = Work::new(|path| sparse(path, 8 * MIB, &[(0, 20_000), (5 * MIB, 1_500_000), (7 * MIB, 4096)], 7));
    let disk = LyingDisk::new(8 * MIB);
    copy([text(&work.image), text(disk.path())]).ok();
    damage(disk.path(), 7 * MIB + 10);
    let disk = disk.lies(Lie::Unreadable(AT..AT + 1));
    verify(&["--bmap", text(&work.bmap), text(&disk.file())]).fails(&[
        &format!(
            "ERROR: bytes 5242880-6746111 (blocks 1280-1646) cannot be read: Input/output error at byte {BLOCK}\n"
        ),
        "ERROR: bytes 7340032-7344127 (blocks 1792) differ: the sha256 is ",
        "is not what its bmap says: 1 of 3 ranges differ, 1 cannot be read; the disk that it lies on is worn out",
    ]);
}

#[test(Root, FileSystem("fuse"))]
fn ranges_that_cannot_be_read_are_told_together() {
    let work = work();
    bmaptool(["create", "--range-size", "4096", "-o", text(&work.bmap), text(&work.image)]).ok();
    let disk = LyingDisk::new(20 * MIB);
    copy([text(&work.image), text(disk.path())]).ok();
    let disk = disk.lies(Lie::Unreadable(5 * MIB..5 * MIB + 65536));
    let outcome = verify(&["--bmap", text(&work.bmap), text(disk.path())]).fails(&[
        "ERROR: bytes 5242880-5308415 (blocks 1280-1295) cannot be read: Input/output error at byte 5242880\n",
        ": 0 of ",
        " ranges differ, 16 cannot be read",
    ]);
    assert_eq!(outcome.stderr.matches("ERROR").count(), 2, "{}", outcome.stderr);
}

#[test(Root, Program("strace"))]
fn a_device_that_is_taken_out_is_left_alone() {
    let work = work();
    let disk = Disk::new(20 * MIB);
    copy([text(&work.image), text(disk.path())]).ok();
    let device = text(disk.path());
    let strace = ["strace", "-f", "-o", "/dev/null", "-P", device, "-e", "inject=pread64:error=ENODEV:when=3+"];
    let outcome = verify(&["--bmap", text(&work.bmap), device]).under(&strace).fails(&["cannot verify '/dev/loop"]);
    outcome.says(&[": cannot read byte ", ": No such device"]);
    assert!(!outcome.stderr.contains("cannot be read"), "{}", outcome.stderr);
}

#[test]
fn what_differs_before_the_end_of_a_stream_is_told() {
    let work = work();
    damage(&work.image, 100);
    let packed = work.output_of("gzip -c");
    let bytes = fs::read(&packed).unwrap();
    fs::write(&packed, &bytes[..bytes.len() / 2]).unwrap();
    for bytes in [bytes[..bytes.len() / 2].to_vec(), fs::read(&work.image).unwrap()[..6 << 20].to_vec()] {
        let outcome = verify(&["--bmap", text(&work.bmap), "-"]).stdin(bytes).fails(&["cannot verify standard input"]);
        let lines: Vec<_> = outcome.stderr.lines().filter(|line| line.contains("ERROR")).collect();
        assert!(lines.len() == 2 && lines[0].contains("bytes 0-20479 (blocks 0-4) differ"), "{}", outcome.stderr);
    }
}

/// The page cache has what is right, the medium has not.
#[test(Root, FileSystem("fuse"))]
fn a_device_on_standard_input_is_read_past_the_page_cache() {
    let work = work();
    let disk = LyingDisk::new(20 * MIB);
    copy([text(&work.image), text(disk.path())]).ok();
    let disk = disk.lies(Lie::Flip(AT, usize::MAX));
    let device = OpenOptions::new().read(true).write(true).open(disk.path()).unwrap();
    let [mut expected, mut cached] = [[0; 4096]; 2];
    fs::File::open(&work.image).unwrap().read_exact_at(&mut expected, BLOCK).unwrap();
    device.write_all_at(&expected, BLOCK).unwrap();
    device.sync_all().unwrap();
    device.read_exact_at(&mut cached, BLOCK).unwrap();
    assert!(cached == expected);
    for name in ["-", "/dev/stdin", text(disk.path())] {
        let tool = verify(&["--bmap", text(&work.bmap), name]).stdin_from(disk.path());
        tool.fails(&["ERROR: bytes 5242880-", "1 of 7 ranges differ"]);
    }
    disk.tells_the_truth();
    device.write_all_at(&expected, BLOCK).unwrap();
    device.sync_all().unwrap();
    verify(&["--bmap", text(&work.bmap), "-"]).stdin_from(disk.path()).ok();
    // From there on, it is a stream.
    let other = Disk::new(20 * MIB);
    let image = fs::read(&work.image).unwrap();
    OpenOptions::new().write(true).open(other.path()).unwrap().write_all_at(&image, MIB).unwrap();
    let skipped = ["sh", "-c", "dd bs=1M count=1 of=/dev/null status=none; exec \"$@\"", "sh"];
    verify(&["--bmap", text(&work.bmap), "-"]).under(&skipped).stdin_from(other.path()).ok();
}

/// Each range is one of its own, as those in between are holes.
#[test(Program("time"))]
fn many_differences_take_little_memory() {
    const RANGES: u64 = 280_000;
    const BLOCK: u64 = 512;
    let directory = temp_dir();
    let [image, map] = ["disk.img", "disk.img.bmap"].map(|name| directory.path().join(name));
    create(&image, 2 * RANGES * BLOCK);
    let mut checksums = Checksums::new(ChecksumKind::Sha256);
    let digest = ChecksumKind::Sha256.hasher().finish();
    let ranges = (0..RANGES).map(|range| BlockRange::from_inclusive(range * 2, range * 2).unwrap()).collect();
    (0..RANGES).for_each(|_| checksums.push(&digest));
    let map_of_all = Bmap::new(2 * RANGES * BLOCK, BlockSize::new(BLOCK).unwrap(), ranges, Some(checksums)).unwrap();
    map_of_all.emit(&mut BufWriter::new(fs::File::create(&map).unwrap())).unwrap();
    let outcome = verify(&[text(&image)]).measured().fails(&["280000 of 280000 ranges differ"]);
    assert_eq!(outcome.stderr.matches(" differ: the sha256 is ").count(), 16);
    assert!(outcome.memory() < 64 << 20, "{} MiB", outcome.memory() >> 20);
}

#[test(Root, FileSystem("ext4"))]
fn a_device_in_use_is_verified_with_a_warning() {
    let disk = Disk::new(4 * MIB);
    let mount = disk.mount(disk.path());
    let work = Work::new(|path| {
        fs::copy(&disk.backing, path).unwrap();
    });
    let outcome = verify(&["--bmap", text(&work.bmap), text(disk.path())]).ok();
    outcome.says(&["WARNING: '/dev/loop", "may change while it is read: it is mounted: /dev/loop"]);
    let outcome = verify(&["--bmap", text(&work.bmap), "-"]).stdin_from(disk.path()).ok();
    outcome.says(&["WARNING: '/dev/stdin' may change while it is read: it is mounted: /dev/loop"]);
    drop(mount);
}

#[test(Root)]
fn a_device_that_is_too_small_or_of_odd_size_is_told() {
    let work = work();
    let disk = Disk::new(8 * MIB);
    verify(&["--bmap", text(&work.bmap), text(disk.path())])
        .fails(&["has 8388608 bytes, but the bmap is for an image"]);
    // The last sectors of the device are fewer than a page.
    let odd = Work::new(|path| sparse(path, 3 * MIB + 512, &[(0, 5000), (3 * MIB, 512)], 9));
    let disk = Disk::new(3 * MIB + 512);
    copy([text(&odd.image), text(disk.path())]).ok();
    verify(&["--bmap", text(&odd.bmap), text(disk.path())]).ok();
}

#[test]
fn what_cannot_be_compared_is_an_error() {
    let work = work();
    let plain = work.path("plain.bmap");
    bmaptool(["create", "--no-checksum", "-o", text(&plain), text(&work.image)]).ok();
    verify(&["--bmap", text(&plain), text(&work.image)])
        .fails(&["the bmap has no checksums", "without '--no-checksum'"]);
    let other = work.path("other.img");
    fs::copy(&work.image, &other).unwrap();
    verify(&[text(&other)]).fails(&["bmap file not found for"]);
    verify(&["-"]).exits(2, &["an image on standard input has no bmap beside it: use '--bmap BMAP'"]);
    verify(&["--bmap", text(&work.bmap), "/nonexistent"]).fails(&["cannot open '/nonexistent'"]);
    for option in ["--nobmap", "--read-back"] {
        verify(&[option, text(&work.image)]).exits(2, &["unexpected argument"]);
    }
}

#[test(Program("gpg"))]
fn the_signature_of_the_bmap_is_verified() {
    let bench = Bench::new();
    let verify = || verify(&[text(&bench.image)]).env("GNUPGHOME", keys().home());
    bench.sign(Who::Ed);
    verify().ok().says(&[&good(Who::Ed)]);
    bench.sign(Who::Stranger);
    verify().fails(&[BAD]);
}

#[test]
fn nothing_but_errors_is_said_quietly() {
    let work = work();
    let outcome = verify(&["--quiet", text(&work.image)]).ok();
    assert!(outcome.stdout.is_empty() && outcome.stderr.is_empty(), "{}", outcome.stderr);
}
