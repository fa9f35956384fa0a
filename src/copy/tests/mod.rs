//! The engine with a source that delivers as little as it may, and sinks that write down what is done to them and fail
//! on cue.

mod capacity;
mod device;
mod only_changed;
mod read_back;
mod relocation;
mod source;
mod stalls;
mod targets;

use std::io::{self, Read};
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use super::pipeline::CHUNK_LEN;
use super::queue::queue;
use super::*;
use crate::bmap::{Bmap, Checksums};
use crate::digest::ChecksumKind;
use crate::event::Event;
use crate::range::{BlockRange, BlockSize, ByteRange};
use crate::sink::{Kind, ReadError, ReadPath, SinkInfo, TargetReader, TargetState, WriteError};
use crate::source::ForwardRead;

const MIB: u64 = 1 << 20;
const BLOCK: u64 = 1000;

/// Delivers an image in parts of one byte to a few, is interrupted again and again, and ends or fails where it is told
/// to.
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

    fn skipping(&self) -> Skipping {
        Skipping::Reads
    }

    fn finish(&mut self) -> io::Result<u64> {
        Ok(self.image.len() as u64)
    }
}

/// A source that need not be read from its start to its end.
struct Indexed(Reluctant);

impl Read for Indexed {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl ForwardRead for Indexed {
    fn skip_to(&mut self, offset: u64) -> io::Result<u64> {
        self.0.skip_to(offset)
    }

    fn skipping(&self) -> Skipping {
        Skipping::LeavesOut
    }

    fn finish(&mut self) -> io::Result<u64> {
        self.0.finish()
    }
}

/// An image that need not be read from its start to its end, and can be read again.
fn indexed(plan: Plan, image: &[u8]) -> Image {
    let again = image.to_vec();
    let reopen: plan::Reopen = Box::new(move |_| Ok(Box::new(Indexed(Reluctant::new(&again)))));
    let reader = Box::new(Indexed(Reluctant::new(image)));
    Image { plan, reader, reopen: Some(reopen), input: None, pipe: None, gpt_sectors: None }
}

/// What is done to a sink, with offset and length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Prepare,
    Write(u64, u64),
    Zero(u64, u64),
    Discard(u64, u64),
    Sync,
    /// After the first write.
    Read(u64, u64),
    Finish(Outcome),
}
use Operation::{Discard, Finish, Prepare, Read as ReadAt, Sync, Write, Zero};
use Outcome::{Complete, Failed};

/// Where what is stored instead of data for an offset; `None` where nothing is.
type Lie = Box<dyn FnMut(u64, Vec<u8>) -> Option<(u64, Vec<u8>)> + Send>;

/// Changes what is read at an offset.
type Misread = Box<dyn FnMut(u64, &mut [u8]) + Send>;

/// Tells some operations from the others.
type Which = Box<dyn Fn(Operation) -> bool + Send>;

#[derive(Default)]
struct Record {
    operations: Vec<Operation>,
    contents: Vec<u8>,
    /// It has been written to since it was as it was found.
    changed: bool,
    /// Which of all writes, zeroes, discards and syncs fail: their numbers, from 0.
    failing: Range<usize>,
    /// With this error; else the target is full.
    error: Option<i32>,
    /// Asks to stop at the sync with this number, from 0.
    cancel: Option<(usize, Cancel)>,
    unreadable: bool,
    /// There is no second handle.
    opens_once: bool,
    misreads: Option<Misread>,
    /// Reads of this byte fail with this error, so many times.
    bad: Option<(u64, i32, usize)>,
    /// What the medium does with a write instead of what it is told.
    lie: Option<Lie>,
    /// Where reads begin again at the start.
    wraps_at: Option<u64>,
    at_finish: Option<Box<dyn FnMut() + Send>>,
    /// The first operation that it never returns from, as long as the sender of the channel lives.
    hangs: Option<(Which, Receiver<()>)>,
}

impl Record {
    /// A device of 8 MiB that is full of 0xff.
    fn device() -> Self {
        Self { contents: vec![0xff; 8 * MIB as usize], ..Self::default() }
    }

    fn failing(numbers: Range<usize>) -> Self {
        Self { failing: numbers, ..Self::device() }
    }

    fn boot_region_is_zero(&self) -> bool {
        self.contents[..MIB as usize].iter().all(|&byte| byte == 0)
    }
}

/// A sink in memory.
struct Recorder {
    info: SinkInfo,
    record: Arc<Mutex<Record>>,
}

impl Recorder {
    /// Hangs in `operation` if it shall.
    fn hang(&self, operation: Operation) {
        let hangs = self.record.lock().unwrap().hangs.take_if(|(hangs, _)| hangs(operation));
        if let Some((_, released)) = hangs {
            let _ = released.recv();
        }
    }

    fn note(&self, operation: Operation) -> io::Result<()> {
        self.hang(operation);
        let mut record = self.record.lock().unwrap();
        let counted = |operation: &&Operation| !matches!(operation, Prepare | ReadAt(..) | Finish(_));
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
        if fails { Err(io::Error::from_raw_os_error(record.error.unwrap_or(libc::ENOSPC))) } else { Ok(()) }
    }

    fn fill(&self, operation: Operation, offset: u64, data: &[u8]) -> Result<(), WriteError> {
        self.record.lock().unwrap().changed = true;
        self.note(operation).map_err(|source| WriteError { offset, source })?;
        let mut record = self.record.lock().unwrap();
        let Record { contents, lie, .. } = &mut *record;
        let stored = lie.as_mut().map_or_else(|| Some((offset, data.to_vec())), |lie| lie(offset, data.to_vec()));
        if let Some((offset, data)) = stored {
            let end = offset as usize + data.len();
            contents.resize(contents.len().max(end), 0);
            contents[offset as usize..end].copy_from_slice(&data);
        }
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
        self.hang(ReadAt(offset, buf.len() as u64));
        let mut record = self.record.lock().unwrap();
        if !record.operations.is_empty() {
            record.operations.push(ReadAt(offset, buf.len() as u64));
        }
        if record.unreadable {
            buf[0] = 1;
            return Err(ReadError { offset, source: io::Error::from_raw_os_error(libc::EIO) });
        }
        if let Some((at, error, left)) = &mut record.bad
            && (offset..offset + buf.len() as u64).contains(at)
            && *left > 0
        {
            *left -= 1;
            return Err(ReadError { offset: *at, source: io::Error::from_raw_os_error(*error) });
        }
        let offset = record.wraps_at.map_or(offset, |size| offset % size);
        buf.copy_from_slice(&record.contents[offset as usize..][..buf.len()]);
        record.misreads.iter_mut().for_each(|misread| misread(offset, buf));
        Ok(())
    }

    fn reader(&self) -> io::Result<TargetReader> {
        let record = Arc::clone(&self.record);
        if record.lock().unwrap().opens_once {
            return Err(io::Error::from_raw_os_error(libc::EBUSY));
        }
        let length = record.lock().unwrap().contents.len() as u64;
        let read_at = move |buf: &mut [u8], offset: u64| {
            let record = record.lock().unwrap();
            if record.unreadable {
                return Err(ReadError { offset, source: io::Error::from_raw_os_error(libc::EIO) });
            }
            buf.copy_from_slice(&record.contents[offset as usize..][..buf.len()]);
            Ok(())
        };
        Ok(TargetReader { length, path: ReadPath::AfterDrop, read_at: Box::new(read_at) })
    }

    fn read_path(&self) -> ReadPath {
        ReadPath::Direct
    }

    fn zero(&mut self, range: ByteRange) -> Result<u64, WriteError> {
        self.fill(Zero(range.start, range.len()), range.start, &vec![0; range.len() as usize])?;
        Ok(range.len())
    }

    fn discard(&mut self, range: ByteRange) -> Result<(), WriteError> {
        self.fill(Discard(range.start, range.len()), range.start, &vec![0xdd; range.len() as usize])
    }

    fn sync(&mut self) -> io::Result<()> {
        self.note(Sync)
    }

    fn note_restored(&mut self) {
        self.record.lock().unwrap().changed = false;
    }

    fn finish(self: Box<Self>, outcome: Outcome) -> TargetState {
        self.note(Finish(outcome)).unwrap();
        let at_finish = self.record.lock().unwrap().at_finish.take();
        at_finish.into_iter().for_each(|mut act| act());
        match (outcome, self.record.lock().unwrap().changed) {
            (Complete, _) => TargetState::Complete,
            (Failed, true) => TargetState::MaybeBootable,
            (Failed, false) => TargetState::Untouched,
        }
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
            Event::SourceRead { .. } => panic!("the source is in memory"),
            Event::Retry { target, bytes } => format!("{} {bytes} again", target.0),
            Event::ReadBack { target, bytes, path } => format!("{} {bytes} right, {path:?}", target.0),
            Event::Notice(Notice::BootRegionUnreadable { length, .. }) => format!("{length} unreadable"),
            Event::Notice(Notice::DiscardedNotZero { offset, .. }) => format!("not zero at {offset}"),
            Event::Notice(Notice::MarksLeft { target, offsets, .. }) => format!("{} marks at {offsets:?}", target.0),
            Event::Notice(Notice::GptRelocated { offset, .. }) => format!("backup at {offset}"),
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

/// A device that does what its record says.
fn recorder(record: Record) -> (Box<dyn Sink>, Arc<Mutex<Record>>) {
    let record = Arc::new(Mutex::new(record));
    (sink(Kind::BlockDevice, &record), record)
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
    let image = Image { plan, reader: Box::new(source), reopen: None, input: None, pipe: None, gpt_sectors: None };
    let sinks = records.iter().map(|record| sink(kind, record)).collect();
    let verdicts = Copy { observer, cancel, ..Copy::new(image, sinks) }.run();
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
