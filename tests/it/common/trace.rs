//! What a run asks of the kernel, seen by strace.

use std::path::{Path, PathBuf};

use super::temp_dir;

/// Something done to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A write, with offset and length in bytes.
    Write(u64, u64),
    Sync,
    /// Writes go past the page cache from here on.
    Direct,
    RereadPartitions,
}

/// A record of system calls.
pub struct Trace {
    directory: tempfile::TempDir,
}

impl Trace {
    pub fn new() -> Self {
        Self { directory: temp_dir() }
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("trace")
    }

    /// The command that records the system calls in `calls`, a list with commas, of the command that follows it.
    pub fn strace(&self, calls: &str) -> Vec<String> {
        ["strace", "-f", "-y", "-s", "0", "-o", self.file().to_str().unwrap(), "-e", &format!("trace={calls}")]
            .map(str::to_owned)
            .to_vec()
    }

    /// The system calls, a line each.
    pub fn lines(&self) -> Vec<String> {
        std::fs::read_to_string(self.file()).unwrap().lines().map(str::to_owned).collect()
    }

    /// What was done to the device with this node.
    pub fn events(&self, node: &Path) -> Vec<Event> {
        let device = format!("<{}>", node.display());
        let lines = self.lines();
        lines.iter().filter(|line| line.contains(&device)).filter_map(|line| event(line)).collect()
    }
}

fn event(line: &str) -> Option<Event> {
    let call = line.split_whitespace().nth(1)?;
    if call.starts_with("pwrite64(") {
        let (_, numbers) = line.split_once("\"..., ")?;
        let mut numbers = numbers.split([',', ')', ' ']).filter_map(|number| number.parse().ok());
        let (length, offset) = (numbers.next()?, numbers.next()?);
        return Some(Event::Write(offset, length));
    }
    match call {
        _ if call.starts_with("fsync(") => Some(Event::Sync),
        _ if line.contains("F_SETFL") && line.contains("O_DIRECT") => Some(Event::Direct),
        _ if line.contains("BLKRRPART") => Some(Event::RereadPartitions),
        _ => None,
    }
}
