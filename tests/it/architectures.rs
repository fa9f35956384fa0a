//! The static binaries for other architectures, and the unit tests, run by QEMU on the kernel of this machine. Behaviour is
//! tested by the tests of this very program, which runs itself once more for some of them, with another binary to be tested.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::common::tool::{INSTEAD, write_program};
use crate::common::{find_program, package, text};
use crate::machine;
use crate::registry::{Need, Test};

/// An architecture: its name for `packaging/static`, and QEMU's program.
struct Architecture {
    name: &'static str,
    qemu: &'static str,
    /// Parts of the names of tests that are not for it.
    skipped: &'static [&'static str],
    /// A program named `bmaptool` that runs the binary, once that is built.
    runner: OnceLock<PathBuf>,
}

impl Architecture {
    const fn new(name: &'static str, qemu: &'static str, skipped: &'static [&'static str]) -> Self {
        Self { name, qemu, skipped, runner: OnceLock::new() }
    }
}

static ARCHITECTURES: [Architecture; 4] = [
    Architecture::new("aarch64", "qemu-aarch64", &[]),
    Architecture::new("armv7", "qemu-arm", &TOO_LARGE),
    Architecture::new("i686", "qemu-i386", &TOO_LARGE),
    Architecture::new("riscv64", "qemu-riscv64", &[]),
];

/// A window of 2 GiB does not fit the addresses of 32 bits.
const TOO_LARGE: [&str; 1] = ["zstd_long_reaches_file_and_device"];

/// Parts of the names of those tests of which a processor, or the width of its numbers, could change the outcome: modules, and each
/// compressed format and archive.
const TESTS: [&str; 15] = [
    "_reaches_file_and_device",
    "command_line::",
    "create::",
    "create_and_copy::",
    "create_ranges::",
    "files::",
    "http::",
    "info::",
    "input_is_not_target::",
    "json::",
    "json_errors::",
    "json_readers::",
    "large_images::",
    "signatures::",
    "verify::",
];

/// Tests that an emulated program cannot pass: QEMU handles signals before the program does, or is ended by them itself, and
/// takes long to end a child.
const NOT_EMULATED: [&str; 3] = [
    "a_reader_that_does_not_read_stalls_no_copy",
    "signals_come_before_the_last_event",
    "many_questions_are_asked_and_no_child_is_left",
];

/// Those that `BMAPTOOL_TEST_ARCHITECTURES="aarch64 armv7"` names, for a build takes minutes.
#[test_cases]
fn architectures() -> Vec<Test> {
    let named = std::env::var("BMAPTOOL_TEST_ARCHITECTURES").unwrap_or_default();
    let mut tests = Vec::new();
    for architecture in ARCHITECTURES.iter().filter(|known| named.split(' ').any(|name| name == known.name)) {
        let needs = [Need::Root, Need::Minutes, Need::Program("debootstrap"), Need::Program(architecture.qemu)];
        let name = |what: &str| format!("{}_passes_{what}", architecture.name);
        tests.push(Test::new(name("unit_tests"), &needs, || passes_unit_tests(architecture)));
        for part in TESTS {
            tests.push(Test::new(name(part.trim_matches([':', '_'])), &needs, move || passes(architecture, part)));
        }
        if architecture.name == "aarch64" {
            let programs = ["qemu-system-aarch64", "cpio", "gpg"].map(Need::Program);
            let test = || machine::board_flashes_its_card(&machine::AARCH64);
            tests.push(Test::new("aarch64_board_flashes_its_card", &[&needs[..], &programs].concat(), test));
        }
    }
    tests
}

fn passes_unit_tests(architecture: &Architecture) {
    let json = ["--message-format", "json-render-diagnostics"];
    let build = ["cargo", "test", "--locked", "--release", "--lib", "--bin", "bmaptool", "--no-run"];
    let messages = package::cross(architecture.name, &[&build[..], &json].concat());
    let programs = messages.lines().filter_map(|line| line.split_once("\"executable\":\"")?.1.split_once('"'));
    let programs: Vec<_> = programs.map(|(path, _)| path).collect();
    assert_eq!(programs.len(), 3, "the two libraries and the binary: {programs:?}");
    for program in programs {
        succeed(Command::new(architecture.qemu).arg(program).args(skipped(architecture)));
    }
}

fn passes(architecture: &Architecture, part: &str) {
    let runner = architecture.runner.get_or_init(|| make_runner(architecture));
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([part, "--test-threads", "1"]).args(skipped(architecture)).env(INSTEAD, runner);
    // What the tests need is there, as they have been run for this machine; here some more are skipped.
    command.env_remove("CI").env_remove("BMAPTOOL_TEST");
    succeed(&mut command);
}

fn skipped(architecture: &Architecture) -> impl Iterator<Item = &'static str> {
    NOT_EMULATED.iter().chain(architecture.skipped).flat_map(|name| ["--skip", name])
}

/// Builds the static binary. Some tests leave the runner nowhere to look for QEMU.
fn make_runner(architecture: &Architecture) -> PathBuf {
    let binary = package::static_binary(architecture.name);
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(architecture.name);
    fs::create_dir_all(&directory).unwrap();
    let runner = directory.join("bmaptool");
    let qemu = find_program(architecture.qemu).unwrap();
    write_program(&runner, &format!("exec '{}' '{}' \"$@\"", text(&qemu), text(&binary)));
    runner
}

/// Runs a program of tests, some of which must have been run.
fn succeed(command: &mut Command) {
    let output = command.output().unwrap();
    let [said, errors] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    let is_passed = output.status.success() && said.contains("test result: ok") && !said.contains(" 0 passed");
    assert!(is_passed, "{command:?}: {}\n{said}\n{errors}", output.status);
}
