//! Helpers for system calls, files and threads.

pub mod aligned;
pub(crate) mod below;
pub mod durable;
pub mod eintr;
pub mod file_id;
pub(crate) mod memory;
pub(crate) mod missing;
pub(crate) mod past_cache;
pub mod paths;
pub(crate) mod pool;
pub(crate) mod programs;
pub(crate) mod read_at;
pub mod shell;
pub mod threads;
