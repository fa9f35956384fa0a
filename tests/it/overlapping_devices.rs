//! Targets whose bytes are also those of something else, under another name: what is used, or read, is not written to.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command};

use crate::common::device::{Disk, Elsewhere, Loop, Mount, Swap};
use crate::common::image::assert_same;
use crate::common::tool::{Outcome, Tool, binary_in, copy, create, finish, mapped_disk, wait_until};
use crate::common::{sh, sha256, temp_dir, text};

const MIB: u64 = 1 << 20;

/// The size of a device that has room for the image.
const ROOMY: u64 = 20 * MIB;

/// Expects that a copy is refused with these words, and that what is in `precious` stays as it is.
fn refused(tool: Tool, precious: &Path, words: &[&str]) {
    let before = sha256(precious);
    tool.fails(words);
    assert_eq!(sha256(precious), before);
}

fn raw(source: &Path, target: &Path) -> Tool {
    copy([OsStr::new("--nobmap"), source.as_os_str(), target.as_os_str()])
}

#[test(Root)]
fn a_loop_device_over_a_mounted_device_is_refused() {
    let (directory, disk) = (temp_dir(), Disk::new(ROOMY));
    let image = mapped_disk(directory.path());
    let mount = disk.mount(disk.path());
    let upper = Loop::attach(disk.path());
    let words = ["shares its data with a device that is mounted", text(disk.path()), text(mount.path()), "umount"];
    refused(copy([&image, &upper.path]), &disk.backing, &words);
    let third = Loop::attach(&upper.path);
    refused(copy([&image, &third.path]), &disk.backing, &words);
}

#[test(Root)]
fn a_loop_device_over_a_disk_with_a_mounted_partition_is_refused() {
    let (directory, disk) = (temp_dir(), Disk::new(2 * ROOMY));
    let image = mapped_disk(directory.path());
    let partition = disk.partition(1, MIB, ROOMY);
    let mount = disk.mount(&partition);
    let words = ["shares its data with a device that is mounted", text(&partition), text(mount.path())];
    refused(copy([&image, &Loop::attach(disk.path()).path]), &disk.backing, &words);
    refused(copy([&image, &Loop::attach(&partition).path]), &disk.backing, &words);
    let place = Loop::attach_with(disk.path(), &["--offset", &MIB.to_string()]);
    refused(copy([&image, &place.path]), &disk.backing, &words);
}

#[test(Root)]
fn a_loop_device_over_a_partition_beside_a_mounted_one_is_written() {
    let (directory, disk) = (temp_dir(), Disk::new(3 * ROOMY));
    let image = mapped_disk(directory.path());
    let _mount = disk.mount(&disk.partition(1, MIB, ROOMY));
    let free = disk.partition(2, MIB + ROOMY, ROOMY);
    let upper = Loop::attach(&free);
    copy([&image, &upper.path]).ok();
    drop(upper);
    copy([&image, &free]).ok();
}

#[test(Root)]
fn a_loop_device_is_refused_only_where_it_overlaps_what_is_mounted() {
    let (directory, disk) = (temp_dir(), Disk::new(3 * ROOMY));
    let image = mapped_disk(directory.path());
    let mounted = disk.partition(1, 0, ROOMY);
    disk.partition(2, ROOMY, ROOMY);
    let mount = disk.mount(&mounted);
    let size = ROOMY.to_string();
    let part = |base: &Path, number: u64| {
        Loop::attach_with(base, &["--offset", &(number * ROOMY).to_string(), "--sizelimit", &size])
    };
    for base in [disk.path(), &disk.backing] {
        let target = part(base, 1);
        copy([&image, &target.path]).ok();
        let outside = part(base, 2);
        let words = ["lies in", text(disk.path()), "mounted", text(&mounted), text(mount.path()), "umount"];
        refused(copy([&image, &outside.path]), &disk.backing, &words);
    }
}

#[test(Root)]
fn a_loop_device_over_swap_is_refused() {
    let (directory, disk) = (temp_dir(), Disk::new(ROOMY));
    let image = mapped_disk(directory.path());
    let _swap = Swap::on(disk.path());
    let upper = Loop::attach(disk.path());
    let command = format!("swapoff {}", disk.path().display());
    refused(
        copy([&image, &upper.path]),
        &disk.backing,
        &["shares its data with a device that is in use as swap", &command],
    );
}

#[test(Root, Program("unshare"))]
fn conflicts_are_found_where_a_list_of_devices_is_hidden() {
    let (directory, disk) = (temp_dir(), Disk::new(2 * ROOMY));
    let image = mapped_disk(directory.path());
    let free = disk.partition(1, ROOMY, ROOMY);
    let first = Loop::attach_with(&disk.backing, &["--sizelimit", &ROOMY.to_string()]);
    sh("mkfs.ext4", &["-q", text(&first.path)]);
    let mount = Mount::of(&first.path, "ro");
    let script = "mount -t tmpfs none \"$0\" && exec \"$@\"";
    for list in ["/sys/dev/block", "/sys/block"] {
        let hidden = |target: &Path| copy([&image, target]).under(&["unshare", "--mount", "sh", "-c", script, list]);
        let words = [text(&first.path), "mounted", text(mount.path()), "umount"];
        refused(hidden(&disk.backing), &disk.backing, &words);
        refused(hidden(&first.path), &disk.backing, &words);
        refused(hidden(disk.path()), &disk.backing, &words);
        hidden(&free).ok();
    }
}

#[test(Root, Program("unshare"))]
fn a_loop_device_over_a_device_mounted_in_another_namespace_is_refused() {
    let (directory, disk) = (temp_dir(), Disk::new(ROOMY));
    let image = mapped_disk(directory.path());
    sh("mkfs.ext4", &["-q", text(disk.path())]);
    let _mount = Elsewhere::mount(disk.path());
    let upper = Loop::attach(disk.path());
    let words = ["shares its data with", text(disk.path()), "in use by another program or mount namespace"];
    refused(copy([&image, &upper.path]), &disk.backing, &words);
}

#[test(Root)]
fn loop_devices_over_halves_of_a_device_are_told_from_one_over_all() {
    let (directory, disk) = (temp_dir(), Disk::new(2 * ROOMY));
    let image = mapped_disk(directory.path());
    let half = ROOMY.to_string();
    let first = Loop::attach_with(disk.path(), &["--sizelimit", &half]);
    let second = Loop::attach_with(disk.path(), &["--offset", &half]);
    raw(&image, &second.path).ok();
    assert_same(&image, &second.path);
    let all = Loop::attach(disk.path());
    let words = ["shares its data with a device that is held by loop device", text(&first.path)];
    refused(copy([&image, &all.path]), &disk.backing, &words);
}

/// A copy of standard input to `target`, which has zeroed the start of `file` by now.
fn begun(target: &Path, file: &Path) -> (Child, ChildStdin) {
    begun_with(target, file, 0)
}

/// The same, which has written `first` to the start of `file` by now.
fn begun_with(target: &Path, file: &Path, first: u8) -> (Child, ChildStdin) {
    let mut child = copy(["--nobmap", "-", text(target)]).spawn();
    let mut pipe = child.stdin.take().unwrap();
    pipe.write_all(&vec![1; 2 * MIB as usize]).unwrap();
    wait_until(&mut child, "the first write", || {
        let mut found = [2];
        let read = File::open(file).unwrap().read_at(&mut found, 0);
        read.is_ok() && found == [first]
    });
    (child, pipe)
}

fn ended((child, pipe): (Child, ChildStdin)) -> Outcome {
    drop(pipe);
    let outcome = finish(child);
    assert_eq!(outcome.status, Some(0), "{}", outcome.stderr);
    outcome
}

#[test(Root)]
fn the_device_below_is_claimed_during_the_copy() {
    let disk = Disk::new(ROOMY);
    let upper = Loop::attach(disk.path());
    let copying = begun(&upper.path, &disk.backing);
    assert_eq!(claimed(disk.path()).unwrap_err().raw_os_error(), Some(libc::EBUSY));
    ended(copying);
    assert!(claimed(disk.path()).is_ok());
}

#[test(Root)]
fn the_device_above_a_file_is_claimed_during_the_copy() {
    let directory = temp_dir();
    let file = directory.path().join("file");
    crate::common::image::create(&file, ROOMY);
    let upper = Loop::attach(&file);
    let copying = begun_with(&file, &file, 1);
    assert_eq!(claimed(&upper.path).unwrap_err().raw_os_error(), Some(libc::EBUSY));
    ended(copying);
    assert!(claimed(&upper.path).is_ok());
}

/// What is claimed is free again once no child has it that another test has just made, until that has gone on to its own
/// program: nothing that needs it may follow.
fn claimed(device: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_EXCL).open(device)
}

#[test(Root)]
fn only_the_partition_below_is_claimed_during_the_copy() {
    let disk = Disk::new(ROOMY);
    let half = (ROOMY / 2).to_string();
    let partitions = [disk.partition(1, 0, ROOMY / 2), disk.partition(2, ROOMY / 2, ROOMY / 2)];
    let first = Loop::attach_with(disk.path(), &["--sizelimit", &half]);
    let second = Loop::attach_with(disk.path(), &["--offset", &half]);
    let copying = begun(&first.path, &disk.backing);
    for device in [disk.path(), &partitions[0]] {
        assert_eq!(claimed(device).unwrap_err().raw_os_error(), Some(libc::EBUSY));
    }
    raw(Path::new("/usr/bin/env"), &second.path).ok();
    assert!(claimed(&partitions[1]).is_ok());
    ended(copying);
}

#[test(Root)]
fn the_image_in_another_loop_device_over_the_file_is_not_overwritten() {
    let disk = Disk::new(ROOMY);
    let twin = Loop::attach(&disk.backing);
    let words = ["shares its data with the image", text(&twin.path)];
    refused(raw(disk.path(), &twin.path), &disk.backing, &words);
    let map = create(&disk.backing);
    let tool = copy([OsStr::new("--bmap"), map.as_os_str(), disk.path().as_os_str(), twin.path.as_os_str()]);
    refused(tool, &disk.backing, &words);
    // However deep it lies.
    let upper = Loop::attach(&twin.path);
    refused(raw(&disk.partition(1, MIB, MIB), &upper.path), &disk.backing, &["shares its data with the image"]);
}

#[test(Root)]
fn only_the_part_of_a_file_that_holds_the_image_is_refused() {
    let directory = temp_dir();
    let file = directory.path().join("file");
    crate::common::image::create(&file, 8 * MIB).write_all_at(b"precious", MIB).unwrap();
    let size = |mib: u64| (mib * MIB).to_string();
    let source = Loop::attach_with(&file, &["--sizelimit", &size(4)]);
    let overlapping = Loop::attach_with(&file, &["--offset", &size(1)]);
    refused(raw(&source.path, &overlapping.path), &file, &["shares its data with the image"]);
    let after = Loop::attach_with(&file, &["--offset", &size(4)]);
    raw(&source.path, &after.path).ok();
    assert_same(&source.path, &after.path);
}

#[test(Root)]
fn the_image_in_a_partition_is_not_overwritten_through_a_loop_device() {
    let disk = Disk::new(ROOMY);
    let partition = disk.partition(1, MIB, 4 * MIB);
    let place = Loop::attach_with(disk.path(), &["--offset", &MIB.to_string()]);
    refused(raw(&partition, &place.path), &disk.backing, &["shares its data with the image"]);
    drop(place);
    let after = Loop::attach_with(disk.path(), &["--offset", &(5 * MIB).to_string()]);
    raw(&partition, &after.path).ok();
    assert_same(&partition, &after.path);
}

#[test(Root)]
fn the_partition_beside_that_of_the_image_is_written() {
    let disk = Disk::new(ROOMY);
    let source = disk.partition(1, MIB, 4 * MIB);
    let target = disk.partition(2, 5 * MIB, 4 * MIB);
    raw(&source, &target).ok();
    assert_same(&source, &target);
}

/// The tool, run by the user nobody, who may look into `directory`.
fn by_nobody(directory: &Path, arguments: &[&Path]) -> Tool {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o777)).unwrap();
    let program = binary_in(directory);
    let mut tool = copy::<&str>([]);
    tool.command = Command::new("setpriv");
    tool.command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    tool.command.arg(program).args(["copy", "--nobmap"]).args(arguments);
    tool
}

#[test(Root, Program("unshare"))]
fn a_file_whose_loop_device_only_root_may_inspect_is_refused() {
    let directory = temp_dir();
    let image = mapped_disk(directory.path());
    let file = directory.path().join("file");
    crate::common::image::create(&file, ROOMY);
    let device = Loop::attach(&file);
    sh("mkfs.ext4", &["-q", text(&device.path)]);
    let _mount = Elsewhere::mount(&device.path);
    chown(&file, Some(65534), Some(65534)).unwrap();
    let words = ["shares its data with", text(&device.path), "cannot be told whether that is in use", "denied", "sudo"];
    refused(by_nobody(directory.path(), &[&image, &file]), &file, &words);
}

/// The node of a device that a user has, until this is dropped.
struct Owned<'a>(&'a Path);

impl<'a> Owned<'a> {
    fn by_nobody(node: &'a Path) -> Self {
        chown(node, Some(65534), None).unwrap();
        Self(node)
    }
}

impl Drop for Owned<'_> {
    fn drop(&mut self) {
        let _ = chown(self.0, Some(0), None);
    }
}

#[test(Root, Program("setpriv"))]
fn a_user_with_one_loop_device_cannot_write_to_a_file_that_root_has_mounted() {
    let directory = temp_dir();
    let image = mapped_disk(directory.path());
    // What the user may not even look at.
    let disk = Disk::new(ROOMY);
    fs::set_permissions(disk.backing.parent().unwrap(), fs::Permissions::from_mode(0o700)).unwrap();
    let twin = Loop::attach(&disk.backing);
    let _owned = Owned::by_nobody(&twin.path);
    let words = ["shares its data with", text(disk.path()), "cannot be told whether that is in use", "sudo"];
    refused(by_nobody(directory.path(), &[&image, &twin.path]), &disk.backing, &words);
    let mount = disk.mount(disk.path());
    let words = ["shares its data with a device that is mounted", text(disk.path()), text(mount.path())];
    refused(by_nobody(directory.path(), &[&image, &twin.path]), &disk.backing, &words);
}

#[test(Root, Program("unshare"))]
fn where_loop_devices_are_hidden_what_they_may_use_is_refused() {
    let (directory, disk) = (temp_dir(), Disk::new(ROOMY));
    let image = mapped_disk(directory.path());
    let _mount = disk.mount(disk.path());
    let target = directory.path().join("free");
    fs::write(&target, "precious").unwrap();
    for hide in ["umount --lazy /sys", "mount -t tmpfs none /sys/devices/virtual/block"] {
        let script = format!("{hide} && exec \"$0\" \"$@\"");
        let hidden = |target: &Path| copy([&image, target]).under(&["unshare", "--mount", "sh", "-c", &script]);
        let words = ["cannot tell whether", "sysfs is not mounted, or hides devices"];
        refused(hidden(&disk.backing), &disk.backing, &words);
        // That it is free cannot be known either.
        refused(hidden(&target), &target, &words);
        let new = directory.path().join("new");
        hidden(&new).ok();
        assert_same(&image, &new);
        fs::remove_file(&new).unwrap();
        hidden(Path::new("/dev/null")).ok();
    }
}

#[test(Root, Program("setpriv"))]
fn a_user_writes_a_file_beside_loop_devices_of_root() {
    let (directory, disk) = (temp_dir(), Disk::new(ROOMY));
    let image = mapped_disk(directory.path());
    let _upper = Loop::attach(&disk.partition(1, MIB, MIB));
    let target = directory.path().join("copy");
    by_nobody(directory.path(), &[&image, &target]).ok();
    assert_same(&image, &target);
    // It exists now.
    by_nobody(directory.path(), &[&image, &target]).ok();
}

#[test(Root)]
fn copies_to_a_file_and_through_its_loop_device_exclude_each_other() {
    let (directory, disk) = (temp_dir(), Disk::new(ROOMY));
    let image = mapped_disk(directory.path());
    let partition = disk.partition(1, MIB, 2 * MIB);
    let file = &disk.backing;
    let words = ["is locked by another program, perhaps another copy", "fuser -v", text(file)];
    for target in [disk.path(), &partition] {
        // As long as the other one has it.
        let locked = OpenOptions::new().write(true).open(file).unwrap();
        // SAFETY: flock takes a descriptor, which is open, and a number.
        assert_eq!(unsafe { libc::flock(locked.as_raw_fd(), libc::LOCK_EX) }, 0);
        refused(raw(Path::new("/usr/bin/env"), target), file, &words);
        // A program that another test is just starting has it open, too.
        // SAFETY: as above.
        assert_eq!(unsafe { libc::flock(locked.as_raw_fd(), libc::LOCK_UN) }, 0);
    }
    let copying = begun(disk.path(), file);
    copy([&image, file]).fails(&["is locked by another program, perhaps another copy", text(file)]);
    ended(copying);
    assert_eq!(fs::read(file).unwrap()[..2 * MIB as usize], vec![1; 2 * MIB as usize]);
}

#[test(Root)]
fn two_partitions_are_written_at_once() {
    let disk = Disk::new(ROOMY);
    let first = disk.partition(1, 0, 4 * MIB);
    let second = disk.partition(2, 8 * MIB, 4 * MIB);
    let copying = begun(&first, &disk.backing);
    raw(Path::new("/usr/bin/env"), &second).ok();
    ended(copying);
}

#[test(Root)]
fn a_loop_device_over_a_file_with_an_odd_name_is_written() {
    let directory = temp_dir();
    let image = mapped_disk(directory.path());
    let file = directory.path().join(OsStr::from_bytes(b"\xff file\n"));
    crate::common::image::create(&file, ROOMY);
    let mut losetup = Command::new("losetup");
    let output = losetup.args(["--find", "--show"]).arg(&file).output().unwrap();
    let device = Loop::of(PathBuf::from(String::from_utf8(output.stdout).unwrap().trim()));
    raw(&image, &device.path).ok();
    assert_same(&image, &device.path);
}
