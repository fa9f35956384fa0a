//! How much memory a decoder may take where the file says how much it needs.

use nix::sys::sysinfo::sysinfo;

/// A quarter of the machine's memory, in bytes: a flashing tool is not alone, least of all on a device with little of it.
pub(super) fn quarter() -> u64 {
    const UNKNOWN: u64 = 256 << 20;
    sysinfo().map_or(UNKNOWN, |info| info.ram_total() / 4)
}
