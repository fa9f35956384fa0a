//! What lies in the same MiB is read at once.

use std::iter::Peekable;
use std::ops::Range;

use crate::range::ByteRange;

/// The length of a window in bytes.
pub(crate) const WINDOW: u64 = 1 << 20;

/// The parts of ranges that lie between two multiples of [`WINDOW`].
pub(crate) struct Window<T> {
    /// Counted from the start of the image.
    pub(crate) index: u64,
    /// In order; at least one.
    pub(crate) parts: Vec<Part<T>>,
}

/// A part of a range.
pub(crate) struct Part<T> {
    pub(crate) bytes: ByteRange,
    /// The range.
    pub(crate) of: T,
    /// Whether it ends the range.
    pub(crate) is_last: bool,
}

impl<T> Window<T> {
    /// Where the window begins, in bytes.
    pub(crate) fn start(&self) -> u64 {
        self.index * WINDOW
    }

    /// From the first byte of the first part to the last of the last.
    pub(crate) fn span(&self) -> ByteRange {
        let [first, .., last] = self.parts.as_slice() else { return self.parts[0].bytes };
        ByteRange { start: first.bytes.start, end: last.bytes.end }
    }

    /// The parts, those that touch as one.
    pub(crate) fn runs(&self) -> impl Iterator<Item = ByteRange> {
        self.parts
            .chunk_by(|part, next| part.bytes.end == next.bytes.start)
            .map(|run| ByteRange { start: run[0].bytes.start, end: run[run.len() - 1].bytes.end })
    }

    /// Where `bytes`, which lie in the window, are in a buffer of all of it.
    pub(crate) fn position(&self, bytes: ByteRange) -> Range<usize> {
        (bytes.start - self.start()) as usize..(bytes.end - self.start()) as usize
    }
}

/// Cuts `ranges`, which are in order and not empty, into windows.
pub(crate) fn windows<T: Copy>(ranges: impl Iterator<Item = (ByteRange, T)>) -> impl Iterator<Item = Window<T>> {
    Windows::new(ranges)
}

/// Windows of ranges.
pub(super) struct Windows<T, I: Iterator<Item = (ByteRange, T)>> {
    /// What is left; of the first range perhaps only a part.
    ranges: Peekable<I>,
}

impl<T, I: Iterator<Item = (ByteRange, T)>> Windows<T, I> {
    pub(super) fn new(ranges: I) -> Self {
        Self { ranges: ranges.peekable() }
    }
}

impl<T: Copy, I: Iterator<Item = (ByteRange, T)>> Iterator for Windows<T, I> {
    type Item = Window<T>;

    fn next(&mut self) -> Option<Window<T>> {
        let index = self.ranges.peek()?.0.start / WINDOW;
        let end = (index + 1).saturating_mul(WINDOW);
        let mut parts = Vec::new();
        while let Some((left, of)) = self.ranges.peek_mut().filter(|(left, _)| left.start < end) {
            let bytes = ByteRange { start: left.start, end: left.end.min(end) };
            let is_last = bytes.end == left.end;
            parts.push(Part { bytes, of: *of, is_last });
            left.start = bytes.end;
            if !is_last {
                break;
            }
            self.ranges.next();
        }
        Some(Window { index, parts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_where_windows_end() {
        let ranges = [(5, 10), (10, 20), (WINDOW - 1, 2 * WINDOW + 3), (2 * WINDOW + 4, 3 * WINDOW)];
        let ranges = ranges.into_iter().zip('a'..).map(|((start, end), name)| (ByteRange { start, end }, name));
        let found: Vec<_> = windows(ranges)
            .map(|window| {
                let part = |part: &Part<char>| (part.bytes.start, part.bytes.end, part.of, part.is_last);
                (window.index, window.parts.iter().map(part).collect::<Vec<_>>())
            })
            .collect();
        let expected = [
            (0, vec![(5, 10, 'a', true), (10, 20, 'b', true), (WINDOW - 1, WINDOW, 'c', false)]),
            (1, vec![(WINDOW, 2 * WINDOW, 'c', false)]),
            (2, vec![(2 * WINDOW, 2 * WINDOW + 3, 'c', true), (2 * WINDOW + 4, 3 * WINDOW, 'd', true)]),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn parts_that_touch_are_read_at_once() {
        let ranges = [(5, 10), (10, 20), (21, 30), (30, WINDOW)].map(|(start, end)| (ByteRange { start, end }, ()));
        let window = windows(ranges.into_iter()).next().unwrap();
        let runs: Vec<_> = window.runs().map(|run| (run.start, run.end)).collect();
        assert_eq!(runs, [(5, 20), (21, WINDOW)]);
    }
}
