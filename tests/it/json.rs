//! What programs are told with `--json` while a command runs, and in the end.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::common::device::Disk;
use crate::common::gnupg::{Who, keys};
use crate::common::image::{self, assert_same};
use crate::common::json::{ends_with, events, fails_with, succeeds};
use crate::common::lying::{Lie, LyingDisk};
use crate::common::package::project_file;
use crate::common::server::{self, Server};
use crate::common::signed::Bench;
use crate::common::tool::{Outcome, bmaptool, copy, finish, interrupt, wait_until};
use crate::common::work::Work;
use crate::common::{PYTHON, sh, text};
use crate::registry::JSON;

const MIB: u64 = 1 << 20;

/// An image of 16 MiB, of which a quarter is mapped, in two ranges.
fn work() -> Work {
    Work::new(|path| image::sparse(path, 16 * MIB, &[(0, 2 << 20), (8 * MIB, 2 << 20)], 7))
}

fn of<'a>(events: &'a [Value], kind: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["type"] == kind).collect()
}

/// The phases of a target, in order.
fn phases(events: &[Value], index: u64) -> Vec<&str> {
    let own = of(events, "phase").into_iter().filter(|event| event["index"] == index);
    own.map(|event| event["phase"].as_str().unwrap()).collect()
}

#[test(JSON)]
fn a_copy_is_told_from_start_to_end() {
    let work = work();
    let (out, image) = (work.path("out"), text(&work.image).to_owned());
    let told = succeeds(copy(["--json", &image, text(&out)]));
    let start = &told[0];
    assert_eq!((&start["type"], &start["command"], &start["image"]), (&json!("start"), &json!("copy"), &json!(image)));
    assert_eq!((&start["image_size"], &start["bmap"]["map"]["mapped_bytes"]), (&json!(16 * MIB), &json!(4 * MIB)));
    assert_eq!((&start["bmap"]["file"], &start["bmap"]["signature"]), (&json!(text(&work.bmap)), &json!("none")));
    let target = json!({
        "index": 0, "target": text(&out), "kind": "file", "size": null, "model": null, "serial": null
    });
    assert_eq!(start["targets"], json!([target]));
    assert_eq!(phases(&told, 0), ["copying", "synchronizing"]);
    let target = &told[told.len() - 2];
    assert_eq!(
        (&target["type"], &target["ok"], &target["state"]),
        (&json!("target"), &json!(true), &json!("complete"))
    );
    assert_eq!(
        (&target["bytes"], &target["written"], &target["unchanged"]),
        (&json!(4 * MIB), &json!(4 * MIB), &json!(0))
    );

    let again = succeeds(copy(["--json", "--only-changed", "--read-back", &image, text(&out)]));
    let target = of(&again, "target")[0];
    assert_eq!(
        (&target["written"], &target["unchanged"], &target["left_out"]),
        (&json!(0), &json!(4 * MIB), &json!(4 * MIB))
    );
}

#[test(JSON)]
fn several_targets_have_events_of_their_own() {
    let work = work();
    let [one, two] = ["one", "two"].map(|name| work.path(name));
    let told = succeeds(copy(["--json", text(&work.image), text(&one), text(&two), "/dev/null"]));
    assert_eq!(told[0]["targets"].as_array().unwrap().len(), 3);
    assert_eq!(told[0]["targets"][2]["kind"], "character-device");
    for index in 0..3 {
        assert_eq!(phases(&told, index), ["copying", "synchronizing"]);
    }
    let paths: Vec<_> = of(&told, "target").iter().map(|event| event["target"].as_str().unwrap().to_owned()).collect();
    assert_eq!(paths, [text(&one), text(&two), "/dev/null"]);

    let same = copy(["--json", text(&work.image), text(&one), text(&one)]);
    fails_with(same, "targets-overlap");
    let again = copy(["--json", text(&work.image), text(&one), text(&two)]);
    fails_with(again, "target-has-data");
    for file in [&one, &two] {
        fs::remove_file(file).unwrap();
    }
    let damaged = work.path("damaged.img");
    let mut bytes = fs::read(&work.image).unwrap();
    bytes[9 * MIB as usize] ^= 1;
    fs::write(&damaged, bytes).unwrap();
    let both = copy(["--json", "--bmap", text(&work.bmap), text(&damaged), text(&one), text(&two)]);
    let told = fails_with(both, "targets-failed");
    let codes: Vec<_> = of(&told, "target").iter().map(|event| &event["error"]["code"]).collect();
    assert_eq!(codes, ["checksum-mismatch"; 2]);
}

#[test(Root, JSON)]
fn a_device_is_told_with_its_size() {
    let (work, disk) = (work(), Disk::new(20 * MIB));
    let told = succeeds(copy(["--json", "--read-back", text(&work.image), text(disk.path())]));
    let target = &told[0]["targets"][0];
    assert_eq!((&target["kind"], &target["size"]), (&json!("block-device"), &json!(20 * MIB)));
    assert_eq!(phases(&told, 0), ["copying", "synchronizing", "verifying"]);
    assert_eq!(of(&told, "target")[0]["read_from"], "medium");
    let told = succeeds(bmaptool(["verify", "--json", "--bmap", text(&work.bmap), text(disk.path())]));
    assert_eq!(&told[0]["targets"][0], target);
    assert_eq!(told.last().unwrap()["verified"]["read_from"], "medium");
    let told = succeeds(copy(["--json", "--unmapped", "discard", text(&work.image), text(disk.path())]));
    assert_eq!(told.last().unwrap()["error"], Value::Null);
    let target = of(&told, "target")[0];
    assert_eq!((&target["discarded"], &target["zeroed"]), (&json!(16 * MIB), &json!(0)));
    assert_eq!(target["read_from"], Value::Null);
    let told = succeeds(copy(["--json", "--unmapped", "zero", text(&work.image), text(disk.path())]));
    let target = of(&told, "target")[0];
    // The boot region has no hole.
    assert_eq!((&target["discarded"], &target["zeroed"]), (&json!(0), &json!(12 * MIB)));
}

#[test(Program("gpg"), JSON)]
fn a_signer_is_told() {
    let bench = Bench::new();
    bench.sign(Who::Sub);
    let told = succeeds(bench.copy(&["--json"]));
    let (fingerprint, primary) = keys().fingerprints(Who::Sub);
    let signer = json!({"user_id": Who::Sub.user_id(), "fingerprint": fingerprint, "primary": primary});
    assert_eq!((&told[0]["bmap"]["signature"], &told[0]["bmap"]["signers"]), (&json!("good"), &json!([signer])));
    let told = succeeds(bench.copy(&["--json", "--no-sig-verify"]));
    assert_eq!(told[0]["bmap"]["signature"], "not-sought");
}

#[test(JSON)]
fn what_is_warned_of_has_a_code() {
    let work = work();
    let packed = work.output_of("gzip -c");
    fs::rename(&packed, work.path("disk.img.xz")).unwrap();
    let pipe = work.path("no-pipe");
    let tool = copy(["--json", "--no-verify", "--psplash-pipe", text(&pipe), "disk.img.xz", "out"]);
    let told = succeeds(tool.current_dir(work.directory.path()));
    let warnings: Vec<_> = of(&told, "warning").iter().map(|event| &event["code"]).collect();
    assert_eq!(warnings, ["name-differs", "not-verified", "psplash-unusable"]);
    let message = of(&told, "warning")[0]["message"].as_str().unwrap();
    assert_eq!(message, "the name of 'disk.img.xz' says xz, but it is gzip");
    assert!(of(&told, "warning").iter().all(|event| event["index"].is_null() && event["target"].is_null()));
}

#[test(Root, JSON)]
fn a_warning_names_the_target_that_it_is_about() {
    let (work, disk) = (work(), Disk::new(20 * MIB));
    let told = succeeds(copy(["--json", text(&work.image), text(&disk.backing)]));
    let warning = of(&told, "warning")[0];
    assert_eq!(
        (&warning["code"], &warning["index"], &warning["target"]),
        (&json!("shares-data"), &json!(0), &json!(text(&disk.backing)))
    );
}

#[test(JSON)]
fn a_server_that_is_not_ready_is_told_before_the_start() {
    let work = work();
    let image = server::File::new(fs::read(&work.image).unwrap());
    let is_ready = AtomicBool::new(false);
    let server = Server::start(move |request, reply| match is_ready.swap(true, Ordering::Relaxed) {
        false => reply.status("503 Service Unavailable", &[]),
        true => reply.file(request, &image),
    });
    let tool = copy(["--json", "--nobmap", &server.url("disk.img"), text(&work.path("out"))]);
    let told = succeeds(tool.env("BMAPTOOL_TIMEOUT_SCALE", "0.01"));
    assert_eq!(
        (&told[0]["type"], &told[0]["index"], &told[1]["type"]),
        (&json!("retry"), &Value::Null, &json!("start"))
    );
}

#[test(JSON)]
fn what_create_has_made_is_told_last() {
    let work = work();
    let create = |image: &str| {
        let tool = bmaptool(["create", "--json", "-o", "out.bmap", image]).current_dir(work.directory.path());
        succeeds(tool)
    };
    let told = create("disk.img");
    assert_eq!((&told[0]["command"], &told[0]["targets"][0]["target"]), (&json!("create"), &json!("disk.img")));
    assert_eq!(phases(&told, 0), ["hashing"]);
    let map = &told.last().unwrap()["map"];
    assert_eq!(
        (&map["ranges"], &map["mapped_bytes"], &map["checksum"]),
        (&json!(2), &json!(4 * MIB), &json!("sha256"))
    );
    assert_eq!((&told[0]["targets"][0]["kind"], &told[0]["image_size"]), (&json!("file"), &json!(16 * MIB)));
    // All checks come before the start.
    for option in [["--range-size", "1000"], ["--map", "5G-6G"]] {
        let arguments = [&["create", "--json", "-o", "out.bmap"], &option[..], &["disk.img"]].concat();
        let told = ends_with(bmaptool(arguments).current_dir(work.directory.path()), 2, "usage");
        assert_eq!(told.len(), 1, "{told:?}");
    }
    fs::write(work.path("full.img"), [7; 5000]).unwrap();
    let told = create("full.img");
    let warning = of(&told, "warning")[0];
    assert_eq!((&warning["code"], &warning["index"]), (&json!("no-holes"), &json!(0)));
}

#[test(JSON)]
fn what_differs_is_told_by_verify() {
    let work = work();
    let verify = || bmaptool(["verify", "--json", text(&work.image)]);
    let told = succeeds(verify());
    let verified = &told.last().unwrap()["verified"];
    assert_eq!(
        (&verified["bytes"], &verified["ranges"], &verified["wrong_ranges"]),
        (&json!(4 * MIB), &json!(2), &json!(0))
    );
    assert_eq!(phases(&told, 0), ["verifying"]);
    let mut bytes = fs::read(&work.image).unwrap();
    bytes[9 * MIB as usize] ^= 1;
    fs::write(&work.image, bytes).unwrap();
    let told = fails_with(verify(), "checksum-mismatch");
    let wrong = of(&told, "mismatch");
    assert_eq!((wrong.len(), &wrong[0]["start"], &wrong[0]["end"]), (1, &json!(8 * MIB), &json!(10 * MIB)));
    assert_eq!((&wrong[0]["checksum"], wrong[0]["found"].as_str().unwrap().len()), (&json!("sha256"), 64));
    assert_ne!(wrong[0]["found"], wrong[0]["expected"]);
    assert_eq!(told.last().unwrap()["verified"]["wrong_ranges"], 1);
    assert_eq!(told[0]["targets"][0]["kind"], "file");
}

#[test(Root, FileSystem("fuse"), JSON)]
fn what_cannot_be_read_is_told_by_verify() {
    let (work, disk) = (work(), LyingDisk::new(20 * MIB));
    copy([text(&work.image), text(disk.path())]).ok();
    let disk = disk.lies(Lie::Unreadable(9 * MIB + 5000..9 * MIB + 5001));
    let tool = bmaptool(["verify", "--json", "--bmap", text(&work.bmap), text(disk.path())]);
    let told = fails_with(tool, "cannot-read");
    let expected = json!({
        "type": "mismatch", "index": 0, "target": text(disk.path()), "start": 8 * MIB, "end": 10 * MIB, "ranges": 1,
        "checksum": "sha256", "expected": null, "found": null, "contents": "unreadable",
        "unreadable_at": 9 * MIB + 4096, "message": "Input/output error"
    });
    assert_eq!(of(&told, "mismatch"), [&expected]);
    let verified = &told.last().unwrap()["verified"];
    assert_eq!((&verified["wrong_ranges"], &verified["unreadable_ranges"]), (&json!(1), &json!(1)));
}

/// A copy from standard input, which gets the image bit by bit, for that long.
fn copy_slowly(work: &Work, time: Duration) -> (Outcome, Duration) {
    const PARTS: u32 = 64;
    let image = fs::read(&work.image).unwrap();
    let tool = copy(["--json", "--bmap", text(&work.bmap), "-", text(&work.path("out"))]);
    let started = Instant::now();
    let outcome = tool.run_fed(move |mut stdin| {
        for part in image.chunks(image.len() / PARTS as usize) {
            stdin.write_all(part).unwrap();
            thread::sleep(time / PARTS);
        }
    });
    assert_eq!(outcome.status, Some(0), "{}", outcome.stderr);
    (outcome, started.elapsed())
}

#[test(JSON)]
fn progress_comes_twice_a_second_at_most() {
    let (outcome, took) = copy_slowly(&work(), Duration::from_secs(3));
    let told = events(&outcome);
    let progress = of(&told, "progress");
    assert!(progress.len() >= 2 && progress.len() as f64 <= 2.0 * took.as_secs_f64() + 1.0, "{took:?}: {progress:?}");
    let done: Vec<_> = progress.iter().map(|event| event["done"].as_u64().unwrap()).collect();
    assert!(done.is_sorted() && progress.iter().all(|event| event["total"] == 4 * MIB), "{progress:?}");
}

/// A copy of the first half of an image on standard input, which waits for the other.
fn half_a_copy(work: &Work, stdout: Stdio) -> (std::process::Child, impl FnOnce(&mut std::process::Child) + use<>) {
    let image = fs::read(&work.image).unwrap();
    let mut tool = copy(["--json", "--bmap", text(&work.bmap), "-", text(&work.path("out"))]);
    let mut child = tool.spawn_to(stdout);
    let (first, rest) = image.split_at(image.len() / 2);
    child.stdin.as_mut().unwrap().write_all(first).unwrap();
    let rest = rest.to_vec();
    (child, move |child: &mut std::process::Child| child.stdin.take().unwrap().write_all(&rest).unwrap())
}

#[test]
fn a_copy_goes_on_when_nobody_reads_its_events() {
    let work = work();
    let (mut child, rest) = half_a_copy(&work, Stdio::piped());
    let mut first = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut first).unwrap();
    assert!(first.starts_with("{\"type\":\"start\""), "{first}");
    drop(stdout);
    // A child that another test has made meanwhile holds the pipe until it executes its program.
    thread::sleep(Duration::from_millis(500));
    rest(&mut child);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert_eq!(said.matches("WARNING: standard output takes no more events").count(), 1, "{said}");
    assert_same(&work.image, &work.path("out"));

    for (output, why) in [("/dev/full", "No space left on device"), ("&-", "it is closed")] {
        let script = format!("exec \"$0\" \"$@\" >{output}");
        let tool = copy(["--json", text(&work.image), text(&work.path("out"))]).under(&["sh", "-c", &script]);
        let outcome = tool.ok();
        assert_eq!(outcome.stderr.matches("WARNING: standard output takes no more events").count(), 1);
        outcome.says(&[why, "copying time"]);
    }
}

/// A pipe that has no room left.
fn full_pipe() -> (File, File) {
    let (reader, writer) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)
        .map(|(reader, writer)| (File::from(reader), File::from(writer)))
        .unwrap();
    nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
    (&writer).write_all(&[b' '; 4096]).unwrap();
    (reader, writer)
}

#[test(JSON)]
fn a_reader_that_does_not_read_stalls_no_copy() {
    let work = work();
    for is_read in [true, false] {
        let (mut reader, writer) = full_pipe();
        let (mut child, rest) = half_a_copy(&work, writer.into());
        rest(&mut child);
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
        assert!(said.any(|line| line.unwrap().contains("copying time")));
        assert_same(&work.image, &work.path("out"));
        assert!(child.try_wait().unwrap().is_none(), "it has not printed its last event");
        let mut printed = Vec::new();
        if is_read {
            reader.read_to_end(&mut printed).unwrap();
        } else {
            kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
        }
        // The copy was complete when the signal came.
        let status = child.wait().unwrap().code();
        if is_read {
            let outcome = Outcome::new(status, printed.trim_ascii_start().to_vec(), String::new());
            assert_eq!(phases(&events(&outcome), 0), ["copying", "synchronizing"]);
        }
        assert_eq!(status, Some(0));
        fs::remove_file(work.path("out")).unwrap();
    }
}

#[test(JSON)]
fn signals_come_before_the_last_event() {
    let work = work();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let (mut child, _rest) = half_a_copy(&work, Stdio::piped());
        let out = work.path("out");
        wait_until(&mut child, "the start of the copy", || out.exists());
        let outcome = interrupt(child, signal);
        let told = events(&outcome);
        assert_eq!(told.last().unwrap()["error"]["code"], "interrupted");
        assert_eq!(of(&told, "target")[0]["state"], "removed");
    }
    // Nothing is to be cleaned up: the image has not come, or nothing is written at all.
    let bmap = text(&work.bmap);
    for command in [
        &["copy", "--json", "--bmap", bmap, "-", "out"][..],
        &["verify", "--json", "--bmap", bmap, "-"],
        &["info", "--json", "-"],
    ] {
        let (mut reader, writer) = full_pipe();
        for is_stuck in [false, true] {
            let mut tool = bmaptool(command).current_dir(work.directory.path());
            let mut child = tool.spawn_to(if is_stuck { writer.try_clone().unwrap().into() } else { Stdio::piped() });
            let pid = child.id();
            wait_until(&mut child, "the handlers", || handles_signals(pid));
            kill(Pid::from_raw(pid as i32), Signal::SIGINT).unwrap();
            if is_stuck {
                let _image = child.stdin.take(); // that it ends would be another reason
                assert_eq!(child.wait().unwrap().code(), Some(130));
            } else {
                let outcome = finish(child);
                assert_eq!(outcome.status, Some(130), "{}", outcome.stderr);
                assert_eq!(events(&outcome).last().unwrap()["error"]["code"], "interrupted");
            }
        }
        drop(writer);
        let mut printed = Vec::new();
        reader.read_to_end(&mut printed).unwrap();
        assert_eq!(printed.trim_ascii(), b"");
    }
}

/// Whether the process handles SIGINT.
fn handles_signals(process: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).map(str::trim).unwrap_or_default();
    u64::from_str_radix(caught, 16).is_ok_and(|caught| caught & 1 << (Signal::SIGINT as u32 - 1) != 0)
}

#[test(JSON)]
fn psplash_and_programs_are_told_at_the_same_time() {
    let work = work();
    let pipe = work.path("psplash");
    sh("mkfifo", &[text(&pipe)]);
    let mut reader = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(&pipe).unwrap();
    let told = succeeds(copy(["--json", "--psplash-pipe", text(&pipe), text(&work.image), text(&work.path("out"))]));
    assert!(of(&told, "warning").is_empty(), "{told:?}");
    let mut shares = String::new();
    reader.read_to_string(&mut shares).unwrap();
    assert!(shares.ends_with("PROGRESS 100\n"), "{shares}");
}

/// The example programs of a document, by their language.
fn examples(document: &str, language: &str) -> Vec<String> {
    let document = fs::read_to_string(project_file(document)).unwrap();
    let begin = format!("```{language}\n");
    document.split(&begin).skip(1).map(|block| block.split("```").next().unwrap().to_owned()).collect()
}

fn run_example(work: &Work, program: &[&str]) -> (Option<i32>, String) {
    let binary = Path::new(env!("CARGO_BIN_EXE_bmaptool")).parent().unwrap();
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap());
    let mut command = Command::new(program[0]);
    command.args(&program[1..]).current_dir(work.directory.path()).env("PATH", path);
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[test(Program("bash"), Program("jq"), JSON)]
fn the_examples_for_shells_work() {
    let work = work();
    fs::copy(&work.bmap, work.path("disk.bmap")).unwrap();
    let in_guide = examples("docs/guide.md", "sh").into_iter().filter(|example| example.contains("--json"));
    let examples: Vec<_> = examples("docs/json.md", "sh").into_iter().chain(in_guide).collect();
    let examples: Vec<_> = examples.iter().map(|example| example.replace("/dev/sdX", "card")).collect();
    assert_eq!(examples.len(), 3);
    let run = |example: &str| run_example(&work, &["bash", "-c", &format!("set -o pipefail; {example}")]);
    let (status, printed) = run(&examples[0]);
    let last = printed.lines().last();
    assert_eq!((status, last), (Some(0), Some("card: done")), "{printed}");
    assert!(printed.starts_with("card: copying 0%\n"), "{printed}");
    assert_eq!(run(&examples[1]), (Some(0), "true\n".to_owned()));
    let mut card = fs::read(work.path("card")).unwrap();
    card[9 * MIB as usize] ^= 1;
    fs::write(work.path("card"), card).unwrap();
    let (status, printed) = run(&examples[1]);
    assert_eq!((status, &*printed), (Some(1), "\"bytes 8388608 to 10485759\"\nfalse\n"));
    fs::rename(work.path("card"), &work.image).unwrap();
    assert_eq!(run(&examples[0]).1.lines().last(), Some("card: checksum-mismatch"));
    assert_eq!(run(&examples[2]).1, "checksum-mismatch\n");
}

#[test(Program("python3"))]
fn the_example_in_python_works() {
    let work = work();
    let [example] = &examples("docs/json.md", "python")[..] else { panic!("there is one example in Python") };
    let run = |target: &str| run_example(&work, &[PYTHON, "-c", example, "disk.img", target]);
    assert_eq!(run("card"), (Some(0), "copying 0%\n".to_owned()));
    assert_same(&work.image, &work.path("card"));
    assert_eq!(run("."), (Some(1), String::new()));
}
