//! An interrupted flash is never bootable, and a copy stops when it is asked to.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::control_groups::Throttle;
use crate::common::device::{Disk, Mount, fill};
use crate::common::image::{Random, UNTOUCHED, assert_same, same_start, sparse};
use crate::common::tool::{Outcome, bmaptool, copy, finish, interrupt, wait_until};
use crate::common::trace::{Event, Trace};
use crate::common::work::Work;
use crate::common::{sh, sha256, temp_dir, text};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const MIB: u64 = 1 << 20;

const IMAGE_SIZE: u64 = 6 * MIB;

/// An image that blkid knows: a file system, with data up to its end.
fn image(directory: &Path) -> PathBuf {
    let image = directory.join("fs.img");
    fs::write(&image, Random::new(5).bytes(IMAGE_SIZE as usize)).unwrap();
    sh("mkfs.ext4", &["-q", "-F", "-E", "nodiscard", image.to_str().unwrap()]);
    image
}

/// What blkid finds on a device, without its cache.
fn blkid(device: &Path) -> String {
    let output = Command::new("blkid").arg("-p").arg(device).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Expects that the device does not look like a disk.
fn assert_not_bootable(device: &Path) {
    let mut region = vec![1; MIB as usize];
    File::open(device).unwrap().read_exact(&mut region).unwrap();
    assert!(region.iter().all(|&byte| byte == 0), "the boot region is not zero");
    assert_eq!(blkid(device), "");
}

/// Copies the image whole, and expects that the device then holds it.
fn assert_can_be_flashed(image: &Path, device: &Path) {
    copy(["--nobmap".as_ref(), image.as_os_str(), device.as_os_str()]).ok();
    assert!(same_start(image, device, IMAGE_SIZE));
    assert!(blkid(device).contains("ext4"));
}

#[test(Root, Program("blkid"))]
fn a_device_is_not_bootable_whenever_the_copy_is_killed() {
    const TIMES: usize = 30;
    let directory = temp_dir();
    let image = image(directory.path());
    let bytes = fs::read(&image).unwrap();
    let disk = Disk::new(8 * MIB);
    let mut random = Random::new(std::process::id().into());
    let mut in_the_middle = 0;
    for round in 0..TIMES {
        // What was there before looks like a disk, too.
        sh("mkfs.ext4", &["-q", "-F", disk.path().to_str().unwrap()]);
        let before = sha256(disk.path());
        // The kill comes when so many bytes have been taken, and where that is the whole image, up to so much later.
        let fed = if round % 2 == 0 { IMAGE_SIZE } else { MIB + random.below(IMAGE_SIZE - MIB) };
        let later = if fed == IMAGE_SIZE { random.below(30_000) } else { 0 };
        let mut child = copy(["--nobmap", "-", disk.path().to_str().unwrap()]).spawn();
        let mut pipe = child.stdin.take().unwrap();
        pipe.write_all(&bytes[..fed as usize]).unwrap();
        if fed < IMAGE_SIZE {
            wait_until(&mut child, "the first write", || magic(&disk.backing) == [0, 0]);
        } else {
            drop(pipe);
            thread::sleep(Duration::from_micros(later));
        }
        child.kill().unwrap();
        let outcome = finish(child);
        let when = format!("killed {later} µs after {fed} bytes");
        let complete = same_start(&image, disk.path(), IMAGE_SIZE);
        assert!(complete || outcome.status != Some(0), "{when}: {}", outcome.stderr);
        if !complete && sha256(disk.path()) != before {
            println!("{when}: not bootable");
            in_the_middle += 1;
            assert_not_bootable(disk.path());
        }
    }
    assert!(in_the_middle >= TIMES / 3, "only {in_the_middle} were interrupted");
    assert_can_be_flashed(&image, disk.path());
}

/// The magic number of ext4 in a file with such a file system (`s_magic`, fs/ext4/ext4.h).
fn magic(file: &Path) -> [u8; 2] {
    let mut magic = [0; 2];
    File::open(file).unwrap().read_exact_at(&mut magic, 1080).unwrap();
    magic
}

#[test(Root, Program("strace"), Program("blkid"))]
fn a_device_is_not_bootable_whatever_write_or_sync_fails() {
    let directory = temp_dir();
    let image = image(directory.path());
    let disk = Disk::new(8 * MIB);
    let arguments = ["--nobmap".as_ref(), image.as_os_str(), disk.path().as_os_str()];
    let trace = Trace::new();
    copy(arguments).under(&trace.strace("pwrite64,fsync")).ok();
    let events = trace.events(disk.path());
    let syncs = events.iter().filter(|&&event| event == Event::Sync).count();
    let writes = events.len() - syncs;
    assert_eq!((writes, syncs), (7, 3), "{events:?}");
    for (call, numbers) in [("pwrite64", 1..=writes), ("fsync", 1..=syncs)] {
        for (number, error) in numbers.zip(["EIO", "ENOSPC"].into_iter().cycle()) {
            assert!(blkid(disk.path()).contains("ext4"));
            let inject = format!("inject={call}:error={error}:when={number}");
            let strace = ["strace", "-f", "-o", "/dev/null", "-P", disk.path().to_str().unwrap(), "-e", &inject];
            copy(arguments).under(&strace).fails(&["holds no valid image"]);
            assert_not_bootable(disk.path());
            assert_can_be_flashed(&image, disk.path());
        }
    }
}

/// What a slow device takes in a second.
const SLOW: u64 = 10_000_000;

/// Interrupts a copy when what it writes to a slow device, where it `has_begun`, is no longer taken at once; returns how
/// long it then takes to end.
fn leave(mut child: Child, signal: Signal, has_begun: impl FnMut() -> bool) -> (Outcome, Duration) {
    wait_until(&mut child, "the first write", has_begun);
    thread::sleep(Duration::from_millis(1200));
    let sent = Instant::now();
    let outcome = interrupt(child, signal);
    (outcome, sent.elapsed())
}

/// An image that a slow device takes longer for than a copy may take to end.
fn large_image(directory: &Path) -> PathBuf {
    let image = directory.join("large.img");
    fs::write(&image, Random::new(6).bytes(120 << 20)).unwrap();
    image
}

/// Interrupts copies that are run by `wrapper`.
fn leave_device(wrapper: &[&str]) {
    let directory = temp_dir();
    let image = large_image(directory.path());
    let disk = Disk::new(120 * MIB);
    let throttle = Throttle::new([&disk], SLOW);
    let command: Vec<_> = throttle.command().into_iter().chain(wrapper.iter().map(|&word| word.to_owned())).collect();
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let arguments = ["--nobmap".as_ref(), image.as_os_str(), disk.path().as_os_str()];
        disk.refill();
        leave(copy(arguments).under(&command).spawn(), signal, || magic(&disk.backing) == [0, 0]);
        assert_not_bootable(disk.path());
        assert_eq!(fs::read_to_string(disk.attribute("bdi/max_ratio")).unwrap(), "100\n");
    }
}

#[test(Root, Throttle)]
fn a_slow_device_is_left_at_once() {
    leave_device(&[]);
}

#[test(Root, Throttle, Program("strace"))]
fn a_slow_device_is_left_at_once_through_the_page_cache() {
    // Without F_SETFL there is no O_DIRECT. With -D the program is our child, and strace is not in the way of signals.
    leave_device(&["strace", "-D", "-f", "-o", "/dev/null", "-e", "inject=fcntl:error=EINVAL"]);
}

#[test(Root, Throttle)]
fn four_slow_devices_are_left_at_once() {
    let directory = temp_dir();
    let image = large_image(directory.path());
    let disks = [(); 4].map(|()| Disk::new(120 * MIB));
    let throttle = Throttle::new(&disks, SLOW);
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        disks.iter().for_each(|disk| fill(disk.path(), &vec![UNTOUCHED; MIB as usize]));
        let mut tool = copy(["--nobmap"]);
        tool.command.arg(&image).args(disks.iter().map(Disk::path));
        let have_begun = || disks.iter().all(|disk| magic(&disk.backing) == [0, 0]);
        let (outcome, took) = leave(tool.under(&throttle.command()).spawn(), signal, have_begun);
        // As long as one of them takes, and not four times as long.
        assert!(took < Duration::from_secs(2), "{took:?}");
        for disk in &disks {
            assert_not_bootable(disk.path());
            outcome.says(&[&format!("'{}' holds no valid image now", text(disk.path()))]);
            assert_eq!(fs::read_to_string(disk.attribute("bdi/max_ratio")).unwrap(), "100\n");
        }
    }
}

#[test(Root, Throttle)]
fn a_file_on_a_slow_device_is_left_at_once() {
    let directory = temp_dir();
    let image = large_image(directory.path());
    let disk = Disk::new(160 * MIB);
    sh("mkfs.ext4", &["-q", disk.path().to_str().unwrap()]);
    let mount = Mount::of(disk.path(), "rw");
    let throttle = Throttle::new([&disk], SLOW);
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let target = mount.path().join("copy");
        let arguments = ["--nobmap".as_ref(), image.as_os_str(), target.as_os_str()];
        leave(copy(arguments).under(&throttle.command()).spawn(), signal, || target.exists());
        assert!(!target.exists());
    }
}

#[test(Program("gzip"))]
fn a_signal_after_the_last_mapped_byte_does_no_harm() {
    let work = Work::new(|image| sparse(image, MIB, &[(0, 100_000)], 1));
    let compressed = fs::read(work.output_of("gzip")).unwrap();
    let (out, log) = (work.path("out"), work.path("log"));
    let script = format!("exec \"$@\" 2>'{}'", log.display());
    let said = || fs::read_to_string(&log).unwrap_or_default();
    for command in [vec!["copy", "-", text(&out)], vec!["verify", "-"]] {
        let tool = bmaptool([command, vec!["--bmap", text(&work.bmap)]].concat());
        let mut child = tool.under(&["sh", "-c", &script, "sh"]).spawn();
        // It stays open.
        let mut pipe = child.stdin.take().unwrap();
        pipe.write_all(&compressed).unwrap();
        wait_until(&mut child, "the end of the work", || said().contains("reading the rest of the pipe"));
        kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
        assert_eq!(finish(child).status, Some(0), "{}", said());
        fs::remove_file(&log).unwrap();
    }
    assert_same(&work.image, &out);
}
