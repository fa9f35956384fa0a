//! A target is never harmed by mistake: what must not be written to is refused, with the reason, and stays as it is.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::device::{Disk, Elsewhere, Loop, Mount, Swap};
use crate::common::stage::Stage;
use crate::common::tool::{binary_in, copy};
use crate::common::{sh, text};

const MIB: u64 = 1 << 20;

/// The size of a device that has room for the image.
const ROOMY: u64 = 20 * MIB;

#[test(Root)]
fn a_mounted_disk_is_refused() {
    let (stage, disk) = (Stage::new(), Disk::new(ROOMY));
    let mount = disk.mount(disk.path());
    let point = text(mount.path());
    let command = format!("umount {point}");
    stage.refused(disk.path(), &[&disk.backing], &["is mounted", text(disk.path()), &command]);
}

/// A stick may have a label like this, and the command may be run as root.
#[test(Root)]
fn the_advice_can_be_copied_whatever_a_mount_point_is_called() {
    let (stage, disk) = (Stage::new(), Disk::new(ROOMY));
    let directory = tempfile::Builder::new().prefix("bmaptool-test '; exit 7 #'").tempdir().unwrap();
    sh("mkfs.ext4", &["-q", text(disk.path())]);
    let mount = Mount::below(disk.path(), "ro", directory);
    let outcome = copy([&stage.image, disk.path()]).fails(&["is mounted", text(mount.path())]);
    let (_, command) = outcome.stderr.trim_end().rsplit_once("unmount it with: ").unwrap();
    sh("sh", &["-c", command]);
    copy([&stage.image, disk.path()]).ok();
}

#[test(Root)]
fn a_disk_with_a_mounted_partition_is_refused() {
    let (stage, disk) = (Stage::new(), Disk::new(ROOMY));
    let partition = disk.partition(3, MIB, 8 * MIB);
    let mount = disk.mount(&partition);
    let place = format!("{} on '{}'", partition.display(), mount.path().display());
    stage.refused(disk.path(), &[&disk.backing], &["is mounted", &place, "umount"]);
}

#[test(Root)]
fn a_partition_of_a_mounted_disk_is_refused() {
    let (stage, disk) = (Stage::new(), Disk::new(2 * ROOMY));
    let partition = disk.partition(1, 0, ROOMY);
    let mount = disk.mount(disk.path());
    let place = format!("{} on '{}'", disk.path().display(), mount.path().display());
    stage.refused(&partition, &[&disk.backing], &["is mounted", &place]);
}

#[test(Root)]
fn every_mount_point_is_named() {
    let (stage, disk) = (Stage::new(), Disk::new(ROOMY));
    let mount = disk.mount(disk.path());
    let odd = tempfile::Builder::new().prefix("bmaptool-test a\\b\t").tempdir().unwrap();
    let second = Mount::below(disk.path(), "ro", odd);
    // Control characters are not for a terminal.
    let shown = text(second.path()).replace('\t', "\u{fffd}");
    stage.refused(disk.path(), &[&disk.backing], &["is mounted", text(mount.path()), &shown]);
}

#[test(Root, Program("mkfs.btrfs"), FileSystem("btrfs"))]
fn the_second_device_of_a_mounted_btrfs_is_refused() {
    let stage = Stage::new();
    let files = ["one", "two"].map(|name| stage.path(name));
    let devices = files.each_ref().map(|file| {
        crate::common::image::create(file, 128 * MIB);
        Loop::attach(file)
    });
    let [one, two] = devices.each_ref().map(|device| text(&device.path));
    sh("mkfs.btrfs", &["-q", "-m", "raid1", one, two]);
    let mount = Mount::of(&devices[0].path, &format!("ro,device={one},device={two}"));
    stage.refused(&devices[1].path, &[&files[1]], &["is mounted", text(mount.path()), "umount"]);
}

#[test(Root, Program("unshare"))]
fn a_disk_mounted_in_another_namespace_is_refused() {
    let (stage, disk) = (Stage::new(), Disk::new(ROOMY));
    sh("mkfs.ext4", &["-q", text(disk.path())]);
    let _mount = Elsewhere::mount(disk.path());
    let command = format!("grep -l {} /proc/*/mountinfo", disk.path().display());
    stage.refused(disk.path(), &[&disk.backing], &["is in use", "mount namespace", &command]);
}

#[test(Root)]
fn a_disk_that_a_program_holds_is_refused() {
    let (stage, disk) = (Stage::new(), Disk::new(ROOMY));
    let _held = OpenOptions::new().read(true).custom_flags(libc::O_EXCL).open(disk.path()).unwrap();
    let command = format!("fuser -v {}", disk.path().display());
    stage.refused(disk.path(), &[&disk.backing], &["is in use by another program", &command]);
}

#[test(Root)]
fn a_disk_used_as_swap_is_refused() {
    let (stage, disk) = (Stage::new(), Disk::new(ROOMY));
    let _swap = Swap::on(disk.path());
    let command = format!("swapoff {}", disk.path().display());
    stage.refused(disk.path(), &[&disk.backing], &["in use as swap", &command]);
}

#[test(Root)]
fn a_disk_with_swap_on_a_partition_is_refused() {
    let (stage, disk) = (Stage::new(), Disk::new(ROOMY));
    let partition = disk.partition(2, 4 * MIB, 4 * MIB);
    let _swap = Swap::on(&partition);
    let command = format!("swapoff {}", partition.display());
    stage.refused(disk.path(), &[&disk.backing], &["in use as swap", &command]);
}

#[test(Root)]
fn a_disk_under_a_loop_device_is_refused() {
    let (stage, disk) = (Stage::new(), Disk::new(ROOMY));
    let upper = Loop::attach(disk.path());
    let command = format!("losetup --detach {}", upper.path.display());
    stage.refused(disk.path(), &[&disk.backing], &["is held by loop device", &command]);
}

#[test(Root)]
fn a_disk_with_a_partition_under_a_loop_device_is_refused() {
    let (stage, disk) = (Stage::new(), Disk::new(ROOMY));
    let upper = Loop::attach(&disk.partition(1, 4 * MIB, 4 * MIB));
    let command = format!("losetup --detach {}", upper.path.display());
    stage.refused(disk.path(), &[&disk.backing], &["is held by loop device", &command]);
}

#[test(Root)]
fn a_read_only_loop_device_is_refused() {
    let (stage, disk) = (Stage::new(), Disk::with(ROOMY, &["--read-only"]));
    stage.refused(disk.path(), &[&disk.backing], &["is read-only", text(disk.path())]);
}

/// Makes a device read-only until this is dropped; the setting would outlive what is attached to the device.
struct ReadOnly<'a>(&'a Path);

impl<'a> ReadOnly<'a> {
    fn set(device: &'a Path) -> Self {
        sh("blockdev", &["--setro", text(device)]);
        Self(device)
    }
}

impl Drop for ReadOnly<'_> {
    fn drop(&mut self) {
        let _ = Command::new("blockdev").arg("--setrw").arg(self.0).status();
    }
}

#[test(Root)]
fn a_device_set_read_only_is_refused() {
    let (stage, disk) = (Stage::new(), Disk::new(ROOMY));
    let _read_only = ReadOnly::set(disk.path());
    let command = format!("blockdev --setrw {}", disk.path().display());
    stage.refused(disk.path(), &[&disk.backing], &["is read-only", &command]);
}

#[test(Root, Program("xz"))]
fn a_device_that_is_too_small_is_refused() {
    let (stage, disk) = (Stage::new(), Disk::new(16 * MIB));
    let sizes = ["16777993 bytes (16.0 MiB)", "16777216 bytes (16.0 MiB)"];
    stage.refused(disk.path(), &[&disk.backing], &["does not fit", sizes[0], sizes[1]]);
    let partition = disk.partition(1, MIB, MIB);
    stage.refused(&partition, &[&disk.backing], &["does not fit", sizes[0], "1048576 bytes (1.0 MiB)"]);
    let raw = copy(["--nobmap".as_ref(), stage.image.as_os_str(), disk.path().as_os_str()]);
    stage.refused_with(raw, &[&disk.backing], &["does not fit", sizes[0], sizes[1]]);
    // An xz file has an index, which says what it decompresses to.
    sh("xz", &["-k", "-0", text(&stage.image)]);
    let compressed = format!("{}.xz", stage.image.display());
    let tool = copy(["--nobmap", &compressed, text(disk.path())]);
    stage.refused_with(tool, &[&disk.backing], &["does not fit", sizes[0], sizes[1]]);
}

#[test(Root, Program("strace"))]
fn a_device_without_a_medium_is_refused() {
    let (stage, disk) = (Stage::new(), Disk::new(ROOMY));
    let strace = ["strace", "-f", "-o", "/dev/null", "-P", text(disk.path()), "-e", "inject=openat:error=ENOMEDIUM"];
    let tool = copy([&stage.image, disk.path()]).under(&strace);
    stage.refused_with(tool, &[&disk.backing], &["has no medium", text(disk.path())]);
}

#[test(Root)]
fn a_device_of_no_bytes_is_refused() {
    let stage = Stage::new();
    File::create(stage.path("nothing")).unwrap();
    let device = Loop::attach(&stage.path("nothing"));
    stage.refused(&device.path, &[], &["has no medium"]);
}

#[test(Root, Program("strace"))]
fn a_device_that_not_even_root_may_write_to_is_refused() {
    let (stage, disk) = (Stage::new(), Disk::new(ROOMY));
    let strace = ["strace", "-f", "-o", "/dev/null", "-P", text(disk.path()), "-e", "inject=openat:error=EPERM"];
    let tool = copy([&stage.image, disk.path()]).under(&strace);
    stage.refused_with(tool, &[&disk.backing], &["not even root", text(disk.path()), "container", "not permitted"]);
}

#[test(Root, Program("setpriv"))]
fn a_device_without_permission_is_refused() {
    let (stage, disk) = (Stage::new(), Disk::new(ROOMY));
    fs::set_permissions(stage.directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = binary_in(stage.directory.path());
    let mut tool = copy::<&str>([]);
    tool.command = Command::new("setpriv");
    tool.command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    tool.command.args([program.as_os_str(), "copy".as_ref(), stage.image.as_os_str(), disk.path().as_os_str()]);
    stage.refused_with(tool, &[&disk.backing], &["no permission", text(disk.path()), "sudo"]);
}

#[test(Root)]
fn removable_device_refuses_what_is_fixed() {
    let (stage, disk) = (Stage::new(), Disk::new(ROOMY));
    let partition = disk.partition(1, 0, ROOMY);
    let link = stage.path("link");
    symlink(disk.path(), &link).unwrap();
    let file = stage.path("file");
    fs::write(&file, "precious").unwrap();
    let missing = stage.path("missing");
    let cases = [
        (disk.path(), "a fixed disk"),
        (&partition, "a fixed disk"),
        (&link, "a fixed disk"),
        (&file, "not a block device"),
        (Path::new("/dev/null"), "not a block device"),
        (&missing, "does not exist"),
    ];
    for (target, why) in cases {
        let tool = copy(["--removable-device".as_ref(), stage.image.as_os_str(), target.as_os_str()]);
        stage.refused_with(tool, &[&disk.backing, &file], &["is not a removable device", text(target), why]);
    }
    assert!(!missing.exists());
}

#[test(Root)]
fn a_file_under_a_mounted_device_is_refused() {
    let (stage, disk) = (Stage::new(), Disk::new(ROOMY));
    let mount = disk.mount(disk.path());
    let words = ["shares its data with a device that is mounted", text(disk.path()), text(mount.path())];
    stage.refused(&disk.backing, &[&disk.backing], &words);
}

#[test]
fn directories_pipes_and_sockets_are_refused() {
    let stage = Stage::new();
    fs::create_dir(stage.path("directory")).unwrap();
    nix::unistd::mkfifo(&stage.path("pipe"), nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    let _socket = UnixListener::bind(stage.path("socket")).unwrap();
    for (name, what) in
        [("directory", "it is a directory"), ("pipe", "it is a pipe (FIFO)"), ("socket", "it is a socket")]
    {
        stage.refused(&stage.path(name), &[], &[what, "the target must be a block device or a regular file"]);
    }
}

#[test]
fn a_device_that_is_not_plugged_in_is_not_made_as_a_file() {
    let stage = Stage::new();
    for target in ["/dev/bmaptool-test-none", "/dev/bmaptool-test/by-id/none", "/dev/../dev/bmaptool-test-none"] {
        stage.refused(Path::new(target), &[], &["there is no device", target, "is the device plugged in?"]);
        assert!(!Path::new(target).exists());
    }
}

#[test]
fn a_dangling_link_to_a_device_is_not_made_as_a_file() {
    let stage = Stage::new();
    symlink("/dev/bmaptool-test-none", stage.path("link")).unwrap();
    stage.refused(&stage.path("link"), &[], &["is the device plugged in?"]);
    assert!(!Path::new("/dev/bmaptool-test-none").exists());
}

#[test(Root)]
fn a_node_without_a_device_is_refused() {
    let stage = Stage::new();
    // No driver has that many devices.
    let node = stage.node("stick", libc::makedev(254, 1 << 19));
    stage.refused(&node, &[], &["is the node of a device that is not there", text(&node), "is the device plugged in?"]);
    let tool = copy(["--removable-device".as_ref(), stage.image.as_os_str(), node.as_os_str()]);
    stage.refused_with(tool, &[], &["is the device plugged in?"]);
}

/// A file that is removed when this is dropped.
struct Remove(PathBuf);

impl Drop for Remove {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test(Root)]
fn a_regular_file_in_dev_is_refused() {
    let stage = Stage::new();
    let file = Remove(PathBuf::from(format!("/dev/bmaptool-test-{}", std::process::id())));
    fs::write(&file.0, "left behind").unwrap();
    stage.refused(&file.0, &[&file.0], &["is a file in memory, not a device", "is the device plugged in?"]);
}

#[test]
fn a_missing_directory_is_named() {
    let stage = Stage::new();
    let target = stage.path("none").join("file");
    stage.refused(&target, &[], &["cannot create", text(&target), "No such file or directory"]);
}
