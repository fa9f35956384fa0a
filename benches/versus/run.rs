//! Running programs, and what a run costs.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::sh;

/// A program that is measured.
pub struct Program {
    pub name: String,
    path: PathBuf,
    arguments: Vec<OsString>,
    preparation: Option<Preparation>,
}

/// What is done before each run, off the clock.
#[derive(Clone)]
pub struct Preparation {
    program: &'static str,
    arguments: Vec<String>,
}

impl Preparation {
    pub fn new(program: &'static str, arguments: impl IntoIterator<Item = OsString>) -> Self {
        Self { program, arguments: arguments.into_iter().map(|argument| argument.into_string().unwrap()).collect() }
    }
}

/// What a run costs.
#[derive(Clone, Copy)]
pub struct Cost {
    pub time: Duration,
    /// The time of all cores, the kernel's part included.
    pub cpu: Duration,
    /// The most memory that it held, in bytes.
    pub memory: u64,
}

impl Program {
    pub fn new(name: &str, path: impl AsRef<Path>, arguments: impl IntoIterator<Item = OsString>) -> Self {
        let path = path.as_ref().to_owned();
        Self { name: name.to_owned(), path, arguments: arguments.into_iter().collect(), preparation: None }
    }

    pub fn preceded_by(self, preparation: Preparation) -> Self {
        Self { preparation: Some(preparation), ..self }
    }

    /// Runs it once; it must succeed. This program itself must stay small: the kernel counts its memory to that of its
    /// children as well.
    #[expect(clippy::zombie_processes, reason = "it is waited for by the system call that tells its cost")]
    pub fn run(&self) -> Cost {
        if let Some(Preparation { program, arguments }) = &self.preparation {
            sh(program, &arguments.iter().map(String::as_str).collect::<Vec<_>>());
        }
        let started = Instant::now();
        let mut command = Command::new(&self.path);
        command.args(&self.arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", self.path.display()));
        // SAFETY: zeroes are a valid rusage, which is all integers.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        let mut status = 0;
        // SAFETY: both pointers are to places of their types that outlive the call; the process is our child.
        let waited = unsafe { libc::wait4(child.id() as libc::pid_t, &raw mut status, 0, &raw mut usage) };
        let time = started.elapsed();
        assert!(waited > 0 && status == 0, "{} {:?} failed", self.path.display(), self.arguments);
        let cpu = duration(usage.ru_utime) + duration(usage.ru_stime);
        Cost { time, cpu, memory: usage.ru_maxrss as u64 * 1024 }
    }
}

fn duration(time: libc::timeval) -> Duration {
    Duration::from_secs(time.tv_sec as u64) + Duration::from_micros(time.tv_usec as u64)
}
