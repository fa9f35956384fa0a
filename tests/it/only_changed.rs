//! `copy --only-changed`: the result of a plain copy, with fewer writes.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use bmaptool::bmap::Bmap;
use nix::unistd::{Whence, lseek};

use crate::common::device::{Disk, Mount};
use crate::common::gnupg::{Who, keys};
use crate::common::image::{Random, assert_same, flashed_by, sparse};
use crate::common::json::events;
use crate::common::server::{self, Server};
use crate::common::signed::{BAD, CLEAR, DETACHED, good};
use crate::common::text;
use crate::common::tool::{Tool, bmaptool, copy, end, wait_until};
use crate::common::work::Work;
use crate::registry::JSON;

const MIB: u64 = 1 << 20;
const SIZE: u64 = 16 * MIB;

/// The size of the image.
const IMAGE: u64 = 14 * MIB - 8192 + 777;

/// Where the image has data: a partition table, and 8 MiB in three extents.
const DATA: [(u64, usize); 4] =
    [(0, 34 * 512), (2 * MIB + 4096, 3 << 20), (6 * MIB, 3 << 20), (12 * MIB - 8192, (2 << 20) + 777)];

/// A hole of the image, after the boot region.
const HOLE: u64 = 10 * MIB;

/// What is written if any byte of it differs.
const UNIT: usize = 64 << 10;

const SOURCES: [&str; 9] = ["raw", "gz", "xz", "zst", "seekable", "http", "http-xz", "http-seekable", "-"];

/// An image in ranges of 1 MiB, compressed in several ways.
struct Fixture {
    work: Work,
    server: Server,
}

impl Fixture {
    fn new() -> Self {
        let work = Work::new(|path| sparse(path, IMAGE, &DATA, 5));
        let ranges = ["create", "--range-size", "1M", "-o", text(&work.bmap), text(&work.image)];
        bmaptool(ranges).ok();
        for (ending, command) in [("gz", "gzip -1c"), ("xz", "xz -1c --block-size=1MiB"), ("zst", "zstd -c")] {
            fs::rename(work.output_of(command), work.path(&format!("disk.img.{ending}"))).unwrap();
        }
        fs::create_dir(work.path("seekable")).unwrap();
        fs::rename(work.seekable_zstd().0, work.path("seekable/disk.img.zst")).unwrap();
        let files = ["seekable/disk.img.zst", "disk.img.xz", "disk.img"];
        let files = files.map(|name| (name, server::File::new(fs::read(work.path(name)).unwrap())));
        let server = Server::start(move |request, reply| {
            let (_, file) = files.iter().find(|(name, _)| request.path()[1..] == **name).unwrap();
            reply.file(request, file);
        });
        Self { work, server }
    }

    /// The image as it is given to a copy.
    fn image(&self, source: &str) -> OsString {
        match source {
            "raw" => self.work.image.clone().into(),
            "seekable" => self.work.path("seekable/disk.img.zst").into(),
            "http" => self.server.url("disk.img").into(),
            "http-xz" => self.server.url("disk.img.xz").into(),
            "http-seekable" => self.server.url("seekable/disk.img.zst").into(),
            "-" => "-".into(),
            ending => self.work.path(&format!("disk.img.{ending}")).into(),
        }
    }

    /// A copy from a source, with the bmap unless `flags` say otherwise.
    fn copy(&self, flags: &[&str], source: &str, target: &Path) -> Tool {
        let map = ["--bmap".into(), OsString::from(&self.work.bmap)];
        let map = if flags.contains(&"--nobmap") { &[][..] } else { &map[..] };
        let flags = flags.iter().map(OsString::from).chain(map.iter().cloned());
        let tool = copy(flags.chain(["--only-changed".into(), self.image(source), target.into()]));
        if source == "-" { tool.stdin(fs::read(&self.work.image).unwrap()) } else { tool }
    }

    /// A disk that holds the image, and whose boot region is zero where the image has a hole.
    fn disk(&self) -> Disk {
        let disk = Disk::new(SIZE);
        write(&disk.backing, 0, &[0; MIB as usize]);
        self.work.copy(&self.work.image, disk.path()).ok();
        disk
    }
}

fn write(file: &Path, offset: u64, data: &[u8]) {
    OpenOptions::new().write(true).open(file).unwrap().write_all_at(data, offset).unwrap();
}

/// Changes one block in every MiB of `percent` of them, of those with data; returns how many bytes these MiB are.
fn change(file: &Path, percent: u64) -> u64 {
    let starts = DATA.iter().flat_map(|&(start, length)| (start..start + length as u64).step_by(MIB as usize));
    let all: Vec<u64> = starts.collect();
    let count = (all.len() as u64 * percent).div_ceil(100);
    let mut random = Random::new(percent);
    // From the end: of one percent, the boot region is none.
    let changed: BTreeSet<u64> = all.into_iter().rev().take(count as usize).collect();
    changed.iter().for_each(|&start| write(file, start, &random.bytes(700)));
    changed.len() as u64 * MIB
}

/// What may be written where so many bytes differ, and half of the boot region is zero.
fn allowed(changed: u64) -> u64 {
    if changed == 0 { 0 } else { changed * 12 / 10 + MIB }
}

#[test(Root, Program("zstd"), Program("xz"))]
fn a_disk_gets_what_differs_and_nothing_else() {
    let fixture = Fixture::new();
    let disk = fixture.disk();
    let expected = fs::read(&disk.backing).unwrap();
    let mut flashed = flashed_by(&fixture.work.bmap, &fixture.work.image, SIZE);
    flashed[34 * 512..MIB as usize].fill(0);
    assert!(expected == flashed);
    for source in SOURCES {
        for percent in [0, 1, 50, 100] {
            let changed = change(&disk.backing, percent);
            let before = disk.written();
            let outcome = fixture.copy(&[], source, disk.path()).ok();
            let wrote = disk.written() - before;
            assert!(wrote <= allowed(changed), "{wrote} bytes from {source} for {changed} that differ");
            assert!(fs::read(&disk.backing).unwrap() == expected, "{source}, {percent} %");
            outcome.says(&["was right already", "all ranges of the image verified"]);
        }
    }
}

#[test(Root, Program("zstd"), Program("xz"))]
fn holes_and_what_was_read_back_are_as_after_a_plain_copy() {
    let fixture = Fixture::new();
    let ways: [(&[&str], bool); 4] = [
        (&["--read-back"], true),
        (&["--unmapped=zero"], true),
        (&["--unmapped=zero", "--read-back"], true),
        // The boot region is written in any case.
        (&["--unmapped=discard", "--read-back"], false),
    ];
    for (flags, nothing_is_written) in ways {
        let disk = Disk::new(SIZE);
        let plain = flags.iter().map(OsString::from).chain(["--bmap".into(), fixture.work.bmap.clone().into()]);
        copy(plain.chain([fixture.image("raw"), disk.path().into()])).ok();
        let expected = fs::read(&disk.backing).unwrap();
        for source in ["raw", "gz", "http-seekable"] {
            let before = disk.written();
            fixture.copy(flags, source, disk.path()).ok();
            assert_eq!(disk.written() == before, nothing_is_written, "{flags:?} {source}");
            assert!(fs::read(&disk.backing).unwrap() == expected, "{flags:?} {source}");
            let before = disk.written();
            let mut changed = change(&disk.backing, 20);
            if flags[0] != "--read-back" {
                write(&disk.backing, HOLE + 5000, b"old data");
                changed += MIB;
            }
            fixture.copy(flags, source, disk.path()).ok();
            assert!(fs::read(&disk.backing).unwrap() == expected, "{flags:?} {source}");
            // The disk was full of a pattern, the boot region too: it is zeroed, then written.
            let most = if nothing_is_written { changed * 12 / 10 + 2 * MIB } else { SIZE };
            assert!(disk.written() - before <= most, "{flags:?} {source}: {}", disk.written() - before);
        }
    }
}

#[test(Root, Program("gpg"), Program("xz"), Program("zstd"))]
fn what_differs_is_told_by_a_bmap_that_is_signed() {
    let mut fixture = Fixture::new();
    let disk = fixture.disk();
    let expected = fs::read(&disk.backing).unwrap();
    let bmap = fixture.work.bmap.clone();
    let unsigned = fs::read(&bmap).unwrap();
    let detached = PathBuf::from(format!("{}.sig", bmap.display()));
    let clear = fixture.work.path("signed.bmap");
    fs::write(&detached, keys().sign(Who::Ed, DETACHED, &unsigned)).unwrap();
    fs::write(&clear, keys().sign(Who::Ed, CLEAR, &unsigned)).unwrap();
    for signed in [bmap, clear] {
        fixture.work.bmap = signed;
        let copy = || fixture.copy(&[], "http", disk.path()).env("GNUPGHOME", keys().home());
        for percent in [0, 20] {
            let (changed, before) = (change(&disk.backing, percent), disk.written());
            copy().ok().says(&[&good(Who::Ed), "was right already"]);
            assert!(disk.written() - before <= allowed(changed));
            assert!(fs::read(&disk.backing).unwrap() == expected);
        }
        let mut forged = fs::read(&fixture.work.bmap).unwrap();
        let digit = forged.windows(7).position(|bytes| bytes == b"chksum=").unwrap() + 8;
        forged[digit] = if forged[digit] == b'0' { b'1' } else { b'0' };
        fs::write(&fixture.work.bmap, forged).unwrap();
        let before = disk.written();
        copy().fails(&[BAD]);
        assert_eq!(disk.written(), before);
    }
}

#[test(Root, Program("zstd"), Program("xz"))]
fn without_checksums_a_disk_gets_what_differs_too() {
    let fixture = Fixture::new();
    let disk = Disk::new(SIZE);
    for (flags, source) in [("--nobmap", "raw"), ("--nobmap", "gz"), ("--no-verify", "xz"), ("--nobmap", "http")] {
        let expected = match flags {
            "--nobmap" => fs::read(&fixture.work.image).unwrap(),
            _ => fs::read(&disk.backing).unwrap()[..IMAGE as usize].to_vec(),
        };
        fixture.copy(&[flags], source, disk.path()).ok();
        let before = disk.written();
        fixture.copy(&[flags], source, disk.path()).ok();
        assert_eq!(disk.written(), before, "{flags} {source}");
        let changed = change(&disk.backing, 20);
        fixture.copy(&[flags, "--read-back"], source, disk.path()).ok().says(&["all is right"]);
        assert!(disk.written() - before <= allowed(changed), "{flags} {source}");
        assert!(fs::read(&disk.backing).unwrap()[..expected.len()] == expected, "{flags} {source}");
    }
}

#[test(Root)]
fn a_server_is_asked_for_what_differs_only() {
    const RANGE: u64 = 4 * MIB;
    let work = Work::new(|path| sparse(path, 96 * MIB, &[(0, 96 << 20)], 8));
    bmaptool(["create", "--range-size", "4M", "-o", text(&work.bmap), text(&work.image)]).ok();
    let server = Server::of(server::File::new(fs::read(&work.image).unwrap()));
    let url = server.url("disk.img");
    let disk = Disk::new(96 * MIB);
    work.copy(&work.image, disk.path()).ok();
    let arguments = ["--only-changed", "--bmap", text(&work.bmap), &url, text(disk.path())];
    write(&disk.backing, 50 * MIB, b"other");
    copy(arguments).ok().says(&["written 1.1 MiB", "94.9 MiB was right already", "4.2 MiB fetched of 96.0 MiB"]);
    assert_same(&work.image, &disk.backing);
    let ranges: Vec<_> = server.requests().iter().filter_map(|request| request.range(96 << 20)).collect();
    assert_eq!(ranges.last(), Some(&(48 << 20, (48 << 20) + RANGE as usize)), "{ranges:?}");
    // Besides: what tells what it is, twice.
    assert_eq!(server.sent(), RANGE + 2 * (128 << 10));
    let (requests, sent) = (server.requests().len(), server.sent());
    copy(arguments).ok().says(&["written 0", "96.0 MiB was right already"]);
    assert_eq!((server.requests().len(), server.sent()), (requests + 1, sent + (128 << 10)));
}

/// How many bytes after the boot region lie in units that must be written, so that `found` becomes `expected`.
fn missing(found: &[u8], expected: &[u8], bmap: &Bmap) -> u64 {
    let mut missing = 0;
    for range in bmap.ranges() {
        let mut start = range.bytes.start.max(MIB) as usize;
        while start < range.bytes.end as usize {
            let end = (start / UNIT * UNIT + UNIT).min(range.bytes.end as usize);
            if found[start..end] != expected[start..end] {
                missing += (end - start) as u64;
            }
            start = end;
        }
    }
    missing
}

/// The image comes through a pipe up to a random byte, so that it is known how far the copy is when it is killed.
#[test(Root, Program("zstd"), Program("xz"))]
fn a_copy_that_was_killed_goes_on_where_it_was() {
    let fixture = Fixture::new();
    let image = fs::read(&fixture.work.image).unwrap();
    let map = Bmap::parse(&fs::read(&fixture.work.bmap).unwrap()).unwrap();
    let disk = Disk::new(SIZE);
    let mut expected = flashed_by(&fixture.work.bmap, &fixture.work.image, SIZE);
    // What the first copy zeroed of the boot region and has no data stays zero.
    expected[34 * 512..MIB as usize].fill(0);
    let mut random = Random::new(20);
    let all = missing(&vec![0; SIZE as usize], &expected, &map);
    for turn in 0..20 {
        disk.refill();
        let fed = random.below(IMAGE) as usize;
        // All of a range that has come has been written, but for what is held back until the end.
        let ranges = map.ranges().map(|range| range.bytes);
        let come = ranges.filter(|bytes| bytes.start >= MIB && bytes.end <= fed as u64).map(|bytes| bytes.len());
        let (come, before): (u64, _) = (come.sum(), disk.written());
        let mut child = fixture.copy(&[], "-", disk.path()).spawn();
        let mut stdin = child.stdin.take().unwrap();
        let data = image[..fed].to_vec();
        let feeder = std::thread::spawn(move || stdin.write_all(&data).map(|()| stdin));
        // The boot region was not zero: it has been zeroed.
        let least = if come > 0 { MIB + come } else { 0 };
        wait_until(&mut child, "what has come to be written", || disk.written() - before >= least);
        end(&mut child);
        drop(feeder.join().unwrap());

        let left = missing(&fs::read(&disk.backing).unwrap(), &expected, &map);
        assert!(left <= all - come, "{left} bytes are missing after {come} in turn {turn}");
        let before = disk.written();
        let outcome = fixture.copy(&[], "raw", disk.path()).ok();
        // The partition table, and the rest of the image's last block; or the boot region, twice.
        let boot_region = if come > 0 { 5 * 4096 + 4096 } else { 2 * MIB + 4096 };
        let wrote = disk.written() - before;
        assert!(wrote >= left && wrote <= left + boot_region, "{wrote} bytes for {left} in turn {turn}");
        let mut found = fs::read(&disk.backing).unwrap();
        if come == 0 {
            found[34 * 512..MIB as usize].fill(0);
        }
        assert!(found == expected, "{turn}");
        outcome.says(&["was right already"]);
    }
}

/// Where a file has data and where holes.
fn extents(path: &Path) -> Vec<(i64, i64)> {
    let file = File::open(path).unwrap();
    let mut extents = Vec::new();
    let mut end = 0;
    while let Ok(start) = lseek(&file, end, Whence::SeekData) {
        end = lseek(&file, start, Whence::SeekHole).unwrap();
        extents.push((start, end));
    }
    extents
}

#[test(Program("zstd"), Program("xz"))]
fn files_become_what_a_new_copy_would_be() {
    let fixture = Fixture::new();
    let new = fixture.work.path("new");
    let image = fs::read(&fixture.work.image).unwrap();
    let length = image.len() as u64;
    type Spoil = fn(&File, u64);
    let spoils: [(&str, Spoil); 6] = [
        ("longer", |file, length| file.write_all_at(b"more", length + 3 * MIB).unwrap()),
        ("shorter", |file, length| file.set_len(length / 2).unwrap()),
        ("empty", |file, _| file.set_len(0).unwrap()),
        ("data in holes", |file, _| {
            file.write_all_at(&[7; 100_000], MIB).unwrap();
            file.write_all_at(&[7; 5], 10 * MIB).unwrap();
        }),
        ("wrong data", |file, _| file.write_all_at(&[7; 2 << 20], 6 * MIB).unwrap()),
        ("all data", |file, length| file.write_all_at(&vec![7; length as usize], 0).unwrap()),
    ];
    let cases: [(&[&str], &str); 9] = [
        (&[], "raw"),
        (&[], "xz"),
        (&[], "http"),
        (&[], "http-seekable"),
        (&[], "-"),
        (&["--nobmap"], "raw"),
        (&["--nobmap"], "gz"),
        (&["--read-back"], "zst"),
        (&["--unmapped=discard"], "seekable"),
    ];
    for (flags, source) in cases {
        let _ = fs::remove_file(&new);
        fixture.copy(flags, source, &new).ok();
        let file = OpenOptions::new().write(true).open(&new).unwrap();
        let (expected, id) = (extents(&new), fs::metadata(&new).unwrap().ino());
        assert!(expected.len() >= if flags == ["--nobmap"] { 1 } else { DATA.len() }, "{expected:?}");
        for (name, spoil) in spoils {
            spoil(&file, length);
            fixture.copy(flags, source, &new).ok();
            assert!(fs::read(&new).unwrap() == image, "{name} {flags:?} {source}");
            assert_eq!(extents(&new), expected, "{name} {flags:?} {source}");
        }
        let before = fs::metadata(&new).unwrap();
        fixture.copy(flags, source, &new).ok();
        let after = fs::metadata(&new).unwrap();
        assert_eq!((after.ino(), after.modified().unwrap()), (id, before.modified().unwrap()), "{flags:?} {source}");
    }
}

#[test(Program("zstd"), Program("xz"), JSON)]
fn a_file_with_holes_that_is_right_is_not_read_back_once_more() {
    let fixture = Fixture::new();
    let file = fixture.work.path("file");
    fixture.copy(&[], "raw", &file).ok();
    let is_read_back = || {
        let outcome = fixture.copy(&["--read-back", "--json"], "raw", &file).ok();
        events(&outcome).iter().any(|event| event["phase"] == "verifying")
    };
    assert!(!is_read_back());
    write(&file, HOLE, b"old data");
    assert!(is_read_back());
    assert_same(&fixture.work.image, &file);
}

/// The disk below the file system counts what is written to the file.
#[test(Root, Program("mkfs.ext4"), Program("zstd"), Program("xz"))]
fn a_file_gets_what_differs_and_no_zeroes_where_there_are_holes() {
    /// The journal, and what describes the files.
    const METADATA: u64 = 512 << 10;
    let fixture = Fixture::new();
    let disk = Disk::new(64 * MIB);
    crate::common::sh("mkfs.ext4", &["-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", text(disk.path())]);
    let mount = Mount::of(disk.path(), "rw,noatime");
    let file = mount.path().join("disk.img");
    let sync = || nix::unistd::sync();
    for flags in [&["--unmapped=keep"][..], &["--unmapped=zero"]] {
        fixture.copy(flags, "raw", &file).ok();
        for (what, offset, length) in [("nothing", 0, 0), ("data", 7 * MIB, 5), ("a hole", HOLE, 1 << 20)] {
            write(&file, offset, &vec![7; length]);
            sync();
            let before = disk.written();
            fixture.copy(flags, "raw", &file).ok();
            sync();
            let most = METADATA + if what == "data" { UNIT as u64 } else { 0 };
            assert!(disk.written() - before <= most, "{what}: {}", disk.written() - before);
            assert_same(&fixture.work.image, &file);
        }
    }
}

#[test(Root, Program("zstd"), Program("xz"))]
fn what_is_zeroed_is_told() {
    let fixture = Fixture::new();
    let (disk, file) = (fixture.disk(), fixture.work.path("file"));
    fixture.copy(&[], "raw", &file).ok();
    let copy = |target: &Path| fixture.copy(&["--unmapped=zero"], "raw", target).ok();
    let spoil = |target: &Path| [MIB / 2, HOLE].map(|hole| write(target, hole, &[7; MIB as usize / 2]));
    copy(disk.path());
    spoil(&disk.backing);
    copy(disk.path()).says(&["written 20.0 KiB, ", " was right already, 1.0 MiB zeroed"]);
    spoil(&file);
    copy(&file).says(&["written 0 bytes, ", " was right already, 1.0 MiB zeroed"]);
    for target in [disk.path(), &file] {
        assert!(!copy(target).stderr.contains("zeroed"), "{}", target.display());
    }
}

#[test(Root, Program("zstd"), Program("xz"))]
fn a_damaged_source_fails_though_the_disk_is_right() {
    let fixture = Fixture::new();
    let disk = fixture.disk();
    for ending in ["gz", "zst"] {
        let path = fixture.work.path(&format!("disk.img.{ending}"));
        let mut file = fs::read(&path).unwrap();
        file.truncate(file.len() * 3 / 4);
        fs::write(&path, file).unwrap();
        let before = disk.written();
        fixture.copy(&[], ending, disk.path()).fails(&["disk.img"]).says(&["nothing has been written"]);
        assert_eq!(disk.written(), before);
        let found = fs::read(&disk.backing).unwrap();
        let mut expected = flashed_by(&fixture.work.bmap, &fixture.work.image, SIZE);
        expected[34 * 512..MIB as usize].fill(0);
        assert!(found == expected);
    }
}

#[test]
fn a_character_device_holds_nothing_to_compare() {
    let work = Work::new(|path| sparse(path, MIB, &[(0, 4096)], 1));
    copy(["--only-changed", text(&work.image), "/dev/null"]).fails(&["'/dev/null' is a character device"]);
}
