//! Control groups, in which programs have slow devices or little memory.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::device::{Disk, Mount};

/// A control group. It is gone when this is dropped.
struct ControlGroup {
    path: PathBuf,
}

impl ControlGroup {
    /// A new one in the hierarchy at `top`.
    fn below(top: &Path) -> io::Result<Self> {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let name = format!("bmaptool-test-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = top.join(name);
        fs::create_dir(&path)?;
        Ok(Self { path })
    }

    fn set(&self, name: &str, value: &str) -> io::Result<()> {
        fs::write(self.path.join(name), value)
    }

    /// The command that runs `wrapper` and the command that follows it in this group, as the same process.
    fn command(&self, wrapper: &str) -> Vec<String> {
        let script = format!("echo $$ > {}/cgroup.procs && exec {wrapper} \"$@\"", self.path.display());
        ["sh", "-c", &script, "sh"].map(str::to_owned).to_vec()
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        // A process that has just ended may still be on its way out of the group.
        for _ in 0..100 {
            match fs::remove_dir(&self.path) {
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                _ => return,
            }
        }
    }
}

/// Slows the writes of a program to some devices, by the blkio controller of control groups (version 1). Where the
/// machine uses version 2, the controller is free for version 1 as long as nothing there is limited by it.
pub struct Throttle {
    // In the order in which they must go.
    group: ControlGroup,
    _controllers: Mount,
}

impl Throttle {
    /// Whether there is the controller, and where it can be had.
    pub fn is_possible() -> bool {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let controllers = read("/proc/cgroups");
        let blkio = controllers.lines().find_map(|line| line.strip_prefix("blkio\t"));
        // The number of its hierarchy (0 for that of version 2), how many groups it has, whether it is enabled.
        let words: Vec<_> = blkio.unwrap_or_default().split_whitespace().collect();
        match words[..] {
            ["0", _, "1"] => !read("/sys/fs/cgroup/cgroup.subtree_control").split_whitespace().any(|name| name == "io"),
            [_, _, "1"] => true,
            _ => false,
        }
    }

    /// Lets `bytes` through to each disk in a second.
    pub fn new<'a>(disks: impl IntoIterator<Item = &'a Disk>, bytes: u64) -> Self {
        let controllers = Mount::with("cgroup", "blkio");
        let group = ControlGroup::below(controllers.path()).unwrap();
        for disk in disks {
            let number = fs::read_to_string(disk.attribute("dev")).unwrap();
            group.set("blkio.throttle.write_bps_device", &format!("{} {bytes}", number.trim())).unwrap();
        }
        Self { group, _controllers: controllers }
    }

    /// The command that runs the command that follows it in this group, as the same process.
    pub fn command(&self) -> Vec<String> {
        self.group.command("")
    }
}

/// A control group whose processes have so much memory together, page cache and kernel memory included. What needs more
/// is killed.
pub struct LittleMemory {
    group: ControlGroup,
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
        let version_2 = Path::new("/sys/fs/cgroup");
        let is_version_2 = version_2.join("cgroup.subtree_control").exists();
        let (top, limit, with_swap) = if is_version_2 {
            // Where it is there already, it may not be allowed to ask for it.
            let _ = fs::write(version_2.join("cgroup.subtree_control"), "+memory");
            (version_2.to_owned(), "memory.max", "memory.swap.max")
        } else {
            (version_2.join("memory"), "memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
        };
        let group = ControlGroup::below(&top)?;
        group.set(limit, &bytes.to_string())?;
        // A kernel need not count what is swapped out.
        let swap = if is_version_2 { 0 } else { bytes };
        let _ = group.set(with_swap, &swap.to_string());
        Ok(Self { group })
    }

    /// The command that runs the command that follows it in this group, on one core, as the same process.
    pub fn command(&self) -> Vec<String> {
        self.group.command("taskset --cpu-list 0")
    }
}
