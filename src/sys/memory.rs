//! How much memory there is for this process.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use nix::sys::resource::{Resource, getrlimit};
use nix::sys::sysinfo::sysinfo;

/// The machine's memory, the container's limit, or that of the process's address space, whichever is least, in bytes.
pub(crate) fn limit() -> u64 {
    // A file may have any number of streams, each of which asks.
    static LIMIT: LazyLock<u64> = LazyLock::new(|| {
        const UNKNOWN: u64 = 1 << 30;
        let machine = sysinfo().map_or(UNKNOWN, |info| info.ram_total());
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let limit = getrlimit(Resource::RLIMIT_AS).ok().and_then(|(limit, _)| usize::try_from(limit).ok());
        let reachable = machine.min(limit.unwrap_or(usize::MAX) as u64);
        limits(Path::new("/sys/fs/cgroup"), &groups).into_iter().fold(reachable, u64::min)
    });
    *LIMIT
}

/// How many buffers of a MiB there are for one purpose: `most`, but where memory is little, a tenth of it. A copy has two
/// such purposes, a decoder, and the program itself to hold.
pub(crate) fn buffers(most: usize) -> usize {
    buffers_within(limit(), most)
}

fn buffers_within(limit: u64, most: usize) -> usize {
    const FEWEST: usize = 4;
    usize::try_from(limit / 10 / (1 << 20)).unwrap_or(most).max(FEWEST).min(most)
}

/// The memory limits, in bytes, of a process in `groups`, as `/proc/PID/cgroup` lists them (cgroups(7)): those of its
/// control groups of both versions and of all groups above, which are directories under `root`. A container may see
/// only its own group there, as the uppermost.
fn limits(root: &Path, groups: &str) -> Vec<u64> {
    let groups = groups.lines().filter_map(|line| {
        let (controllers, group) = line.split_once(':')?.1.split_once(':')?;
        let group = Path::new(group.strip_prefix('/')?);
        let is_for_memory = controllers.split(',').any(|controller| controller == "memory");
        match controllers {
            "" => Some((root.to_owned(), group, "memory.max")),
            _ if is_for_memory => Some((root.join("memory"), group, "memory.limit_in_bytes")),
            _ => None,
        }
    });
    let files = groups.flat_map(|(top, group, file)| group.ancestors().map(move |group| top.join(group).join(file)));
    // Where there is no limit, version 2 says `max`.
    files.filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_fewer_buffers_where_there_is_less_memory() {
        let buffers = |mib: u64| buffers_within(mib << 20, 16);
        assert_eq!([1, 48, 64, 128, 160, 1 << 20].map(buffers), [4, 4, 6, 12, 16, 16]);
        assert_eq!(buffers_within(u64::MAX, 2), 2);
    }

    #[test]
    fn the_limits_of_all_groups_above_hold() {
        let root = tempfile::tempdir().unwrap();
        for (file, limit) in [
            ("memory.max", "max\n"),
            ("a/memory.max", "300\n"),
            ("a/b/memory.max", "max\n"),
            ("c/memory.max", "1\n"),
            ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("memory/d/memory.limit_in_bytes", "200\n"),
        ] {
            let file = root.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, limit).unwrap();
        }
        let limits = |groups| limits(root.path(), groups);
        assert_eq!(limits("0::/a/b\n"), [300]);
        assert_eq!(limits("0::/\n"), [0_u64; 0]);
        assert_eq!(limits("4:cpu,memory:/d\n1:cpu:/c\n0::/\n"), [200, 9_223_372_036_854_771_712]);
        // As in a container whose groups have another name outside.
        assert_eq!(limits("0::/docker/0123\n4:memory:/docker/0123\n"), [9_223_372_036_854_771_712]);
        assert_eq!(limits("what is this\n"), [0_u64; 0]);
    }
}
