//! A bmap: what is read of it keeps what the model promises, and what is written is read to the same.
#![no_main]

use bmaptool::bmap::{Bmap, Version};
use bmaptool_fuzz::{MIB, bounded, repair};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};

fuzz_target!(|data: &[u8]| {
    bounded(4 * MIB, || {
        let map = match Bmap::parse(data) {
            Ok(map) => map,
            Err(error) => {
                assert!(error.to_string().lines().count() == 1, "{error}");
                return;
            }
        };
        check(&map);
        let mut emitted = Vec::new();
        map.emit(&mut emitted).expect("memory takes everything");
        let again = Bmap::parse(&emitted).expect("what is written can be read");
        assert_eq!(again.version(), Version::CURRENT);
        assert_eq!((again.image_size(), again.block_size()), (map.image_size(), map.block_size()));
        assert_eq!((again.blocks(), again.mapped_blocks()), (map.blocks(), map.mapped_blocks()));
        assert_eq!(again.checksum_kind(), map.checksum_kind());
        assert!(again.ranges().eq(map.ranges()));
        let mut once_more = Vec::new();
        again.emit(&mut once_more).expect("memory takes everything");
        assert!(emitted == once_more);
    });
});

/// Ranges are in order, apart from each other, inside the image; all or none have a checksum of the right length.
fn check(map: &Bmap) {
    let (mut end, mut blocks, mut bytes) = (0, 0, 0);
    for range in map.ranges() {
        assert!(range.blocks.start() < range.blocks.end() && range.blocks.start() >= end);
        assert!(range.bytes.start < range.bytes.end && range.bytes.end <= map.image_size());
        assert_eq!(range.checksum.map(<[u8]>::len), map.checksum_kind().map(|kind| kind.digest_len()));
        end = range.blocks.end();
        blocks += range.blocks.count();
        bytes += range.bytes.len();
    }
    assert!(end <= map.blocks());
    assert_eq!((blocks, bytes), (map.mapped_blocks(), map.mapped_bytes()));
}

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, _seed: u32| {
    repair::mutated(data, size, max_size, repair::bmap)
});
