//! The wheel that pip installs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use crate::common::device::Disk;
use crate::common::image::{self, disk_like};
use crate::common::package::{self, project_file};
use crate::common::tool::{Tool, create};
use crate::common::{PYTHON, sha256, temp_dir, text};

use super::{Environment, version};

static WHEEL: LazyLock<PathBuf> = LazyLock::new(|| package::make("wheel", &[]));

#[test(Minutes, Root, Python("ensurepip"))]
fn it_flashes_where_there_is_no_rust() {
    let environment = Environment::new();
    environment.install(&["--no-index", text(&WHEEL)]);
    assert_eq!(environment.run("bmaptool", &["--version"]).ok().stdout, version());
    flashes_as_a_module(&environment, &version());
}

/// `python -m bmaptool` has the arguments, the work and the exit status of the command.
fn flashes_as_a_module(environment: &Environment, version: &[u8]) {
    let module = |arguments: &[&str]| environment.run("python", &[&["-m", "bmaptool"], arguments].concat());
    assert_eq!(module(&["--version"]).ok().stdout, version);
    module(&["copy", "a b"]).exits(2, &["required arguments were not provided"]);

    let directory = temp_dir();
    let image = directory.path().join("disk.img");
    disk_like(&image, 3);
    create(&image);
    let disk = Disk::new(24 << 20);
    module(&["copy", text(&image), text(disk.path())]).ok();
    assert!(std::fs::read(disk.path()).unwrap() == image::flashed(&image, 24 << 20));
}

#[test(Minutes, Python("ensurepip"))]
fn it_works_in_a_directory_of_its_own() {
    let environment = Environment::new();
    let directory = temp_dir();
    environment.install(&["--no-index", "--target", text(directory.path()), text(&WHEEL)]);
    let mut tool = environment.run("python", &["-m", "bmaptool", "--version"]);
    tool = tool.env("PYTHONPATH", directory.path());
    assert_eq!(tool.ok().stdout, version());
}

#[test(Minutes, Program("python3"))]
fn it_is_the_same_when_it_is_made_again() {
    let directory = temp_dir();
    let again = package::make("wheel", &["--output", text(directory.path())]);
    assert_eq!(sha256(again), sha256(&*WHEEL));
}

/// The name of a wheel says for which processor it is, and that it runs with any C library.
#[test(Program("python3"))]
fn a_binary_that_the_name_of_the_wheel_would_lie_about_is_refused() {
    let binary = env!("CARGO_BIN_EXE_bmaptool");
    let other = if cfg!(target_arch = "riscv64") { "x86_64" } else { "riscv64" };
    for (arguments, reason) in [(&[][..], "is not static"), (&[other], "is not for")] {
        let mut command = Command::new(PYTHON);
        command.arg(project_file("packaging/wheel")).args(["--binary", binary]).args(arguments);
        Tool::of(command).exits(2, &[binary, reason]);
    }
}

/// Without optimisation, as this is about the way and not about what comes of it.
const HASTE: [(&str, &str); 3] = [
    ("CARGO_PROFILE_RELEASE_LTO", "off"),
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16"),
];

/// Out of the archive of the source that an index would have.
#[test(Minutes, Root, Python("ensurepip"))]
fn pip_compiles_the_source() {
    let environment = Environment::new();
    environment.install(&["maturin>=1.9,<2"]);
    let archives = temp_dir();
    let manifest = project_file("Cargo.toml");
    with_rust(&environment, "maturin", &["sdist", "--manifest-path", text(&manifest), "--out", text(archives.path())]);
    let archive = std::fs::read_dir(archives.path()).unwrap().next().unwrap().unwrap().path();
    with_rust(&environment, "pip", &["install", "--quiet", text(&archive)]);
    assert_eq!(environment.run("bmaptool", &["--version"]).ok().stdout, without_commit());
    flashes_as_a_module(&environment, &without_commit());
}

fn with_rust(environment: &Environment, program: &str, arguments: &[&str]) {
    let mut command = environment.command(program);
    command.args(arguments).envs(HASTE);
    for name in ["PATH", "HOME", "CARGO_HOME", "RUSTUP_HOME"] {
        command.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    command.env("CARGO_TARGET_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).join("pip"));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// What `--version` prints of a source that is no checkout.
fn without_commit() -> Vec<u8> {
    format!("bmaptool {}\n", env!("CARGO_PKG_VERSION")).into()
}
