//! The first process of the emulated machine, and the only one but for those that it runs. It does what `/steps` says,
//! a line each, and writes what came of it to the serial port that the kernel's command line names (`report=/dev/PORT`). It is compiled by itself, against the standard
//! library alone.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::raw::{c_char, c_int, c_long, c_ulong, c_void};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

unsafe extern "C" {
    fn mount(source: *const c_char, target: *const c_char, kind: *const c_char, flags: c_ulong, data: *const c_void) -> c_int;
    fn umount(target: *const c_char) -> c_int;
    fn reboot(command: c_int) -> c_int;
    fn sync();
    fn klogctl(action: c_int, buffer: *mut c_char, length: c_int) -> c_int;
    fn syscall(number: c_long, ...) -> c_long;
}

const MS_RDONLY: c_ulong = 1;
/// Of Linux.
const O_EXCL: c_int = 0o200;
const SYS_FINIT_MODULE: c_long = if cfg!(target_arch = "x86_64") { 313 } else { 273 };
/// Reads all of the kernel's log, as dmesg does.
const SYSLOG_ACTION_READ_ALL: c_int = 3;
const RB_POWER_OFF: c_int = 0x4321_fedc;

/// How long a device may take to appear.
const DEVICE_TIMEOUT: Duration = Duration::from_secs(120);

fn main() {
    if let Err(error) = work() {
        println!("init: {error}");
    }
    // SAFETY: neither takes a pointer.
    unsafe {
        sync();
        reboot(RB_POWER_OFF);
    }
}

fn work() -> io::Result<()> {
    for (kind, directory) in [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")] {
        fs::create_dir_all(directory)?;
        mount_at(kind, kind, directory, 0)?;
    }
    for module in fs::read_to_string("/modules/order")?.lines() {
        load(&format!("/modules/{module}"))?;
    }
    // What the kernel does not know is for the environment.
    let port = std::env::var_os("report").ok_or(io::ErrorKind::NotFound)?;
    let mut report = File::options().write(true).open(port)?;
    for line in fs::read_to_string("/steps")?.lines() {
        writeln!(report, "== {line}")?;
        match step(line, &mut report) {
            Ok(status) => writeln!(report, "== status {status}")?,
            Err(error) => writeln!(report, "{error}\n== status failed")?,
        }
    }
    writeln!(report, "== done")
}

/// Does one thing; returns the exit status of a program, and 0 for everything else.
fn step(line: &str, report: &mut File) -> io::Result<i32> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words[..] {
        ["wait", path] => wait_for(path)?,
        ["show", path] => write!(report, "{}", fs::read_to_string(path)?)?,
        ["log"] => report.write_all(&kernel_log()?)?,
        ["list", directory] => {
            for entry in fs::read_dir(directory)? {
                writeln!(report, "{}", entry?.file_name().display())?;
            }
        }
        ["mount", kind, device, directory] => {
            fs::create_dir_all(directory)?;
            mount_at(kind, device, directory, MS_RDONLY)?;
        }
        // For good, as a copy or a mount of another namespace would for a while.
        ["hold", device] => std::mem::forget(File::options().read(true).custom_flags(O_EXCL).open(device)?),
        ["umount", directory] => {
            let directory = CString::new(directory)?;
            // SAFETY: the string outlives the call.
            check(unsafe { umount(directory.as_ptr()) }.into())?;
        }
        ["run", program, ref arguments @ ..] => {
            // A pipe, for the port is a terminal, on which there are other things to be seen.
            let mut child = Command::new(program).args(arguments).stdin(Stdio::null()).stderr(Stdio::piped()).spawn()?;
            if let Some(stderr) = &mut child.stderr {
                io::copy(stderr, report)?;
            }
            return Ok(child.wait()?.code().unwrap_or(-1));
        }
        _ => return Err(io::Error::other("what?")),
    }
    Ok(0)
}

fn kernel_log() -> io::Result<Vec<u8>> {
    let mut log = vec![0; 1 << 20];
    // SAFETY: the kernel writes as many bytes at most as it is told, and `log` has.
    let length = unsafe { klogctl(SYSLOG_ACTION_READ_ALL, log.as_mut_ptr().cast(), 1 << 20) };
    check(length.into())?;
    log.truncate(length as usize);
    Ok(log)
}

fn wait_for(path: &str) -> io::Result<()> {
    let started = Instant::now();
    while !Path::new(path).exists() {
        if started.elapsed() > DEVICE_TIMEOUT {
            return Err(io::ErrorKind::TimedOut.into());
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn mount_at(kind: &str, source: &str, target: &str, flags: c_ulong) -> io::Result<()> {
    let [kind, source, target] = [kind, source, target].map(|text| CString::new(text).unwrap());
    // SAFETY: the strings outlive the call; these file systems need no data.
    check(unsafe { mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, std::ptr::null()) }.into())
}

fn load(module: &str) -> io::Result<()> {
    let file = File::open(module)?;
    // SAFETY: the parameters are a string that outlives the call.
    check(unsafe { syscall(SYS_FINIT_MODULE, file.as_raw_fd(), c"".as_ptr(), 0) })
}

fn check(result: c_long) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
