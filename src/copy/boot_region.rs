//! The boot region of a device, held back.
//!
//! It is zeroed before anything else is written, and written after all the rest is verified and durable. A flash that
//! is interrupted in between leaves nothing that looks like a disk. What the image leaves out in the region is put back
//! with it, as it is kept everywhere else.

use crate::sink::{Sink, TargetState};
use crate::sys::aligned::AlignedBuf;

use super::{Cancel, Error};

/// The bytes at the start of a target that are written last.
pub(super) struct BootRegion {
    /// What the target held, and the image over it.
    contents: AlignedBuf,
    /// As long, and there from the start: when they are needed, there may be no memory left.
    zeroes: AlignedBuf,
    state: State,
}

/// What the target has in its boot region.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Zeroes,
    /// Contents, or some of them; perhaps not durable.
    Written,
}

impl BootRegion {
    /// The boot region of `target`, in memory. Nothing is written.
    pub(super) fn of(target: &mut dyn Sink) -> Result<Self, Error> {
        let length = usize::try_from(target.info().boot_region).unwrap_or(0);
        let zeroes = AlignedBuf::zeroed(length).map_err(Error::Memory)?;
        let mut contents = AlignedBuf::zeroed(length).map_err(Error::Memory)?;
        if target.read_at(&mut contents, 0).is_err() {
            contents.fill(0);
        }
        Ok(Self { contents, zeroes, state: State::Zeroes })
    }

    /// Zeroes the region in `target`, if it has one, and makes that durable.
    pub(super) fn clear(&self, target: &mut dyn Sink) -> Result<(), Error> {
        if !self.zeroes.is_empty() {
            target.write_at(&self.zeroes, 0)?;
            target.sync().map_err(Error::Sync)?;
        }
        Ok(())
    }

    /// Keeps back as much of `data`, which belongs at `offset`, as lies in the region; returns how much that is.
    pub(super) fn hold(&mut self, data: &[u8], offset: u64) -> usize {
        let Ok(start) = usize::try_from(offset) else { return 0 };
        let Some(place) = self.contents.get_mut(start..) else { return 0 };
        let length = place.len().min(data.len());
        place.iter_mut().zip(data).for_each(|(place, &byte)| *place = byte);
        length
    }

    /// Makes the rest durable, then writes the region and makes that durable.
    pub(super) fn commit(&mut self, target: &mut dyn Sink, cancel: &Cancel) -> Result<(), Error> {
        cancel.check()?;
        target.sync().map_err(Error::Sync)?;
        cancel.check()?;
        if self.contents.is_empty() {
            return Ok(());
        }
        self.state = State::Written;
        // In one piece, so that it goes to the device directly: who kills the program here gets all of it or nothing.
        target.write_at(&self.contents, 0)?;
        target.sync().map_err(Error::Sync)
    }

    /// After an error: zeroes again what has been written, for it may be incomplete and must not look like a disk.
    /// Returns what that leaves, or `None` where nothing had been written.
    pub(super) fn revoke(&self, target: &mut dyn Sink) -> Option<TargetState> {
        if self.state == State::Zeroes {
            return None;
        }
        let zeroed = target.write_at(&self.zeroes, 0).map_err(|error| error.source).and_then(|()| target.sync());
        Some(if zeroed.is_ok() { TargetState::BootRegionCleared } else { TargetState::MaybeBootable })
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::copy::{Extents, Failure, Progress, Verify, transfer};
    use crate::event::Outcome;
    use crate::range::ByteRange;
    use crate::sink::{Kind, ReadError, SinkInfo, WriteError};
    use crate::source::ForwardRead;

    const MIB: u64 = 1 << 20;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Event {
        Begin,
        /// Offset and length.
        Write(u64, u64),
        Sync,
        Finish,
        Abandon,
    }
    use Event::{Abandon, Begin, Finish, Sync, Write};

    #[derive(Default)]
    struct Record {
        events: Vec<Event>,
        /// Which writes and syncs fail: the first, counted from 0, and how many from there on.
        failing: std::ops::Range<usize>,
        contents: Vec<u8>,
        /// Asks to stop at the sync with this number, counted from 0.
        cancel: Option<(usize, Cancel)>,
    }

    /// A device of 8 MiB that writes down what is done to it.
    struct Recorder(Arc<Mutex<Record>>);

    impl Recorder {
        fn note(&self, event: Event) -> io::Result<()> {
            let mut record = self.0.lock().unwrap();
            let count = |events: &[Event]| events.iter().filter(|event| matches!(event, Write(..) | Sync)).count();
            let number = count(&record.events);
            let syncs = record.events.iter().filter(|&&event| event == Sync).count();
            record.events.push(event);
            if let Some((at, cancel)) = &record.cancel
                && event == Sync
                && syncs == *at
            {
                cancel.flag().store(2, std::sync::atomic::Ordering::Relaxed);
            }
            let fails = matches!(event, Write(..) | Sync) && record.failing.contains(&number);
            if fails { Err(io::ErrorKind::Other.into()) } else { Ok(()) }
        }
    }

    impl Sink for Recorder {
        fn info(&self) -> SinkInfo {
            SinkInfo { capacity: Some(8 * MIB), boot_region: MIB, ..SinkInfo::of(Kind::BlockDevice) }
        }

        fn prepare(&mut self, _size: Option<u64>) -> io::Result<()> {
            self.note(Begin)
        }

        fn write_at(&mut self, buf: &[u8], offset: u64) -> Result<(), WriteError> {
            self.note(Write(offset, buf.len() as u64)).map_err(|source| WriteError { offset, source })?;
            let start = usize::try_from(offset).unwrap();
            self.0.lock().unwrap().contents[start..start + buf.len()].copy_from_slice(buf);
            Ok(())
        }

        fn read_at(&mut self, buf: &mut [u8], _offset: u64) -> Result<(), ReadError> {
            buf.copy_from_slice(&self.0.lock().unwrap().contents[..buf.len()]);
            Ok(())
        }

        fn zero(&mut self, _range: ByteRange) -> Result<(), WriteError> {
            unimplemented!()
        }

        fn discard(&mut self, _range: ByteRange) -> Result<(), WriteError> {
            unimplemented!()
        }

        fn sync(&mut self) -> io::Result<()> {
            self.note(Sync)
        }

        fn finish(self: Box<Self>, outcome: Outcome) -> TargetState {
            self.note(if outcome == Outcome::Complete { Finish } else { Abandon }).unwrap();
            TargetState::BootRegionZero
        }
    }

    struct Memory {
        bytes: Vec<u8>,
        position: usize,
    }

    impl io::Read for Memory {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let count = (&self.bytes[self.position..]).read(buf)?;
            self.position += count;
            Ok(count)
        }
    }

    impl ForwardRead for Memory {
        fn skip_to(&mut self, offset: u64) -> io::Result<u64> {
            self.position = usize::try_from(offset).unwrap().min(self.bytes.len());
            Ok(self.position as u64)
        }

        fn finish(&mut self) -> io::Result<u64> {
            Ok(self.bytes.len() as u64)
        }
    }

    fn image(size: u64) -> Vec<u8> {
        (0..size).map(|index| (index % 251) as u8 + 1).collect()
    }

    /// Copies an image of `size` bytes to a device that is full of 0xff.
    fn copy(size: u64, record: Record) -> (Result<u64, Failure>, Record) {
        let cancel = record.cancel.as_ref().map(|(_, cancel)| cancel.clone()).unwrap_or_default();
        let record = Arc::new(Mutex::new(Record { contents: vec![0xff; 8 * MIB as usize], ..record }));
        let (source, target) = (Memory { bytes: image(size), position: 0 }, Recorder(Arc::clone(&record)));
        let extents = Extents::Whole { size: Some(size) };
        let progress = Progress::default();
        let result = transfer(extents, Verify::Checksums, Box::new(source), Box::new(target), &progress, &cancel)
            .and_then(|transferred| transferred.commit(&progress, &cancel));
        let record = std::mem::take(&mut *record.lock().unwrap());
        (result, record)
    }

    #[test]
    fn zeroes_then_data_then_the_boot_region() {
        let start = [Begin, Write(0, MIB), Sync];
        let cases: [(u64, &[Event]); 4] = [
            (3 * MIB - 100, &[Write(MIB, MIB), Write(2 * MIB, MIB - 100), Sync, Write(0, MIB), Sync, Finish]),
            (MIB + 1, &[Write(MIB, 1), Sync, Write(0, MIB), Sync, Finish]),
            (MIB, &[Sync, Write(0, MIB), Sync, Finish]),
            (10_000, &[Sync, Write(0, MIB), Sync, Finish]),
        ];
        for (size, rest) in cases {
            let (result, record) = copy(size, Record::default());
            assert_eq!(result.ok(), Some(size));
            assert_eq!(record.events, [&start, rest].concat(), "{size} bytes");
            // What the image leaves out is what it was.
            let mut expected = image(size);
            expected.resize(8 * MIB as usize, 0xff);
            assert!(record.contents == expected, "{size} bytes");
        }
    }

    #[test]
    fn an_image_of_no_bytes_is_none() {
        let (result, record) = copy(0, Record::default());
        assert!(matches!(result, Err(Failure { error: Error::Empty, .. })));
        assert_eq!(record.events, [Abandon]);
        assert!(record.contents.iter().all(|&byte| byte == 0xff));
    }

    #[test]
    fn after_an_error_only_a_boot_region_that_was_written_is_written_to() {
        let all = [Begin, Write(0, MIB), Sync, Write(MIB, MIB), Write(2 * MIB, MIB), Sync, Write(0, MIB), Sync];
        for number in 0..7 {
            let failed = number + 1;
            let (result, record) = copy(3 * MIB, Record { failing: number..failed, ..Record::default() });
            let failure = result.unwrap_err();
            let mut expected = all[..=failed].to_vec();
            if failed >= 6 {
                expected.extend([Write(0, MIB), Sync]);
                assert_eq!(failure.remains, TargetState::BootRegionCleared);
            } else {
                assert_eq!(failure.remains, TargetState::BootRegionZero);
            }
            expected.push(Abandon);
            assert_eq!(record.events, expected);
            match (all[failed], failure.error) {
                (Write(offset, _), Error::Write { offset: told, .. }) => assert_eq!(offset, told),
                (Sync, Error::Sync(_)) => {}
                (event, error) => panic!("{event:?}: {error:?}"),
            }
            let untouched = if number == 0 { 0xff } else { 0 };
            assert!(record.contents[..MIB as usize].iter().all(|&byte| byte == untouched), "{number}");
        }
        for number in [5, 6] {
            let (result, _) = copy(3 * MIB, Record { failing: number..usize::MAX, ..Record::default() });
            assert_eq!(result.unwrap_err().remains, TargetState::MaybeBootable);
        }
    }

    #[test]
    fn who_stops_before_the_boot_region_is_written_gets_none() {
        for sync in [0, 1] {
            let cancel = Some((sync, Cancel::default()));
            let (result, record) = copy(2 * MIB, Record { cancel, ..Record::default() });
            assert!(matches!(result, Err(Failure { error: Error::Cancelled, remains: TargetState::BootRegionZero })));
            assert_eq!(record.events.iter().filter(|&&event| event == Write(0, MIB)).count(), 1);
            assert_eq!(record.events.last(), Some(&Abandon));
        }
        let cancel = Some((2, Cancel::default()));
        let (result, record) = copy(2 * MIB, Record { cancel, ..Record::default() });
        assert_eq!((result.ok(), record.events.last()), (Some(2 * MIB), Some(&Finish)), "it is complete");
    }
}
