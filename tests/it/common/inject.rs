//! A program whose system calls fail on cue, by ptrace(2).
//!
//! strace can let calls fail too, but it counts the uses in each thread for itself, and it cannot make a short count:
//! it leaves the call out, and lies about the result. Here a call that is to be short is made, for fewer bytes.
#![cfg(all(target_arch = "x86_64", target_env = "gnu"))] // registers are the processor's own

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::sync::mpsc::channel;

use nix::errno::Errno;
use nix::libc::{self, c_long};
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::tool::{Outcome, TIMEOUT, Tool};

/// The number of a system call.
pub type Call = c_long;

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails with this error.
    Error(Errno),
    /// It is made for about half of the bytes that it was meant for.
    Short,
    /// This signal comes while it is made.
    Signal(Signal),
}

/// Which uses of which call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uses {
    /// That of this call with this number, counted from 1 over all threads.
    Of(Call, usize),
    /// Every second one of this call, counted in each thread.
    EverySecond(Call),
    /// All of this call.
    All(Call),
    /// The call with this number, whichever it is, counted from 1 over all threads.
    Any(usize),
}

/// What comes of a run.
pub struct Traced {
    pub outcome: Outcome,
    /// The signal that ended it, if one did.
    pub signal: Option<Signal>,
    /// The calls that were made once `main` had begun, in order.
    pub calls: Vec<Call>,
    /// Those of them that met with a fault.
    pub faults: Vec<Call>,
}

/// Runs a program with faults in its system calls. It gets no standard input.
///
/// The calls before `main`, of the dynamic loader and of the runtime, stay whole, and are not counted. The first that
/// `main` makes is told by the file that it opens: its own arguments in /proc, which it looks through for passwords.
pub fn run(tool: Tool, faults: &[(Uses, Fault)]) -> Traced {
    run_watched(tool, faults, &mut |_| {})
}

/// The same; `watch` is called before each call, with its number, counted from 1.
#[expect(clippy::zombie_processes, reason = "it is waited for by the tracer")]
pub fn run_watched(mut tool: Tool, faults: &[(Uses, Fault)], watch: &mut dyn FnMut(usize)) -> Traced {
    let command = tool.command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // SAFETY: between fork and exec only this one system call is made.
    unsafe { command.pre_exec(|| ptrace::traceme().map_err(Into::into)) };
    let mut child = command.spawn().unwrap();
    let program = Pid::from_raw(child.id() as i32);
    let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let stdout = std::thread::spawn(move || super::tool::read_all(&mut stdout));
    let stderr = std::thread::spawn(move || super::tool::read_all(&mut stderr));
    let (ended, end) = channel::<()>();
    let watchdog = std::thread::spawn(move || {
        let hangs = end.recv_timeout(TIMEOUT) == Err(std::sync::mpsc::RecvTimeoutError::Timeout);
        if hangs {
            let _ = kill(program, Signal::SIGKILL);
        }
        hangs
    });

    let (threads, calls, hits) = (HashMap::new(), Vec::new(), Vec::new());
    let mut tracer = Tracer { program, faults, watch, threads, in_main: false, calls, hits };
    let end = tracer.follow();
    drop(ended);
    let stderr = String::from_utf8_lossy(&stderr.join().unwrap()).into_owned();
    assert!(!watchdog.join().unwrap(), "the program hangs; it said: {stderr}");
    let (status, signal) = match end {
        WaitStatus::Exited(_, status) => (Some(status), None),
        WaitStatus::Signaled(_, signal, _) => (None, Some(signal)),
        other => panic!("{other:?}"),
    };
    let outcome = Outcome::new(status, stdout.join().unwrap(), stderr);
    Traced { outcome, signal, calls: tracer.calls, faults: tracer.hits }
}

struct Tracer<'a> {
    program: Pid,
    faults: &'a [(Uses, Fault)],
    watch: &'a mut dyn FnMut(usize),
    threads: HashMap<Pid, Thread>,
    /// Whether `main` has begun.
    in_main: bool,
    calls: Vec<Call>,
    hits: Vec<Call>,
}

/// A thread of the program.
#[derive(Default)]
struct Thread {
    /// What the call that it is in returns, where that is decided already.
    result: Option<Errno>,
    /// The first and the third argument of the call that it is in, where they were changed: the kernel leaves their
    /// registers alone, and compilers rely on it.
    arguments: Option<(u64, u64)>,
    /// How often it has made each call.
    uses: HashMap<Call, usize>,
}

impl Tracer<'_> {
    /// Follows the program, which waits after its exec, and its threads to the end.
    fn follow(&mut self) -> WaitStatus {
        waitpid(self.program, None).unwrap();
        let options = Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACECLONE | Options::PTRACE_O_EXITKILL;
        ptrace::setoptions(self.program, options).unwrap();
        self.threads.insert(self.program, Thread::default());
        resume(self.program, None);
        loop {
            // Only what this thread has started, for other tests run beside it.
            match waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD)).unwrap() {
                end @ (WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..)) if pid == self.program => {
                    return end;
                }
                WaitStatus::PtraceSyscall(thread) => {
                    // A thread that is gone by now was ended by another one.
                    let _ = self.at_call(thread);
                    resume(thread, None);
                }
                WaitStatus::PtraceEvent(thread, ..) => resume(thread, None),
                WaitStatus::Stopped(thread, signal) => {
                    // A new thread stops once.
                    let is_new = !self.threads.contains_key(&thread) && signal == Signal::SIGSTOP;
                    self.threads.entry(thread).or_default();
                    resume(thread, Some(signal).filter(|_| !is_new));
                }
                _ => {}
            }
        }
    }

    /// A thread is about to make a call, or has made it.
    fn at_call(&mut self, id: Pid) -> nix::Result<()> {
        let mut registers = ptrace::getregs(id)?;
        let is_entry = ptrace::syscall_info(id)?.op == libc::PTRACE_SYSCALL_INFO_ENTRY;
        let call = registers.orig_rax as Call;
        if !is_entry {
            if let Some((first, third)) = self.threads.entry(id).or_default().arguments.take() {
                (registers.rdi, registers.rdx) = (first, third);
                ptrace::setregs(id, registers)?;
            }
            if let Some(error) = self.threads.entry(id).or_default().result.take() {
                registers.rax = i64::from(error as i32).wrapping_neg() as u64;
                return ptrace::setregs(id, registers);
            }
            return Ok(());
        }
        self.in_main |= call == libc::SYS_openat && opens_own_arguments(id, registers.rsi);
        if !self.in_main {
            return Ok(());
        }
        let Some(fault) = self.fault(id, call) else { return Ok(()) };
        self.threads.entry(id).or_default().arguments = Some((registers.rdi, registers.rdx));
        match fault {
            Fault::Error(error) => {
                match call {
                    // It tells of no error, but where the heap ends: as it does when it is asked for that.
                    libc::SYS_brk => registers.rdi = 0,
                    // That of a directory of the kernel's cannot fail, and the standard library relies on it.
                    libc::SYS_close if is_directory(id, registers.rdi) => return Ok(()),
                    // A file is closed whatever close(2) returns.
                    libc::SYS_close => self.threads.entry(id).or_default().result = Some(error),
                    _ => {
                        self.threads.entry(id).or_default().result = Some(error);
                        registers.orig_rax = u64::MAX;
                    }
                }
            }
            Fault::Short => match shorter(registers.rdx) {
                // The kernel takes a setting as a whole or not at all.
                Some(length) if !is_setting(id, registers.rdi) => registers.rdx = length,
                _ => return Ok(()),
            },
            Fault::Signal(signal) => kill(self.program, signal)?,
        }
        self.hits.push(call);
        ptrace::setregs(id, registers)
    }

    /// Counts a call; says what is to happen to it.
    fn fault(&mut self, thread: Pid, call: Call) -> Option<Fault> {
        self.calls.push(call);
        let total = self.calls.len();
        (self.watch)(total);
        let of_call = self.calls.iter().filter(|&&other| other == call).count();
        let uses = self.threads.entry(thread).or_default().uses.entry(call).or_default();
        *uses += 1;
        let in_thread = *uses;
        let is_meant = |uses: Uses| match uses {
            Uses::Of(meant, number) => meant == call && number == of_call,
            Uses::EverySecond(meant) => meant == call && in_thread % 2 == 1,
            Uses::All(meant) => meant == call,
            Uses::Any(number) => number == total,
        };
        self.faults.iter().find(|(uses, _)| is_meant(*uses)).map(|(_, fault)| *fault)
    }
}

/// About half of a number of bytes. A device takes whole sectors only, and so it gets whole pages.
fn shorter(length: u64) -> Option<u64> {
    const PAGE: u64 = 4096;
    match length {
        0 | 1 | PAGE => None,
        2..PAGE => Some(length / 2),
        _ => Some((length / 2).next_multiple_of(PAGE)),
    }
}

fn resume(thread: Pid, signal: Option<Signal>) {
    match ptrace::syscall(thread, signal) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(error) => panic!("cannot resume the program: {error}"),
    }
}

/// Whether a descriptor of a thread is that of a directory.
fn is_directory(thread: Pid, descriptor: u64) -> bool {
    std::fs::metadata(format!("/proc/{thread}/fd/{descriptor}")).is_ok_and(|metadata| metadata.is_dir())
}

/// Whether a descriptor of a thread is that of a setting in sysfs.
fn is_setting(thread: Pid, descriptor: u64) -> bool {
    std::fs::read_link(format!("/proc/{thread}/fd/{descriptor}")).is_ok_and(|file| file.starts_with("/sys"))
}

/// Whether the path at `address` in the memory of a thread is that of its own arguments.
fn opens_own_arguments(thread: Pid, address: u64) -> bool {
    const PATH: &[u8] = b"/proc/self/cmdline\0";
    let mut path = [0; PATH.len()];
    let memory = File::open(format!("/proc/{thread}/mem"));
    memory.is_ok_and(|memory| memory.read_exact_at(&mut path, address).is_ok()) && path == PATH
}

/// The name of a call, or its number where it has none here.
pub fn name(call: Call) -> String {
    macro_rules! names {
        ($($name:ident)*) => { [$((libc::$name, stringify!($name))),*] };
    }
    let names = names![
        SYS_access SYS_brk SYS_clone3 SYS_close SYS_copy_file_range SYS_dup SYS_exit SYS_exit_group SYS_fadvise64 SYS_fallocate
        SYS_fcntl SYS_fdatasync SYS_fsync SYS_ftruncate SYS_futex SYS_getcwd SYS_getdents64 SYS_getpid SYS_getrandom SYS_gettid
        SYS_ioctl SYS_linkat SYS_lseek SYS_madvise SYS_mmap SYS_mprotect SYS_mremap SYS_munmap SYS_newfstatat SYS_openat
        SYS_fchmod SYS_poll SYS_pread64 SYS_prlimit64 SYS_pwrite64 SYS_read SYS_readlink SYS_rename SYS_rseq SYS_rt_sigaction
        SYS_rt_sigprocmask SYS_rt_sigreturn SYS_sched_getaffinity SYS_sched_yield SYS_set_robust_list SYS_sigaltstack SYS_statx
        SYS_sync_file_range SYS_unlink SYS_write SYS_clock_nanosleep SYS_tgkill SYS_restart_syscall SYS_lstat SYS_stat
    ];
    let known = names.into_iter().find(|&(number, _)| number == call);
    known.map_or_else(|| format!("call {call}"), |(_, name)| name.trim_start_matches("SYS_").to_owned())
}
