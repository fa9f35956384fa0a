//! What is read during a copy is no target, by whatever name.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::process::Command;

use crate::common::device::{Disk, Loop, Mount};
use crate::common::stage::Stage;
use crate::common::tool::copy;
use crate::common::{sh, text};

const MIB: u64 = 1 << 20;

/// The size of a device that has room for the image.
const ROOMY: u64 = 20 * MIB;

#[test]
fn the_image_itself_is_refused() {
    let stage = Stage::new();
    stage.refused(&stage.image, &[], &["is the image itself"]);
    stage.device_refused(&stage.image, &stage.image, &[], &["is the image itself"]);
}

#[test]
fn the_image_by_a_hard_link_is_refused() {
    let stage = Stage::new();
    fs::hard_link(&stage.image, stage.path("other")).unwrap();
    stage.refused(&stage.path("other"), &[], &["is the image itself"]);
}

#[test]
fn the_image_by_a_symbolic_link_is_refused() {
    let stage = Stage::new();
    symlink(&stage.image, stage.path("link")).unwrap();
    symlink(stage.path("link"), stage.path("second")).unwrap();
    stage.refused(&stage.path("second"), &[], &["is the image itself"]);
}

#[test]
fn the_image_on_standard_input_is_refused() {
    let stage = Stage::new();
    let mut tool = copy::<&str>([]);
    tool.command = Command::new("sh");
    let script = "exec \"$0\" copy --nobmap - \"$1\" < \"$1\"";
    tool.command.args(["-c", script, env!("CARGO_BIN_EXE_bmaptool"), text(&stage.image)]);
    stage.refused_with(tool, &[], &["is the image itself"]);
}

#[test]
fn the_bmap_is_refused() {
    let stage = Stage::new();
    stage.refused(&stage.bmap(), &[], &["is the bmap file itself"]);
}

#[test(Root)]
fn the_image_device_by_a_symbolic_link_is_refused() {
    let (stage, disk) = (Stage::new(), Disk::new(ROOMY));
    // As in /dev/disk/by-id.
    let link = stage.path("by-id");
    symlink(disk.path(), &link).unwrap();
    stage.device_refused(disk.path(), &link, &[&disk.backing], &["is the image itself"]);
    stage.device_refused(&link, disk.path(), &[&disk.backing], &["is the image itself"]);
}

#[test(Root)]
fn the_image_device_by_another_node_is_refused() {
    let (stage, disk) = (Stage::new(), Disk::new(ROOMY));
    let node = stage.node("node", fs::metadata(disk.path()).unwrap().rdev());
    stage.device_refused(disk.path(), &node, &[&disk.backing], &["is the image itself"]);
}

#[test(Root)]
fn a_loop_device_over_the_image_is_refused() {
    let stage = Stage::new();
    let device = Loop::attach(&stage.image);
    stage.refused(&device.path, &[], &["lies in the image", "loop device over it"]);
}

#[test(Root)]
fn a_loop_device_over_a_loop_device_over_the_image_is_refused() {
    let stage = Stage::new();
    let lower = Loop::attach(&stage.image);
    let upper = Loop::attach(&lower.path);
    stage.refused(&upper.path, &[], &["lies in the image"]);
    stage.device_refused(&lower.path, &upper.path, &[], &["lies in the image"]);
}

#[test(Root)]
fn a_loop_device_over_an_image_that_lost_a_name_is_refused() {
    let stage = Stage::new();
    let name = stage.path("name");
    fs::hard_link(&stage.image, &name).unwrap();
    let device = Loop::attach(&name);
    fs::remove_file(&name).unwrap();
    stage.refused(&device.path, &[], &["lies in the image"]);
}

#[test(Root)]
fn a_loop_device_over_the_bmap_is_refused() {
    let stage = Stage::new();
    let device = Loop::attach(&stage.bmap());
    stage.refused(&device.path, &[], &["lies in the bmap file"]);
}

#[test(Root)]
fn the_file_under_the_image_is_refused() {
    let stage = Stage::new();
    let disk = Disk::new(ROOMY);
    stage.device_refused(disk.path(), &disk.backing, &[&disk.backing], &["the image lies in", text(&disk.backing)]);
}

#[test(Root)]
fn the_file_two_loop_devices_under_the_image_is_refused() {
    let (stage, disk) = (Stage::new(), Disk::new(ROOMY));
    let upper = Loop::attach(&disk.partition(1, MIB, 4 * MIB));
    stage.device_refused(&upper.path, &disk.backing, &[&disk.backing], &["the image lies in", text(&disk.backing)]);
    stage.device_refused(&upper.path, disk.path(), &[&disk.backing], &["the image lies in", text(disk.path())]);
}

#[test(Root)]
fn a_partition_of_the_image_is_refused() {
    let (stage, disk) = (Stage::new(), Disk::new(ROOMY));
    let partition = disk.partition(1, MIB, 4 * MIB);
    stage.device_refused(disk.path(), &partition, &[&disk.backing], &["lies in the image", "partition"]);
}

#[test(Root)]
fn the_disk_of_the_image_is_refused() {
    let (stage, disk) = (Stage::new(), Disk::new(ROOMY));
    let partition = disk.partition(1, MIB, 4 * MIB);
    stage.device_refused(&partition, disk.path(), &[&disk.backing], &["the image lies in", text(disk.path())]);
}

#[test(Root)]
fn the_disk_that_the_image_is_stored_on_is_refused() {
    let (stage, disk) = (Stage::new(), Disk::new(2 * ROOMY));
    let partition = disk.partition(1, MIB, ROOMY);
    sh("mkfs.ext4", &["-q", text(&partition)]);
    let writable = Mount::of(&partition, "rw");
    let stored = writable.path().join("image");
    fs::write(&stored, "an image").unwrap();
    sh("mount", &["-o", "remount,ro", text(writable.path())]);
    stage.device_refused(&stored, disk.path(), &[&disk.backing, &stored], &["the image lies in", text(disk.path())]);
    stage.device_refused(&stored, &partition, &[&disk.backing, &stored], &["the image lies in", text(&partition)]);
}
