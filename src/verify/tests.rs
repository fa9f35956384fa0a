//! What comes out for files; devices are for `tests/it`.

use std::fs;
use std::sync::Mutex;

use super::*;
use crate::bmap::Checksums;
use crate::event::Silent;
use crate::range::{BlockRange, BlockSize};
use crate::source::Location;

const BLOCK: u64 = 1000;

/// A map of `image`, whose ranges have their last blocks included.
fn map(image: &[u8], ranges: &[(u64, u64)]) -> Bmap {
    let block_size = BlockSize::new(BLOCK).unwrap();
    let ranges: Vec<_> = ranges.iter().map(|&(first, last)| BlockRange::from_inclusive(first, last).unwrap()).collect();
    let mut checksums = Checksums::new(ChecksumKind::Sha256);
    for range in &ranges {
        let bytes = range.bytes(block_size, image.len() as u64);
        let mut hasher = ChecksumKind::Sha256.hasher();
        hasher.update(&image[bytes.start as usize..bytes.end as usize]);
        checksums.push(&hasher.finish());
    }
    Bmap::new(image.len() as u64, block_size, ranges, Some(checksums)).unwrap()
}

fn has_digests(difference: &Difference) -> bool {
    matches!(difference.fault, Fault::Differs(Some(_)))
}

/// What comes out for a file.
fn verify(map: &Bmap, file: &[u8]) -> Result<Report, Error> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk.img");
    fs::write(&path, file).unwrap();
    let source = Source::open(&Location::Path(path)).unwrap();
    Verify::open(map.clone(), source, &Silent)?.run(&Silent).map_err(|unfinished| unfinished.error)
}

fn image() -> Vec<u8> {
    (0..5_000_500_u32).map(|at| ((at / 3) ^ (at / 1001)) as u8).collect()
}

const RANGES: [(u64, u64); 6] = [(0, 9), (10, 19), (20, 29), (1000, 2999), (3500, 3500), (4990, 5000)];

#[test]
fn an_image_is_what_its_map_says() {
    let image = image();
    let map = map(&image, &RANGES);
    let report = verify(&map, &image).unwrap();
    assert_eq!((report.bytes, report.ranges, report.differences.len()), (map.mapped_bytes(), 6, 0));
    assert_eq!(report.path, None);
    let mut damaged = image;
    damaged[31_000] ^= 1;
    assert!(verify(&map, &damaged).unwrap().differences.is_empty(), "a hole is of no interest");
}

#[test]
fn all_ranges_that_differ_are_told_and_adjacent_ones_are_one() {
    let image = image();
    let map = map(&image, &RANGES);
    let mut damaged = image;
    for at in [15_000, 25_000, 1_999_999, 2_000_000, 5_000_499] {
        damaged[at] ^= 1;
    }
    let report = verify(&map, &damaged).unwrap();
    let found: Vec<_> = report
        .differences
        .iter()
        .map(|difference| (difference.blocks.to_string(), difference.ranges, has_digests(difference)))
        .collect();
    let expected = [("10-29", 2, false), ("1000-2999", 1, true), ("4990-5000", 1, true)];
    assert_eq!(found, expected.map(|(blocks, ranges, digests)| (blocks.to_owned(), ranges, digests)));
    assert_eq!(report.differences[0].bytes, ByteRange { start: 10_000, end: 30_000 });
    assert_eq!(report.differences[2].bytes.end, 5_000_500);
}

#[test]
fn a_file_of_another_size_or_a_map_without_checksums_cannot_be_compared() {
    let image = image();
    let map = map(&image, &RANGES);
    assert!(matches!(verify(&map, &image[1..]), Err(Error::Source(crate::source::Error::Size { .. }))));
    let block_size = BlockSize::new(BLOCK).unwrap();
    let range = BlockRange::from_inclusive(0, 1).unwrap();
    let plain = Bmap::new(image.len() as u64, block_size, vec![range], None).unwrap();
    assert!(matches!(verify(&plain, &image), Err(Error::NoChecksums)));
    let empty = Bmap::new(image.len() as u64, block_size, Vec::new(), None).unwrap();
    assert_eq!(verify(&empty, &image).unwrap().bytes, 0);
}

#[test]
fn a_file_that_becomes_shorter_has_ended_early() {
    let image = image();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk.img");
    fs::write(&path, &image).unwrap();
    let source = Source::open(&Location::Path(path.clone())).unwrap();
    let verify = Verify::open(map(&image, &RANGES), source, &Silent).unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_len(2_000_000).unwrap();
    let Unfinished { differences, error } = verify.run(&Silent).unwrap_err();
    assert!(matches!(error, Error::EndedEarly { at: 2_000_000, expected: 5_000_500 }), "{error}");
    assert!(differences.is_empty(), "{differences:?}");
}

#[test]
fn observers_are_told_how_far_it_is() {
    #[derive(Default)]
    struct Witness(Mutex<Vec<u64>>);
    impl Observer for Witness {
        fn event(&self, event: Event<'_>) {
            if let Event::Progress { done, total, .. } = event {
                assert_eq!(total, Some(2_041_500));
                self.0.lock().unwrap().push(done);
            }
        }
    }
    let image = image();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk.img");
    fs::write(&path, &image).unwrap();
    let source = Source::open(&Location::Path(path)).unwrap();
    let witness = Witness::default();
    let map = map(&image, &RANGES);
    Verify::open(map, source, &Silent).unwrap().run(&witness).unwrap();
    let told = witness.0.lock().unwrap();
    assert!(told.is_sorted() && told[0] == 0 && told.len() > 3, "{told:?}");
    assert_eq!(told.last(), Some(&2_041_500));
}
