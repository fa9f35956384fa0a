//! One fault in each run: every call fails at some of its uses, or at all of them.

use std::collections::{BTreeMap, BTreeSet};

use nix::errno::Errno;
use nix::libc;

use super::devices::{DISK, ToDevice};
use super::fixtures::{Forbidden, Map, ToBoth, ToFile, Work};
use super::judge::{Demand, Scene, Table, judge};
use crate::common::device::{Disk, Loop};
use crate::common::inject::{self, Call, Fault, Uses, name};
use crate::common::text;

/// Calls that are left alone, and why.
pub const EXEMPT: [(Call, &str); 6] = [
    (libc::SYS_exit, "never returns"),
    (libc::SYS_exit_group, "never returns"),
    (libc::SYS_rt_sigreturn, "never returns"),
    (libc::SYS_futex, "is how threads wait, and fails in a program that is wrong; the C library aborts"),
    (libc::SYS_sched_yield, "cannot fail"),
    (libc::SYS_rseq, "fails only where a program asks for it twice or not at all; the C library aborts"),
];

/// Calls that a signal may interrupt before they have done anything (signal(7)): these are made again.
pub const INTERRUPTIBLE: [Call; 9] = [
    libc::SYS_read,
    libc::SYS_pread64,
    libc::SYS_write,
    libc::SYS_pwrite64,
    libc::SYS_openat,
    libc::SYS_fsync,
    libc::SYS_ftruncate,
    libc::SYS_ioctl,
    libc::SYS_sync_file_range,
];

/// Calls that transfer as many bytes as they can.
pub const COUNTED: [Call; 4] = [libc::SYS_read, libc::SYS_pread64, libc::SYS_write, libc::SYS_pwrite64];

pub const ERRORS: [Errno; 4] = [Errno::EIO, Errno::ENOSPC, Errno::ENOMEM, Errno::EINTR];

/// The calls that a scene makes when none fails.
pub fn run_without_faults(scene: &dyn Scene) -> Vec<Call> {
    scene.reset();
    let clean = inject::run(scene.tool(), &[]);
    assert_eq!(clean.outcome.status, Some(0), "{}", clean.outcome.stderr);
    scene.judge_success(&clean.outcome).unwrap();
    clean.outcome.says(scene.says());
    assert_seen(&clean.calls);
    clean.calls
}

/// Expects that the calls of `main` have been seen.
fn assert_seen(calls: &[Call]) {
    assert!(calls.len() > 50, "{calls:?}");
}

/// Lets every call fail at its first, tenth and last use.
pub fn sweep(title: &str, scene: &dyn Scene) {
    let clean = run_without_faults(scene);
    let mut table = Table::default();
    let calls: BTreeSet<Call> = clean.iter().copied().collect();
    assert!(calls.len() > 20, "{calls:?}");
    for call in calls.into_iter().filter(|call| EXEMPT.iter().all(|(exempt, _)| exempt != call)) {
        let uses = clean.iter().filter(|&&other| other == call).count();
        let short = COUNTED.contains(&call).then_some(Fault::Short);
        for fault in ERRORS.map(Fault::Error).into_iter().chain(short) {
            let is_passing =
                fault == Fault::Short || fault == Fault::Error(Errno::EINTR) && INTERRUPTIBLE.contains(&call);
            let demand = if is_passing { Demand::Success } else { Demand::Either };
            for number in BTreeSet::from([1, uses.min(10), uses]) {
                scene.reset();
                let traced = inject::run(scene.tool(), &[(Uses::Of(call, number), fault)]);
                let judged = judge(scene, &traced, demand);
                table.note((&name(call), number, uses), &of(fault), judged, &traced);
            }
        }
    }
    table.conclude(title);
}

/// Lets every read, write and sync fail at each of its uses, which tells what the others do not of a copy whose other
/// calls have failed in another sweep.
fn sweep_transfers(title: &str, scene: &dyn Scene) {
    let clean = run_without_faults(scene);
    let mut table = Table::default();
    for call in [libc::SYS_pread64, libc::SYS_pwrite64, libc::SYS_fsync] {
        let uses = clean.iter().filter(|&&other| other == call).count();
        assert!(uses > 3, "{}: {uses}", name(call));
        let short = COUNTED.contains(&call).then_some((Fault::Short, Demand::Success));
        for (fault, demand) in [(Fault::Error(Errno::EIO), Demand::Either)].into_iter().chain(short) {
            for number in 1..=uses {
                scene.reset();
                let traced = inject::run(scene.tool(), &[(Uses::Of(call, number), fault)]);
                let judged = judge(scene, &traced, demand);
                table.note((&name(call), number, uses), &of(fault), judged, &traced);
            }
        }
    }
    table.conclude(title);
}

pub fn of(fault: Fault) -> String {
    match fault {
        Fault::Error(error) => format!("{error:?}"),
        Fault::Short => "short".to_owned(),
        Fault::Signal(signal) => signal.to_string(),
    }
}

#[test(Minutes, Root)]
fn a_copy_to_a_device_survives_or_tells_every_fault() {
    sweep("a copy to a device", &ToDevice::new());
}

#[test(Minutes, Root, Scheduler("mq-deadline"))]
fn a_copy_that_is_read_back_survives_or_tells_every_fault() {
    const OPTIONS: &[&str] = &["--read-back"];
    sweep("a copy that is read back", &ToDevice { options: OPTIONS, ..ToDevice::new() });
    sweep("a copy to a file that is read back", &ToFile { options: OPTIONS, ..ToFile::new(None) });
}

#[test(Minutes, Root)]
fn a_copy_of_what_has_changed_survives_or_tells_every_fault() {
    sweep_transfers("a copy of what has changed, with a relocated GPT", &ToDevice::changed());
}

#[test(Minutes, Root, FileSystem("fuse"))]
fn a_copy_that_is_written_again_survives_or_tells_every_fault() {
    sweep_transfers("a copy that is read back wrong, and written again", &ToDevice::retried());
}

#[test(Minutes, Root)]
fn a_copy_to_two_targets_survives_or_tells_every_fault() {
    sweep("a copy to a device and a file", &ToBoth::new());
}

/// What is marked is put back.
#[test(Minutes, Root, Scheduler("mq-deadline"))]
fn a_check_of_the_capacity_survives_or_tells_every_fault() {
    let scene = ToDevice { options: &["--read-back"], ..ToDevice::of_size(64 << 20) };
    sweep("a copy to a device whose capacity is checked", &scene);
}

#[test(Minutes)]
fn a_copy_to_a_new_file_survives_or_tells_every_fault() {
    sweep("a copy to a new file", &ToFile::new(None));
}

#[test(Minutes)]
fn a_copy_to_an_old_file_survives_or_tells_every_fault() {
    sweep("a copy to an old file", &ToFile::new(Some(b"old")));
}

#[test(Minutes)]
fn a_map_survives_or_tells_every_fault() {
    sweep("a map", &Map::new(None));
    sweep("a map in the place of another", &Map::new(Some("what was there")));
}

/// Lets every use of every call fail.
pub fn refuse_whatever_fails(title: &str, scene: &Forbidden<'_>) {
    let clean = inject::run(scene.tool(), &[]);
    judge(scene, &clean, Demand::Refusal).unwrap();
    clean.outcome.says(&[scene.reason]);
    assert_seen(&clean.calls);
    let mut table = Table::default();
    let mut uses = BTreeMap::new();
    for call in clean.calls.into_iter().filter(|call| EXEMPT.iter().all(|(exempt, _)| exempt != call)) {
        let number = uses.entry(call).or_insert(0);
        *number += 1;
        let traced = inject::run(scene.tool(), &[(Uses::Of(call, *number), Fault::Error(Errno::EIO))]);
        let judged = judge(scene, &traced, Demand::Refusal);
        table.note((&name(call), *number, *number), "EIO", judged, &traced);
    }
    table.conclude(title);
}

#[test(Minutes, Root)]
fn devices_are_refused_whatever_fails() {
    let work = Work::new();
    // The image lies under the device.
    let over_image = Loop::attach(&work.image);
    let arguments = ["copy".as_ref(), work.image.as_os_str(), over_image.path.as_os_str()];
    let scene = Forbidden::new(&arguments, &work.image, "lies in the image");
    refuse_whatever_fails("a copy to a loop device over the image", &scene);
    // The device is mounted.
    let disk = Disk::new(DISK);
    let _mount = disk.mount(disk.path());
    let arguments = ["copy".as_ref(), work.image.as_os_str(), disk.path().as_os_str()];
    refuse_whatever_fails("a copy to a mounted device", &Forbidden::new(&arguments, &disk.backing, "is mounted"));
    // What lies under the device is.
    let upper = Loop::attach(disk.path());
    let arguments = ["copy".as_ref(), work.image.as_os_str(), upper.path.as_os_str()];
    let scene = Forbidden::new(&arguments, &disk.backing, "is mounted");
    refuse_whatever_fails("a copy to a loop device over a mounted device", &scene);
}

#[test(Minutes, Root)]
fn files_are_refused_whatever_fails() {
    let work = Work::new();
    let disk = Disk::new(DISK);
    let _mount = disk.mount(disk.path());
    let arguments = ["copy".as_ref(), work.image.as_os_str(), disk.backing.as_os_str()];
    refuse_whatever_fails("a copy to a file that is mounted", &Forbidden::new(&arguments, &disk.backing, "is mounted"));
    let map = work.path("disk.img.bmap");
    let arguments = ["create".as_ref(), "-o".as_ref(), work.image.as_os_str(), work.image.as_os_str()];
    refuse_whatever_fails(
        "a map in place of its image",
        &Forbidden::new(&arguments, &work.image, "is the image itself"),
    );
    let arguments = ["create", "-o", text(&work.image), text(&map)];
    let scene = Forbidden::new(&arguments, &work.image, "is an XML file");
    refuse_whatever_fails("a map of a bmap in place of its image", &scene);
}
