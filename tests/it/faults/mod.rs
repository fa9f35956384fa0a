//! System calls that fail: every one that a copy or a map makes fails in turn, and nothing may come of that but a right
//! result, or a message and a status that say that there is none.

// The registers of a system call are the processor's own, and what is known of them is the C library's.
#[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
mod devices;
#[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
mod fixtures;
#[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
mod judge;
#[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
mod signals_and_memory;
#[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
mod sweeps;

/// Where they cannot be tried, this is told.
#[cfg(not(all(target_arch = "x86_64", target_env = "gnu")))]
#[test(KnownCalls)]
fn every_call_fails() {}
