//! The binary as an argument of Python, which is how build systems call the Python tool.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;

use crate::common::image::disk_like;
use crate::common::tool::{Tool, bmaptool, create, interrupt, wait_until};
use crate::common::{PYTHON, sh, temp_dir, text};

/// Only LLD puts the symbol table of a binary that is not stripped where Python looks past it.
fn is_linked_by_lld() -> bool {
    sh("readelf", &["--string-dump=.comment", env!("CARGO_BIN_EXE_bmaptool")]).contains("Linker: LLD")
}

fn stripped(directory: &Path) -> PathBuf {
    let stripped = directory.join("stripped");
    sh("strip", &["-o", text(&stripped), env!("CARGO_BIN_EXE_bmaptool")]);
    stripped
}

/// The binary as it was built, stripped, and after a tool has moved its sections.
fn binaries(directory: &Path) -> Vec<PathBuf> {
    let (stripped, patched) = (stripped(directory), directory.join("patched"));
    fs::copy(&stripped, &patched).unwrap();
    sh("patchelf", &["--set-rpath", "/opt/a/directory/with/a/long/name", text(&patched)]);
    let built = is_linked_by_lld().then(|| env!("CARGO_BIN_EXE_bmaptool").into());
    built.into_iter().chain([stripped, patched]).collect()
}

fn by_python<S: AsRef<OsStr>>(binary: &Path, arguments: impl IntoIterator<Item = S>) -> Tool {
    let mut tool = bmaptool::<&str>([]);
    tool.command = Command::new(PYTHON);
    tool.command.arg(binary).args(arguments);
    tool
}

#[test(Program("python3"), Program("strip"), Program("patchelf"))]
fn python_runs_the_binary_with_the_same_arguments_and_status() {
    let directory = temp_dir();
    let image = directory.path().join("disk.img");
    disk_like(&image, 1);
    let expected = fs::read(create(&image)).unwrap();
    for binary in binaries(directory.path()) {
        assert_eq!(by_python(&binary, [OsStr::new("create"), image.as_os_str()]).ok().stdout, expected, "{binary:?}");
        let odd = [b"create".as_slice(), b"-o", b"a b", b"--", b"-\xff'\"\\ $x\n"].map(OsStr::from_bytes);
        let direct = bmaptool(odd).fails(&["cannot open image"]);
        assert_eq!(by_python(&binary, odd).run().stderr, direct.stderr, "{binary:?}");
        by_python(&binary, ["create", "", ""]).exits(2, &["unexpected argument ''"]);
        by_python(&binary, ["--nonsense"]).exits(2, &["--nonsense"]);
    }
    // By a name without a directory, isolated from the environment.
    let mut tool = by_python(Path::new("stripped"), ["--version"]).current_dir(directory.path());
    tool = tool.under::<&str>(&["env", "LC_ALL=C"]);
    assert_eq!(tool.ok().stdout, bmaptool(["--version"]).ok().stdout);
}

#[test(Program("python3"), Program("strip"))]
fn signals_reach_the_binary_that_python_runs() {
    let directory = temp_dir();
    let binary = stripped(directory.path());
    let target = directory.path().join("copy");
    let arguments = ["copy", "--nobmap", "-", text(&target)];
    let mut handling = Vec::new();
    for (tool, signal) in [
        (bmaptool(arguments), Signal::SIGTERM),
        (by_python(&binary, arguments), Signal::SIGTERM),
        (by_python(&binary, arguments), Signal::SIGINT),
    ] {
        let mut tool = tool;
        let mut child = tool.spawn();
        let mut feeder = child.stdin.take().unwrap();
        feeder.write_all(&[1; 1 << 20]).unwrap();
        wait_until(&mut child, "the target", || target.exists());
        handling.push(signal_handling(child.id()));
        interrupt(child, signal);
        assert!(!target.exists());
    }
    // Python ignores some, and what it ignores stays so for what it executes.
    assert!(handling.windows(2).all(|pair| pair[0] == pair[1]), "{handling:#?}");
}

/// Which signals a process blocks, ignores and handles.
fn signal_handling(process: u32) -> Vec<String> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let is_meant = |line: &&str| ["SigBlk", "SigIgn", "SigCgt"].iter().any(|name| line.starts_with(name));
    status.lines().filter(is_meant).map(str::to_owned).collect()
}

#[test(Program("python3"), Program("strip"))]
fn the_archive_in_the_binary_is_whole() {
    let directory = temp_dir();
    let told = sh(PYTHON, &["-m", "zipfile", "-t", text(&stripped(directory.path()))]);
    assert_eq!(told, "Done testing\n");
}
