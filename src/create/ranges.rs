//! The ranges of a map: extents of the file system and included bytes, merged, then cut.

use std::path::Path;

use super::{Error, Include, Request};
use crate::bmap::MAX_FILE_SIZE;
use crate::filemap::FileMap;
use crate::partition::PartitionTable;
use crate::range::{BlockRange, ByteRange};

/// How many bytes the shortest line that lists a range takes in a bmap file, without its checksum.
const MIN_LINE_LEN: u64 = 20;

/// The ranges that `request` wants of the image at `path`, which has this `map` and these `partitions`.
pub(super) fn all(
    map: &FileMap,
    path: &Path,
    request: &Request,
    partitions: Option<&PartitionTable>,
) -> Result<Vec<BlockRange>, Error> {
    let mut ranges = map.ranges.clone();
    for &include in &request.include {
        let bytes = bytes_of(include, map.size, path, partitions)?;
        ranges.extend(map.block_size.blocks_of(bytes));
    }
    if !request.include.is_empty() {
        ranges = merge(ranges);
    }
    let Some(range_size) = request.range_size else { return Ok(ranges) };
    let block_size = map.block_size.bytes();
    if range_size == 0 || range_size % block_size != 0 {
        return Err(Error::RangeSize { path: path.to_owned(), size: range_size, block_size });
    }
    let stride = range_size / block_size;
    let count = ranges.iter().map(|range| range.last() / stride - range.start() / stride + 1).sum();
    let max = MAX_FILE_SIZE / (MIN_LINE_LEN + request.checksums.map_or(0, |kind| kind.digits() as u64));
    if count > max {
        return Err(Error::TooManyRanges { path: path.to_owned(), count, max });
    }
    Ok(ranges.into_iter().flat_map(|range| cut(range, stride)).collect())
}

/// Where the included part lies.
fn bytes_of(include: Include, size: u64, path: &Path, partitions: Option<&PartitionTable>) -> Result<ByteRange, Error> {
    let bytes = match include {
        Include::Bytes(bytes) => bytes,
        Include::Partition(number) => {
            let partition = partitions.and_then(|table| table.partition(number));
            partition.ok_or_else(|| Error::NoPartition { path: path.to_owned(), include })?.bytes
        }
    };
    if bytes.end > size {
        return Err(Error::PastTheEnd { path: path.to_owned(), include, size });
    }
    Ok(bytes)
}

/// The same blocks in order, each once.
fn merge(mut ranges: Vec<BlockRange>) -> Vec<BlockRange> {
    ranges.sort_unstable_by_key(|range| range.start());
    let mut merged: Vec<BlockRange> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match merged.last_mut().and_then(|last| Some((last.merged(range)?, last))) {
            Some((both, last)) => *last = both,
            None => merged.push(range),
        }
    }
    merged
}

/// `range` in pieces that end at multiples of `stride` blocks.
fn cut(range: BlockRange, stride: u64) -> impl Iterator<Item = BlockRange> {
    let slots = range.start() / stride..=range.last() / stride;
    slots.filter_map(move |slot| {
        let start = range.start().max(slot * stride);
        BlockRange::new(start, range.end().min((slot + 1).saturating_mul(stride)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::range::BlockSize;

    fn ranges(request: &Request) -> Result<Vec<(u64, u64)>, Error> {
        let mapped = [(1, 3), (10, 30)].map(|(start, end)| BlockRange::new(start, end).unwrap());
        let map = FileMap { size: 50_000, block_size: BlockSize::new(1000).unwrap(), ranges: mapped.to_vec() };
        let ranges = all(&map, Path::new("image"), request, None)?;
        Ok(ranges.into_iter().map(|range| (range.start(), range.end())).collect())
    }

    fn including(bytes: &[(u64, u64)]) -> Request {
        let include = |&(start, end)| Include::Bytes(ByteRange { start, end });
        Request { include: bytes.iter().map(include).collect(), ..Request::default() }
    }

    #[test]
    fn ranges_are_cut_at_multiples_counted_from_the_start_of_the_image() {
        let request = |bytes| Request { range_size: Some(bytes), ..Request::default() };
        assert_eq!(ranges(&Request::default()).unwrap(), [(1, 3), (10, 30)]);
        assert_eq!(ranges(&request(8000)).unwrap(), [(1, 3), (10, 16), (16, 24), (24, 30)]);
        assert_eq!(ranges(&request(2000)).unwrap()[..3], [(1, 2), (2, 3), (10, 12)]);
        assert_eq!(ranges(&request(1 << 40)).unwrap_err().to_string().split(' ').nth(4), Some("1099511627776"));
        for bytes in [0, 999, 1500] {
            assert!(matches!(ranges(&request(bytes)), Err(Error::RangeSize { block_size: 1000, .. })), "{bytes}");
        }
    }

    #[test]
    fn what_is_included_is_rounded_outward_and_merged() {
        assert_eq!(ranges(&including(&[(3000, 3001)])).unwrap(), [(1, 4), (10, 30)]);
        assert_eq!(
            ranges(&including(&[(40_001, 42_001), (2999, 10_000), (39_000, 40_500)])).unwrap(),
            [(1, 30), (39, 43)]
        );
        assert_eq!(ranges(&including(&[(0, 50_000)])).unwrap(), [(0, 50)]);
        assert!(matches!(ranges(&including(&[(0, 50_001)])), Err(Error::PastTheEnd { size: 50_000, .. })));
        let partition = Request { include: vec![Include::Partition(1)], ..Request::default() };
        assert!(matches!(ranges(&partition), Err(Error::NoPartition { .. })));
    }

    #[test]
    fn more_ranges_than_a_bmap_can_list_are_refused_before_they_are_made() {
        let map = FileMap {
            size: u64::MAX,
            block_size: BlockSize::new(1).unwrap(),
            ranges: vec![BlockRange::new(0, u64::MAX).unwrap()],
        };
        let request = Request { range_size: Some(1), ..Request::default() };
        let error = all(&map, Path::new("image"), &request, None).unwrap_err();
        assert!(matches!(error, Error::TooManyRanges { count: u64::MAX, .. }), "{error}");
    }
}
