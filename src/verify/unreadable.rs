//! What of a device or a file cannot be read. A worn card has such places, and all others are compared nevertheless.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Error;
use crate::bmap::Range;
use crate::hashing::Window;
use crate::sys::read_at::ReadError;

/// How long looking for what can be read may take in all: some devices take half a minute for each read that fails.
const TIME_LIMIT: Duration = Duration::from_secs(600);

/// How much is read at once where a larger read has failed, in bytes: no smaller than a sector.
const STEP: u64 = 4096;

/// Fills memory with what a device or a file has at an offset.
pub(super) type ReadAt<'a> = &'a dyn Fn(&mut [u8], u64) -> Result<(), ReadError>;

/// What of the ranges that are being read could not be read.
#[derive(Default)]
pub(super) struct Unreadable(Mutex<State>);

#[derive(Default)]
struct State {
    /// The first error in each range, by its first byte.
    errors: BTreeMap<u64, ReadError>,
    /// How long it took to find them.
    time: Duration,
}

impl Unreadable {
    /// Reads the parts of `window` by `read_at` to where they belong in `buf`. What cannot be read is zero there, and the
    /// error is noted for its range, of which nothing more is read.
    pub(super) fn read(&self, read_at: ReadAt<'_>, window: &Window<Range<'_>>, buf: &mut [u8]) -> Result<(), Error> {
        let span = window.span();
        let buf = &mut buf[window.position(span)];
        let is_noted = |state: &State, of: Range<'_>| state.errors.contains_key(&of.bytes.start);
        let is_read = {
            let state = self.state();
            window.parts.iter().any(|part| !is_noted(&state, part.of))
        };
        if is_read && read_at(buf, span.start).is_ok() {
            return Ok(());
        }
        buf.fill(0);
        // One thread at a time, so that the others do not make it slower.
        let mut state = self.state();
        for part in &window.parts {
            if is_noted(&state, part.of) {
                continue;
            }
            let started = Instant::now();
            let position = (part.bytes.start - span.start) as usize..(part.bytes.end - span.start) as usize;
            if let Err(error) = read_in_steps(read_at, &mut buf[position], part.bytes.start) {
                state.time += started.elapsed();
                let ReadError { offset, source } = error;
                if is_gone(&source) {
                    return Err(Error::Read { offset, source });
                }
                if state.time > TIME_LIMIT {
                    return Err(Error::GivenUp { offset, source });
                }
                state.errors.insert(part.of.bytes.start, ReadError { offset, source });
            }
        }
        Ok(())
    }

    /// Why a range, all of which has been read, could not be, if it could not. It is asked once.
    pub(super) fn take(&self, range: Range<'_>) -> Option<ReadError> {
        self.state().errors.remove(&range.bytes.start)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Fills `buf` from `offset` on, or fails at the first step that cannot be read.
pub(super) fn read_in_steps(read_at: ReadAt<'_>, mut buf: &mut [u8], mut offset: u64) -> Result<(), ReadError> {
    while !buf.is_empty() {
        let length = (STEP - offset % STEP).min(buf.len() as u64);
        let (step, rest) = buf.split_at_mut(length as usize);
        read_at(step, offset)?;
        (buf, offset) = (rest, offset + length);
    }
    Ok(())
}

/// Whether nothing of a device can be read any more, because it was taken out. What remains of it may have no size.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::UnexpectedEof
        || matches!(error.raw_os_error(), Some(libc::ENODEV | libc::ENXIO | libc::ENOMEDIUM))
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;
    use crate::hashing::windows;
    use crate::range::{BlockRange, ByteRange};
    use crate::sys::read_at::read_all_at;

    #[test]
    fn what_cannot_be_read_is_noted_until_that_takes_too_long() {
        // Of a directory, each read fails.
        let directory = File::open("/").unwrap();
        let read_at = |buf: &mut [u8], offset| read_all_at(&directory, buf, offset);
        let range = |start, end| {
            let blocks = BlockRange::new(start, end).unwrap();
            let bytes = ByteRange { start: start * STEP, end: end * STEP };
            (bytes, Range { blocks, bytes, checksum: None })
        };
        let ranges = [range(1, 2), range(3, 5)];
        let window = windows(ranges.into_iter()).next().unwrap();
        let unreadable = Unreadable::default();
        let mut buf = vec![7; 1 << 20];
        unreadable.read(&read_at, &window, &mut buf).unwrap();
        assert!(buf[4096..20480].iter().all(|&byte| byte == 0));
        assert_eq!(unreadable.take(ranges[1].1).unwrap().offset, 3 * STEP);
        assert!(unreadable.take(ranges[1].1).is_none());
        unreadable.state().time = TIME_LIMIT;
        let failed = unreadable.read(&read_at, &window, &mut buf).unwrap_err();
        assert!(matches!(failed, Error::GivenUp { offset, .. } if offset == 3 * STEP), "{failed}");
    }

    #[test]
    fn a_device_that_was_taken_out_is_gone() {
        let gone = [libc::ENODEV, libc::ENXIO, libc::ENOMEDIUM].map(io::Error::from_raw_os_error);
        assert!(gone.iter().all(is_gone) && is_gone(&io::ErrorKind::UnexpectedEof.into()));
        assert!(!is_gone(&io::Error::from_raw_os_error(libc::EIO)));
    }
}
