//! One image on several targets at once.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::common::device::{Disk, Loop};
use crate::common::image::{Random, UNTOUCHED, assert_same, disk_like};
use crate::common::lying::{Asked, Lie, LyingDisk};
use crate::common::server::{File, Server};
use crate::common::tool::{Tool, bmaptool, copy, mapped_disk};
use crate::common::work::Work;
use crate::common::{sh, sha256, temp_dir, text};
use crate::registry::{Need, Test};

const MIB: u64 = 1 << 20;

/// The size of a device that has room for the image.
const ROOMY: u64 = 20 * MIB;

/// A copy of `image` to `targets`.
fn copy_to<'a>(image: &'a Path, targets: impl IntoIterator<Item = &'a Path>) -> Tool {
    copy([image].into_iter().chain(targets))
}

/// The bmap beside an image.
fn bmap_of(image: &Path) -> PathBuf {
    format!("{}.bmap", image.display()).into()
}

#[test(Root)]
fn devices_and_files_are_written_at_once() {
    let directory = temp_dir();
    let image = mapped_disk(directory.path());
    let disks = [ROOMY, 24 * MIB, ROOMY].map(Disk::new);
    let [new, empty] = ["new", "empty"].map(|name| directory.path().join(name));
    fs::write(&empty, "").unwrap();
    let targets = [disks[0].path(), &new, disks[1].path(), &empty, disks[2].path(), Path::new("/dev/null")];
    let outcome = copy_to(&image, targets).ok();
    for disk in &disks {
        disk.assert_flashed(&image, &bmap_of(&image));
    }
    for file in [&new, &empty] {
        assert_same(&image, file);
    }
    for target in targets {
        assert_eq!(outcome.stderr.matches(&format!("written to '{}' and synchronized in ", text(target))).count(), 1);
    }
    let last = outcome.stderr.lines().last().unwrap();
    assert!(last.contains("info: copying time: ") && last.ends_with(" MiB/sec"), "{last}");
    assert_eq!(outcome.stderr.matches("copying time: ").count(), 1);
    for disk in &disks {
        outcome.says(&[&format!("to block device '{}' using bmap file 'disk.img.bmap'", disk.path().display())]);
    }
}

/// Expects a copy to be refused with these words, and that nothing has changed: none of `precious`, and nothing in
/// `directory`.
fn refused(tool: Tool, precious: &[&Path], directory: &Path, words: &[&str]) {
    let list = || sh("ls", &["-A", text(directory)]);
    let all = || (precious.iter().map(sha256).collect::<Vec<_>>(), list());
    let before = all();
    tool.fails(words);
    assert_eq!(all(), before);
}

#[test(Root)]
fn targets_that_share_bytes_are_refused_before_the_first_write() {
    let directory = temp_dir();
    let image = mapped_disk(directory.path());
    let [disk, other, third] = [2 * ROOMY, ROOMY, ROOMY].map(Disk::new);
    let partition = disk.partition(1, MIB, ROOMY);
    let [link, file, hard] = ["link", "file", "hard"].map(|name| directory.path().join(name));
    symlink(disk.path(), &link).unwrap();
    fs::write(&file, vec![UNTOUCHED; ROOMY as usize]).unwrap();
    fs::hard_link(&file, &hard).unwrap();
    let over_file = Loop::attach(&file);
    let twin = Loop::attach(&file);
    let dotted = directory.path().join(".").join("file");
    let precious = [disk.backing.as_path(), &other.backing, &third.backing, &file, &image];
    let cases: [(&Path, &Path, &str); 10] = [
        (disk.path(), disk.path(), "is given twice"),
        (&third.backing, third.path(), "lies in"),
        (disk.path(), &link, "are the same"),
        (&file, &hard, "are the same"),
        (&file, &dotted, "are the same"),
        (disk.path(), &partition, "lies in"),
        (&over_file.path, &twin.path, "share their data (two loop devices over one file, say)"),
        (&over_file.path, &file, "lies in"),
        (&disk.backing, disk.path(), "lies in"),
        (&disk.backing, &partition, "lies in"),
    ];
    for (one, two, words) in cases {
        // Whatever comes first, and what is claimed before it.
        for (one, two) in [(one, two), (two, one)] {
            let words = [words, text(one), text(two)];
            refused(copy_to(&image, [other.path(), one, two]), &precious, directory.path(), &words);
        }
    }
}

#[test(Root)]
fn a_target_that_is_the_image_is_refused_before_the_first_write() {
    let directory = temp_dir();
    let image = mapped_disk(directory.path());
    let disk = Disk::new(ROOMY);
    let new = directory.path().join("new");
    let precious = [disk.backing.as_path(), &image];
    for targets in [[disk.path(), &new, &image], [&image, &new, disk.path()]] {
        refused(copy_to(&image, targets), &precious, directory.path(), &["is the image itself"]);
    }
    let over_image = Loop::attach(&image);
    let targets = [&new, disk.path(), over_image.path.as_path()];
    refused(copy_to(&image, targets), &precious, directory.path(), &["lies in the image"]);
}

/// As in `bmaptool copy *.img /dev/sdX`.
#[test(Root)]
fn images_that_a_pattern_names_are_not_overwritten() {
    let directory = temp_dir();
    let image = mapped_disk(directory.path());
    let other = directory.path().join("other.img");
    fs::copy(&image, &other).unwrap();
    let disk = Disk::new(ROOMY);
    for targets in [[other.as_path(), disk.path()], [disk.path(), other.as_path()]] {
        let words = format!("'{}' has data: of several targets, a file must be new or empty", text(&other));
        refused(copy_to(&image, targets), &[&image, &other, &disk.backing], directory.path(), &[&words]);
    }
}

#[test(Root)]
fn one_that_cannot_take_the_image_keeps_all_from_being_written() {
    let directory = temp_dir();
    let image = mapped_disk(directory.path());
    let [disk, small] = [ROOMY, 8 * MIB].map(Disk::new);
    let new = directory.path().join("new");
    let precious = [disk.backing.as_path(), &small.backing];
    let none = Path::new("/dev/none");
    for (wrong, words) in
        [(small.path(), "does not fit"), (none, "there is no device"), (directory.path(), "a directory")]
    {
        refused(copy_to(&image, [disk.path(), &new, wrong]), &precious, directory.path(), &[words]);
        refused(copy_to(&image, [wrong, &new, disk.path()]), &precious, directory.path(), &[words]);
    }
    // It holds for each.
    let tool = copy([OsStr::new("--removable-device"), image.as_ref(), disk.path().as_ref(), new.as_ref()]);
    refused(tool, &precious, directory.path(), &["is not a removable device"]);
}

#[test]
fn a_file_that_does_not_exist_is_no_two_targets() {
    let directory = temp_dir();
    let image = mapped_disk(directory.path());
    let [new, dotted] = ["new", "./new"].map(|name| directory.path().join(name));
    refused(copy_to(&image, [&*new, &dotted]), &[], directory.path(), &["are the same: only one of them"]);
}

#[test(Root)]
fn two_partitions_of_a_disk_are_written() {
    let directory = temp_dir();
    let image = mapped_disk(directory.path());
    let disk = Disk::new(3 * ROOMY);
    let partitions = [1, 2].map(|number| disk.partition(number, u64::from(number - 1) * ROOMY + MIB, ROOMY));
    copy_to(&image, partitions.iter().map(PathBuf::as_path)).ok();
    let map = bmap_of(&image);
    for partition in &partitions {
        let expected = crate::common::image::flashed_by(&map, &image, ROOMY);
        assert!(fs::read(partition).unwrap() == expected, "{}", partition.display());
    }
}

/// How an image is compressed: the program, and a shell command that compresses its standard input.
const CODECS: [(&str, &str); 9] = [
    ("cat", "cat"),
    ("gzip", "gzip"),
    ("bzip2", "bzip2"),
    ("xz", "xz -T2 -0 --block-size=256KiB"),
    ("zstd", "zstd"),
    ("lz4", "lz4"),
    ("lzop", "lzop"),
    ("zip", "zip -q - -"),
    ("tar", "cat > image; tar -cS image | gzip"),
];

#[test_cases]
fn codecs() -> Vec<Test> {
    let of = |(program, command): (&'static str, &'static str)| {
        let needs = [Need::Root, Need::Program(program), Need::Program("strace")];
        Test::new(format!("{program}_is_read_once_for_any_number_of_targets"), &needs, move || is_read_once(command))
    };
    CODECS.map(of).into()
}

fn is_read_once(command: &str) {
    let work = Work::new(|image| disk_like(image, 1));
    let compressed = work.output_of(command);
    let disks = [(); 4].map(|()| Disk::new(18 << 20));
    let files = ["one", "two", "three", "four"].map(|name| work.path(name));
    let trace = work.path("trace");
    let mut of_one = None;
    for count in [1, 2, 4, 8] {
        let targets: Vec<&Path> = disks.iter().zip(&files).flat_map(|(disk, file)| [disk.path(), file]).collect();
        disks.iter().for_each(Disk::refill);
        files.iter().for_each(|file| drop(fs::remove_file(file)));
        let mut tool = copy(["--bmap"]);
        tool.command.arg(&work.bmap).arg(&compressed).args(&targets[..count]);
        let strace = ["strace", "-f", "-o", text(&trace), "-P", text(&compressed), "-e", "trace=read,pread64"];
        tool.under(&strace).ok();
        for (disk, file) in disks.iter().zip(&files).take(count / 2) {
            disk.assert_flashed(&work.image, &work.bmap);
            assert_same(&work.image, file);
        }
        let calls = fs::read_to_string(&trace).unwrap();
        let returned = calls.lines().filter_map(|line| line.rsplit_once("= ")?.1.trim().parse::<u64>().ok());
        let read: u64 = returned.sum();
        let of_one = *of_one.get_or_insert(read);
        assert!(read > 200_000 && read <= of_one + (64 << 10), "{count} targets: {read} bytes, one: {of_one}");
    }
}

#[test(Root)]
fn what_holds_for_one_target_holds_for_each() {
    let directory = temp_dir();
    let image = mapped_disk(directory.path());
    let disks = [ROOMY, ROOMY].map(Disk::new);
    let targets = || disks.each_ref().map(Disk::path);
    let with = |option: &[&str]| {
        let mut tool = copy(option);
        tool.command.arg(&image).args(targets());
        tool
    };
    // Holes become zeroes.
    with(&["--unmapped", "zero"]).ok();
    for disk in &disks {
        assert_same(&image, disk.path());
        disk.refill();
    }
    // One holds most of it already, and is not written to; the other gets all of it.
    copy([&image, disks[0].path()]).ok();
    let outcome = with(&["--only-changed"]).ok();
    disks.iter().for_each(|disk| disk.assert_flashed(&image, &bmap_of(&image)));
    let told = |disk: &Disk, words: &str| outcome.says(&[&format!("'{}': written {words}", text(disk.path()))]);
    told(&disks[0], "0 bytes, 1.8 MiB was right already");
    told(&disks[1], "1.8 MiB, 0 bytes was right already");
    // All of it is read back from each.
    let outcome = with(&["--read-back"]).ok();
    for disk in &disks {
        outcome.says(&[&format!("read back 1.8 MiB from '{}'", text(disk.path()))]);
        disk.assert_flashed(&image, &bmap_of(&image));
    }
}

#[test(Root)]
fn what_one_target_got_wrong_is_written_again_to_that_one() {
    let directory = temp_dir();
    let image = mapped_disk(directory.path());
    // Of the same size and time, they would be taken for one.
    let sizes = [ROOMY, ROOMY + 4096, ROOMY + 8192];
    let [flipping, other_place, sound] = sizes.map(LyingDisk::new);
    let flipping = flipping.lies(Lie::Flip(5 * MIB + 1000, 1));
    let other_place = other_place.lies(Lie::Flip(16 * MIB + 100, 1));
    let mut tool = copy(["--read-back"]);
    tool.command.arg(&image).args([flipping.path(), sound.path(), other_place.path()]);
    let outcome = tool.ok();
    let expected = crate::common::image::flashed(&image, ROOMY);
    for disk in [&flipping, &sound, &other_place] {
        assert!(disk.medium().contents(0..ROOMY) == expected, "{}", disk.path().display());
    }
    assert_eq!(outcome.stderr.matches("came back wrong").count(), 2, "{}", outcome.stderr);
    let writes = |disk: &LyingDisk| {
        let bytes = disk.asked().into_iter().map(|asked| if let Asked::Write(_, bytes) = asked { bytes } else { 0 });
        bytes.sum::<u64>()
    };
    let once = writes(&sound);
    assert!(writes(&flipping) > once && writes(&other_place) > once);
}

/// An image of 12 MiB without holes, in ranges of 1 MiB, and a server that has it.
fn served() -> (Work, Server) {
    let work = Work::new(|path| fs::write(path, Random::new(3).bytes(12 << 20)).unwrap());
    bmaptool(["create", "--range-size", "1M", "-o", text(&work.bmap), text(&work.image)]).ok();
    let server = Server::of(File::new(fs::read(&work.image).unwrap()));
    (work, server)
}

/// What is fetched to tell what a file is.
const HEAD: u64 = 256 << 10;

#[test(Root, Loopback)]
fn a_server_sends_an_image_once_for_four_targets() {
    let (work, server) = served();
    let disks = [(); 4].map(|()| Disk::new(12 * MIB));
    for options in [&["--bmap", text(&work.bmap)][..], &["--nobmap"]] {
        disks.iter().for_each(Disk::refill);
        let before = server.sent();
        let mut tool = copy(options);
        tool.command.arg(server.url("disk.img")).args(disks.iter().map(Disk::path));
        tool.ok();
        disks.iter().for_each(|disk| assert_same(&work.image, disk.path()));
        let sent = server.sent() - before;
        assert!((12 * MIB..=12 * MIB + HEAD).contains(&sent), "{options:?}: {sent} bytes");
    }
}

/// Two of four targets have the same MiB wrong, and one of them another one.
#[test(Root, FileSystem("fuse"), Loopback)]
fn a_server_sends_again_once_what_two_targets_got_wrong() {
    let (work, server) = served();
    // Of the same size and time, they would be taken for one.
    let [one, two, three, four] = [0, 1, 2, 3].map(|number| LyingDisk::new(12 * MIB + number * 4096));
    let wrong = |mib: u64| Lie::Flip(mib * MIB + nonzero(&work.image, mib * MIB), 1);
    let disks = [one.lies(wrong(5)), two, three.lies(wrong(5)).lies(wrong(9)), four];
    let mut tool = copy(["--read-back", "--bmap", text(&work.bmap)]);
    tool.command.arg(server.url("disk.img")).args(disks.iter().map(LyingDisk::path));
    let outcome = tool.ok();
    let image = fs::read(&work.image).unwrap();
    for disk in &disks {
        assert!(disk.medium().contents(0..12 * MIB) == image, "{}", text(disk.path()));
        outcome.says(&[&format!("from '{}', past the page cache: all is right", text(disk.path()))]);
    }
    assert_eq!(outcome.stderr.matches("came back wrong").count(), 2, "{}", outcome.stderr);
    // The first pass, and the second one, which begins with a look whether it is the same file.
    let expected = 14 * MIB;
    let asked: Vec<_> = server.requests().iter().map(|request| request.range(12 << 20)).collect();
    assert!((expected..=expected + 2 * HEAD).contains(&server.sent()), "{} bytes: {asked:?}", server.sent());
}

/// How far after `start` the image has a byte that is not zero.
fn nonzero(image: &Path, start: u64) -> u64 {
    fs::read(image).unwrap()[start as usize..].iter().position(|&byte| byte != 0).unwrap() as u64
}

#[test(Root, FileSystem("fuse"))]
fn the_slowest_is_named_and_how_long_the_others_waited_for_it() {
    let directory = temp_dir();
    let image = directory.path().join("image");
    fs::write(&image, Random::new(4).bytes(12 << 20)).unwrap();
    let fast = LyingDisk::new(12 * MIB).lies(Lie::SlowWrites(8_000_000));
    let half = LyingDisk::new(12 * MIB + 4096).lies(Lie::SlowWrites(4_000_000));
    let mut tool = copy(["--nobmap"]);
    tool.command.arg(&image).args([fast.path(), half.path()]);
    let started = Instant::now();
    let outcome = tool.ok();
    let took = started.elapsed();
    let start = format!("'{}' set the pace: the others waited ", text(half.path()));
    outcome.says(&[&start]);
    let waited = outcome.stderr.split(&start).nth(1).unwrap().split("s for it").next().unwrap();
    // Half of the time, and both have other things to do.
    let share = waited.parse::<f64>().unwrap() / took.as_secs_f64();
    assert!((0.25..0.75).contains(&share), "{waited} s of {took:?}");
    assert_eq!(outcome.stderr.matches("set the pace").count(), 1, "{}", outcome.stderr);
}

#[test(Root, Program("time"))]
fn eight_targets_take_little_memory() {
    let directory = temp_dir();
    let image = directory.path().join("image");
    fs::write(&image, Random::new(1).bytes(24 << 20)).unwrap();
    let disks = [(); 8].map(|()| Disk::new(24 << 20));
    for options in [&[][..], &["--read-back"], &["--only-changed"]] {
        let mut tool = copy(["--nobmap"]);
        tool.command.args(options).arg(&image).args(disks.iter().map(Disk::path));
        let outcome = tool.measured().ok();
        assert!(outcome.memory() < 64 << 20, "{options:?}: {} MiB", outcome.memory() >> 20);
        println!("{options:?}: {} MiB", outcome.memory() >> 20);
    }
}
