//! One image on several targets at once.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::common::device::{Disk, Loop};
use crate::common::image::{UNTOUCHED, assert_same};
use crate::common::tool::{Tool, copy, mapped_disk};
use crate::common::{sh, sha256, temp_dir, text};

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
    let [new, existing] = ["new", "existing"].map(|name| directory.path().join(name));
    fs::write(&existing, vec![7; 30 << 20]).unwrap();
    let targets = [disks[0].path(), &new, disks[1].path(), &existing, disks[2].path(), Path::new("/dev/null")];
    let outcome = copy_to(&image, targets).ok();
    for disk in &disks {
        disk.assert_flashed(&image, &bmap_of(&image));
    }
    for file in [&new, &existing] {
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

#[test]
fn one_that_fails_has_its_own_message_and_the_others_are_right() {
    let directory = temp_dir();
    let image = mapped_disk(directory.path());
    let [one, two] = ["one", "two"].map(|name| directory.path().join(name));
    let outcome =
        copy_to(&image, [&*one, Path::new("/dev/full"), &two]).fails(&["to '/dev/full': cannot write at byte"]);
    for file in [&one, &two] {
        assert_same(&image, file);
        outcome.says(&[&format!("written to '{}' and synchronized in ", file.display())]);
    }
    assert!(outcome.stderr.lines().last().unwrap().contains("copying time: "), "{}", outcome.stderr);
}
