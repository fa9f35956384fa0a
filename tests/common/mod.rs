//! What the tests share: a runner that can skip, the built binary, images, devices and file systems.
//!
//! Each file in tests/ is a program of its own, so none of them uses all of this.
#![allow(dead_code)]

pub mod daemon;
pub mod device;
pub mod download;
pub mod gnupg;
pub mod image;
pub mod inject;
pub mod package;
pub mod server;
pub mod signed;
pub mod stage;
pub mod terminal;
pub mod tool;
pub mod trace;
pub mod work;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use libtest_mimic::{Arguments, Failed, Trial};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use sha2::{Digest, Sha256};

/// Something that a test cannot do without.
#[derive(Clone, Copy, Debug)]
pub enum Need {
    /// The rights of root, and util-linux, which every Debian has.
    Root,
    /// A program, by its name on PATH.
    Program(&'static str),
    /// Debian's bmap-tools, and not ourselves under its name.
    Peer,
    /// A module of the distribution's Python.
    Python(&'static str),
    /// A file system of this kernel, and the program that makes it if it is one for disks.
    FileSystem(&'static str),
    /// An I/O scheduler of this kernel.
    Scheduler(&'static str),
    /// A controller of control groups that slows writes to a device.
    Throttle,
    /// A processor and a C library whose system calls the tests know how to let fail.
    KnownCalls,
    /// A wish to have what is shipped built and tried, which takes minutes: `BMAPTOOL_TEST_PACKAGES=1`.
    Packages,
}

impl Need {
    fn is_met(self) -> bool {
        match self {
            Self::Root => nix::unistd::geteuid().is_root(),
            Self::Program(name) => find_program(name).is_some(),
            Self::Peer => std::fs::read(tool::PEER).is_ok_and(|program| program.starts_with(b"#!")),
            Self::Python(module) => {
                let mut import = Command::new(PYTHON);
                import.args(["-c", &format!("import {module}")]).stderr(Stdio::null());
                import.status().is_ok_and(|status| status.success())
            }
            Self::Throttle => device::Throttle::is_possible(),
            Self::Scheduler(name) => {
                load_module(name);
                device::schedulers().contains(name)
            }
            Self::KnownCalls => cfg!(all(target_arch = "x86_64", target_env = "gnu")),
            Self::Packages => std::env::var_os("BMAPTOOL_TEST_PACKAGES").is_some_and(|value| value == "1"),
            Self::FileSystem(name) => {
                load_module(name);
                let list = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
                // `nodev` stands before those that are not for disks.
                let mut line = list.lines().map(str::split_whitespace).find(|words| words.clone().last() == Some(name));
                line.as_mut().is_some_and(|words| {
                    words.next() == Some("nodev") || find_program(&format!("mkfs.{name}")).is_some()
                })
            }
        }
    }
}

/// The distribution's interpreter: it has modules that another one may not have.
pub const PYTHON: &str = "/usr/bin/python3";

/// Has the kernel load what it may have for a module, if that is not part of it.
fn load_module(name: &str) {
    let Some(modprobe) = find_program("modprobe") else { return };
    let _ = Command::new(modprobe).args(["--quiet", name]).stderr(Stdio::null()).status();
}

/// The path of a program, in the places where an administrator's PATH looks.
pub fn find_program(name: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(Into::into))
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_file())
}

/// A test, and what it needs.
pub struct Test {
    name: String,
    needs: Vec<Need>,
    body: Box<dyn FnOnce() + Send>,
}

impl Test {
    pub fn new(name: impl Into<String>, needs: &[Need], body: impl FnOnce() + Send + 'static) -> Self {
        Self { name: name.into(), needs: needs.to_vec(), body: Box::new(body) }
    }
}

/// Runs tests as `cargo test` does. One whose needs are not met is skipped and counted as ignored; under `CI=true` it
/// fails, for there everything must have been installed.
pub fn run(tests: Vec<Test>) {
    run_then(tests, || {});
}

/// Runs tests, and `clean_up` behind the last one.
pub fn run_then(tests: Vec<Test>, clean_up: fn()) {
    keep_mounts_to_ourselves();
    heed_signals();
    let arguments = Arguments::from_args();
    let in_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
    let trials = tests
        .into_iter()
        .map(|test| {
            let missing = test.needs.iter().find(|need| !need.is_met()).copied();
            let body = test.body;
            let trial = Trial::test(test.name.clone(), move || match missing {
                Some(need) => Err(Failed::from(format!("needs {need:?}"))),
                None => {
                    body();
                    Ok(())
                }
            });
            let skipped = missing.is_some() && !in_ci;
            if skipped && !arguments.list {
                eprintln!("skipping {}: it needs {:?}", test.name, missing.unwrap());
            }
            trial.with_ignored_flag(skipped)
        })
        .collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    clean_up();
    conclusion.exit();
}

/// Has signals do what they do by default. A shell has what it starts in the background ignore some, and what ignores a signal
/// hands that on to what it runs.
fn heed_signals() {
    use nix::sys::signal::{SigHandler, Signal, signal};
    for number in [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGHUP] {
        // SAFETY: no handler is installed.
        unsafe { signal(number, SigHandler::SigDfl) }.unwrap();
    }
}

/// Has this program see its own mounts only, which are gone when it is, even if it is killed.
fn keep_mounts_to_ourselves() {
    // Only root can do so, and only root can mount.
    if unshare(CloneFlags::CLONE_NEWNS).is_ok() {
        let _ = mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>);
    }
}

/// Lists functions as tests: `tests![plain, rooted [Need::Root]]`.
#[macro_export]
macro_rules! tests {
    ($($name:ident $([$($need:expr),* $(,)?])?),* $(,)?) => {
        vec![$($crate::common::Test::new(stringify!($name), &[$($($need),*)?], $name)),*]
    };
}

/// A new folder that is removed when it is dropped.
pub fn temp_dir() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("bmaptool-test-").tempdir().unwrap()
}

/// The options in a text: words that begin with dashes, up to where they end.
pub fn options(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'))
        .filter(|word| word.starts_with("--") && word.len() > 2)
        .map(str::to_owned)
        .collect()
}

/// A path of a test, all of which are UTF-8.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The digest of a file or device.
pub fn sha256(path: impl AsRef<Path>) -> String {
    let mut hasher = Sha256::new();
    let mut file = std::fs::File::open(path.as_ref()).unwrap();
    let mut piece = vec![0; 1 << 20];
    loop {
        match std::io::Read::read(&mut file, &mut piece).unwrap() {
            0 => break,
            count => hasher.update(&piece[..count]),
        }
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Runs a helper program, which must succeed; returns its standard output.
pub fn sh(program: &str, arguments: &[&str]) -> String {
    let path = find_program(program).unwrap_or_else(|| program.into());
    let output = Command::new(path).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {}\n{stderr}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}
