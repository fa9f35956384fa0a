//! What is read during a copy is no target, by whatever name.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::Command;

use crate::common::device::{Disk, Loop, Mount};
use crate::common::image::assert_same;
use crate::common::layered::{Bind, Overlay};
use crate::common::stage::Stage;
use crate::common::tool::{binary, bmaptool, copy};
use crate::common::{sh, temp_dir, text};

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
    tool.command.args(["-c", script, binary(), text(&stage.image)]);
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

/// What is said where one file seems to be shown by two file systems.
const ALIAS: [&str; 3] = ["seems to be the image itself", "it has the same size and time", "touch"];

/// Copies the image of `stage` to `copy`, with its time.
fn put(stage: &Stage, copy: &Path) {
    sh("cp", &["--preserve=timestamps", text(&stage.image), text(copy)]);
}

#[test(Root, FileSystem("overlay"))]
fn the_image_in_an_overlay_is_refused_in_its_layer() {
    let (stage, overlay) = (Stage::new(), Overlay::new());
    for layer in ["lower", "upper"] {
        let (one, merged) = (overlay.path(layer, layer), overlay.path("merged", layer));
        put(&stage, if layer == "lower" { &one } else { &merged });
        for (image, target) in [(&merged, &one), (&one, &merged)] {
            stage.device_refused(image, target, &[&one, &merged], &ALIAS);
        }
    }
}

#[test(Root, FileSystem("overlay"))]
fn a_loop_device_over_the_image_in_the_layer_of_an_overlay_is_refused() {
    let (stage, overlay) = (Stage::new(), Overlay::new());
    let (lower, merged) = (overlay.path("lower", "image"), overlay.path("merged", "image"));
    put(&stage, &lower);
    let device = Loop::attach(&lower);
    stage.device_refused(&merged, &device.path, &[&lower], &ALIAS[..2]);
    stage.device_refused(&device.path, &merged, &[&lower], &ALIAS);
}

#[test(Root, FileSystem("overlay"))]
fn other_files_of_an_overlay_are_written() {
    let (stage, overlay) = (Stage::new(), Overlay::new());
    for layer in ["lower", "merged"] {
        let target = overlay.path("merged", layer);
        let size = fs::metadata(&stage.image).unwrap().len() as usize;
        fs::write(overlay.path(layer, layer), vec![7; size]).unwrap();
        copy([&stage.image, &target]).ok();
        assert_same(&stage.image, &target);
    }
}

#[test(Root, Program("bindfs"))]
fn the_image_that_a_file_server_of_this_machine_shows_is_refused() {
    let stage = Stage::new();
    let server = Bind::of(stage.directory.path());
    let shown = server.path("disk.img");
    stage.refused(&shown, &[], &ALIAS);
    stage.device_refused(&shown, &stage.image, &[], &ALIAS);
    stage.refused(&server.path("disk.img.bmap"), &[], &["seems to be the bmap file itself"]);
    // It has just been written to, through the one or the other.
    for changed in [&stage.image, &shown] {
        fs::File::options().append(true).open(changed).unwrap().set_len(17 * MIB).unwrap();
        stage.device_refused(&stage.image, &shown, &[], &ALIAS);
        stage.device_refused(&shown, &stage.image, &[], &ALIAS);
    }
    let create = |image: &Path, output: &Path| {
        bmaptool(["create".as_ref(), "-o".as_ref(), output.as_os_str(), image.as_os_str()])
    };
    stage.refused_with(create(&shown, &stage.image), &[], &["is the image itself"]);
    stage.refused_with(create(&stage.image, &shown), &[], &["is the image itself"]);
}

#[test(Root, Program("bindfs"))]
fn a_copy_that_kept_its_time_is_told_from_its_original_by_touching_it() {
    let stage = Stage::new();
    let other = temp_dir();
    let server = Bind::of(other.path());
    let target = server.path("copy");
    put(&stage, &other.path().join("copy"));
    stage.refused(&target, &[&target], &ALIAS);
    sh("touch", &[text(&target)]);
    copy([&stage.image, &target]).ok();
    assert_same(&stage.image, &target);
}
