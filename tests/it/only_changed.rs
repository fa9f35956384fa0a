//! `copy --only-changed`: the result of a plain copy, with fewer writes.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::Duration;

use crate::common::device::Disk;
use crate::common::image::{Random, assert_same, flashed_by, sparse};
use crate::common::server::{self, Server};
use crate::common::text;
use crate::common::tool::{Tool, bmaptool, copy, end};
use crate::common::work::Work;

const MIB: u64 = 1 << 20;
const SIZE: u64 = 16 * MIB;

/// The size of the image.
const IMAGE: u64 = 14 * MIB - 8192 + 777;

/// What is written besides the image: the boot region, which is zeroed first.
const BOOT_REGION: u64 = 2 * MIB;

/// Where the image has data: a partition table, and 8 MiB in three extents.
const DATA: [(u64, usize); 4] =
    [(0, 34 * 512), (2 * MIB + 4096, 3 << 20), (6 * MIB, 3 << 20), (12 * MIB - 8192, (2 << 20) + 777)];

const SOURCES: [&str; 6] = ["raw", "gz", "xz", "zst", "http", "-"];

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
        let server = Server::of(server::File::new(fs::read(&work.image).unwrap()));
        Self { work, server }
    }

    /// A copy from a source, with the bmap unless `flags` say otherwise.
    fn copy(&self, flags: &[&str], source: &str, target: &Path) -> Tool {
        let image: OsString = match source {
            "raw" => self.work.image.clone().into(),
            "http" => self.server.url("disk.img").into(),
            "-" => "-".into(),
            ending => self.work.path(&format!("disk.img.{ending}")).into(),
        };
        let map = ["--bmap".into(), OsString::from(&self.work.bmap)];
        let map = if flags.contains(&"--nobmap") { &[][..] } else { &map[..] };
        let flags = flags.iter().map(OsString::from).chain(map.iter().cloned());
        let tool = copy(flags.chain(["--only-changed".into(), image, target.into()]));
        if source == "-" { tool.stdin(fs::read(&self.work.image).unwrap()) } else { tool }
    }

    /// A disk that holds the image.
    fn disk(&self) -> Disk {
        let disk = Disk::new(SIZE);
        self.work.copy(&self.work.image, disk.path()).ok();
        disk
    }

    fn mapped(&self) -> u64 {
        DATA.iter().map(|&(_, length)| length as u64).sum()
    }
}

/// How many bytes have been written to a disk, as the kernel counts them (Documentation/block/stat.rst).
fn written(disk: &Disk) -> u64 {
    let stat = fs::read_to_string(disk.attribute("stat")).unwrap();
    stat.split_whitespace().nth(6).unwrap().parse::<u64>().unwrap() * 512
}

/// Changes one block in every MiB of `percent` of them, of those with data; returns how many these are.
fn change(file: &Path, percent: u64) -> u64 {
    let starts = DATA.iter().flat_map(|&(start, length)| (start..start + length as u64).step_by(MIB as usize));
    let all: Vec<u64> = starts.collect();
    let count = (all.len() as u64 * percent).div_ceil(100);
    let file = OpenOptions::new().write(true).open(file).unwrap();
    let mut random = Random::new(percent);
    // From the end: of one percent, the boot region is none.
    let changed: BTreeSet<u64> = all.into_iter().rev().take(count as usize).collect();
    changed.iter().for_each(|&start| file.write_all_at(&random.bytes(700), start).unwrap());
    changed.len() as u64 * MIB
}

#[test(Root, Program("zstd"), Program("xz"))]
fn a_disk_gets_what_differs_and_nothing_else() {
    let fixture = Fixture::new();
    let disk = fixture.disk();
    let expected = fs::read(&disk.backing).unwrap();
    assert!(expected == flashed_by(&fixture.work.bmap, &fixture.work.image, SIZE));
    for source in SOURCES {
        for percent in [0, 1, 50, 100] {
            let changed = change(&disk.backing, percent);
            let before = written(&disk);
            let outcome = fixture.copy(&[], source, disk.path()).ok();
            let wrote = written(&disk) - before;
            let most = if percent == 0 { 0 } else { changed * 12 / 10 + BOOT_REGION };
            assert!(wrote <= most, "{wrote} bytes from {source} for {changed} that differ");
            assert!(fs::read(&disk.backing).unwrap() == expected, "{source}, {percent} %");
            outcome.says(&["was right already", "all ranges of the image verified"]);
        }
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
        let before = written(&disk);
        fixture.copy(&[flags], source, disk.path()).ok();
        assert_eq!(written(&disk), before, "{flags} {source}");
        let changed = change(&disk.backing, 20);
        fixture.copy(&[flags, "--read-back"], source, disk.path()).ok().says(&["all is right"]);
        assert!(written(&disk) - before <= changed * 12 / 10 + BOOT_REGION, "{flags} {source}");
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
    OpenOptions::new().write(true).open(&disk.backing).unwrap().write_all_at(b"other", 50 * MIB).unwrap();
    copy(arguments).ok().says(&["written 1.1 MiB", "94.9 MiB was right already", "4.2 MiB fetched of 96.0 MiB"]);
    assert_same(&work.image, &disk.backing);
    let ranges: Vec<_> = server.requests().iter().filter_map(|request| request.range(96 << 20)).collect();
    assert_eq!(ranges.last(), Some(&(48 << 20, (48 << 20) + RANGE as usize)), "{ranges:?}");
    let requests = server.requests().len();
    copy(arguments).ok().says(&["written 0", "96.0 MiB was right already"]);
    assert_eq!(server.requests().len(), requests + 1);
}

#[test(Root)]
fn a_copy_that_was_killed_goes_on_where_it_was() {
    let fixture = Fixture::new();
    let disk = Disk::new(SIZE);
    for turn in 0..20 {
        disk.refill();
        let before = written(&disk);
        let mut child = fixture.copy(&[], "raw", disk.path()).spawn();
        std::thread::sleep(Duration::from_millis(5 * turn));
        end(&mut child);
        fixture.copy(&[], "raw", disk.path()).ok();
        // The boot region twice, and what was under way.
        let most = fixture.mapped() + 2 * BOOT_REGION + 2 * MIB;
        assert!(written(&disk) - before <= most, "{}", written(&disk) - before);
        let mut expected = flashed_by(&fixture.work.bmap, &fixture.work.image, SIZE);
        let mut found = fs::read(&disk.backing).unwrap();
        // What the first copy zeroed of the boot region and has no data stays zero.
        [&mut expected, &mut found].into_iter().for_each(|bytes| bytes[34 * 512..MIB as usize].fill(0));
        assert!(found == expected, "{turn}");
    }
}

#[test(Program("zstd"), Program("xz"))]
fn files_become_what_a_new_copy_would_be() {
    let fixture = Fixture::new();
    let new = fixture.work.path("new");
    let length = fs::metadata(&fixture.work.image).unwrap().len();
    let extents = |file: &Path| bmaptool(["create", text(file)]).ok().stdout;
    type Spoil = fn(&fs::File, u64);
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
    let cases: [(&[&str], &str); 7] = [
        (&[], "raw"),
        (&[], "xz"),
        (&[], "http"),
        (&[], "-"),
        (&["--nobmap"], "raw"),
        (&["--nobmap"], "gz"),
        (&["--read-back"], "zst"),
    ];
    for (flags, source) in cases {
        let _ = fs::remove_file(&new);
        fixture.copy(flags, source, &new).ok();
        let file = OpenOptions::new().write(true).open(&new).unwrap();
        let (expected, id) = (extents(&new), fs::metadata(&new).unwrap().ino());
        for (name, spoil) in spoils {
            spoil(&file, length);
            fixture.copy(flags, source, &new).ok();
            assert_same(&fixture.work.image, &new);
            assert!(extents(&new) == expected, "{name} {flags:?} {source}");
        }
        let before = fs::metadata(&new).unwrap();
        fixture.copy(flags, source, &new).ok();
        let after = fs::metadata(&new).unwrap();
        assert_eq!((after.ino(), after.modified().unwrap()), (id, before.modified().unwrap()), "{flags:?} {source}");
    }
}

#[test(Root, Program("zstd"))]
fn a_damaged_source_fails_though_the_disk_is_right() {
    let fixture = Fixture::new();
    let disk = fixture.disk();
    for ending in ["gz", "zst"] {
        let path = fixture.work.path(&format!("disk.img.{ending}"));
        let mut file = fs::read(&path).unwrap();
        file.truncate(file.len() * 3 / 4);
        fs::write(&path, file).unwrap();
        let before = written(&disk);
        fixture.copy(&[], ending, disk.path()).fails(&["disk.img"]).says(&["nothing has been written"]);
        assert_eq!(written(&disk), before);
        disk.assert_flashed(&fixture.work.image, &fixture.work.bmap);
    }
}

#[test]
fn a_character_device_holds_nothing_to_compare() {
    let work = Work::new(|path| sparse(path, MIB, &[(0, 4096)], 1));
    copy(["--only-changed", text(&work.image), "/dev/null"]).fails(&["'/dev/null' is a character device"]);
}
