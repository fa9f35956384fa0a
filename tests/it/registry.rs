//! Where tests are registered, and how they are run.
//!
//! A test is a function with an attribute, `#[test(Root, Program("xz"))]`, which names what it needs. The attribute
//! (crates/test-macros, without dependencies) submits an [`Entry`] to `inventory`, which collects them before `main`
//! from wherever they stand. So no list repeats the names, rustfmt sees plain functions, and a new test is one item.
//! libtest cannot skip a test that has begun; libtest-mimic can, and has its command line.

use std::fmt;
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};

use libtest_mimic::{Arguments, Failed, Trial};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use crate::common::{PYTHON, control_groups, device, find_program, gnupg, tool};

/// What an attribute has registered: where it stands, and the tests.
pub struct Entry {
    module: &'static str,
    tests: Tests,
}

enum Tests {
    Single(&'static str, &'static [Need], fn()),
    Cases(fn() -> Vec<Test>),
}

inventory::collect!(Entry);

/// The modules whose tests start servers.
const WITH_SERVERS: [&str; 13] = [
    "archives",
    "codecs",
    "ftp",
    "hostile_peers",
    "http",
    "http_breaks",
    "nginx",
    "only_changed_sources",
    "proxies",
    "redirects",
    "ssh",
    "stand_ins",
    "tls",
];

impl Entry {
    /// What `#[test]` registers.
    pub const fn single(module: &'static str, name: &'static str, needs: &'static [Need], body: fn()) -> Self {
        Self { module, tests: Tests::Single(name, needs, body) }
    }

    /// What `#[test_cases]` registers.
    pub const fn cases(module: &'static str, cases: fn() -> Vec<Test>) -> Self {
        Self { module, tests: Tests::Cases(cases) }
    }

    /// The tests, each named by its path within this program.
    fn tests(&self) -> Vec<Test> {
        let mut tests = match self.tests {
            Tests::Single(name, needs, body) => vec![Test::new(name, needs, body)],
            Tests::Cases(cases) => cases(),
        };
        let (_, module) = self.module.split_once("::").expect("tests stand in modules");
        for test in &mut tests {
            test.name = format!("{module}::{}", test.name);
            if WITH_SERVERS.contains(&module) {
                test.needs.push(Need::Loopback);
            }
        }
        tests
    }
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

/// Something that a test cannot do without.
#[derive(Clone, Copy)]
pub enum Need {
    /// The rights of root, and util-linux, which every Debian has.
    Root,
    /// A program, by its name on PATH.
    Program(&'static str),
    /// A machine of this kind, emulated, and what makes its initramfs.
    Emulator,
    /// The built binary, run by this machine itself.
    Native,
    /// Debian's bmap-tools, and not ourselves under its name.
    Peer,
    /// A module of the distribution's Python.
    Python(&'static str),
    /// Connections to this machine itself.
    Loopback,
    /// A file system of this kernel, and the program that makes it if it is one for disks.
    FileSystem(&'static str),
    /// An I/O scheduler of this kernel.
    Scheduler(&'static str),
    /// A controller of control groups that slows writes to a device.
    Throttle,
    /// A controller of control groups that limits memory.
    LittleMemory,
    /// A processor and a C library whose system calls the tests know how to let fail.
    #[cfg_attr(all(target_arch = "x86_64", target_env = "gnu"), expect(dead_code, reason = "it is met"))]
    KnownCalls,
    /// Somebody who waits for minutes: `BMAPTOOL_TEST=all`, or `CI=true`.
    Minutes,
}

/// What [`Need::Emulator`] is made of.
const EMULATOR: [&str; 3] = ["qemu-system-x86_64", "cpio", "depmod"];

/// What holds JSON to its schema.
pub const JSON: Need = Need::Python("jsonschema");

impl Need {
    fn is_met(self) -> bool {
        match self {
            Self::Root => nix::unistd::geteuid().is_root(),
            // Those that look at a process would see the emulator.
            Self::Program("strace" | "time") if !Self::Native.is_met() => false,
            Self::Program(name) => find_program(name).is_some(),
            Self::Emulator => EMULATOR.into_iter().all(|name| Self::Program(name).is_met()),
            Self::Native => std::env::var_os(tool::INSTEAD).is_none(),
            Self::Peer => std::fs::read(tool::PEER).is_ok_and(|program| program.starts_with(b"#!")),
            Self::Python(module) => {
                let mut import = Command::new(PYTHON);
                import.args(["-c", &format!("import {module}")]).stderr(Stdio::null());
                import.status().is_ok_and(|status| status.success())
            }
            Self::Loopback => {
                let server = TcpListener::bind(("127.0.0.1", 0));
                server.is_ok_and(|server| server.local_addr().and_then(TcpStream::connect).is_ok())
            }
            Self::Throttle => control_groups::Throttle::is_possible(),
            Self::LittleMemory => control_groups::LittleMemory::is_possible(),
            Self::Scheduler(name) => {
                load_module(name);
                device::schedulers().contains(name)
            }
            // Where they are known, the tests do not ask.
            Self::KnownCalls => false,
            Self::Minutes => is_ci() || is_set("BMAPTOOL_TEST", "all"),
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

impl fmt::Display for Need {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => formatter.write_str("needs root: it attaches loop devices, mounts, or becomes another user"),
            Self::Program(name) => write!(formatter, "needs the program '{name}'"),
            Self::Emulator => write!(formatter, "needs the programs {}", EMULATOR.join(", ")),
            Self::Native => formatter.write_str(
                "needs the processor of this machine: an emulator is slower, takes memory, and lacks some calls",
            ),
            Self::Peer => write!(formatter, "needs Debian's bmap-tools as {}", tool::PEER),
            Self::Python(module) => write!(formatter, "needs the module '{module}' for {PYTHON}"),
            Self::Loopback => formatter.write_str("needs the loopback interface: 'ip link set lo up'"),
            Self::FileSystem(name) => write!(formatter, "needs the file system {name} in the kernel, and its mkfs"),
            Self::Scheduler(name) => write!(formatter, "needs the I/O scheduler {name} in the kernel"),
            Self::Throttle => formatter.write_str("needs the controller blkio of control groups, which slows a device"),
            Self::LittleMemory => formatter.write_str("needs the controller memory of control groups"),
            Self::KnownCalls => {
                formatter.write_str("needs a processor of x86-64 and glibc, whose system calls it knows")
            }
            Self::Minutes => formatter.write_str("takes minutes: BMAPTOOL_TEST=all"),
        }
    }
}

/// Runs the tests as `cargo test` does. One whose needs are not met is skipped, and counted as ignored; under `CI=true`
/// it fails, for there everything must have been installed.
pub fn run() {
    keep_mounts_to_ourselves();
    heed_signals();
    let mut arguments = Arguments::from_args();
    // Many tests wait for most of their time.
    arguments.test_threads.get_or_insert_with(|| 2 * std::thread::available_parallelism().map_or(1, usize::from));
    let mut tests: Vec<Test> = inventory::iter::<Entry>.into_iter().flat_map(Entry::tests).collect();
    tests.sort_by(|left, right| left.name.cmp(&right.name));
    let is_asked = |test: &Test| arguments.filter.as_ref().is_none_or(|filter| test.name.contains(filter));
    let quiet = |test: &Test| arguments.list || !is_asked(test);
    let trials = tests.into_iter().map(|test| trial(quiet(&test), test)).collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    gnupg::clean_up();
    conclusion.exit();
}

fn trial(is_quiet: bool, test: Test) -> Trial {
    let Test { name, needs, body } = test;
    let missing = needs.into_iter().find(|need| !need.is_met());
    let is_skipped = missing.is_some() && !is_ci();
    if let Some(need) = missing
        && is_skipped
        && !is_quiet
    {
        eprintln!("skipping {name}: it {need}");
    }
    let trial = Trial::test(name, move || match missing {
        Some(need) => Err(Failed::from(format!("it {need}"))),
        None => {
            body();
            Ok(())
        }
    });
    trial.with_ignored_flag(is_skipped)
}

fn is_ci() -> bool {
    is_set("CI", "true")
}

fn is_set(variable: &str, value: &str) -> bool {
    std::env::var_os(variable).is_some_and(|set| set == value)
}

/// Has the kernel load what it may have for a module, if that is not part of it.
fn load_module(name: &str) {
    let Some(modprobe) = find_program("modprobe") else { return };
    let _ = Command::new(modprobe).args(["--quiet", name]).stderr(Stdio::null()).status();
}

/// Has signals do what they do by default. A shell has what it starts in the background ignore some, and what ignores a
/// signal hands that on to what it runs.
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
