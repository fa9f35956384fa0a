//! Writing at an offset in a file or device, in as many calls as it takes.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::WriteError;
use crate::range::ByteRange;
use crate::sys::aligned::AlignedBuf;
use crate::sys::eintr::retry_on_eintr;

/// How many bytes are zeroed or discarded in one call, which no signal ends early.
const STEP: u64 = 256 << 20;

/// How many zeroes are written in one call.
const ZEROES: usize = 1 << 20;

/// Writes all of `buf` at `offset`; an error comes with the offset of the first byte that was not written.
pub(super) fn write_all_at(file: &File, buf: &[u8], offset: u64) -> Result<(), WriteError> {
    let mut done = 0;
    while done < buf.len() {
        let offset = offset + done as u64;
        match retry_on_eintr(|| file.write_at(&buf[done..], offset)) {
            Ok(0) => return Err(WriteError { offset, source: io::ErrorKind::WriteZero.into() }),
            Ok(count) => done += count,
            Err(source) => return Err(WriteError { offset, source }),
        }
    }
    Ok(())
}

/// Has `write` write zeroes to all of `range`.
pub(super) fn write_zeroes(
    range: ByteRange,
    mut write: impl FnMut(&[u8], u64) -> Result<(), WriteError>,
) -> Result<(), WriteError> {
    let length = usize::try_from(range.len()).unwrap_or(ZEROES).min(ZEROES);
    let zeroes = AlignedBuf::zeroed(length).map_err(|source| WriteError { offset: range.start, source })?;
    for step in cut(range, length as u64) {
        let length = usize::try_from(step.len()).unwrap_or(length);
        write(zeroes.get(..length).unwrap_or(&zeroes), step.start)?;
    }
    Ok(())
}

/// `range` in steps that one call may take, in order.
pub(super) fn steps(range: ByteRange) -> impl Iterator<Item = ByteRange> {
    cut(range, STEP)
}

fn cut(range: ByteRange, length: u64) -> impl Iterator<Item = ByteRange> {
    let mut start = range.start;
    std::iter::from_fn(move || {
        let step = ByteRange { start, end: start.saturating_add(length).min(range.end) };
        start = step.end;
        (!step.is_empty()).then_some(step)
    })
}

/// Whether a file system, driver or kernel does not know a command.
pub(super) fn is_unsupported(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENOSYS | libc::ENOTTY))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::read_at::read_all_at;

    #[test]
    fn a_long_range_is_cut_and_an_empty_one_is_nothing() {
        let range = |start, end| ByteRange { start, end };
        assert_eq!(cut(range(5, 26), 10).collect::<Vec<_>>(), [range(5, 15), range(15, 25), range(25, 26)]);
        assert_eq!(cut(range(5, 15), 10).collect::<Vec<_>>(), [range(5, 15)]);
        assert_eq!(steps(range(5, 5)).next(), None);
        assert_eq!(steps(range(9, 5)).next(), None);
        assert_eq!(steps(range(u64::MAX - 1, u64::MAX)).count(), 1);
    }

    #[test]
    fn an_error_tells_the_first_byte_that_was_not_read_or_written() {
        let file = tempfile::tempfile().unwrap();
        write_all_at(&file, b"abcdef", 2).unwrap();
        let mut found = [9; 4];
        read_all_at(&file, &mut found, 3).unwrap();
        assert_eq!(&found, b"bcde");
        let error = read_all_at(&file, &mut [0; 9], 5).unwrap_err();
        assert_eq!((error.offset, error.source.kind()), (8, io::ErrorKind::UnexpectedEof));
        let full = File::options().write(true).open("/dev/full").unwrap();
        assert_eq!(write_all_at(&full, b"a", 7).unwrap_err().offset, 7);
    }
}
