//! Whether a device holds as much as it says.
//!
//! Some cards and sticks say that they are larger than they are. What is written past their real size goes nowhere, or
//! wraps around and overwrites their start. Marks at the powers of two, written from the end to the start, show that: a
//! mark that was lost is not there, whatever the real size is, and one that wrapped around has been overwritten by a later
//! one if both have the same place. They do where their distance is a multiple of the real size: always if that is a power
//! of two, as of most counterfeits. Where a device wraps around that passes, only a scan of all of it could tell. Reading
//! back is one of the image, and finds what of that has overwritten something else of it; only zeroes may then still be
//! overwritten by what is written last.
//!
//! Whatever was in the place of a mark is put back. Who is killed or unplugged in between leaves some marks, of 4096
//! bytes each, where they are.

use std::time::UNIX_EPOCH;

use super::cancel::Cancel;
use super::error::Error;
use crate::event::{Notice, Observer, TargetId};
use crate::sink::{Kind, Sink, WriteError};
use crate::sys::aligned::AlignedBuf;

/// The length of a mark in bytes; at least a sector.
const MARK: u64 = 4096;

/// The lowest power of two that is marked.
const LOWEST: u64 = 16 << 20;

/// Devices below this size, in bytes, are not checked: counterfeits claim far more.
const SMALL: u64 = 64 << 20;

/// Checks a device, on which nothing has been written yet, and leaves it as it was.
///
/// What cannot be marked is spared: a device may be read-only at its end.
pub(super) fn check(
    sink: &mut dyn Sink,
    target: TargetId,
    observer: &dyn Observer,
    cancel: &Cancel,
) -> Result<(), Error> {
    let info = sink.info();
    let Some(capacity) = info.capacity.filter(|&capacity| info.kind == Kind::BlockDevice && capacity >= SMALL) else {
        return Ok(());
    };
    let mut marks = Marks::read(sink, capacity)?;
    let holds = marks.check(sink, cancel);
    let restored = marks.put_back(sink).map_err(|NotRestored { offsets, error }| {
        if !offsets.is_empty() {
            observer.notice(Notice::MarksLeft { target, offsets: &offsets, error: &error });
        }
        error
    });
    match holds? {
        Some(holds) => Err(Error::Capacity { claimed: capacity, holds }),
        None => restored,
    }
}

/// Where marks may still be, and why.
struct NotRestored {
    offsets: Vec<u64>,
    error: Error,
}

/// Places on a device, and what was there.
struct Marks {
    /// From the end to the start.
    places: Vec<(u64, AlignedBuf)>,
    /// How many of them have been written to.
    written: usize,
    /// Tells these marks from others that may be there.
    seed: u64,
    buf: AlignedBuf,
}

impl Marks {
    /// Reads what is in the places. One that cannot be read is left out.
    fn read(sink: &mut dyn Sink, capacity: u64) -> Result<Self, Error> {
        let end = capacity - MARK;
        let mut offsets = vec![0];
        offsets.extend((0..).map(|power| LOWEST << power).take_while(|offset| offset + MARK <= end));
        offsets.push(end);
        let mut places = Vec::new();
        for offset in offsets.into_iter().rev() {
            let mut there = buffer()?;
            match sink.read_at(&mut there, offset) {
                Ok(()) => places.push((offset, there)),
                Err(error) => log::debug!("byte {} cannot be read and is not marked: {}", error.offset, error.source),
            }
        }
        // A clock before 1970 does no harm.
        let seed = UNIX_EPOCH.elapsed().map_or(0, |time| time.as_nanos() as u64);
        Ok(Self { places, written: 0, seed, buf: buffer()? })
    }

    /// Writes the marks and looks which are there: the lowest offset at which one is missing, or `None`.
    fn check(&mut self, sink: &mut dyn Sink, cancel: &Cancel) -> Result<Option<u64>, Error> {
        if let Err(error) = self.write(sink, cancel)? {
            log::debug!("byte {} cannot be written to, the capacity is not checked: {}", error.offset, error.source);
            return Ok(None);
        }
        let mut missing = None;
        for &(offset, _) in &self.places {
            cancel.check()?;
            let read = sink.read_at(&mut self.buf, offset);
            if read.is_err() || self.buf[..] != mark(self.seed, offset) {
                missing = Some(offset);
            }
        }
        Ok(missing)
    }

    /// Writes the marks; the inner result is that of the device.
    fn write(&mut self, sink: &mut dyn Sink, cancel: &Cancel) -> Result<Result<(), WriteError>, Error> {
        for (offset, there) in &self.places {
            cancel.check()?;
            self.buf.copy_from_slice(&mark(self.seed, *offset));
            if let Err(error) = sink.write_at(&self.buf, *offset) {
                let _ = sink.write_at(there, *offset); // should a part of it have been written
                return Ok(Err(error));
            }
            self.written += 1;
        }
        sink.sync().map_err(Error::Sync)?;
        Ok(Ok(()))
    }

    /// Puts back what was there.
    fn put_back(&self, sink: &mut dyn Sink) -> Result<(), NotRestored> {
        let marked = || self.places[..self.written].iter().rev();
        let (mut offsets, mut result) = (Vec::new(), Ok(()));
        // One that fails is tried again, and does not keep the others from being put back.
        for (offset, there) in marked() {
            if let Err(error) = sink.write_at(there, *offset).or_else(|_| sink.write_at(there, *offset)) {
                offsets.push(*offset);
                result = Err(error.into());
            }
        }
        if let Err(error) = sink.sync() {
            offsets = marked().map(|(offset, _)| *offset).collect();
            result = Err(Error::Sync(error));
        }
        result.map_err(|error| NotRestored { offsets, error })?;
        sink.note_restored();
        Ok(())
    }
}

fn buffer() -> Result<AlignedBuf, Error> {
    AlignedBuf::zeroed(MARK as usize).map_err(Error::Memory)
}

/// What is written at `offset`: numbers that are found nowhere else (SplitMix64).
fn mark(seed: u64, offset: u64) -> [u8; MARK as usize] {
    let mut mark = [0; MARK as usize];
    let mut state = seed ^ offset;
    for word in mark.as_chunks_mut::<8>().0 {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        *word = (mixed ^ (mixed >> 27)).to_le_bytes();
    }
    mark
}
