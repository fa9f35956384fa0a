//! `info` of what cannot be read in full: all that can be is told.

use std::fs;
use std::ops::Range;

use serde_json::{Value, json};

use crate::common::device::Disk;
use crate::common::image::Random;
use crate::common::json::object;
use crate::common::lying::{Lie, LyingDisk};
use crate::common::text;
use crate::common::tool::{Tool, bmaptool, copy};
use crate::common::work::Work;
use crate::partitions::{GPT, MBR, make};
use crate::registry::JSON;

const MIB: u64 = 1 << 20;

fn info(file: &str) -> Tool {
    bmaptool(["info", "--json", file])
}

/// The partition table that is told: whether it is complete, and the numbers of the partitions.
fn table(told: &Value) -> (bool, Vec<u64>) {
    let table = &told["partition_table"];
    let partitions = table["partitions"].as_array().unwrap_or_else(|| panic!("{told}"));
    let numbers = partitions.iter().map(|partition| partition["number"].as_u64().unwrap());
    (table["complete"] == true, numbers.collect())
}

/// A disk with primary and logical partitions that cannot be read here.
fn disk(unreadable: Range<u64>) -> LyingDisk {
    let work = Work::new(|path| make(path, MBR));
    let disk = LyingDisk::new(16 * MIB);
    copy(["--nobmap", text(&work.image), text(disk.path())]).ok();
    disk.lies(Lie::Unreadable(unreadable))
}

#[test(Root, FileSystem("fuse"), Program("sfdisk"), JSON)]
fn of_an_mbr_the_partitions_that_can_be_read_are_told() {
    // The extended partition begins with the first of the records, and the second one precedes partition 6.
    for (unreadable, partitions) in [(2 * MIB, vec![1, 2]), (4 * MIB, vec![1, 2, 5])] {
        let disk = disk(unreadable..unreadable + MIB);
        let outcome = info(text(disk.path())).fails(&[
            "cannot tell all partitions of '/dev/loop",
            "': cannot read the logical ones: Input/output error",
        ]);
        let told = object(&outcome);
        assert_eq!(table(&told), (false, partitions));
        assert_eq!(told["errors"][0]["code"], "cannot-read");
        let lines = String::from_utf8(bmaptool(["info", text(disk.path())]).fails(&[]).stdout).unwrap();
        assert!(lines.ends_with("  and perhaps more logical partitions that were not read\n"), "{lines}");
    }
}

#[test(Root, FileSystem("fuse"), Program("sfdisk"), JSON)]
fn an_mbr_is_told_though_what_follows_it_cannot_be_read() {
    let disk = disk(4096..65536);
    assert_eq!(table(&object(&info(text(disk.path())).ok())), (true, vec![1, 2, 5, 6, 7]));
}

#[test(Program("sfdisk"), JSON)]
fn the_partitions_of_an_image_that_is_cut_off_are_told() {
    let work = Work::new(|path| {
        make(path, GPT);
        let mut image = fs::read(path).unwrap();
        image[MIB as usize..2 * MIB as usize].copy_from_slice(&Random::new(1).bytes(MIB as usize));
        fs::write(path, image).unwrap();
    });
    let cut = work.output_of("gzip | head -c 500000");
    let told =
        object(&info(text(&cut)).fails(&["cannot read '", "': the gzip data ends too early: the file is cut off"]));
    assert_eq!((table(&told), &told["errors"][0]["code"]), ((true, vec![1, 2, 8]), &json!("data-cut-off")));
}

#[test(Root, JSON)]
fn the_size_of_a_device_is_told_without_sysfs() {
    let disk = Disk::new(3 * MIB);
    let no_sysfs = ["unshare", "--mount", "sh", "-c", "umount --lazy /sys && exec \"$0\" \"$@\""];
    let told = object(&info(text(disk.path())).under(&no_sysfs).ok());
    assert_eq!((&told["device"], &told["stored_size"]), (&Value::Null, &json!(3 * MIB)));
}
