//! Other programs that use what a copy reads or writes, and images that are not what they look like: no false success.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin};

use crate::common::device::{Disk, Elsewhere, Loop, Mount};
use crate::common::tool::{Outcome, copy, finish, mapped_disk, wait_until};
use crate::common::{sh, sha256, temp_dir, text};
use tempfile::TempDir;

const MIB: u64 = 1 << 20;

#[test(Root)]
fn what_the_image_leaves_out_of_the_first_mebibyte_is_kept() {
    let (directory, disk) = (temp_dir(), Disk::new(4 * MIB));
    let before = fs::read(&disk.backing).unwrap();
    let image = directory.path().join("mbr.img");
    fs::write(&image, [1; 440]).unwrap();
    copy(["--nobmap", text(&image), text(disk.path())]).ok();
    let after = fs::read(&disk.backing).unwrap();
    assert!(after[..440] == [1; 440] && after[440..] == before[440..]);
}

#[test(Root)]
fn a_map_without_blocks_changes_nothing() {
    let (directory, disk) = (temp_dir(), Disk::new(4 * MIB));
    let before = sha256(&disk.backing);
    let image = directory.path().join("hole.img");
    crate::common::image::create(&image, 2 * MIB);
    crate::common::tool::create(&image);
    copy([image.as_path(), disk.path()]).ok();
    assert_eq!(sha256(&disk.backing), before);

    let empty = directory.path().join("empty.img");
    fs::write(&empty, "").unwrap();
    let map = "<bmap version=\"2.0\"><ImageSize>0</ImageSize><BlockSize>4096</BlockSize><BlocksCount>0</BlocksCount>\
               <MappedBlocksCount>0</MappedBlocksCount><BlockMap></BlockMap></bmap>";
    fs::write(directory.path().join("empty.img.bmap"), map).unwrap();
    copy([empty.as_path(), disk.path()]).fails(&["the image is empty"]);
    assert_eq!(sha256(&disk.backing), before);
}

/// Refuses `target`, whose bytes are those of `file`.
fn refused(image: &Path, target: &Path, file: &Path, words: &[&str]) {
    let before = sha256(file);
    copy([image, target]).fails(words);
    assert_eq!(sha256(file), before);
}

#[test(Root)]
fn a_loop_device_over_a_mounted_file_is_refused() {
    let (directory, disk) = (temp_dir(), Disk::new(20 * MIB));
    let image = mapped_disk(directory.path());
    let twin = Loop::attach(&disk.backing);
    let outcome = copy([image.as_path(), &twin.path]).ok();
    outcome.says(&[&format!("WARNING: '{}' shares data with", disk.path().display())]);

    let mount = disk.mount(disk.path());
    refused(
        &image,
        &twin.path,
        &disk.backing,
        &["shares its data with a device that is", text(disk.path()), "mounted", text(mount.path()), "umount"],
    );
}

#[test(Root)]
fn only_a_loop_device_that_overlaps_a_mounted_part_is_refused() {
    let directory = temp_dir();
    let image = mapped_disk(directory.path());
    let file = directory.path().join("parts");
    crate::common::image::create(&file, 40 * MIB);
    let half = (20 * MIB).to_string();
    let first = Loop::attach_with(&file, &["--sizelimit", &half]);
    let second = Loop::attach_with(&file, &["--offset", &half]);
    sh("mkfs.ext4", &["-q", text(&first.path)]);
    let _mount = Mount::of(&first.path, "ro");
    copy([image.as_path(), &second.path]).ok();
    let all = Loop::attach(&file);
    refused(&image, &all.path, &file, &["shares its data with a device that is mounted"]);
}

#[test(Root, Program("unshare"))]
fn a_file_under_a_disk_mounted_in_another_namespace_is_refused() {
    let (directory, disk) = (temp_dir(), Disk::new(20 * MIB));
    let image = mapped_disk(directory.path());
    sh("mkfs.ext4", &["-q", text(disk.path())]);
    let _mount = Elsewhere::mount(disk.path());
    let outcome = copy([image.as_path(), &disk.backing]).run();
    outcome.says(&["shares its data with", text(disk.path()), "in use by another program or mount namespace"]);
    assert_eq!(outcome.status, Some(1));
}

/// A copy to a file, in the middle of which the test does something.
struct Halfway {
    child: Child,
    pipe: ChildStdin,
    target: PathBuf,
    _directory: TempDir,
}

impl Halfway {
    fn begin() -> Self {
        let directory = temp_dir();
        let target = directory.path().join("out");
        let mut child = copy(["--nobmap", "-", text(&target)]).spawn();
        let mut pipe = child.stdin.take().unwrap();
        pipe.write_all(&vec![1; 4 * MIB as usize]).unwrap();
        wait_until(&mut child, "half of the copy", || size_of(&target) >= 2 * MIB);
        Self { child, pipe, target, _directory: directory }
    }

    fn end(self) -> Outcome {
        drop(self.pipe);
        finish(self.child)
    }
}

/// How long a file is that may not exist yet.
fn size_of(file: &Path) -> u64 {
    fs::metadata(file).map_or(0, |metadata| metadata.len())
}

#[test]
fn a_second_copy_to_a_file_is_refused() {
    let halfway = Halfway::begin();
    let directory = temp_dir();
    let image = mapped_disk(directory.path());
    copy([image.as_path(), &halfway.target]).fails(&["is locked by another program, perhaps another copy", "fuser -v"]);
    let target = halfway.target.clone();
    // The directory goes with it.
    let Halfway { child, pipe, _directory, .. } = halfway;
    drop(pipe);
    assert_eq!(finish(child).status, Some(0));
    assert!(fs::read(target).unwrap() == vec![1; 4 * MIB as usize]);
}

#[test]
fn a_target_that_is_removed_or_replaced_is_an_error() {
    let change: [fn(&Path); 2] = [
        |target| fs::remove_file(target).unwrap(),
        |target| {
            let other = target.with_file_name("other");
            fs::write(&other, "another").unwrap();
            fs::rename(other, target).unwrap();
        },
    ];
    for change in change {
        let halfway = Halfway::begin();
        let target = halfway.target.clone();
        change(&target);
        let outcome = halfway.end();
        outcome.says(&["another program has removed or replaced it during the copy", "no longer at", text(&target)]);
        assert!(!outcome.stderr.contains("is incomplete\n"), "{}", outcome.stderr);
        assert_eq!(outcome.status, Some(1));
    }
}

#[test]
fn a_target_that_is_cut_or_grows_is_an_error() {
    for size in [0, 100 * MIB] {
        let mut halfway = Halfway::begin();
        // Once all that was sent has been written, so that nothing makes up for it.
        wait_until(&mut halfway.child, "all that was sent", || size_of(&halfway.target) >= 4 * MIB);
        OpenOptions::new().write(true).open(&halfway.target).unwrap().set_len(size).unwrap();
        let outcome = halfway.end();
        outcome.says(&["another program has changed its size"]);
        assert_eq!(outcome.status, Some(1));
    }
}

#[test]
fn a_damaged_head_is_not_taken_for_a_raw_image() {
    let directory = temp_dir();
    let target = directory.path().join("out");
    for name in ["disk.img.gz", "disk.img.xz", "disk.zip", "disk.tar"] {
        let image = directory.path().join(name);
        fs::write(&image, "<html>404</html>").unwrap();
        copy(["--nobmap", text(&image), text(&target)]).fails(&[name, "but it is not compressed", "rename it"]);
        assert!(!target.exists());
    }
}

#[test(Program("zip"))]
fn what_is_compressed_twice_is_no_image() {
    let directory = temp_dir();
    mapped_disk(directory.path());
    let target = directory.path().join("out");
    let script = "cd \"$1\" && gzip -k disk.img && xz -k disk.img.gz && zip -q disk.zip disk.img.gz && \
                  tar -czf disk.tar.gz disk.img.gz";
    sh("sh", &["-c", script, "sh", text(directory.path())]);
    for name in ["disk.img.gz.xz", "disk.zip", "disk.tar.gz"] {
        let image = directory.path().join(name);
        copy(["--nobmap", text(&image), text(&target)]).fails(&[name, "is compressed again, with gzip"]);
        assert!(!target.exists());
    }
}
