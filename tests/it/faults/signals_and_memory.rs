//! What may come at any moment, or all the time: a signal, a link that changes, little memory, a kernel that does
//! things by halves.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::signal::Signal;

use super::devices::ToDevice;
use super::fixtures::{MIB, Map, ToFile, Work};
use super::judge::{Demand, End, Scene, Table, judge};
use super::sweeps::{COUNTED, INTERRUPTIBLE, run_without_faults};
use crate::common::image::sparse;
use crate::common::inject::{self, Fault, Uses, name};
use crate::common::sha256;
use crate::common::tool::copy;
use crate::common::work::Work as Conversion;
use crate::registry::{Need, Test};

/// Whenever the target becomes the image after it has been inspected, the image is not written to.
#[test(Minutes)]
fn a_link_that_changes_to_the_image_is_noticed() {
    let work = Work::new();
    let (link, other) = (work.path("link"), work.path("other"));
    let lead_to = |file: &Path| {
        let new = work.path("new");
        symlink(file, &new).unwrap();
        fs::rename(&new, &link).unwrap();
    };
    let before = sha256(&work.image);
    let mut noticed = 0;
    let mut run = |moment: usize| {
        fs::write(&other, "other").unwrap();
        lead_to(&other);
        let tool = copy(["--debug".as_ref(), work.image.as_os_str(), link.as_os_str()]);
        let traced = inject::run_watched(tool, &[], &mut |number| {
            if number == moment {
                lead_to(&work.image);
            }
        });
        let said = &traced.outcome.stderr;
        assert!(matches!(traced.outcome.status, Some(0 | 1)), "{moment}: {said}");
        assert!(sha256(&work.image) == before, "{moment}: the image was written to: {said}");
        // It is inspected once more then.
        noticed += usize::from(said.contains("became another file or device"));
        traced.calls.len()
    };
    let calls = run(0);
    for moment in 1..=calls {
        run(moment);
    }
    assert!(noticed > 0);
}

/// A machine with less and less memory. The allocator may give up the program, and nothing may look valid then.
#[test(Minutes, Root)]
fn memory_that_runs_out_leaves_nothing_valid() {
    let scene = ToDevice::new();
    let mut ends = BTreeMap::new();
    for kilobytes in (12_000..44_000).step_by(500) {
        scene.reset();
        let script = format!("ulimit -v {kilobytes}; exec \"$@\"");
        let outcome = scene.tool().under(&["sh", "-c", &script, "sh"]).run();
        let said = &outcome.stderr;
        let end = match outcome.status {
            Some(0) => scene.judge_success(&outcome).map(|()| "done"),
            Some(1) if said.contains("bmaptool: ERROR: ") => scene.judge_failure(&outcome).map(|()| "failed"),
            // Not even the dynamic loader had room.
            Some(127) => scene.judge_failure(&outcome).map(|()| "did not start"),
            // The standard library aborts; while a signal ends the program at once, that is the status of SIGABRT.
            None | Some(134) if !said.contains("bmaptool: info: copying") => {
                scene.judge_failure(&outcome).map(|()| "given up")
            }
            None => scene.judge_contents().map(|_| "given up in a copy"),
            status => Err(format!("it ended with {status:?}")),
        };
        *ends
            .entry(end.unwrap_or_else(|problem| panic!("{kilobytes} KiB: {problem}; it said: {said}")))
            .or_insert(0) += 1;
    }
    println!("memory that runs out: {ends:?}");
    assert!(ends.contains_key("done") && ends.contains_key("failed"), "{ends:?}");
}

/// Sends a signal at every call.
pub fn interrupt_everywhere(title: &str, scene: &dyn Scene) {
    let calls = run_without_faults(scene).len();
    let mut table = Table::default();
    for number in 1..=calls {
        let signal = [Signal::SIGTERM, Signal::SIGINT][number % 2];
        scene.reset();
        let traced = inject::run(scene.tool(), &[(Uses::Any(number), Fault::Signal(signal))]);
        let call = traced.calls.get(number - 1).copied().map(name).unwrap_or_default();
        let judged = judge(scene, &traced, Demand::EndBy(signal));
        table.note((&call, number, calls), "signal", judged, &traced);
    }
    let ends = table.conclude(title);
    // But for the last calls, when all is done.
    let by_signal = ends.get(&End::Failed).copied().unwrap_or_default();
    assert!(by_signal * 4 > calls * 3, "{by_signal} of {calls}");
}

#[test(Minutes, Root)]
fn a_copy_to_a_device_ends_at_a_signal_at_every_call() {
    interrupt_everywhere("signals in a copy to a device", &ToDevice::new());
}

#[test(Minutes, Root, Scheduler("mq-deadline"))]
fn a_copy_that_is_read_back_ends_at_a_signal_at_every_call() {
    let scene = ToDevice { options: &["--read-back"], ..ToDevice::new() };
    interrupt_everywhere("signals in a copy that is read back", &scene);
}

#[test(Minutes)]
fn a_copy_to_a_file_ends_at_a_signal_at_every_call() {
    interrupt_everywhere("signals in a copy to a file", &ToFile::new(None));
}

#[test(Minutes)]
fn a_map_ends_at_a_signal_at_every_call() {
    interrupt_everywhere("signals in a map", &Map::new(None));
}

/// A kernel that interrupts every second call that it may, and does half of what it is asked for in the others.
pub fn hostile_kernel() -> Vec<(Uses, Fault)> {
    let interruptions = INTERRUPTIBLE.map(|call| (Uses::EverySecond(call), Fault::Error(Errno::EINTR)));
    interruptions.into_iter().chain(COUNTED.map(|call| (Uses::All(call), Fault::Short))).collect()
}

pub fn succeed_with_a_hostile_kernel(scene: &dyn Scene) {
    scene.reset();
    let traced = inject::run(scene.tool(), &hostile_kernel());
    let judged = judge(scene, &traced, Demand::Success);
    assert!(judged == Ok(End::Done), "{judged:?}; it said:\n{}", traced.outcome.stderr);
    assert!(!traced.outcome.stderr.contains("is left as it is"), "{}", traced.outcome.stderr);
    assert!(traced.faults.len() > 40, "{}", traced.faults.len());
}

#[test_cases]
fn formats() -> Vec<Test> {
    let short_counts = |(program, command)| {
        let name = format!("short_counts_and_interruptions_of_{program}");
        Test::new(name, &[Need::Minutes, Need::Program(program)], move || a_converted_image(command))
    };
    FORMATS.map(short_counts).into()
}

#[test(Minutes, Root)]
fn short_counts_and_interruptions_change_nothing() {
    succeed_with_a_hostile_kernel(&ToFile::new(None));
    succeed_with_a_hostile_kernel(&ToFile::new(Some(b"old")));
    succeed_with_a_hostile_kernel(&Map::new(None));
    succeed_with_a_hostile_kernel(&ToDevice::new());
    // Large enough to have its capacity checked.
    succeed_with_a_hostile_kernel(&ToDevice { options: &["--read-back"], ..ToDevice::of_size(64 * MIB) });
    succeed_with_a_hostile_kernel(&ToDevice::changed());
}

#[test(Minutes, Root, FileSystem("fuse"))]
fn short_counts_and_interruptions_change_nothing_in_a_second_pass() {
    succeed_with_a_hostile_kernel(&ToDevice::retried());
}

/// Programs, and commands that compress or archive `disk.img`, which is also their standard input.
pub const FORMATS: [(&str, &str); 9] = [
    ("gzip", "gzip"),
    ("bzip2", "bzip2 -1"),
    ("xz", "xz --block-size=100000"),
    ("zstd", "zstd"),
    ("lz4", "lz4 -B4"),
    ("lzop", "lzop"),
    ("zip", "zip -q - disk.img"),
    ("tar", "tar --sparse -c disk.img"),
    ("pigz", "tar -c disk.img | pigz"),
];

pub fn a_converted_image(command: &str) {
    let work = Conversion::new(|image| {
        let data: Vec<_> = (0..20).map(|index| (index * 300_000 / 4096 * 4096, 150_000)).collect();
        sparse(image, 6 * MIB + 777, &data, 4);
    });
    let converted = work.output_of(command);
    let out = work.path("out");
    for flag in [None, Some("--no-verify"), Some("--nobmap")] {
        let mut tool = match flag {
            Some("--nobmap") => copy([converted.as_os_str(), out.as_os_str()]),
            _ => work.copy(&converted, &out),
        };
        tool.command.args(flag);
        let traced = inject::run(tool, &hostile_kernel());
        assert_eq!(traced.outcome.status, Some(0), "{flag:?}: {}", traced.outcome.stderr);
        assert!(traced.faults.len() > 40, "{}", traced.faults.len());
        assert!(fs::read(&out).unwrap() == fs::read(&work.image).unwrap(), "{flag:?}");
        fs::remove_file(&out).unwrap();
    }
}
