//! Programs that read what is printed with `--json`: slow ones, those that have gone, and the examples of the documents.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, PipeWriter, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::image::assert_same;
use crate::common::json::{events, succeeds};
use crate::common::package::project_file;
use crate::common::tool::{Outcome, bmaptool, copy, finish, interrupt, wait_until};
use crate::common::work::Work;
use crate::common::{PYTHON, sh, text};
use crate::json::{MIB, of, phases, work};
use crate::registry::JSON;

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
    let (reader, writer) = io::pipe().unwrap();
    let (mut child, rest) = half_a_copy(&work, writer.try_clone().unwrap().into());
    let mut first = String::new();
    let mut stdout = BufReader::new(reader);
    stdout.read_line(&mut first).unwrap();
    assert!(first.starts_with("{\"type\":\"start\""), "{first}");
    drop(stdout);
    // A child that another test has made meanwhile holds the pipe until it executes its program.
    wait_until(&mut child, "that nobody reads", || has_no_reader(&writer));
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

/// Whether nobody has the other end of a pipe open.
fn has_no_reader(pipe: &PipeWriter) -> bool {
    // That is told unasked (poll(2), POLLERR).
    let mut told = [PollFd::new(pipe.as_fd(), PollFlags::empty())];
    poll(&mut told, PollTimeout::ZERO).unwrap() == 1
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
