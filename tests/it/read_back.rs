//! `copy --read-back`, to disks that lie.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use crate::common::device::Mount;
use crate::common::image::{flashed_by, sparse};
use crate::common::json::events;
use crate::common::layered::Overlay;
use crate::common::lying::{Asked, Lie, LyingDisk};
use crate::common::server::{self, Server};
use crate::common::tool::{Tool, bmaptool, copy, interrupt, wait_until};
use crate::common::work::Work;
use crate::common::{image, text};
use crate::registry::{JSON, Need, Test};
use nix::sys::signal::Signal;
use serde_json::json;

const MIB: u64 = 1 << 20;
const SIZE: u64 = 20 * MIB;

/// Where the image has data, in a range of 1.5 MB.
const AT: u64 = 5 * MIB + 100_000;

/// An image with a bmap that has checksums, and another that has none.
struct Fixture {
    work: Work,
    server: Server,
}

/// How the copy knows what is right.
const MAPS: [&str; 3] = ["checksums", "no checksums", "no bmap"];
const SOURCES: [&str; 4] = ["raw", "gz", "zst", "http"];

impl Fixture {
    fn new() -> Self {
        let work = Work::new(|path| image::disk_like(path, 7));
        let plain = work.path("plain.bmap");
        bmaptool(["create", "--no-checksum", "-o", text(&plain), text(&work.image)]).ok();
        fs::rename(work.output_of("gzip -c"), work.path("disk.img.gz")).unwrap();
        fs::rename(work.output_of("zstd -c"), work.path("disk.img.zst")).unwrap();
        let server = Server::of(server::File::new(fs::read(&work.image).unwrap()));
        Self { work, server }
    }

    fn source(&self, source: &str) -> OsString {
        match source {
            "raw" => self.work.image.clone().into(),
            "http" => self.server.url("disk.img").into(),
            ending => self.work.path(&format!("disk.img.{ending}")).into(),
        }
    }

    /// A copy that has yet to begin; `flags` come first.
    fn copy(&self, flags: &[&str], map: &str, source: OsString, target: &Path) -> Tool {
        let map: Vec<OsString> = match map {
            "checksums" => vec!["--bmap".into(), self.work.bmap.clone().into()],
            "no checksums" => vec!["--bmap".into(), self.work.path("plain.bmap").into()],
            _ => vec!["--nobmap".into()],
        };
        copy(flags.iter().map(OsString::from).chain(map).chain([source, target.into()]))
    }

    /// Expects that the disk holds the image.
    fn assert_flashed(&self, disk: &LyingDisk, map: &str) {
        let expected = match map {
            "no bmap" => fs::read(&self.work.image).unwrap(),
            _ => flashed_by(&self.work.bmap, &self.work.image, SIZE),
        };
        assert!(disk.medium().contents(0..expected.len() as u64) == expected, "{map}");
    }
}

fn boot_region_is_zero(disk: &LyingDisk) -> bool {
    disk.medium().contents(0..MIB).iter().all(|&byte| byte == 0)
}

#[test_cases]
fn lies() -> Vec<Test> {
    let at_fault = "the medium is at fault";
    let lies = [
        ("a_flipped_bit", Lie::Flip(AT, usize::MAX), [[at_fault, "bytes 5242880"]; 3]),
        ("a_dropped_write", Lie::Drop(AT / 512 * 512..AT / 512 * 512 + 8192), [[at_fault, "bytes 5242880"]; 3]),
        ("a_disk_that_swallows", Lie::Swallow(12 * MIB), [[at_fault, "all zeroes"]; 3]),
        // The end of the image lies over its data from 6 MiB on; without a bmap, all that is from 10 MiB on does so from 0
        // on, and the first that is not zero there lies at 1 MiB.
        (
            "a_disk_that_wraps_around",
            Lie::Wrap(10 * MIB),
            [[at_fault, "bytes 6291456"], [at_fault, "bytes 6291456"], [at_fault, "bytes 1048576"]],
        ),
        ("an_unreadable_sector", Lie::Unreadable(AT..AT + 1), [[at_fault, "bytes 5242880-6291455: cannot be read"]; 3]),
    ];
    let test = |(name, lie, fragments): (&str, Lie, [[&'static str; 2]; 3])| {
        let needs = [Need::Root, Need::FileSystem("fuse"), Need::Program("zstd"), Need::Loopback];
        Test::new(format!("{name}_is_found_in_what_was_read_back"), &needs, move || is_found(&lie, &fragments))
    };
    lies.into_iter().map(test).collect()
}

/// From each source, and with each kind of map, whose messages differ. Without reading back, the copy succeeds.
fn is_found(lie: &Lie, fragments: &[[&str; 2]; 3]) {
    let fixture = Fixture::new();
    for ((map, fragments), source) in
        MAPS.into_iter().zip(fragments).flat_map(|of_map| SOURCES.map(|source| (of_map, source)))
    {
        let disk = LyingDisk::new(SIZE).lies(lie.clone());
        let outcome = fixture.copy(&["--read-back"], map, fixture.source(source), disk.path()).fails(fragments);
        assert!(boot_region_is_zero(&disk), "{map}, {source}: {}", outcome.stderr);
        outcome.says(&["holds no valid image now"]);
    }
    let disk = LyingDisk::new(SIZE).lies(lie.clone());
    fixture.copy(&[], "checksums", fixture.source("raw"), disk.path()).ok();
    assert!(!boot_region_is_zero(&disk));
}

/// All of it is read back right before the boot region is written, to where some of it is.
#[test(Root, FileSystem("fuse"))]
fn a_disk_that_wraps_around_into_its_boot_region_is_found_out() {
    let work = Work::new(|path| sparse(path, 11 * MIB, &[(0, 64 << 10), (10 * MIB + 4096, 4096)], 3));
    for flag in ["--read-back", "--only-changed"] {
        let disk = LyingDisk::new(SIZE).lies(Lie::Wrap(10 * MIB));
        let outcome = copy(["--read-back", flag, text(&work.image), text(disk.path())]);
        outcome.fails(&["the medium is at fault", "bytes 0 to 1048575", "holds no valid image now"]);
        assert!(boot_region_is_zero(&disk));
    }
}

#[test(Root, FileSystem("fuse"))]
fn of_wrong_bytes_in_several_mib_the_digest_of_the_first_is_told() {
    let work = Work::new(|path| sparse(path, 8 * MIB, &[(0, 8 << 20)], 3));
    let disk = LyingDisk::new(SIZE).lies(Lie::Drop(3 * MIB..6 * MIB));
    copy(["--read-back", "--nobmap", text(&work.image), text(disk.path())])
        .fails(&["bytes 3145728-6291455: something else; the sha256 of bytes 3145728-4194303 is"]);
}

#[test(Root, FileSystem("fuse"), Program("zstd"), Loopback)]
fn what_was_wrong_once_is_right_in_the_end() {
    let fixture = Fixture::new();
    for (map, source) in MAPS.into_iter().flat_map(|map| SOURCES.map(|source| (map, source))) {
        let disk = LyingDisk::new(SIZE).lies(Lie::Flip(AT, 1));
        let outcome = fixture.copy(&["--read-back"], map, fixture.source(source), disk.path()).ok();
        outcome.says(&["came back wrong; copying them again", "read back", "past the page cache: all is right"]);
        fixture.assert_flashed(&disk, map);
    }
}

#[test(Root, FileSystem("fuse"))]
fn what_can_be_read_only_once_is_not_copied_again() {
    let fixture = Fixture::new();
    for map in MAPS {
        let disk = LyingDisk::new(SIZE).lies(Lie::Flip(AT, 1));
        let tool = fixture.copy(&["--read-back"], map, "-".into(), disk.path());
        let outcome = tool.stdin(fs::read(&fixture.work.image).unwrap()).fails(&["the medium is at fault"]);
        assert!(!outcome.stderr.contains("again;") && boot_region_is_zero(&disk), "{}", outcome.stderr);
    }
}

#[test(Root, FileSystem("fuse"))]
fn the_boot_region_is_written_after_the_rest_was_read_back() {
    let fixture = Fixture::new();
    let disk = LyingDisk::new(SIZE).lies(Lie::Flip(AT, 1));
    fixture.copy(&["--read-back"], "no bmap", fixture.source("raw"), disk.path()).ok();
    // The kernel may look for partitions.
    let asked = disk.asked().into_iter().filter(|asked| !matches!(asked, Asked::Read(_, ..MIB)));
    // The image ends in the second sector after 16 MiB, whose page is written through the cache.
    let all = Asked::Read(MIB, 15 * MIB + 1024);
    let expected = [
        &[Asked::Read(0, MIB), Asked::Write(0, MIB), Asked::Sync][..],
        &[Asked::Write(MIB, 15 * MIB + 512), Asked::Write(16 * MIB, 4096), Asked::Sync, all],
        &[Asked::Write(5 * MIB, MIB), Asked::Sync, all, Asked::Read(0, MIB)],
        &[Asked::Write(0, MIB), Asked::Sync, Asked::Read(0, MIB)],
    ];
    assert_eq!(asked.collect::<Vec<_>>(), expected.concat());
}

/// The page cache has what was written, the medium has not.
#[test(Root, FileSystem("fuse"), Program("strace"))]
fn the_page_cache_is_not_asked() {
    let fixture = Fixture::new();
    let disk = LyingDisk::new(SIZE).lies(Lie::Flip(AT, usize::MAX));
    let device = OpenOptions::new().read(true).write(true).open(disk.path()).unwrap();
    device.write_all_at(&[7; 8192], AT / 4096 * 4096).unwrap();
    device.sync_all().unwrap();
    let mut cached = [0; 8192];
    device.read_exact_at(&mut cached, AT / 4096 * 4096).unwrap();
    assert_eq!(cached, [7; 8192]);
    drop(device);
    let copy_to = |disk: &LyingDisk| fixture.copy(&["--read-back"], "checksums", fixture.source("raw"), disk.path());
    copy_to(&disk).fails(&["the medium is at fault", "bytes 5242880"]);
    // Where direct access is refused, at once or with the first write, the cache is dropped.
    for inject in ["inject=fcntl:error=EINVAL", "inject=pwrite64:error=EINVAL:when=1"] {
        let strace = |disk: &LyingDisk| {
            ["strace", "-f", "-o", "/dev/null", "-P", text(disk.path()), "-e", inject].map(str::to_owned)
        };
        copy_to(&disk).under(&strace(&disk)).fails(&["the medium is at fault", "bytes 5242880"]);
        let honest = LyingDisk::new(SIZE);
        let outcome = copy_to(&honest).under(&strace(&honest)).ok();
        outcome.says(&["after dropping the page cache (no O_DIRECT): all is right"]);
    }
    // Where that is not allowed either, nothing is claimed of the medium.
    let honest = LyingDisk::new(SIZE);
    let inject = ["-e", "inject=fcntl:error=EINVAL", "-e", "inject=ioctl:error=EACCES:when=2+"];
    let strace = [&["strace", "-f", "-o", "/dev/null", "-P", text(honest.path())][..], &inject].concat();
    let outcome = copy_to(&honest).under(&strace).ok();
    outcome.says(&["compared", "which may have come from memory"]);
    assert!(!outcome.stderr.contains("read back"), "{}", outcome.stderr);
}

const NEEDLE: &[u8] = b"a needle, which is in no other file";

#[test(Root, FileSystem("fuse"), FileSystem("ext4"))]
fn files_are_read_back_too() {
    let work = Work::new(|path| {
        sparse(path, 3 * MIB + 777, &[(0, 1 << 20), (2 * MIB, 777)], 3);
        OpenOptions::new().write(true).open(path).unwrap().write_all_at(NEEDLE, 2 * MIB + 100).unwrap();
    });
    for (lie, is_right) in [(None, true), (Some(Lie::Garble(NEEDLE)), false)] {
        let disk = LyingDisk::new(SIZE);
        crate::common::sh("mkfs.ext4", &["-q", text(disk.path())]);
        let mount = Mount::of(disk.path(), "rw");
        let disk = lie.into_iter().fold(disk, LyingDisk::lies);
        let target = mount.path().join("copy");
        let tool = copy(["--read-back".as_ref(), work.image.as_os_str(), target.as_os_str()]);
        if is_right {
            tool.ok().says(&["past the page cache: all is right"]);
            image::assert_same(&work.image, &target);
        } else {
            tool.fails(&["the medium is at fault", "bytes 2097152-2101247 (in blocks 512)", "has been removed"]);
            assert!(!target.exists());
        }
        drop(mount);
        drop(disk);
    }
}

/// Expects that a copy with `--read-back` claims nothing of a medium, and warns of that on standard error, and programs.
#[track_caller]
fn is_not_from_medium(flags: &[&str], image: &Path, target: &Path, read_from: &str, words: &str) {
    let outcome = copy([&["--quiet", "--json", "--read-back"], flags, &[text(image), text(target)]].concat()).ok();
    outcome.says(&["WARNING: compared", words]);
    assert!(!outcome.stderr.contains("read back"), "{}", outcome.stderr);
    let told = events(&outcome);
    let of = |kind: &str| told.iter().find(|event| event["type"] == kind).unwrap();
    assert_eq!((&of("warning")["code"], &of("warning")["index"]), (&json!("medium-not-read"), &json!(0)));
    assert_eq!(of("target")["read_from"], read_from);
    image::assert_same(image, target);
}

/// There is nothing but the page cache.
#[test(Root, JSON)]
fn a_file_in_memory_is_compared_and_not_said_to_be_read_back() {
    let work = Work::new(|path| image::disk_like(path, 7));
    for kind in ["tmpfs", "ramfs"] {
        let mount = Mount::in_memory(kind);
        is_not_from_medium(&[], &work.image, &mount.path().join("copy"), "cache", "which lies in memory");
    }
}

#[test(Root, FileSystem("overlay"), JSON)]
fn a_file_of_which_nobody_knows_where_it_lies_is_not_said_to_be_read_back() {
    let work = Work::new(|path| image::disk_like(path, 7));
    let overlay = Overlay::in_memory();
    let target = overlay.path("merged", "copy");
    for flags in [&[][..], &["--only-changed"]] {
        is_not_from_medium(flags, &work.image, &target, "unsure", "which may have come from memory");
    }
}

#[test]
fn a_target_that_keeps_nothing_is_refused() {
    let work = Work::new(|path| image::disk_like(path, 7));
    copy(["--read-back".as_ref(), work.image.as_os_str(), "/dev/null".as_ref()])
        .fails(&["'/dev/null' is a character device: nothing can be read back from it"]);
}

#[test(Root, FileSystem("fuse"))]
fn images_of_odd_sizes_are_read_back() {
    for size in [1, 4097, MIB - 1, MIB + 511, 3 * MIB + 12_345] {
        let work = Work::new(|path| sparse(path, size, &[(size / 2, (size - size / 2) as usize)], size));
        let disk = LyingDisk::new(4 * MIB);
        for map in [vec!["--bmap", text(&work.bmap)], vec!["--nobmap"]] {
            copy(["--read-back"].into_iter().chain(map).chain([text(&work.image), text(disk.path())])).ok();
        }
        assert!(disk.medium().contents(0..size) == fs::read(&work.image).unwrap(), "{size}");
    }
}

#[test(Root, FileSystem("fuse"))]
fn a_signal_ends_the_verification() {
    let fixture = Fixture::new();
    let disk = LyingDisk::new(SIZE).lies(Lie::Slow(Duration::from_millis(300)));
    let mut child = fixture.copy(&["--read-back"], "no bmap", fixture.source("raw"), disk.path()).spawn();
    let is_reading = |disk: &LyingDisk| {
        let log = &disk.medium().log;
        let synced = log.iter().rposition(|asked| *asked == Asked::Sync);
        synced.is_some_and(|synced| log[synced..].iter().any(|asked| matches!(asked, Asked::Read(MIB.., _))))
    };
    wait_until(&mut child, "reading back", || is_reading(&disk));
    interrupt(child, Signal::SIGTERM).says(&["holds no valid image now"]);
    assert!(boot_region_is_zero(&disk));
}

#[test(Root, FileSystem("fuse"))]
fn psplash_is_told_of_the_verification() {
    let fixture = Fixture::new();
    let disk = LyingDisk::new(SIZE);
    let fifo = fixture.work.path("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    let mut pipe = OpenOptions::new().read(true).write(true).open(&fifo).unwrap();
    let flags = ["--read-back", "--psplash-pipe", text(&fifo)];
    fixture.copy(&flags, "checksums", fixture.source("raw"), disk.path()).ok();
    pipe.write_all(b"END").unwrap();
    let mut lines = String::new();
    while !lines.ends_with("END") {
        let mut chunk = [0; 4096];
        let count = pipe.read(&mut chunk).unwrap();
        lines += std::str::from_utf8(&chunk[..count]).unwrap();
    }
    let (copied, verified) = lines.split_once("MSG verifying\n").unwrap();
    assert!(copied.ends_with("PROGRESS 100\n") && verified.starts_with("PROGRESS 0\n"), "{lines}");
    assert!(verified.ends_with("PROGRESS 100\nEND"), "{lines}");
}

/// Within seconds, and with all that is on it.
#[test(Root, FileSystem("fuse"))]
fn a_disk_that_holds_less_than_it_says_is_refused_and_left_as_it_was() {
    const GIB: u64 = 1 << 30;
    let work = Work::new(|path| image::disk_like(path, 7));
    for lie in [Lie::Wrap(8 * GIB), Lie::Swallow(8 * GIB)] {
        let disk = LyingDisk::new(128 * GIB).lies(lie);
        let before = disk.medium().contents(0..2 * MIB);
        let tool = copy(["--read-back", text(&work.image), text(disk.path())]);
        tool.fails(&[
            "says that it has 128.0 GiB, but holds 8.0 GiB at most",
            "is as it was: nothing has been written",
        ]);
        assert!(disk.medium().contents(0..2 * MIB) == before);
        assert!(disk.medium().contents(4 * GIB..4 * GIB + 8192).iter().all(|&byte| byte == image::UNTOUCHED));
        let asked = disk.asked();
        let count = |wanted: fn(&&Asked) -> bool| asked.iter().filter(wanted).count();
        let powers = 14;
        assert!(count(|asked| matches!(asked, Asked::Write(..))) <= 10 * powers, "{asked:?}");
        assert!(count(|asked| matches!(asked, Asked::Read(..))) <= 10 * powers, "{asked:?}");
        assert!(asked.iter().all(|asked| !matches!(asked, Asked::Write(_, 4097..))), "{asked:?}");
        // Without the check, the image, which is small, gets onto it.
        copy([text(&work.image), text(disk.path())]).ok();
    }
    let disk = LyingDisk::new(128 * GIB).lies(Lie::ReadOnly(128 * GIB - MIB..128 * GIB));
    copy(["--read-back", text(&work.image), text(disk.path())]).ok();
    let expected = flashed_by(&work.bmap, &work.image, SIZE);
    assert!(disk.medium().contents(0..SIZE) == expected, "what was marked is as it was");
    let small = LyingDisk::new(SIZE).lies(Lie::Swallow(19 * MIB));
    copy(["--read-back", text(&work.image), text(small.path())]).ok();
}

/// The digests that are kept of a device do not depend on its size, but on what is written.
#[test(Root, FileSystem("fuse"), Program("time"))]
fn memory_is_bounded_on_a_large_device_too() {
    const TIB: u64 = 1 << 40;
    let data: Vec<_> = (0..200).map(|number| (number * (TIB / 200) / 4096 * 4096, 10_000)).collect();
    let work = Work::new(|path| sparse(path, TIB, &data, 5));
    let plain = work.path("plain.bmap");
    bmaptool(["create", "--no-checksum", "-o", text(&plain), text(&work.image)]).ok();
    for bmap in [&work.bmap, &plain] {
        let disk = LyingDisk::new(TIB);
        let tool = copy(["--read-back", "--bmap", text(bmap), text(&work.image), text(disk.path())]);
        let memory = tool.measured().ok().memory();
        assert!(memory < 64 * MIB, "{} MiB", memory / MIB);
    }
}
