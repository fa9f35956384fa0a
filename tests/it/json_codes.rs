//! The codes of errors and warnings that take some doing to come by; `json_errors` has those that everybody meets.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::common::device::{Disk, Loop, Mount};
use crate::common::gnupg::Who;
use crate::common::image::{self, put_gpt};
use crate::common::json::{events, fails_with, object, succeeds};
use crate::common::lying::{Lie, LyingDisk};
use crate::common::server::{self, Server};
use crate::common::signed::Bench;
use crate::common::tool::{Tool, bmaptool, finish, open_pipe, tie, wait_until};
use crate::common::work::{Work, gzip};
use crate::common::{sh, text};
use crate::devices::share;
use crate::registry::JSON;

const MIB: u64 = 1 << 20;

/// An image of 4 MiB with a GPT for sectors of 512 bytes.
fn work() -> Work {
    Work::new(|path| {
        image::sparse(path, 4 * MIB, &[(0, 20_000), (2 * MIB, 100_000)], 7);
        let mut bytes = fs::read(path).unwrap();
        put_gpt(&mut bytes, 512);
        File::options().write(true).open(path).unwrap().write_all_at(&bytes[..20_000], 0).unwrap();
    })
}

/// A command with `--json` in the directory of `work`; its arguments are words.
fn run(work: &Work, command: &str) -> Tool {
    let mut words = command.split_whitespace();
    let first = words.next().unwrap();
    bmaptool([first, "--json"].into_iter().chain(words)).current_dir(work.directory.path())
}

/// The codes of the warnings among `events`.
fn warnings(events: &[Value]) -> Vec<&str> {
    let warnings = events.iter().filter(|event| event["type"] == "warning");
    warnings.map(|event| event["code"].as_str().unwrap()).collect()
}

/// Runs it, and expects it to succeed with this warning and no other.
#[track_caller]
fn warns(tool: Tool, code: &str) {
    let events = succeeds(tool);
    assert_eq!(warnings(&events), [code], "{events:?}");
}

/// The command that runs the command that follows it with failing system calls on a file.
fn with_failing(file: &Path, inject: &str) -> Vec<String> {
    ["strace", "-f", "-o", "/dev/null", "-P", text(file), "-e", &format!("inject={inject}")].map(str::to_owned).to_vec()
}

#[test(Root, JSON)]
fn a_gpt_that_is_relocated() {
    let work = work();
    let disk = Disk::new(8 * MIB);
    let copy = |image: &str, disk: &Disk| run(&work, &format!("copy --relocate-gpt {image} {}", text(disk.path())));
    image::sparse(&work.path("none.img"), 4 * MIB, &[(0, 20_000)], 1);
    fails_with(copy("--nobmap none.img", &disk), "gpt-missing");
    let large_sectors = Disk::with(8 * MIB, &["--sector-size", "4096"]);
    fails_with(copy("disk.img", &large_sectors), "gpt-sector-size");
    warns(run(&work, &format!("copy disk.img {}", text(large_sectors.path()))), "sector-size-differs");
    fails_with(run(&work, "copy --relocate-gpt disk.img out"), "target-not-block-device");
    let mut far = fs::read(&work.image).unwrap();
    let end = |sectors: u64| sectors.to_le_bytes();
    far[1024 + 40..1024 + 48].copy_from_slice(&end(8 * MIB / 512 - 10));
    seal(&mut far);
    fs::write(work.path("far.img"), far).unwrap();
    fails_with(copy("--nobmap far.img", &disk), "gpt-not-relocatable");
    succeeds(copy("disk.img", &disk));
    let verify = || run(&work, &format!("verify --bmap disk.img.bmap {}", text(disk.path())));
    let told = succeeds(verify());
    assert_eq!(told.last().unwrap()["verified"]["backup_gpt_right"], true);
    File::options().write(true).open(disk.path()).unwrap().write_all_at(&[7; 512], 8 * MIB - 512).unwrap();
    let told = fails_with(verify(), "backup-gpt-damaged");
    assert_eq!(told.last().unwrap()["verified"]["backup_gpt_right"], false);
}

/// Makes the checksums of a changed GPT right again.
fn seal(image: &mut [u8]) {
    let entries = crc32fast::hash(&image[1024..1024 + 128 * 128]);
    image[512 + 88..512 + 92].copy_from_slice(&entries.to_le_bytes());
    image[512 + 16..512 + 20].fill(0);
    let header = crc32fast::hash(&image[512..512 + 92]);
    image[512 + 16..512 + 20].copy_from_slice(&header.to_le_bytes());
}

#[test(Root, FileSystem("fuse"), JSON)]
fn what_a_device_does_with_commands() {
    let work = work();
    let copy = |options: &str, disk: &LyingDisk| run(&work, &format!("copy {options} disk.img {}", text(disk.path())));
    fails_with(copy("--unmapped=discard", &LyingDisk::new(8 * MIB)), "cannot-discard");
    warns(copy("--unmapped=discard", &LyingDisk::new(8 * MIB).lies(Lie::KeepDiscarded)), "discarded-not-zero");
    warns(copy("", &LyingDisk::new(8 * MIB).lies(Lie::Unreadable(0..1))), "boot-region-unreadable");
    let unreadable = LyingDisk::new(8 * MIB).lies(Lie::Unreadable(2 * MIB..3 * MIB));
    fails_with(copy("--read-back", &unreadable), "medium-fault");
}

#[test(Root, Program("strace"), JSON)]
fn what_the_kernel_does_not_do() {
    let work = work();
    let disk = Disk::new(8 * MIB);
    let copy = || run(&work, &format!("copy disk.img {}", text(disk.path())));
    fails_with(copy().under(&with_failing(disk.path(), "fsync:error=EIO:when=2")), "sync-failed");
    fails_with(copy().under(&with_failing(&work.image, "pread64,read:error=EIO:when=2+")), "cannot-read");
    let no_sysfs = ["unshare", "--mount", "sh", "-c", "umount --lazy /sys && exec \"$0\" \"$@\""];
    fails_with(copy().under(&no_sysfs), "target-unclear");
    let no_swaps = with_failing("/proc/swaps".as_ref(), "openat:error=EACCES");
    fails_with(run(&work, "list").under(&no_swaps), "devices-unclear");
    let told = object(&run(&work, &format!("info {}", text(disk.path()))).under(&no_swaps).run());
    assert_eq!(told["errors"][0]["code"], "device-unclear", "{told}");
}

#[test(Program("strace"), JSON)]
fn what_the_machine_has_not() {
    let work = work();
    // The first thread is the one that prints the events.
    let no_more_threads = ["strace", "-f", "-o", "/dev/null", "-e", "inject=clone,clone3:error=EAGAIN:when=3+"];
    fails_with(run(&work, "copy disk.img out").under(&no_more_threads), "no-resources");
}

/// The list of swap devices is a pipe, so that what happens meanwhile happens between two looks at the target.
#[test(Root, JSON)]
fn a_target_that_becomes_another_one() {
    let work = work();
    let [one, other] = [(); 2].map(|()| Disk::new(8 * MIB));
    let (swaps, target) = (work.path("swaps"), work.path("target"));
    nix::unistd::mkfifo(&swaps, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    symlink(one.path(), &target).unwrap();
    let slow = ["unshare", "--mount", "sh", "-c", "mount --bind swaps /proc/swaps && exec \"$0\" \"$@\""];
    let mut child = run(&work, "copy disk.img target").under(&slow).spawn();
    let list = open_pipe(&mut child, &swaps);
    fs::remove_file(&target).unwrap();
    symlink(other.path(), &target).unwrap();
    drop(list);
    let told = events(&finish(child));
    assert_eq!(told.last().unwrap()["error"]["code"], "target-replaced", "{told:?}");
}

#[test(Root, Program("strace"), JSON)]
fn a_setting_that_cannot_be_restored() {
    let work = work();
    let disk = Disk::new(8 * MIB);
    let share = fs::canonicalize(share(&disk)).unwrap();
    let mut child = run(&work, &format!("copy --bmap disk.img.bmap - {}", text(disk.path()))).spawn();
    let image = fs::read(&work.image).unwrap();
    let (start, rest) = image.split_at(MIB as usize);
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(start).unwrap();
    wait_until(&mut child, "the changed setting", || fs::read(disk.attribute("bdi/max_ratio")).unwrap() == b"1\n");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-o", "/dev/null", "-P", text(&share), "-e", "inject=pwrite64:error=EIO"]);
    let mut strace = tie(strace.args(["-p", &child.id().to_string()])).stderr(Stdio::null()).spawn().unwrap();
    let is_traced = |status: &str| status.lines().any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0"));
    let threads = format!("/proc/{}/task", child.id());
    wait_until(&mut child, "strace", || {
        let threads = fs::read_dir(&threads).unwrap().map(|thread| thread.unwrap().path().join("status"));
        threads.into_iter().all(|status| is_traced(&fs::read_to_string(status).unwrap_or_default()))
    });
    stdin.write_all(rest).unwrap();
    drop(stdin);
    let outcome = finish(child);
    assert_eq!(outcome.status, Some(0), "{}", outcome.stderr);
    let told = events(&outcome);
    assert_eq!(warnings(&told), ["setting-not-restored"], "{told:?}");
    strace.wait().unwrap();
}

#[test(Root, FileSystem("ext4"), JSON)]
fn who_else_uses_the_bytes() {
    let work = work();
    let disk = Disk::new(8 * MIB);
    warns(run(&work, &format!("copy disk.img {}", text(&disk.backing))), "shares-data");
    succeeds(run(&work, &format!("copy disk.img {}", text(disk.path()))));
    let mount = disk.mount(disk.path());
    let told = events(&run(&work, &format!("verify --bmap disk.img.bmap {}", text(disk.path()))).run());
    assert_eq!(warnings(&told), ["device-in-use"]);
    warns(run(&work, &format!("create -o out {}", text(&disk.backing))), "image-in-use");
    drop(mount);
}

#[test(Root, Program("strace"), JSON)]
fn a_loop_device_that_cannot_be_flushed() {
    let work = work();
    let over_image = Loop::attach(&work.image);
    let tool = run(&work, "create -o out disk.img").under(&with_failing(&over_image.path, "openat:error=EIO"));
    warns(tool, "writes-missing");
}

#[test(Root, FileSystem("ramfs"), Program("strace"), JSON)]
fn what_create_cannot_map() {
    let work = work();
    let mount = Mount::in_memory("ramfs");
    let sparse = mount.path().join("sparse.img");
    image::sparse(&sparse, MIB, &[(0, 4096)], 9);
    fails_with(run(&work, &format!("create -o out {}", text(&sparse))), "holes-unclear");
    let mut contradicts_itself = with_failing(&work.image, "ioctl:error=EOPNOTSUPP");
    contradicts_itself.extend(["-e", "inject=lseek:retval=1000"].map(str::to_owned));
    fails_with(run(&work, "create -o out disk.img").under(&contradicts_itself), "map-impossible");
    image::create(&work.path("huge.img"), 8 << 40);
    fails_with(run(&work, "create -o out --range-size 4096 --map 0-8T huge.img"), "too-many-ranges");
    fs::write(work.path("packed.gz"), gzip(&fs::read(&work.image).unwrap())).unwrap();
    let told = succeeds(run(&work, "create -o out packed.gz"));
    assert!(warnings(&told).contains(&"image-compressed"), "{told:?}");
}

#[test(Program("sfdisk"), JSON)]
fn verity_in_holes() {
    let work = work();
    crate::partitions::make(&work.path("verity.img"), crate::partitions::GPT);
    warns(run(&work, "create -o out verity.img"), "verity-in-holes");
}

#[test(JSON)]
fn files_that_are_odd() {
    let work = work();
    let write = |name: &str, bytes: &[u8]| fs::write(work.path(name), bytes).unwrap();
    symlink("loop", work.path("loop")).unwrap();
    // A frame of zstd with a window of 2^32 bytes and an empty last block.
    write("window.zst", b"\x28\xb5\x2f\xfd\x00\xb0\x01\0\0");
    image::create(&work.path("huge.bmap"), 1 << 40);
    let cases = [
        ("copy --nobmap loop out", "cannot-open"),
        ("copy --nobmap window.zst out", "data-unsupported"),
        ("copy --bmap huge.bmap disk.img out", "too-large"),
    ];
    for (command, code) in cases {
        fails_with(run(&work, command), code);
    }
    write("more.gz", &[&gzip(&fs::read(&work.image).unwrap())[..], b"and more"].concat());
    warns(run(&work, "copy --nobmap more.gz out"), "trailing-data");
    let map = fs::read_to_string(&work.bmap).unwrap();
    let checksums = map.split(['"', ' ']).filter(|word| word.len() == 64);
    write("empty.bmap", checksums.fold(map.clone(), |map, checksum| map.replace(checksum, "")).as_bytes());
    let told = succeeds(run(&work, "copy --bmap empty.bmap disk.img out"));
    assert_eq!(warnings(&told), ["empty-checksums", "not-verified"]);
}

#[test(Program("gpg"), JSON)]
fn a_signature_that_is_not_verified() {
    let bench = Bench::new();
    bench.clearsign(Who::Sub);
    warns(bench.copy(&["--json", "--no-sig-verify"]), "signature-not-verified");
}

#[test(Loopback, JSON)]
fn servers_that_say_little() {
    let work = work();
    let image = fs::read(&work.image).unwrap();
    let length = format!("Content-Length: {}", image.len());
    let size = image.len();
    let server = Server::start(move |request, reply| match request.path() {
        // It breaks off once.
        "/unnamed" => match request.range(size).filter(|&(start, _)| start > 0) {
            None => {
                reply.head("200 OK", &[&length, "Accept-Ranges: bytes"]);
                reply.body(&image[..50_000]);
                reply.close();
            }
            Some((start, end)) => {
                let range = format!("Content-Range: bytes {start}-{}/{size}", end - 1);
                reply.head("206 Partial Content", &[&format!("Content-Length: {}", end - start), &range]);
                reply.body(&image[start..end]);
            }
        },
        "/endless" => {
            reply.head("200 OK", &["ETag: \"one\"", "Connection: close"]);
            reply.body(&image);
            reply.close();
        }
        "/changed" => {
            let etag = if request.number == 0 { "\"one\"" } else { "\"two\"" };
            let file = server::File { etag, ..server::File::new(image.clone()) };
            reply.file_until(
                request,
                &file,
                if request.range(size).is_some_and(|(start, _)| start > 0) { size } else { 50_000 },
            );
        }
        _ => reply.file(request, &server::File::new(image.clone())),
    });
    let copy = |name: &str| {
        run(&work, &format!("copy --nobmap {} out", server.url(name))).env("BMAPTOOL_TIMEOUT_SCALE", "0.03")
    };
    fails_with(copy("changed"), "image-changed");
    warns(copy("unnamed"), "change-unnoticed");
    warns(copy("endless"), "end-unknown");
    fs::create_dir(work.path(".netrc")).unwrap();
    warns(copy("sound").env("HOME", work.directory.path()), "unreadable-file");
    sh("sh", &["-c", "rmdir \"$0\"", text(&work.path(".netrc"))]);
    let none = run(&work, "copy --nobmap https://127.0.0.1:1/x out").env("SSL_CERT_FILE", "/nonexistent");
    let told = fails_with(none.env("SSL_CERT_DIR", "/nonexistent"), "server-unreachable");
    assert_eq!(warnings(&told), ["no-certificates"]);
}
