//! The static binaries for other architectures, and the unit tests, run by QEMU on the kernel of this machine. Behaviour is
//! tested by modules of this very program, which runs itself once more for each, with another binary to be tested.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use crate::common::package;
use crate::common::text;
use crate::common::tool::{INSTEAD, write_program};
use crate::registry::{Need, Test};

/// An architecture: its name for `packaging/static`, QEMU's program, and what is built.
struct Architecture {
    name: &'static str,
    qemu: &'static str,
    /// A program named `bmaptool` that runs the binary.
    binary: LazyLock<PathBuf>,
    /// The programs that hold the unit tests of the library and of the binary.
    units: LazyLock<Vec<PathBuf>>,
}

macro_rules! architecture {
    ($name:literal, $qemu:literal) => {
        Architecture {
            name: $name,
            qemu: $qemu,
            binary: LazyLock::new(|| runner($name, $qemu)),
            units: LazyLock::new(|| unit_tests($name)),
        }
    };
}

static ARCHITECTURES: [Architecture; 4] = [
    architecture!("aarch64", "qemu-aarch64-static"),
    architecture!("armv7", "qemu-arm-static"),
    architecture!("i686", "qemu-i386-static"),
    architecture!("riscv64", "qemu-riscv64-static"),
];

/// What is tried where nobody names others with `BMAPTOOL_TEST_ARCHITECTURES="i686 riscv64"`: processors of 64 and of 32 bits.
const USUAL: &str = "aarch64 armv7";

/// The modules that test what a processor, its emulator or the width of a number could change.
const MODULES: [&str; 12] = [
    "archives",
    "bzip2",
    "codecs",
    "create",
    "create_and_copy",
    "create_ranges",
    "files",
    "http",
    "info",
    "large_images",
    "signatures",
    "verify",
];

/// Unit tests that an emulated program cannot pass.
const NOT_EMULATED: [&str; 0] = [];

#[test_cases]
fn architectures() -> Vec<Test> {
    let named = std::env::var("BMAPTOOL_TEST_ARCHITECTURES").unwrap_or_else(|_| USUAL.to_owned());
    let mut tests = Vec::new();
    for architecture in ARCHITECTURES.iter().filter(|known| named.split(' ').any(|name| name == known.name)) {
        let needs = [Need::Root, Need::Minutes, Need::Program("debootstrap"), Need::Program(architecture.qemu)];
        let name = |what: &str| format!("{}_passes_{what}", architecture.name);
        tests.push(Test::new(name("unit_tests"), &needs, || passes_unit_tests(architecture)));
        for module in MODULES {
            tests.push(Test::new(name(module), &needs, move || passes(architecture, module)));
        }
    }
    tests
}

/// Builds the static binary.
fn runner(architecture: &str, qemu: &str) -> PathBuf {
    let binary = package::static_binary(architecture);
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(architecture);
    fs::create_dir_all(&directory).unwrap();
    let runner = directory.join("bmaptool");
    write_program(&runner, &format!("exec {qemu} '{}' \"$@\"", text(&binary)));
    runner
}

/// Builds the unit tests.
fn unit_tests(architecture: &str) -> Vec<PathBuf> {
    let json = ["--message-format", "json-render-diagnostics"];
    let build = ["cargo", "test", "--locked", "--release", "--lib", "--bin", "bmaptool", "--no-run"];
    let messages = package::cross(architecture, &[&build[..], &json].concat());
    let programs = messages.lines().filter_map(|line| line.split_once("\"executable\":\"")?.1.split_once('"'));
    programs.map(|(path, _)| path.into()).collect()
}

fn passes_unit_tests(architecture: &Architecture) {
    assert_eq!(architecture.units.len(), 2);
    for program in &*architecture.units {
        let mut command = Command::new(architecture.qemu);
        command.arg(program).args(NOT_EMULATED.iter().flat_map(|name| ["--skip", name]));
        succeed(&mut command);
    }
}

fn passes(architecture: &Architecture, module: &str) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg(format!("{module}::")).env(INSTEAD, &*architecture.binary);
    // What the tests need is there, as they have been run for this machine; now more of them are skipped.
    command.env_remove("CI").env_remove("BMAPTOOL_TEST");
    succeed(&mut command);
}

/// Runs a program of tests, some of which must have been run.
fn succeed(command: &mut Command) {
    let output = command.output().unwrap();
    let [said, errors] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    let is_passed = output.status.success() && said.contains("test result: ok") && !said.contains(" 0 passed");
    assert!(is_passed, "{command:?}: {}\n{said}\n{errors}", output.status);
}
