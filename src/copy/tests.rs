//! The engine with a source that delivers as little as it may, and sinks that write down what is done to them and fail on
//! cue.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use super::pipeline::CHUNK_LEN;
use super::*;
use crate::bmap::{Bmap, Checksums};
use crate::digest::ChecksumKind;
use crate::event::{Event, Notice};
use crate::range::{BlockRange, BlockSize, ByteRange};
use crate::sink::{Kind, ReadError, SinkInfo, TargetState, WriteError};

const MIB: u64 = 1 << 20;
const BLOCK: u64 = 1000;

/// Delivers an image in parts of one byte to a few, is interrupted again and again, and ends or fails where it is told to.
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

/// What is done to a sink, with offset and length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Prepare,
    Write(u64, u64),
    Zero(u64, u64),
    Discard(u64, u64),
    Sync,
    Finish(Outcome),
}
use Operation::{Discard, Finish, Prepare, Sync, Write, Zero};
use Outcome::{Complete, Failed};

#[derive(Default)]
struct Record {
    operations: Vec<Operation>,
    contents: Vec<u8>,
    /// Which of all writes, zeroes, discards and syncs fail: their numbers, from 0.
    failing: Range<usize>,
    /// Asks to stop at the sync with this number, from 0.
    cancel: Option<(usize, Cancel)>,
    unreadable: bool,
    at_finish: Option<Box<dyn FnMut() + Send>>,
}

impl Record {
    /// A device of 8 MiB that is full of 0xff.
    fn device() -> Self {
        Self { contents: vec![0xff; 8 * MIB as usize], ..Self::default() }
    }

    fn failing(numbers: Range<usize>) -> Self {
        Self { failing: numbers, ..Self::device() }
    }
}

/// A sink in memory.
struct Recorder {
    info: SinkInfo,
    record: Arc<Mutex<Record>>,
}

impl Recorder {
    fn note(&self, operation: Operation) -> io::Result<()> {
        let mut record = self.record.lock().unwrap();
        let counted = |operation: &&Operation| !matches!(operation, Prepare | Finish(_));
        let number = record.operations.iter().filter(counted).count();
        let syncs = record.operations.iter().filter(|&&operation| operation == Sync).count();
        record.operations.push(operation);
        if let Some((at, cancel)) = &record.cancel
            && operation == Sync
            && syncs == *at
        {
            cancel.flag().store(2, Ordering::Relaxed);
        }
        let fails = counted(&&operation) && record.failing.contains(&number);
        if fails { Err(io::Error::from_raw_os_error(libc::ENOSPC)) } else { Ok(()) }
    }

    fn fill(&self, operation: Operation, offset: u64, data: &[u8]) -> Result<(), WriteError> {
        self.note(operation).map_err(|source| WriteError { offset, source })?;
        let contents = &mut self.record.lock().unwrap().contents;
        let end = offset as usize + data.len();
        contents.resize(contents.len().max(end), 0);
        contents[offset as usize..end].copy_from_slice(data);
        Ok(())
    }
}

impl Sink for Recorder {
    fn info(&self) -> SinkInfo {
        self.info.clone()
    }

    fn prepare(&mut self, _size: Option<u64>) -> io::Result<()> {
        self.note(Prepare)
    }

    fn write_at(&mut self, data: &[u8], offset: u64) -> Result<(), WriteError> {
        self.fill(Write(offset, data.len() as u64), offset, data)
    }

    fn read_at(&mut self, buf: &mut [u8], offset: u64) -> Result<(), ReadError> {
        let record = self.record.lock().unwrap();
        if record.unreadable {
            buf[0] = 1;
            return Err(ReadError { offset, source: io::Error::from_raw_os_error(libc::EIO) });
        }
        buf.copy_from_slice(&record.contents[offset as usize..][..buf.len()]);
        Ok(())
    }

    fn zero(&mut self, range: ByteRange) -> Result<(), WriteError> {
        self.fill(Zero(range.start, range.len()), range.start, &vec![0; range.len() as usize])
    }

    fn discard(&mut self, range: ByteRange) -> Result<(), WriteError> {
        self.fill(Discard(range.start, range.len()), range.start, &vec![0xdd; range.len() as usize])
    }

    fn sync(&mut self) -> io::Result<()> {
        self.note(Sync)
    }

    fn finish(self: Box<Self>, outcome: Outcome) -> TargetState {
        self.note(Finish(outcome)).unwrap();
        let at_finish = self.record.lock().unwrap().at_finish.take();
        at_finish.into_iter().for_each(|mut act| act());
        if outcome == Complete { TargetState::Complete } else { TargetState::BootRegionZero }
    }
}

/// An image of `size` bytes, none of which is 0, and in which no two blocks are alike.
fn image(size: u64) -> Vec<u8> {
    (0..size).map(|byte| ((byte / 7 + byte / BLOCK * 13) % 251) as u8 + 1).collect()
}

/// A map of `image` with checksums; the ranges' last blocks are included.
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

fn mapped(map: Bmap) -> Plan {
    Plan::mapped(map, Verify::Checksums, Unmapped::Keep)
}

/// Writes all of an image whose size is known.
fn sized(size: u64) -> Plan {
    Plan::whole().of_size(Some(size))
}

/// Writes down what it is told.
#[derive(Default)]
struct Witness(Mutex<Vec<String>>);

impl Observer for Witness {
    fn event(&self, event: Event<'_>) {
        let words = match event {
            Event::Progress { target, done, total } => format!("{} {done} of {total:?}", target.0),
            Event::Phase(target, phase) => format!("{} {phase:?}", target.0),
            Event::Target(target, outcome) => format!("{} {outcome:?}", target.0),
            Event::Notice(Notice::BootRegionUnreadable { length, .. }) => format!("{length} unreadable"),
            Event::Notice(notice) => panic!("{notice:?}"),
        };
        self.0.lock().unwrap().push(words);
    }
}

/// A sink of a kind; its capacity is what it holds, if that is anything.
fn sink(kind: Kind, record: &Arc<Mutex<Record>>) -> Box<dyn Sink> {
    let length = record.lock().unwrap().contents.len() as u64;
    let capacity = (length > 0).then_some(length);
    let boot_region = if kind == Kind::BlockDevice { MIB } else { 0 };
    let info = SinkInfo { capacity, boot_region, ..SinkInfo::of(kind) };
    Box::new(Recorder { info, record: Arc::clone(record) })
}

/// Copies to sinks of a kind; returns the verdicts, and what was done to each sink.
fn copy_to(
    kind: Kind,
    plan: Plan,
    source: Reluctant,
    records: Vec<Record>,
) -> (Vec<Verdict>, Vec<Record>, Arc<Witness>) {
    let cancel = records.iter().find_map(|record| record.cancel.clone()).map(|(_, cancel)| cancel).unwrap_or_default();
    let records: Vec<_> = records.into_iter().map(|record| Arc::new(Mutex::new(record))).collect();
    let witness = Arc::new(Witness::default());
    let observer = Arc::clone(&witness) as Arc<dyn Observer>;
    let image = Image { plan, reader: Box::new(source), id: None };
    let verdicts =
        Copy { image, sinks: records.iter().map(|record| sink(kind, record)).collect(), observer, cancel }.run();
    let records = records.iter().map(|record| std::mem::take(&mut *record.lock().unwrap())).collect();
    (verdicts, records, witness)
}

fn one<T>(mut all: Vec<T>) -> T {
    assert_eq!(all.len(), 1);
    all.remove(0)
}

/// Copies `source` to a device.
fn to_device(plan: Plan, source: &[u8], record: Record) -> (Verdict, Record) {
    let (verdicts, records, _) = copy_to(Kind::BlockDevice, plan, Reluctant::new(source), vec![record]);
    (one(verdicts), one(records))
}

/// Copies `source` to a file.
fn to_file(plan: Plan, source: Reluctant, record: Record) -> (Result<u64, Arc<Error>>, Record) {
    let (verdicts, records, _) = copy_to(Kind::RegularFile, plan, source, vec![record]);
    (one(verdicts).map(|summary| summary.bytes).map_err(|failure| failure.error), one(records))
}

#[test]
fn zeroes_then_data_then_the_boot_region() {
    let start = [Prepare, Write(0, MIB), Sync];
    let end = [Sync, Write(0, MIB), Sync, Finish(Complete)];
    let cases: [(u64, &[Operation]); 4] = [
        (3 * MIB - 100, &[Write(MIB, MIB), Write(2 * MIB, MIB - 100)]),
        (MIB + 1, &[Write(MIB, 1)]),
        (MIB, &[]),
        (10_000, &[]),
    ];
    for (size, data) in cases {
        let (verdict, record) = to_device(sized(size), &image(size), Record::device());
        assert_eq!(verdict.unwrap().bytes, size);
        assert_eq!(record.operations, [&start, data, &end].concat(), "{size} bytes");
        // What the image leaves out is what it was.
        let mut expected = image(size);
        expected.resize(8 * MIB as usize, 0xff);
        assert!(record.contents == expected, "{size} bytes");
    }
}

#[test]
fn holes_are_kept_zeroed_or_discarded() {
    let image = image(3 * MIB);
    let blocks = (3 * MIB).div_ceil(BLOCK);
    // Holes at the start, across the end of the boot region, and at the end of the image.
    let map = map(&image, &[(10, 99), (1100, 1999), (2100, blocks - 100)]);
    let (hole, end) = (1_100_000 - MIB, (blocks - 99) * BLOCK);
    let data = [Write(1_100_000, 900_000), Write(2_100_000, end - 2_100_000)];
    let start = [Write(0, MIB), Sync];
    let boot = [Sync, Write(0, MIB), Sync, Finish(Complete)];
    let cases = [
        (Unmapped::Keep, [&[Prepare][..], &start, &data, &boot].concat(), 0xff, 0xff),
        (
            Unmapped::Zero,
            [
                &[Prepare][..],
                &start,
                &[Zero(MIB, hole), data[0], Zero(2_000_000, 100_000), data[1], Zero(end, 3 * MIB - end)],
                &boot,
            ]
            .concat(),
            0,
            0xff,
        ),
        (
            Unmapped::Discard,
            [
                &[Discard(0, 10_000), Discard(100_000, 1_000_000), Discard(2_000_000, 100_000)][..],
                &[Discard(end, 3 * MIB - end), Discard(3 * MIB, 5 * MIB), Prepare],
                &start,
                &data,
                &boot,
            ]
            .concat(),
            0xdd,
            0xdd,
        ),
    ];
    for (unmapped, operations, in_holes, after) in cases {
        let plan = Plan::mapped(map.clone(), Verify::Checksums, unmapped);
        let (verdict, record) = to_device(plan, &image, Record::device());
        assert_eq!(verdict.unwrap().bytes, map.mapped_bytes());
        assert_eq!(record.operations, operations, "{unmapped:?}");
        let mut expected = vec![in_holes; 3 * MIB as usize];
        expected.resize(8 * MIB as usize, after);
        if unmapped == Unmapped::Discard {
            expected[..MIB as usize].fill(0); // written with the boot region
        }
        for range in map.ranges() {
            let bytes = range.bytes.start as usize..range.bytes.end as usize;
            expected[bytes.clone()].copy_from_slice(&image[bytes]);
        }
        assert!(record.contents == expected, "{unmapped:?}");
    }
}

#[test]
fn a_second_pass_writes_only_the_bytes_that_are_asked_for() {
    let image = image(5 * MIB);
    let plan = mapped(map(&image, &[(0, 1999), (2500, 3999), (4500, 5000)]));
    let bytes = |start, end| ByteRange { start, end };
    let wanted = [bytes(1_200_000, 1_300_000), bytes(2_600_000, 2_600_001), bytes(2_996_352, 3_145_733)];
    let again = plan.only([&[bytes(500, 500), bytes(1_000_000, 1_048_580)], &wanted[..]].concat());
    let ranges: Vec<_> = again.writes().collect();
    assert_eq!(ranges, [bytes(0, 2_000_000), bytes(2_500_000, 4_000_000)], "those that need not be read are not");

    let record = Arc::new(Mutex::new(Record::device()));
    let mut sink = sink(Kind::BlockDevice, &record);
    let boot_region = BootRegion::read(&mut *sink, TargetId(0), Unmapped::Keep, &Silent).unwrap();
    let mut writer = Writer {
        id: TargetId(0),
        plan: Arc::new(plan.clone()),
        info: sink.info(),
        sink,
        boot_region,
        observer: Arc::new(Silent),
        cancel: Cancel::default(),
    };
    let mut pass = |plan: &Plan| {
        let (queue, chunks) = sync_channel(CHUNKS);
        let source = Box::new(Reluctant::new(&image));
        pipeline::start(&Arc::new(plan.clone()), source, Pool::new().unwrap(), vec![queue]).unwrap();
        record.lock().unwrap().operations.clear();
        let written = writer.write(plan, &chunks).unwrap();
        (written, record.lock().unwrap().operations.clone())
    };
    assert_eq!(pass(&plan).0, plan.total().unwrap());
    let (written, operations) = pass(&again);
    assert_eq!((Some(written), written), (again.total(), 48_580 + 100_000 + 1 + 149_381));
    let expected = [
        Write(MIB, 4), // what lies before is in the boot region
        Write(1_200_000, 100_000),
        Write(2_600_000, 1),
        Write(2_996_352, 149_376),
        Write(3 * MIB, 5),
    ];
    assert_eq!(operations, expected);
}

#[test]
fn long_ranges_are_cut_so_that_a_signal_is_noticed() {
    let image = image(20 * MIB);
    let blocks = (20 * MIB).div_ceil(BLOCK);
    let plan = Plan::mapped(map(&image, &[(0, 1999), (blocks - 10, blocks - 1)]), Verify::Checksums, Unmapped::Zero);
    let record = Record { contents: vec![0xff; 24 * MIB as usize], ..Record::default() };
    let (verdict, record) = to_device(plan, &image, record);
    assert!(verdict.is_ok());
    let zeroes: Vec<_> = record.operations.iter().filter(|operation| matches!(operation, Zero(..))).collect();
    let last = (blocks - 10) * BLOCK;
    let mut expected = vec![Zero(2_000_000, 4 * MIB - 2_000_000)];
    expected.extend((1..4).map(|stride| Zero(stride * 4 * MIB, 4 * MIB)));
    expected.push(Zero(16 * MIB, last - 16 * MIB));
    assert_eq!(zeroes, expected.iter().collect::<Vec<_>>());
}

#[test]
fn a_source_that_panics_fails_all_targets() {
    struct Panics;
    impl Read for Panics {
        fn read(&mut self, _buf: &mut [u8]) -> io::Result<usize> {
            panic!("for the test");
        }
    }
    impl ForwardRead for Panics {
        fn skip_to(&mut self, offset: u64) -> io::Result<u64> {
            Ok(offset)
        }
        fn finish(&mut self) -> io::Result<u64> {
            Ok(0)
        }
    }
    let records: Vec<_> = [0, 1].map(|_| Arc::new(Mutex::new(Record::device()))).into();
    let sinks = records.iter().map(|record| sink(Kind::BlockDevice, record)).collect();
    let image = Image { plan: sized(2 * MIB), reader: Box::new(Panics), id: None };
    for verdict in Copy::new(image, sinks).run() {
        let failure = verdict.unwrap_err();
        assert!(matches!(*failure.error, Error::NoResult) && failure.state == TargetState::BootRegionZero);
    }
    for record in records {
        assert_eq!(record.lock().unwrap().operations.last(), Some(&Finish(Failed)));
    }
}

#[test]
fn a_target_that_fails_leaves_its_chunks_to_the_others() {
    let image = image(40 * MIB);
    let (complete, wait) = std::sync::mpsc::channel();
    let good = Arc::new(Mutex::new(Record {
        at_finish: Some(Box::new(move || complete.send(()).unwrap())),
        ..Record::default()
    }));
    // It fails at once, and is not done before the other one is.
    let at_finish: Box<dyn FnMut() + Send> = Box::new(move || wait.recv().unwrap());
    let bad = Arc::new(Mutex::new(Record { failing: 0..1, at_finish: Some(at_finish), ..Record::default() }));
    let sinks = vec![sink(Kind::RegularFile, &bad), sink(Kind::RegularFile, &good)];
    let source = Box::new(Reluctant::new(&image));
    let verdicts = Copy::new(Image { plan: sized(40 * MIB), reader: source, id: None }, sinks).run();
    assert!(verdicts[0].is_err() && verdicts[1].as_ref().unwrap().bytes == 40 * MIB);
    assert!(good.lock().unwrap().contents == image);
}

#[test]
fn a_device_gets_no_empty_image() {
    for plan in [sized(0), Plan::whole()] {
        let (verdict, record) = to_device(plan.clone(), &[], Record::device());
        assert!(matches!(*verdict.unwrap_err().error, Error::Empty));
        assert_eq!(record.operations.last(), Some(&Finish(Failed)));
        if plan.image_size() == Some(0) {
            assert_eq!(record.operations, [Finish(Failed)]);
            assert!(record.contents.iter().all(|&byte| byte == 0xff));
        }
        let (result, record) = to_file(plan, Reluctant::new(&[]), Record::default());
        assert_eq!((result.unwrap(), &record.operations[..]), (0, &[Prepare, Sync, Finish(Complete)][..]));
    }
}

#[test]
fn after_an_error_only_a_boot_region_that_was_written_is_written_to() {
    let all = [Prepare, Write(0, MIB), Sync, Write(MIB, MIB), Write(2 * MIB, MIB), Sync, Write(0, MIB), Sync];
    for number in 0..7 {
        let failed = number + 1;
        let (verdict, record) = to_device(sized(3 * MIB), &image(3 * MIB), Record::failing(number..failed));
        let failure = verdict.unwrap_err();
        let mut expected = all[..=failed].to_vec();
        if failed >= 6 {
            expected.extend([Write(0, MIB), Sync]);
            assert_eq!(failure.state, TargetState::BootRegionCleared);
        } else {
            assert_eq!(failure.state, TargetState::BootRegionZero);
        }
        expected.push(Finish(Failed));
        assert_eq!(record.operations, expected);
        match (all[failed], &*failure.error) {
            (Write(offset, _), Error::Write { offset: told, .. }) => assert_eq!(offset, *told),
            (Sync, Error::Sync(_)) => {}
            (operation, error) => panic!("{operation:?}: {error:?}"),
        }
        let untouched = if number == 0 { 0xff } else { 0 };
        assert!(record.contents[..MIB as usize].iter().all(|&byte| byte == untouched), "{number}");
    }
    for number in [5, 6] {
        let (verdict, _) = to_device(sized(3 * MIB), &image(3 * MIB), Record::failing(number..usize::MAX));
        assert_eq!(verdict.unwrap_err().state, TargetState::MaybeBootable);
    }
}

#[test]
fn a_device_that_cannot_discard_is_not_written_to() {
    let image = image(3 * MIB);
    let plan = Plan::mapped(map(&image, &[(10, 2000)]), Verify::Checksums, Unmapped::Discard);
    let (verdict, record) = to_device(plan, &image, Record::failing(0..1));
    assert!(matches!(*verdict.unwrap_err().error, Error::Write { offset: 0, .. }));
    assert_eq!(record.operations, [Discard(0, 10_000), Finish(Failed)]);
    assert!(record.contents.iter().all(|&byte| byte == 0xff));
}

#[test]
fn a_device_that_fails_to_discard_the_rest_does_not_look_valid() {
    let image = image(3 * MIB);
    let plan = Plan::mapped(map(&image, &[(10, 2000)]), Verify::Checksums, Unmapped::Discard);
    let (verdict, record) = to_device(plan, &image, Record::failing(1..2));
    let failure = verdict.unwrap_err();
    assert!(matches!(*failure.error, Error::Write { offset: 2_001_000, .. }));
    assert_eq!(failure.state, TargetState::BootRegionCleared);
    let end = 3 * MIB - 2_001_000;
    let expected = [Discard(0, 10_000), Discard(2_001_000, end), Write(0, MIB), Sync, Finish(Failed)];
    assert_eq!(record.operations, expected);
}

#[test]
fn a_copy_that_is_stopped_before_its_boot_region_is_written_has_none() {
    for sync in [0, 1] {
        let cancel = Some((sync, Cancel::default()));
        let (verdict, record) = to_device(sized(2 * MIB), &image(2 * MIB), Record { cancel, ..Record::device() });
        let failure = verdict.unwrap_err();
        assert!(matches!(*failure.error, Error::Cancelled) && failure.state == TargetState::BootRegionZero);
        assert_eq!(record.operations.iter().filter(|&&operation| operation == Write(0, MIB)).count(), 1);
        assert_eq!(record.operations.last(), Some(&Finish(Failed)));
    }
    let cancel = Some((2, Cancel::default()));
    let (verdict, record) = to_device(sized(2 * MIB), &image(2 * MIB), Record { cancel, ..Record::device() });
    assert_eq!(
        (verdict.unwrap().bytes, record.operations.last()),
        (2 * MIB, Some(&Finish(Complete))),
        "it is complete"
    );
}

#[test]
fn a_boot_region_that_cannot_be_read_is_zero_where_the_image_has_nothing() {
    let (verdicts, records, witness) = copy_to(
        Kind::BlockDevice,
        sized(1000),
        Reluctant::new(&image(1000)),
        vec![Record { unreadable: true, ..Record::device() }],
    );
    assert!(one(verdicts).is_ok());
    assert_eq!(witness.0.lock().unwrap()[0], "1048576 unreadable");
    let mut expected = image(1000);
    expected.resize(MIB as usize, 0);
    assert!(one(records).contents[..MIB as usize] == expected);
}

#[test]
fn short_reads_and_interruptions_lose_nothing() {
    let image = image(3_500_000);
    let map = map(&image, &[(0, 0), (2, 1600), (1601, 1601), (3000, 3499)]);
    let mut expected = vec![0; image.len()];
    for range in map.ranges() {
        let bytes = range.bytes.start as usize..range.bytes.end as usize;
        expected[bytes.clone()].copy_from_slice(&image[bytes]);
    }
    let (result, record) = to_file(mapped(map.clone()), Reluctant::new(&image), Record::default());
    assert_eq!(result.unwrap(), map.mapped_bytes());
    assert!(record.contents == expected);

    let (result, record) = to_file(Plan::whole(), Reluctant::new(&image), Record::default());
    assert_eq!(result.unwrap(), image.len() as u64);
    assert!(record.contents == image);
}

#[test]
fn the_end_of_a_bad_range_is_not_written() {
    let image = image(3_500_000);
    let map = map(&image, &[(0, 9), (1000, 2999), (3400, 3499)]);
    let mut damaged = image.clone();
    damaged[1_000_000] ^= 1;
    let (result, record) = to_file(mapped(map.clone()), Reluctant::new(&damaged), Record::default());
    let error = result.unwrap_err();
    assert!(matches!(*error, Error::Mismatch { range, .. } if range.to_string() == "1000-2999"), "{error}");
    // The range ends at byte 3,000,000, in the chunk that begins at 2 MiB.
    assert_eq!(record.contents.len(), 2 * CHUNK_LEN);

    let unverified = Plan::mapped(map, Verify::Skip, Unmapped::Keep);
    let (result, record) = to_file(unverified, Reluctant::new(&damaged), Record::default());
    assert!(result.is_ok() && record.contents[1_000_000] == damaged[1_000_000]);
}

#[test]
fn a_source_that_ends_early_is_noticed_wherever_it_ends() {
    let image = image(3_500_000);
    let map = map(&image, &[(0, 9), (1000, 2999), (3400, 3499)]);
    for length in [0, 5_000, 10_000, 999_999, 1_500_000, 2_999_999, 3_400_000, 3_499_999] {
        let (result, _) = to_file(mapped(map.clone()), Reluctant::new(&image[..length]), Record::default());
        let error = result.unwrap_err();
        assert!(matches!(*error, Error::EndedEarly { at, expected: 3_500_000 } if at <= length as u64), "{error}");
    }
}

#[test]
fn what_no_checksum_covers_is_read_to_the_end_of_the_source() {
    let image = image(3_500_000);
    let map = map(&image, &[(0, 9)]);
    let longer = [&image[..], b"more"].concat();
    let (result, _) = to_file(mapped(map.clone()), Reluctant::new(&longer), Record::default());
    assert_eq!(result.unwrap(), 10_000, "reading stops after the last mapped byte");
    let (result, _) =
        to_file(Plan::mapped(map.clone(), Verify::Skip, Unmapped::Keep), Reluctant::new(&longer), Record::default());
    assert!(matches!(*result.unwrap_err(), Error::GoesOn { expected: 3_500_000 }));
    let plan = Plan::mapped(map, Verify::Skip, Unmapped::Keep);
    let (result, _) = to_file(plan, Reluctant::new(&image[..20_000]), Record::default());
    assert!(matches!(*result.unwrap_err(), Error::EndedEarly { at: 20_000, expected: 3_500_000 }));
}

#[test]
fn a_source_that_has_changed_its_size_is_not_followed() {
    let image = image(3_500_000);
    for (length, size) in [(3_500_000, 3_499_999), (3_500_000, 1_048_576), (3_499_999, 3_500_000), (0, 1)] {
        let (result, record) = to_file(sized(size), Reluctant::new(&image[..length]), Record::default());
        let error = result.unwrap_err();
        let is_told = match *error {
            Error::Grew { expected } => length as u64 > size && expected == size,
            Error::Shrank { at, expected } => (length as u64) < size && (at, expected) == (length as u64, size),
            _ => false,
        };
        assert!(is_told, "{error}");
        assert_eq!(record.contents.len() as u64, size.min(length as u64));
    }
}

#[test]
fn failures_of_the_source_and_the_target_are_located() {
    let image = image(3_500_000);
    let mut source = Reluctant::new(&image);
    source.fails_at = Some(1_234_567);
    let (result, _) = to_file(Plan::whole(), source, Record::default());
    assert!(matches!(*result.unwrap_err(), Error::Read { offset: 1_048_576, .. }));

    let (result, _) = to_file(Plan::whole(), Reluctant::new(&image), Record { failing: 2..3, ..Record::default() });
    assert!(matches!(*result.unwrap_err(), Error::Write { offset: 2_097_152, .. }));

    let record = Record { contents: vec![0; 3_000_000], ..Record::default() };
    let (result, _) = to_file(Plan::whole(), Reluctant::new(&image), record);
    assert!(matches!(*result.unwrap_err(), Error::Full { capacity: 3_000_000 }));
}

#[test]
fn a_target_that_fails_is_given_up_and_the_others_go_on() {
    let image = image(5 * MIB);
    let mut all = vec![Prepare, Write(0, MIB), Sync];
    all.extend((1..5).map(|chunk| Write(chunk * MIB, MIB)));
    all.extend([Sync, Write(0, MIB), Sync, Finish(Complete)]);
    for number in 0..10 {
        let records = vec![Record::device(), Record::failing(number..number + 1), Record::device()];
        let (verdicts, records, witness) = copy_to(Kind::BlockDevice, sized(5 * MIB), Reluctant::new(&image), records);
        for index in [0, 2] {
            assert_eq!(verdicts[index].as_ref().unwrap().bytes, 5 * MIB);
            assert!(records[index].contents[..5 * MIB as usize] == image);
            assert_eq!(records[index].operations, all);
        }
        let fails = number < 9; // of which there are nine
        assert_eq!(verdicts[1].is_err(), fails, "{number}");
        assert_eq!(records[1].operations.last(), Some(&Finish(if fails { Failed } else { Complete })));
        let told = witness.0.lock().unwrap();
        for (id, outcome) in [(0, Complete), (1, if fails { Failed } else { Complete }), (2, Complete)] {
            assert!(told.contains(&format!("{id} {outcome:?}")), "{told:?}");
        }
    }
}

#[test]
fn a_source_that_fails_fails_all_targets_for_the_same_reason() {
    let image = image(5 * MIB);
    let map = map(&image, &[(0, 5000)]);
    let mut damaged = image;
    damaged[4_000_000] ^= 1;
    let records = vec![Record::device(), Record::device()];
    let (verdicts, records, _) = copy_to(Kind::BlockDevice, mapped(map), Reluctant::new(&damaged), records);
    let failures: Vec<_> = verdicts.into_iter().map(Result::unwrap_err).collect();
    assert!(Arc::ptr_eq(&failures[0].error, &failures[1].error));
    assert!(matches!(*failures[0].error, Error::Mismatch { .. }));
    for record in records {
        assert!(record.contents[..MIB as usize].iter().all(|&byte| byte == 0));
        assert_eq!(record.operations.last(), Some(&Finish(Failed)));
    }
}

#[test]
fn observers_are_told_phases_and_progress() {
    let (_, _, witness) =
        copy_to(Kind::RegularFile, sized(2 * MIB), Reluctant::new(&image(2 * MIB)), vec![Record::default()]);
    let total = Some(2 * MIB);
    let expected = [
        "0 Copying".to_owned(),
        format!("0 0 of {total:?}"),
        format!("0 1048576 of {total:?}"),
        format!("0 2097152 of {total:?}"),
        "0 Synchronizing".to_owned(),
        "0 Complete".to_owned(),
    ];
    assert_eq!(*witness.0.lock().unwrap(), expected);
}
