//! What others see of this process.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;

use super::passwords;

/// Overwrites the passwords in the arguments of this process, which everybody on this machine can list. The arguments
/// must have been parsed.
pub fn hide_passwords() {
    if let Err(error) = overwrite_passwords() {
        log::debug!("cannot hide passwords from the list of processes: {error}");
    }
}

/// The kernel shows the memory in which it once put the arguments.
fn overwrite_passwords() -> io::Result<()> {
    let arguments = fs::read("/proc/self/cmdline")?;
    let passwords = passwords::places(&arguments);
    if passwords.is_empty() {
        return Ok(());
    }
    let start = arguments_address().ok_or(io::ErrorKind::Unsupported)?;
    let memory = File::options().write(true).open("/proc/self/mem")?;
    for place in passwords {
        let address = start.checked_add(place.start as u64).ok_or(io::ErrorKind::Unsupported)?;
        memory.write_all_at(&vec![b'x'; place.len()], address)?;
    }
    Ok(())
}

/// Where the arguments are in memory: `arg_start` in proc_pid_stat(5).
fn arguments_address() -> Option<u64> {
    const ARG_START: usize = 48;
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is a name in brackets, with anything in it.
    let (_, from_third) = stat.rsplit_once(')')?;
    from_third.split_whitespace().nth(ARG_START.saturating_sub(3))?.parse().ok().filter(|&address| address > 0)
}
