//! Machines with little memory.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A control group whose processes have so much memory together, page cache and kernel memory included. What needs more
/// is killed.
pub struct LittleMemory {
    group: PathBuf,
}

impl LittleMemory {
    /// Whether this machine lets us limit memory.
    pub fn is_possible() -> bool {
        Self::limited_to(1 << 30).is_ok()
    }

    pub fn new(bytes: u64) -> Self {
        Self::limited_to(bytes).unwrap()
    }

    fn limited_to(bytes: u64) -> io::Result<Self> {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let name = format!("bmaptool-test-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let version_2 = Path::new("/sys/fs/cgroup");
        let is_version_2 = version_2.join("cgroup.subtree_control").exists();
        let (top, limit, with_swap) = if is_version_2 {
            // Where it is there already, it may not be allowed to ask for it.
            let _ = fs::write(version_2.join("cgroup.subtree_control"), "+memory");
            (version_2.to_owned(), "memory.max", "memory.swap.max")
        } else {
            (version_2.join("memory"), "memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
        };
        let group = Self { group: top.join(name) };
        fs::create_dir(&group.group)?;
        fs::write(group.group.join(limit), bytes.to_string())?;
        // A kernel need not count what is swapped out.
        let swap = if is_version_2 { 0 } else { bytes };
        let _ = fs::write(group.group.join(with_swap), swap.to_string());
        Ok(group)
    }

    /// The command that runs the command that follows it in this group, on one core, as the same process.
    pub fn command(&self) -> Vec<String> {
        let script = format!("echo $$ > {}/cgroup.procs && exec taskset --cpu-list 0 \"$@\"", self.group.display());
        ["sh", "-c", &script, "sh"].map(str::to_owned).to_vec()
    }
}

impl Drop for LittleMemory {
    fn drop(&mut self) {
        // A process that has just ended may still be on its way out of the group.
        for _ in 0..100 {
            match fs::remove_dir(&self.group) {
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                _ => return,
            }
        }
    }
}
