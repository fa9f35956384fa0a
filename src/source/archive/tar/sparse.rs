//! Where the data of a sparse file is stored.

use std::collections::VecDeque;
use std::io;

use super::bad;
use super::header::Block;
use super::pax::decimal;
use crate::range::ByteRange;
use crate::source::decode_error::corrupt;

/// The most extents that a map may have, so that memory stays bounded.
pub(super) const EXTENTS_MAX: usize = 1 << 18;

/// Consecutive bytes of a file that are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    /// Its bytes, from the start of the file.
    pub(super) range: ByteRange,
    /// Where they are stored, from the start of the tar.
    pub(super) stored: u64,
}

/// The extents that `map` lists as offsets and lengths, of a file of `size` bytes whose data is stored at `data`.
pub(super) fn extents(map: &[(u64, u64)], data: ByteRange, size: u64) -> io::Result<VecDeque<Extent>> {
    let invalid = || corrupt("the map of a sparse file is invalid");
    let mut extents = VecDeque::with_capacity(map.len());
    let (mut stored, mut previous_end) = (data.start, 0);
    for &(start, length) in map {
        let end = start.checked_add(length).filter(|&end| end <= size).ok_or_else(invalid)?;
        if start < previous_end {
            return Err(invalid());
        }
        extents.push_back(Extent { range: ByteRange { start, end }, stored });
        stored = stored.checked_add(length).ok_or_else(invalid)?;
        previous_end = end;
    }
    if stored > data.end { Err(invalid()) } else { Ok(extents) }
}

/// The error for a map of too many extents.
pub(super) fn too_long() -> io::Error {
    bad(corrupt("the map of a sparse file is too long"))
}

/// The map at the start of a file's data, read block by block: decimal numbers, each on a line of its own, of which the
/// first says how many pairs follow.
pub(super) fn map_in_data(mut block: impl FnMut() -> io::Result<Block>) -> io::Result<Vec<(u64, u64)>> {
    let invalid = || bad(corrupt("the map of a sparse file is invalid"));
    let mut lines = Vec::new();
    let mut line = Vec::new();
    let mut left = None;
    while left != Some(0) {
        for byte in block()?.0 {
            match byte {
                b'\n' if left != Some(0) => {
                    let number = decimal(&line).ok_or_else(invalid)?;
                    line.clear();
                    match &mut left {
                        None if number > EXTENTS_MAX as u64 => return Err(too_long()),
                        None => left = Some(number.saturating_mul(2)),
                        Some(left) => {
                            *left = left.saturating_sub(1);
                            lines.push(number);
                        }
                    }
                }
                // The rest of the last block is padding.
                _ if left == Some(0) => {}
                _ if line.len() > 20 => return Err(invalid()),
                _ => line.push(byte),
            }
        }
    }
    Ok(lines.chunks_exact(2).filter_map(|pair| Some((*pair.first()?, *pair.last()?))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extents_are_stored_one_after_another() {
        let data = ByteRange { start: 1024, end: 1024 + 30 };
        let extent = |start, end, stored| Extent { range: ByteRange { start, end }, stored };
        let found = extents(&[(0, 10), (50, 20), (100, 0)], data, 100).unwrap();
        assert_eq!(found, [extent(0, 10, 1024), extent(50, 70, 1034), extent(100, 100, 1054)]);
        for map in [[(0, 10), (5, 1)], [(0, 10), (90, 11)], [(0, 20), (50, 11)], [(0, 1), (u64::MAX, 1)]] {
            assert!(extents(&map, data, 100).is_err(), "{map:?}");
        }
    }
}
