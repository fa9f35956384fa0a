//! `list`: the devices that could be a target.

use std::fs;

use serde_json::{Value, json};

use crate::common::device::{Disk, Swap};
use crate::common::json::{fails_with, object};
use crate::common::text;
use crate::common::tool::{Tool, bmaptool};
use crate::registry::JSON;

const MIB: u64 = 1 << 20;

fn list(arguments: &[&str]) -> Tool {
    bmaptool([&["list"], arguments].concat())
}

/// The object of a device, if it is listed.
fn listed(arguments: &[&str], path: &str) -> Option<Value> {
    let list = object(&list(arguments).ok());
    list["devices"].as_array().unwrap().iter().find(|device| device["path"] == path).cloned()
}

#[test(Root, FileSystem("ext4"))]
fn devices_are_listed_with_what_they_are_used_for() {
    let (free, used, swap) = (Disk::new(3 * MIB), Disk::new(8 * MIB), Disk::new(4 * MIB));
    let mount = used.mount(used.path());
    let _swap = Swap::on(swap.path());
    let outcome = list(&["--all"]).ok();
    let text_of = String::from_utf8(outcome.stdout).unwrap();
    assert!(text_of.lines().all(|line| line.chars().count() <= 80), "{text_of}");
    assert!(text_of.starts_with("DEVICE"), "{text_of}");
    let row = |disk: &Disk| {
        let own = |line: &&str| line.split_whitespace().next() == Some(text(disk.path()));
        let line = text_of.lines().find(own).unwrap_or_else(|| panic!("{text_of}"));
        line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(row(&free), "3.0 MiB - free");
    assert_eq!(row(&used), format!("8.0 MiB - mounted on {}", text(mount.path())));
    assert_eq!(row(&swap), "4.0 MiB - swap");
}

#[test(Root, JSON)]
fn a_program_is_told_the_same() {
    let disk = Disk::new(3 * MIB);
    let partition = disk.partition(1, MIB, MIB);
    let told = listed(&["--all", "--json"], text(disk.path())).unwrap();
    assert_eq!(
        (&told["size"], &told["sector_size"], &told["read_only"]),
        (&json!(3 * MIB), &json!(512), &json!(false))
    );
    assert_eq!((&told["usage"], &told["partition_of"]), (&json!({"kind": "free"}), &Value::Null));
    // Partitions are none of their own, and a loop device is not removable.
    assert!(listed(&["--all", "--json"], text(&partition)).is_none());
    assert!(listed(&["--json"], text(disk.path())).is_none());
}

#[test(Root, JSON)]
fn a_read_only_device_is_told_and_one_that_holds_nothing_is_not() {
    let disk = Disk::with(MIB, &["--read-only"]);
    assert_eq!(listed(&["--all", "--json"], text(disk.path())).unwrap()["read_only"], true);
    let told = object(&list(&["--all", "--json"]).ok());
    let sizes = told["devices"].as_array().unwrap().iter().map(|device| device["size"].as_u64());
    assert!(sizes.into_iter().all(|size| size > Some(0)), "{told}");
}

#[test]
fn that_there_is_no_removable_device_is_said_on_standard_error() {
    let is_removable = |disk: fs::DirEntry| {
        let read = |name| fs::read_to_string(disk.path().join(name)).unwrap_or_default();
        read("removable").trim() == "1" || read("device/type").trim() == "SD"
    };
    let outcome = list(&[]).ok();
    if fs::read_dir("/sys/block").into_iter().flatten().flatten().any(is_removable) {
        return;
    }
    assert!(outcome.stdout.is_empty());
    outcome.says(&["there is no removable device; 'bmaptool list --all' lists all disks"]);
}

/// An empty list would say that there are none.
#[test(Root, JSON)]
fn without_sysfs_nothing_is_listed() {
    let no_sysfs = ["unshare", "--mount", "sh", "-c", "umount --lazy /sys && exec \"$0\" \"$@\""];
    let why = "cannot tell what devices there are: cannot read '/sys/class/block': No such file or directory";
    for arguments in [&["--all"][..], &[], &["--json"]] {
        list(arguments).under(&no_sysfs).fails(&[why, "; use 'mount -t sysfs sysfs /sys'"]);
    }
    fails_with(list(&["--json"]).under(&no_sysfs), "devices-unclear");
}

#[test]
fn it_takes_no_arguments() {
    list(&["/dev/sda"]).exits(2, &["unexpected argument"]);
}
