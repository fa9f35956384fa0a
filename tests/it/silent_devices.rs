//! Loop devices and images whose file server does not answer: what is only looked at is not waited for, and a signal
//! ends what is.

use std::fs::{self, File};
use std::path::Path;
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::device::Disk;
use crate::common::image::assert_same;
use crate::common::json::events;
use crate::common::layered::{Bind, RemoteLoop};
use crate::common::tool::{bmaptool, copy, create, finish, mapped_disk, wait_until};
use crate::common::{temp_dir, text};
use crate::registry::{JSON, Need};

const MIB: u64 = 1 << 20;
const BINDFS: Need = Need::Program("bindfs");

/// Far below the ten minutes after which a kernel begins to complain.
const BOUND: Duration = Duration::from_secs(20);

#[test(Root, BINDFS, JSON)]
fn a_loop_device_that_does_not_answer_is_named_and_left_out() {
    let directory = temp_dir();
    let image = mapped_disk(directory.path());
    let disk = Disk::new(20 * MIB);
    let remote = RemoteLoop::new();
    let words = [text(&remote.device.path), text(&remote.file), "does not answer"];
    remote.server.stop();
    let began = Instant::now();
    let outcome = remote.shown_to(copy(["--json", text(&image), text(disk.path())])).ok();
    outcome.says(&words);
    assert!(began.elapsed() < BOUND);
    let told = events(&outcome);
    let skipped = told.iter().filter(|event| event["code"] == "check-skipped");
    assert_eq!(skipped.count(), 1, "{told:?}");
    disk.assert_flashed(&image, &directory.path().join("disk.img.bmap"));
}

#[test(Root, BINDFS)]
fn an_image_is_mapped_beside_a_loop_device_that_does_not_answer() {
    let directory = temp_dir();
    let image = mapped_disk(directory.path());
    let remote = RemoteLoop::new();
    remote.server.stop();
    let map = directory.path().join("new.bmap");
    let tool = bmaptool(["create".as_ref(), "-o".as_ref(), map.as_os_str(), image.as_os_str()]);
    remote.shown_to(tool).ok().says(&[text(&remote.device.path), "does not answer"]);
    assert!(fs::read(&map).unwrap() == fs::read(create(&image)).unwrap());
}

#[test(Root, BINDFS)]
fn a_loop_device_whose_server_is_gone_is_named_and_left_out() {
    let directory = temp_dir();
    let image = mapped_disk(directory.path());
    let target = directory.path().join("copy");
    File::create(&target).unwrap();
    let mut remote = RemoteLoop::new();
    remote.server.end();
    remote.shown_to(copy([&image, &target])).ok().says(&[text(&remote.device.path), "does not answer"]);
    assert_same(&image, &target);
}

#[test(Root, BINDFS)]
fn a_target_that_does_not_answer_is_refused() {
    let directory = temp_dir();
    let image = mapped_disk(directory.path());
    let remote = RemoteLoop::new();
    remote.server.stop();
    let words = ["cannot tell whether", "does not answer", text(&remote.device.path)];
    remote.shown_to(copy([&image, &remote.device.path])).fails(&words);
}

/// Waits until the program handles signals, and a while longer, in which it comes to where it waits.
fn until_it_waits(child: &mut Child) {
    let status = format!("/proc/{}/status", child.id());
    let handles = |line: &str| {
        let caught = line.strip_prefix("SigCgt:").map(|mask| u64::from_str_radix(mask.trim(), 16).unwrap());
        caught.is_some_and(|mask| mask & 1 << (Signal::SIGTERM as u32 - 1) != 0)
    };
    wait_until(child, "signals are handled", || fs::read_to_string(&status).unwrap().lines().any(handles));
    thread::sleep(Duration::from_millis(300));
}

#[track_caller]
fn ends_by(mut child: Child, signal: Signal, status: i32) {
    until_it_waits(&mut child);
    let sent = Instant::now();
    kill(Pid::from_raw(child.id() as i32), signal).unwrap();
    let outcome = finish(child);
    assert_eq!(outcome.status, Some(status), "{}", outcome.stderr);
    assert!(sent.elapsed() < Duration::from_secs(2), "{:?}", sent.elapsed());
}

#[test(Root, BINDFS)]
fn a_signal_ends_what_waits_for_a_loop_device() {
    let directory = temp_dir();
    let image = mapped_disk(directory.path());
    let disk = Disk::new(20 * MIB);
    let before = fs::read(&disk.backing).unwrap();
    let remote = RemoteLoop::new();
    remote.server.stop();
    ends_by(remote.shown_to(copy([&image, disk.path()])).spawn(), Signal::SIGINT, 130);
    ends_by(remote.shown_to(bmaptool(["create".as_ref(), image.as_os_str()])).spawn(), Signal::SIGTERM, 143);
    assert!(fs::read(&disk.backing).unwrap() == before);
}

#[test(Minutes, Root, Program("strace"))]
fn a_signal_ends_what_waits_for_a_write_that_does_not_return() {
    let directory = temp_dir();
    let image = mapped_disk(directory.path());
    let disk = Disk::new(20 * MIB);
    // The first write zeroes the boot region. With -D the program is our child, and strace is not in the way of signals.
    let inject = "inject=pwrite64:delay_enter=10s:when=2";
    let strace = ["strace", "-D", "-f", "-o", "/dev/null", "-P", text(disk.path()), "-e", inject];
    let mut child = copy([&image, disk.path()]).under(&strace).spawn();
    wait_until(&mut child, "the first write", || fs::read(&disk.backing).unwrap()[..MIB as usize] == [0; MIB as usize]);
    thread::sleep(Duration::from_millis(300));
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    let outcome = finish(child);
    assert_eq!(outcome.status, Some(130), "{}", outcome.stderr);
    outcome.says(&["interrupted, and it has done nothing for 5.0s since", "holds no valid image now"]);
    assert_eq!(fs::read_to_string(disk.attribute("bdi/max_ratio")).unwrap(), "100\n");
}

#[test(Root, BINDFS)]
fn a_signal_ends_what_waits_for_the_image_or_the_target() {
    let directory = temp_dir();
    let image = mapped_disk(directory.path());
    let server = Bind::of(directory.path());
    let (remote, local) = (server.path("disk.img"), directory.path().join("copy"));
    let other = temp_dir();
    let new = other.path().join("copy");
    server.stop();
    let from_to = |from: &Path, to: &Path| copy(["--nobmap".as_ref(), from.as_os_str(), to.as_os_str()]);
    ends_by(from_to(&remote, &new).spawn(), Signal::SIGINT, 130);
    ends_by(from_to(&image, &server.path("copy")).spawn(), Signal::SIGTERM, 143);
    ends_by(copy([&image, &new, &server.path("copy")]).spawn(), Signal::SIGINT, 130);
    ends_by(bmaptool(["create".as_ref(), remote.as_os_str()]).spawn(), Signal::SIGTERM, 143);
    assert!(!new.exists() && !local.exists());
}
