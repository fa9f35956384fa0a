//! `verify`: a device, a file or an image is compared with its bmap.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::common::device::Disk;
use crate::common::gnupg::{Who, keys};
use crate::common::image::{disk_like, sparse};
use crate::common::server::{File, Server};
use crate::common::signed::{BAD, Bench, good};
use crate::common::tool::{Tool, bmaptool, copy};
use crate::common::trace::Trace;
use crate::common::work::Work;
use crate::common::{sha256, text};

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

#[test(Root, Program("strace"))]
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
    damage(disk.path(), 5 * MIB + 7);
    verify(&["--bmap", bmap, device]).fails(&["ERROR: bytes 5242880-", "1 of 7 ranges differ"]);
    verify(&[device]).fails(&["bmap file not found for '/dev/", "name it with '--bmap BMAP'"]);
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
