//! One of several targets fails or hangs, or a signal comes: the others are right, and no incomplete one is bootable.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::mpsc::channel;
use std::time::Duration;

use crate::common::device::Disk;
use crate::common::image::{Random, assert_same, same_start};
use crate::common::json::events;
use crate::common::lying::{Lie, LyingDisk};
use crate::common::tool::{Tool, copy, finish, interrupt, mapped_disk, wait_until};
use crate::common::trace::{Event, Trace};
use crate::common::{temp_dir, text};
use crate::registry::JSON;
use nix::sys::signal::Signal;
use serde_json::json;

const MIB: u64 = 1 << 20;

const IMAGE_SIZE: u64 = 12 * MIB;

/// An image without holes.
fn image(directory: &Path) -> PathBuf {
    let image = directory.join("full.img");
    fs::write(&image, Random::new(5).bytes(IMAGE_SIZE as usize)).unwrap();
    image
}

/// A copy of all of `image` to `targets`.
fn copy_whole<'a>(image: &'a Path, targets: impl IntoIterator<Item = &'a Path>) -> Tool {
    let mut tool = copy(["--nobmap"]);
    tool.command.arg(image).args(targets);
    tool
}

fn boot_region(device: &Path) -> Vec<u8> {
    let mut region = vec![0; MIB as usize];
    fs::File::open(device).unwrap().read_exact(&mut region).unwrap();
    region
}

fn assert_not_bootable(device: &Path) {
    assert!(boot_region(device).iter().all(|&byte| byte == 0), "the boot region of {} is not zero", device.display());
}

#[test]
fn one_that_fails_has_its_own_message_and_the_others_are_right() {
    let directory = temp_dir();
    let image = mapped_disk(directory.path());
    let [one, two] = ["one", "two"].map(|name| directory.path().join(name));
    let full = Path::new("/dev/full");
    let outcome =
        copy([&*image, &one, full, &two]).fails(&["to '/dev/full': cannot write at byte 0: No space left on device"]);
    for file in [&one, &two] {
        assert_same(&image, file);
        outcome.says(&[&format!("written to '{}' and synchronized in ", file.display())]);
    }
    assert!(outcome.stderr.lines().last().unwrap().contains("copying time: "), "{}", outcome.stderr);
    assert_eq!(outcome.stderr.matches("ERROR").count(), 1, "{}", outcome.stderr);
}

#[test(Root, Program("strace"))]
fn whichever_write_of_one_fails_the_others_are_right() {
    let directory = temp_dir();
    let image = image(directory.path());
    let disks = [(); 4].map(|()| Disk::new(IMAGE_SIZE));
    let paths = disks.each_ref().map(Disk::path);
    let bad = paths[2];
    let trace = Trace::new();
    copy_whole(&image, paths).under(&trace.strace("pwrite64,fsync")).ok();
    let events = trace.events(bad);
    let writes = events.iter().filter(|event| matches!(event, Event::Write(..))).count();
    assert!(writes > 10, "{events:?}");
    for number in [1, 10, writes] {
        disks.iter().for_each(Disk::refill);
        let inject = format!("inject=pwrite64:error=EIO:when={number}");
        let strace = ["strace", "-f", "-o", "/dev/null", "-P", text(bad), "-e", &inject];
        let outcome = copy_whole(&image, paths).under(&strace).fails(&[&format!("to '{}': cannot write", text(bad))]);
        // The first one zeroes the boot region, and the last one writes it: what has come of either is zeroed again.
        let state = if number == 10 { "'" } else { "' has been zeroed again: it" };
        outcome.says(&[&format!("{}{state} holds no valid image now", text(bad))]);
        for disk in disks.iter().filter(|disk| disk.path() != bad) {
            assert!(same_start(&image, disk.path(), IMAGE_SIZE), "write {number}: {}", disk.path().display());
            outcome.says(&[&format!("written to '{}' and synchronized in ", text(disk.path()))]);
        }
        assert_eq!(outcome.stderr.matches("cannot copy").count(), 1, "{}", outcome.stderr);
        assert_not_bootable(bad);
    }
}

#[test(Root)]
fn after_a_signal_no_target_is_bootable_and_all_settings_are_restored() {
    let disk_of_two = Disk::new(8 * MIB);
    let partitions = [1, 2].map(|number| disk_of_two.partition(number, u64::from(number - 1) * 4 * MIB, 4 * MIB));
    let disks = [(); 2].map(|()| Disk::new(4 * MIB));
    let ratios = [&disk_of_two, &disks[0], &disks[1]].map(|disk| disk.attribute("bdi/max_ratio"));
    let ratio = |path: &PathBuf| fs::read_to_string(path).unwrap().trim().to_owned();
    ratios.iter().for_each(|path| fs::write(path, "42").unwrap());
    let directory = temp_dir();
    let file = directory.path().join("new");
    let targets = [&partitions[0], &partitions[1], disks[0].path(), disks[1].path(), &file];
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        disks.iter().for_each(Disk::refill);
        disk_of_two.refill();
        let mut child = copy_whole(Path::new("-"), targets).spawn();
        child.stdin.as_mut().unwrap().write_all(&vec![1; 3 * MIB as usize]).unwrap();
        let has_written = |target: &Path| same_bytes(target, 2 * MIB, 1);
        wait_until(&mut child, "data on all targets", || targets.iter().all(|target| has_written(target)));
        assert!(ratios.iter().all(|path| ratio(path) == "1"));
        let outcome = interrupt(child, signal);
        for target in &targets[..4] {
            assert_not_bootable(target);
            outcome.says(&[&format!("to '{}': interrupted", text(target))]);
        }
        assert!(!file.exists());
        assert!(ratios.iter().all(|path| ratio(path) == "42"), "{:?}", ratios.each_ref().map(ratio));
    }
}

/// Whether the byte at `offset` is this one.
fn same_bytes(path: &Path, offset: u64, byte: u8) -> bool {
    use std::os::unix::fs::FileExt;

    let mut found = [0];
    fs::File::open(path).is_ok_and(|file| file.read_exact_at(&mut found, offset).is_ok()) && found == [byte]
}

/// The messages of a run up to the one that has `last`. The process may hang at its end, and its output with it.
fn messages_until(child: &mut Child, last: &'static str, timeout: Duration) -> String {
    let stderr = child.stderr.take().unwrap();
    let (to_test, all) = channel();
    std::thread::spawn(move || {
        let mut messages = String::new();
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            messages += &line;
            messages.push('\n');
            if line.contains(last) {
                break;
            }
        }
        let _ = to_test.send(messages);
    });
    all.recv_timeout(timeout).unwrap()
}

#[test(Minutes, Root, FileSystem("fuse"), JSON)]
fn one_that_hangs_is_given_up_and_the_others_are_right() {
    let directory = temp_dir();
    let image = image(directory.path());
    let hanging = LyingDisk::new(IMAGE_SIZE).lies(Lie::Hang(5 * MIB..6 * MIB));
    let disks = [(); 2].map(|()| Disk::new(IMAGE_SIZE));
    let file = directory.path().join("new");
    let ratios = [disks[0].attribute("bdi/max_ratio"), hanging.device.attribute("bdi/max_ratio")];
    ratios.iter().for_each(|path| fs::write(path, "42").unwrap());
    let mut tool = copy_whole(&image, [disks[0].path(), hanging.path(), disks[1].path(), &file]);
    tool.command.arg("--json");
    let mut child = tool.spawn();
    drop(child.stdin.take());
    let messages = messages_until(&mut child, "copying time: ", Duration::from_secs(110));
    for disk in &disks {
        assert!(same_start(&image, disk.path(), IMAGE_SIZE));
    }
    assert_same(&image, &file);
    let path = text(hanging.path());
    let words = format!("to '{path}': it has done nothing for 1m 0.0s while the others waited for it; unplug it");
    assert!(messages.contains(&words), "{messages}");
    assert!(messages.contains(&format!("'{path}' holds no valid image now")), "{messages}");
    assert!(ratios.iter().all(|path| fs::read_to_string(path).unwrap() == "42\n"));
    // The kernel lets go of it.
    hanging.tells_the_truth();
    child.stderr = Some(OwnedFd::from(fs::File::open("/dev/null").unwrap()).into());
    let told = events(&finish(child));
    let targets: Vec<_> = told.iter().filter(|event| event["type"] == "target").collect();
    let is_ok: Vec<_> = targets.iter().map(|target| target["ok"].as_bool().unwrap()).collect();
    assert_eq!(is_ok, [true, false, true, true]);
    let given_up = targets[1];
    assert_eq!((&given_up["error"]["code"], &given_up["target"]), (&json!("target-stalled"), &json!(path)));
    assert_eq!((&given_up["state"], &given_up["bytes"]), (&json!("invalid"), &json!(null)));
    let result = told.last().unwrap();
    assert_eq!((&result["error"]["code"], &result["exit_status"]), (&json!("targets-failed"), &json!(1)));
    assert!(hanging.medium().contents(0..MIB).iter().all(|&byte| byte == 0));
}
