//! Child processes.

use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;

/// Sends the child `signal` when the thread that starts it ends, so that it does not outlive this process.
pub(crate) fn end_with_us(command: &mut Command, signal: Signal) -> &mut Command {
    // SAFETY: between fork and exec there is one system call, and nothing is allocated.
    unsafe { command.pre_exec(move || Ok(set_pdeathsig(signal)?)) }
}
