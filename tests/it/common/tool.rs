//! The built binary, run as a user would.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::LazyLock;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tempfile::TempPath;

use super::{find_program, sh, text};

/// How long something may take before it counts as hanging.
pub const TIMEOUT: Duration = Duration::from_secs(120);

/// How long a run may take to end after a signal. On an idle machine it is far below a second. What a run waits for
/// when it is interrupted takes longer than this.
const PROMPT: Duration = Duration::from_secs(8);

/// A run of the binary, yet to begin.
pub struct Tool {
    pub command: Command,
    stdin: Vec<u8>,
    /// Where it is told what it has taken.
    account: Option<TempPath>,
}

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// The exit status; `None` after a signal that was not handled.
    pub status: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
    taken: Option<Taken>,
}

/// What a run that was measured has taken.
#[derive(Clone, Copy, Debug)]
struct Taken {
    /// The peak of its memory in KiB.
    memory: u64,
    /// The time of processors.
    time: Duration,
}

/// The variable that names another program to be tested instead of the built binary.
pub const INSTEAD: &str = "BMAPTOOL_TEST_BINARY";

/// The path of the binary that is tested.
pub fn binary() -> &'static str {
    static BINARY: LazyLock<String> =
        LazyLock::new(|| std::env::var(INSTEAD).unwrap_or_else(|_| env!("CARGO_BIN_EXE_bmaptool").to_owned()));
    &BINARY
}

/// The binary with these arguments.
pub fn bmaptool<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Tool {
    let mut command = Command::new(binary());
    // The user who runs the tests may have passwords at home.
    command.args(arguments).env_remove("NO_COLOR").env("HOME", "/nonexistent");
    // The user who runs the tests may need a proxy.
    for proxy in ["http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy"] {
        command.env_remove(proxy).env_remove(proxy.to_uppercase());
    }
    Tool::of(command)
}

/// A copy of the binary in `directory`, for those who may not look into ours. Another process writes it: a file that we
/// write to is open in every child that another test starts meanwhile, and cannot be run until that has gone on to its
/// own program.
pub fn binary_in(directory: &Path) -> PathBuf {
    let copy = directory.join("bmaptool");
    sh("cp", &[binary(), text(&copy)]);
    copy
}

/// Makes a program of a shell's script, in the same way.
pub fn write_program(path: &Path, script: &str) {
    sh("sh", &["-c", "printf '#!/bin/sh\n%s\n' \"$1\" >\"$0\" && chmod 755 \"$0\"", text(path), script]);
}

/// `bmaptool copy` with these arguments.
pub fn copy<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Tool {
    let mut tool = bmaptool(["copy"]);
    tool.command.args(arguments);
    tool
}

impl Tool {
    /// Another command.
    pub fn of(command: Command) -> Self {
        Self { command, stdin: Vec::new(), account: None }
    }

    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// Has a file for standard input.
    pub fn stdin_from(self, file: &Path) -> Self {
        self.under(&["sh", "-c", "exec \"$@\" <\"$0\"", text(file)])
    }

    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub fn current_dir(mut self, directory: &Path) -> Self {
        self.command.current_dir(directory);
        self
    }

    /// Has it run by another program, such as strace, that takes a command as its last arguments. Directory and
    /// environment are the same.
    pub fn under<S: AsRef<OsStr>>(mut self, wrapper: &[S]) -> Self {
        let mut command = Command::new(&wrapper[0]);
        command.args(&wrapper[1..]).arg(self.command.get_program()).args(self.command.get_args());
        for (name, value) in self.command.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        if let Some(directory) = self.command.get_current_dir() {
            command.current_dir(directory);
        }
        self.command = command;
        self
    }

    /// Has its memory and its time measured, for which it is run by GNU time. What the kernel tells of a child of ours
    /// has our own memory in it, and a look from outside misses the end.
    pub fn measured(mut self) -> Self {
        let time = find_program("time").unwrap();
        let account = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        self = self.under(&[text(&time), "--quiet", "--format=%M %U %S", "--output", text(&account)]);
        self.account = Some(account);
        self
    }

    /// Starts it; its standard error can be read while it runs.
    pub fn spawn(&mut self) -> Child {
        self.spawn_to(Stdio::piped())
    }

    /// The same, with this for standard output.
    pub fn spawn_to(&mut self, stdout: Stdio) -> Child {
        let command = self.command.stdin(Stdio::piped()).stdout(stdout).stderr(Stdio::piped());
        tie(command).spawn().unwrap()
    }

    /// Runs it to its end.
    pub fn run(mut self) -> Outcome {
        let input = std::mem::take(&mut self.stdin);
        // The program may end before it has read everything.
        self.run_fed(move |mut stdin| drop(stdin.write_all(&input)))
    }

    /// Runs it to its end, with what `feed` writes for standard input.
    pub fn run_fed(mut self, feed: impl FnOnce(ChildStdin) + Send + 'static) -> Outcome {
        let mut child = self.spawn();
        let stdin = child.stdin.take().unwrap();
        let feeder = std::thread::spawn(move || feed(stdin));
        let mut outcome = finish(child);
        feeder.join().unwrap();
        outcome.taken = self.account.map(|account| Taken::parse(&std::fs::read_to_string(account).unwrap()));
        outcome
    }

    /// Runs it, and expects it to succeed.
    pub fn ok(self) -> Outcome {
        let outcome = self.run();
        assert_eq!(outcome.status, Some(0), "{}", outcome.stderr);
        outcome
    }

    /// Runs it, and expects it to fail with status 1 and a message that has all of `fragments`.
    pub fn fails(self, fragments: &[&str]) -> Outcome {
        self.exits(1, fragments)
    }

    /// Runs it, and expects a status and a message that has all of `fragments`.
    pub fn exits(self, status: i32, fragments: &[&str]) -> Outcome {
        let outcome = self.run();
        assert_eq!(outcome.status, Some(status), "{}", outcome.stderr);
        outcome.says(fragments);
        outcome
    }
}

/// Interrupts a run, and expects that it ends without waiting for its source or its device.
pub fn interrupt(child: Child, signal: Signal) -> Outcome {
    let sent = Instant::now();
    kill(Pid::from_raw(child.id() as i32), signal).unwrap();
    let outcome = finish(child);
    let took = sent.elapsed();
    let status = match signal {
        Signal::SIGHUP => 129,
        Signal::SIGINT => 130,
        Signal::SIGTERM => 143,
        other => panic!("the program does not handle {other}"),
    };
    assert_eq!(outcome.status, Some(status), "{}", outcome.stderr);
    outcome.says(&["interrupted"]);
    assert!(took < PROMPT, "it took {took:?}");
    outcome
}

/// Waits for a run to end, and gathers what it printed.
pub fn finish(mut child: Child) -> Outcome {
    let stdout = gather(child.stdout.take().unwrap());
    let stderr = gather(child.stderr.take().unwrap());
    let started = Instant::now();
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status.code(),
            None if started.elapsed() > TIMEOUT => {
                end(&mut child);
                let said = stderr.recv_timeout(PROMPT).unwrap_or_default();
                panic!("the program hangs; it said: {}", String::from_utf8_lossy(&said));
            }
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    };
    // Whatever the program has started has its output too, and may live on.
    let [stdout, stderr] = [stdout, stderr].map(|output| {
        output.recv_timeout(TIMEOUT).unwrap_or_else(|_| {
            end(&mut child);
            panic!("the program has ended, but something that it has started has not");
        })
    });
    let outcome = Outcome::new(status, stdout, String::from_utf8_lossy(&stderr).into_owned());
    assert!(!outcome.has_panicked(), "{}", outcome.stderr);
    outcome
}

/// Reads all there is, while others go on; it comes through the channel.
fn gather(mut from: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (to_test, all) = channel();
    // A test that has given up does not want it any more.
    std::thread::spawn(move || drop(to_test.send(read_all(&mut from))));
    all
}

/// Ends a program and what it has started, as far as that is of its group.
pub fn end(child: &mut Child) {
    // It is the first of a group only if it was started as one, and may be gone.
    let _ = killpg(Pid::from_raw(child.id() as i32), Signal::SIGKILL);
    let _ = child.kill();
    let _ = child.wait();
}

/// Makes a program the first of a group, which can be ended as a whole, and has it end when the test does.
pub fn tie(command: &mut Command) -> &mut Command {
    command.process_group(0);
    // SAFETY: between fork and exec only this one system call is made.
    unsafe { command.pre_exec(|| prctl::set_pdeathsig(Signal::SIGTERM).map_err(Into::into)) }
}

/// Waits until a run has come to where `is_met`, before which it must not end.
#[track_caller]
pub fn wait_until(child: &mut Child, what: &str, mut is_met: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_met() {
        let has_ended = child.try_wait().unwrap().is_some();
        // It may have come there just before it ended.
        if has_ended && is_met() {
            return;
        }
        if has_ended || started.elapsed() > TIMEOUT {
            end(child);
            let said = gather(child.stderr.take().unwrap()).recv_timeout(PROMPT).unwrap_or_default();
            let why = if has_ended { "it has ended" } else { "it hangs" };
            panic!("{what}: {why}; it said: {}", String::from_utf8_lossy(&said));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Expects that a process which is not our child ends, though its parent may not have waited for it yet.
#[track_caller]
pub fn assert_ends(process: u32) {
    let is_running = || {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with('Z'))
    };
    let started = Instant::now();
    while is_running() {
        assert!(started.elapsed() < PROMPT, "process {process} runs on");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Opens a pipe for writing as soon as a run has it read.
#[track_caller]
pub fn open_pipe(child: &mut Child, pipe: &Path) -> File {
    let mut opened = None;
    wait_until(child, "a reader of the pipe", || {
        opened = File::options().write(true).custom_flags(libc::O_NONBLOCK).open(pipe).ok();
        opened.is_some()
    });
    let pipe = opened.unwrap();
    fcntl(&pipe, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
    pipe
}

pub fn read_all(from: &mut impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).unwrap();
    bytes
}

impl Taken {
    /// The peak of memory in KiB, and the seconds that the program and the kernel have worked.
    fn parse(text: &str) -> Self {
        let numbers: Vec<f64> = text.split_whitespace().map(|number| number.parse().unwrap()).collect();
        Self { memory: numbers[0] as u64, time: Duration::from_secs_f64(numbers[1] + numbers[2]) }
    }
}

impl Outcome {
    /// What came of a run whose memory was not measured.
    pub fn new(status: Option<i32>, stdout: Vec<u8>, stderr: String) -> Self {
        Self { status, stdout, stderr, taken: None }
    }

    /// The peak of its memory in bytes.
    #[track_caller]
    pub fn memory(&self) -> u64 {
        self.taken.expect("it was to be measured").memory * 1024
    }

    /// How long processors were at work on it, which a busy machine hardly changes.
    #[track_caller]
    pub fn processor_time(&self) -> Duration {
        self.taken.expect("it was to be measured").time
    }

    /// Whether it says so, in its own words or in those of the runtime.
    pub fn has_panicked(&self) -> bool {
        ["internal error", "panicked"].iter().any(|words| self.stderr.contains(words))
    }

    /// Expects the messages to have all of `fragments`.
    pub fn says(&self, fragments: &[&str]) {
        for fragment in fragments {
            assert!(self.stderr.contains(fragment), "'{fragment}' is not in:\n{}", self.stderr);
        }
    }
}

/// Makes the bmap of an image with our own `create`, beside it; returns its path.
pub fn create(image: &Path) -> PathBuf {
    let bmap = PathBuf::from(format!("{}.bmap", image.display()));
    bmaptool([OsStr::new("create"), OsStr::new("-o"), bmap.as_os_str(), image.as_os_str()]).ok();
    bmap
}

/// An image like that of a small disk in `directory`, with its bmap beside it.
pub fn mapped_disk(directory: &Path) -> PathBuf {
    let image = directory.join("disk.img");
    super::image::disk_like(&image, 7);
    create(&image);
    image
}

/// Where Debian's bmap-tools are, whose maps and copies are the same.
pub const PEER: &str = "/usr/bin/bmaptool";

/// The peer with these arguments, which must succeed; returns its standard output.
pub fn peer<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Vec<u8> {
    let mut command = Command::new(PEER);
    command.args(arguments);
    Tool::of(command).ok().stdout
}
