//! The chain with a source that delivers as little as it may, and targets that fail on cue.

use std::io::{self, Read};
use std::sync::Mutex;

use super::*;
use crate::bmap::{Bmap, Checksums};
use crate::digest::ChecksumKind;
use crate::event::Outcome;
use crate::range::ByteRange;
use crate::range::{BlockRange, BlockSize};
use crate::sink::{Kind, ReadError, SinkInfo, TargetState, WriteError};

/// Delivers an image in pieces of one byte to a few, interrupts now and then, and ends or fails where it is told to.
struct Reluctant {
    image: Vec<u8>,
    position: usize,
    calls: usize,
    fails_at: Option<usize>,
}

impl Reluctant {
    fn new(image: &[u8]) -> Self {
        Self { image: image.to_vec(), position: 0, calls: 0, fails_at: None }
    }
}

impl Read for Reluctant {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.calls += 1;
        if self.calls.is_multiple_of(3) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let end = self.fails_at.unwrap_or(self.image.len());
        let length = (1 + self.calls % 700).min(buf.len()).min(end.saturating_sub(self.position));
        if length == 0 && self.fails_at.is_some() {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        buf[..length].copy_from_slice(&self.image[self.position..self.position + length]);
        self.position += length;
        Ok(length)
    }
}

impl ForwardRead for Reluctant {
    fn skip_to(&mut self, offset: u64) -> io::Result<u64> {
        assert!(offset as usize >= self.position, "backward, to {offset}");
        self.position = (offset as usize).min(self.image.len());
        Ok(self.position as u64)
    }

    fn finish(&mut self) -> io::Result<u64> {
        Ok(self.image.len() as u64)
    }
}

/// A target in memory that refuses a write, or a sync, on cue.
#[derive(Default)]
struct Memory {
    contents: Mutex<Vec<u8>>,
    capacity: Option<u64>,
    fails_at: Option<u64>,
}

impl Sink for Memory {
    fn info(&self) -> SinkInfo {
        SinkInfo { capacity: self.capacity, ..SinkInfo::of(Kind::RegularFile) }
    }

    fn prepare(&mut self, _size: Option<u64>) -> io::Result<()> {
        Ok(())
    }

    fn write_at(&mut self, buf: &[u8], offset: u64) -> Result<(), WriteError> {
        if let Some(offset) = self.fails_at.filter(|at| (offset..offset + buf.len() as u64).contains(at)) {
            return Err(WriteError { offset, source: io::Error::from_raw_os_error(libc::ENOSPC) });
        }
        let contents = self.contents.get_mut().unwrap();
        let end = offset as usize + buf.len();
        contents.resize(contents.len().max(end), 0);
        contents[offset as usize..end].copy_from_slice(buf);
        Ok(())
    }

    fn read_at(&mut self, _buf: &mut [u8], _offset: u64) -> Result<(), ReadError> {
        unimplemented!()
    }

    fn zero(&mut self, _range: ByteRange) -> Result<(), WriteError> {
        unimplemented!()
    }

    fn discard(&mut self, _range: ByteRange) -> Result<(), WriteError> {
        unimplemented!()
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn finish(self: Box<Self>, _outcome: Outcome) -> TargetState {
        TargetState::NotApplicable
    }
}

const BLOCK: u64 = 1000;

/// An image of 3.5 MB, in which no two blocks are alike.
fn image() -> Vec<u8> {
    (0..3_500_000_u32).map(|byte| (byte / 7 + byte / 1000 * 13) as u8).collect()
}

/// A map of `image` with checksums, of blocks of [`BLOCK`] bytes.
fn map(image: &[u8], ranges: &[(u64, u64)]) -> Bmap {
    let block_size = BlockSize::new(BLOCK).unwrap();
    let ranges: Vec<_> = ranges.iter().map(|&(first, last)| BlockRange::from_inclusive(first, last).unwrap()).collect();
    let mut checksums = Checksums::new(ChecksumKind::Sha1);
    for range in &ranges {
        let bytes = range.bytes(block_size, image.len() as u64);
        let mut hasher = ChecksumKind::Sha1.hasher();
        hasher.update(&image[bytes.start as usize..bytes.end as usize]);
        checksums.push(&hasher.finish());
    }
    Bmap::new(image.len() as u64, block_size, ranges, Some(checksums)).unwrap()
}

fn copy(extents: Extents, source: Reluctant, target: &mut Memory) -> Result<u64, Error> {
    let (progress, cancel) = (Progress::default(), Cancel::default());
    let result = run(extents, Verify::Checksums, Box::new(source), target, &progress, &cancel);
    result.map(|written| {
        assert_eq!(written.bytes, progress.written());
        written.bytes
    })
}

#[test]
fn short_reads_and_interruptions_lose_nothing() {
    let image = image();
    let map = map(&image, &[(0, 0), (2, 1600), (1601, 1601), (3000, 3499)]);
    let mut expected = vec![0; image.len()];
    for range in map.ranges() {
        let bytes = range.bytes.start as usize..range.bytes.end as usize;
        expected[bytes.clone()].copy_from_slice(&image[bytes]);
    }
    let mut target = Memory::default();
    assert_eq!(copy(Extents::Mapped(map.clone()), Reluctant::new(&image), &mut target).unwrap(), map.mapped_bytes());
    assert!(*target.contents.get_mut().unwrap() == expected);

    let mut target = Memory::default();
    let whole = Extents::Whole { size: None };
    assert_eq!(copy(whole, Reluctant::new(&image), &mut target).unwrap(), image.len() as u64);
    assert!(*target.contents.get_mut().unwrap() == image);
}

#[test]
fn the_end_of_a_bad_range_is_not_written() {
    let image = image();
    let map = map(&image, &[(0, 9), (1000, 2999), (3400, 3499)]);
    let mut damaged = image.clone();
    damaged[1_000_000] ^= 1;
    let mut target = Memory::default();
    let error = copy(Extents::Mapped(map), Reluctant::new(&damaged), &mut target).unwrap_err();
    assert!(matches!(error, Error::Mismatch { range, .. } if range.to_string() == "1000-2999"), "{error}");
    // The range ends at byte 3,000,000, in the chunk that begins at 2 MiB.
    assert_eq!(target.contents.get_mut().unwrap().len(), 2 * CHUNK_LEN);
}

#[test]
fn a_source_that_ends_early_is_noticed_wherever_it_ends() {
    let image = image();
    let map = map(&image, &[(0, 9), (1000, 2999), (3400, 3499)]);
    for length in [0, 5_000, 10_000, 999_999, 1_500_000, 2_999_999, 3_400_000, 3_499_999] {
        let mut target = Memory::default();
        let error = copy(Extents::Mapped(map.clone()), Reluctant::new(&image[..length]), &mut target).unwrap_err();
        assert!(matches!(error, Error::EndedEarly { at, expected: 3_500_000 } if at <= length as u64), "{error}");
    }
}

#[test]
fn a_source_that_has_changed_its_size_is_not_followed() {
    let image = image();
    for (length, size) in [(3_500_000, 3_499_999), (3_500_000, 1_048_576), (3_499_999, 3_500_000), (0, 1)] {
        let (mut target, whole) = (Memory::default(), Extents::Whole { size: Some(size) });
        let error = copy(whole, Reluctant::new(&image[..length]), &mut target).unwrap_err();
        let is_told = match error {
            Error::Grew { expected } => length as u64 > size && expected == size,
            Error::Shrank { at, expected } => (length as u64) < size && (at, expected) == (length as u64, size),
            _ => false,
        };
        assert!(is_told, "{error}");
        assert_eq!(target.contents.get_mut().unwrap().len() as u64, size.min(length as u64));
    }
}

#[test]
fn failures_of_the_source_and_the_target_are_located() {
    let image = image();
    let mut source = Reluctant::new(&image);
    source.fails_at = Some(1_234_567);
    let error = copy(Extents::Whole { size: None }, source, &mut Memory::default()).unwrap_err();
    assert!(matches!(error, Error::Read { offset: 1_048_576, .. }), "{error}");

    let mut target = Memory { fails_at: Some(2_000_000), ..Memory::default() };
    let error = copy(Extents::Whole { size: None }, Reluctant::new(&image), &mut target).unwrap_err();
    assert!(matches!(error, Error::Write { offset: 2_000_000, .. }), "{error}");

    let mut target = Memory { capacity: Some(3_000_000), ..Memory::default() };
    let error = copy(Extents::Whole { size: None }, Reluctant::new(&image), &mut target).unwrap_err();
    assert!(matches!(error, Error::Full { capacity: 3_000_000 }), "{error}");
}
