//! The inverse Burrows-Wheeler transform.
//!
//! The transform sorts all rotations of a block, and keeps the last column of them and the row of the block itself
//! (origPtr). From the last column follows a linked list with an entry for each row, which leads through the block from
//! byte to byte but jumps through memory at random. A processor that follows it waits for memory most of the time. So
//! the list is followed from many rows at once: each walker stops where another one started, and at the end the
//! segments are put in order.

use super::block::MAX_LEN;

/// How many rows there can be: the bytes of the longest block, rounded up to a power of two.
pub(super) const ROWS: usize = 1 << 20;
const MASK: usize = ROWS - 1;

/// Set in an entry at which a segment begins. An entry has the row of the next entry in bits 8 to 27, and a byte of the
/// block in bits 0 to 7.
const SEGMENT_START: u32 = 1 << 31;

/// How many walkers there are: as many as it takes to keep memory busy.
const WALKERS: usize = 8;

/// How many steps all walkers make before those that have finished their segments get others.
const STEPS: usize = 128;

/// The average length of a segment in bytes.
const SEGMENT_LEN: usize = 8192;

/// The linked list, and the rest of the memory that the inverse transform takes, for one block after another.
pub(super) struct InverseBwt {
    entries: Vec<u32>,
    segments: Vec<Segment>,
}

/// The bytes of the block from one entry with [`SEGMENT_START`] to the next one.
#[derive(Default)]
struct Segment {
    /// The row of its first entry.
    start: usize,
    /// The row after its last entry, where another segment starts.
    end: usize,
    length: usize,
    /// Which pages hold its bytes; see [`walk`].
    pages: Vec<u16>,
}

/// Follows the list through one segment.
#[derive(Clone, Copy)]
struct Walker {
    /// Index of the segment; `None` if there are no more.
    segment: Option<usize>,
    /// The row of the next entry.
    row: usize,
    /// Whether no step has been made in the segment.
    is_at_start: bool,
    /// How many of the latest [`STEPS`] belong to the segment.
    steps: usize,
    /// The row after the segment, once it has been reached.
    end: Option<usize>,
}

impl InverseBwt {
    pub(super) fn new() -> Self {
        Self { entries: vec![0; ROWS], segments: Vec::new() }
    }

    /// The block whose last column is the first `length` bytes of `column`, and which is row `orig_ptr` of the sorted
    /// rotations. `counts` tells how often each byte occurs. The column is overwritten.
    pub(super) fn invert(
        &mut self,
        column: &mut [u8; ROWS],
        length: usize,
        counts: &[u32; 256],
        orig_ptr: usize,
    ) -> Option<Vec<u8>> {
        let entries = self.entries.first_chunk_mut::<ROWS>()?;
        link(entries, column.get(..length.min(MAX_LEN))?, counts);
        mark_segments(entries, &mut self.segments, length, orig_ptr);
        walk(entries, &mut self.segments, column);
        Some(assemble(&self.segments, column, length))
    }
}

/// Links the entries: the n-th occurrence of a byte in the first column, which is sorted, is the n-th in the last one.
#[expect(clippy::indexing_slicing, reason = "a byte and a masked number are indices")]
fn link(entries: &mut [u32; ROWS], column: &[u8], counts: &[u32; 256]) {
    let mut first_rows = [0_u32; 256];
    let mut sum = 0_u32;
    for (row, &count) in first_rows.iter_mut().zip(counts) {
        *row = sum;
        sum = sum.wrapping_add(count);
    }
    for (next, &byte) in (0_u32..).zip(column) {
        let row = &mut first_rows[usize::from(byte)];
        entries[*row as usize & MASK] = next << 8 | u32::from(byte);
        *row = row.wrapping_add(1);
    }
}

/// Chooses where segments start: at `orig_ptr`, with which the block begins, and evenly spread over the rows.
#[expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a block has at most 900,000 bytes in 110 segments, and a masked number is an index"
)]
fn mark_segments(entries: &mut [u32; ROWS], segments: &mut Vec<Segment>, length: usize, orig_ptr: usize) {
    let count = length.div_ceil(SEGMENT_LEN);
    segments.resize_with(count, Segment::default);
    let spread = (0..count).map(|number| number * length / count);
    let others = spread.filter(|&start| start != orig_ptr);
    let mut used = 0;
    for (segment, start) in segments.iter_mut().zip(std::iter::once(orig_ptr).chain(others)) {
        segment.pages.clear();
        (segment.start, segment.end, segment.length) = (start, start, 0);
        entries[start & MASK] |= SEGMENT_START;
        used += 1;
    }
    segments.truncate(used);
}

/// Follows the list through all segments, and stores their bytes in pages of [`STEPS`] bytes of `store`, in any order.
fn walk(entries: &[u32; ROWS], segments: &mut [Segment], store: &mut [u8; ROWS]) {
    let mut waiting = 0..segments.len();
    let (mut pages, _) = store.as_chunks_mut::<STEPS>();
    let mut page_number = 0;
    let mut walkers = [(); WALKERS].map(|()| Walker::on(waiting.next(), segments));
    let mut bytes = [[0; STEPS]; WALKERS];
    while walkers.iter().any(|walker| walker.segment.is_some()) {
        step(entries, &mut walkers, &mut bytes);
        for (walker, bytes) in walkers.iter_mut().zip(&bytes) {
            let Some(segment) = walker.segment.and_then(|segment| segments.get_mut(segment)) else { continue };
            // There is a page: only the last one of each segment is not full, and `store` exceeds the longest block by
            // more than that.
            let Some((page, rest)) = std::mem::take(&mut pages).split_first_mut() else { return };
            *page = *bytes;
            pages = rest;
            segment.pages.push(page_number);
            page_number = page_number.wrapping_add(1);
            segment.length = segment.length.saturating_add(walker.steps);
            (walker.steps, walker.is_at_start) = (STEPS, false);
            if let Some(end) = walker.end {
                segment.end = end;
                *walker = Walker::on(waiting.next(), segments);
            }
        }
    }
}

impl Walker {
    fn on(segment: Option<usize>, segments: &[Segment]) -> Self {
        let row = segment.and_then(|segment| segments.get(segment)).map_or(0, |segment| segment.start);
        Self { segment, row, is_at_start: true, steps: STEPS, end: None }
    }

    /// Notes that a segment starts at `row`, which is reached with `step`.
    #[cold]
    fn reach_segment_start(&mut self, step: usize, row: usize) {
        if self.end.is_none() && !(self.is_at_start && step == 0) {
            (self.steps, self.end) = (step, Some(row));
        }
    }
}

/// Makes [`STEPS`] steps with all walkers; those that reach the end of their segments go on regardless.
#[expect(clippy::indexing_slicing, reason = "a masked number and a step are indices")]
#[inline(never)]
fn step(entries: &[u32; ROWS], walkers: &mut [Walker; WALKERS], bytes: &mut [[u8; STEPS]; WALKERS]) {
    let mut rows = walkers.map(|walker| walker.row & MASK);
    for step in 0..STEPS {
        for ((row, bytes), walker) in rows.iter_mut().zip(&mut *bytes).zip(&mut *walkers) {
            let entry = entries[*row];
            bytes[step] = entry as u8;
            if entry & SEGMENT_START != 0 {
                walker.reach_segment_start(step, *row);
            }
            *row = (entry >> 8) as usize & MASK;
        }
    }
    walkers.iter_mut().zip(rows).for_each(|(walker, row)| walker.row = row);
}

/// Puts the segments in order. The list of a block that repeats itself comes back to `orig_ptr` early; what it led
/// through is then repeated.
fn assemble(segments: &[Segment], store: &[u8; ROWS], length: usize) -> Vec<u8> {
    let (pages, _) = store.as_chunks::<STEPS>();
    let mut block = Vec::with_capacity(length);
    let mut next = segments.first();
    for _ in 0..segments.len() {
        let Some(segment) = next else { break };
        let end = block.len().saturating_add(segment.length);
        for page in segment.pages.iter().filter_map(|&page| pages.get(usize::from(page))) {
            let left = end.saturating_sub(block.len()).min(STEPS);
            block.extend_from_slice(page.get(..left).unwrap_or_default());
        }
        next = segments.iter().find(|other| other.start == segment.end);
        if next.zip(segments.first()).is_some_and(|(next, first)| std::ptr::eq(next, first)) {
            break;
        }
    }
    while block.len() < length && !block.is_empty() {
        block.extend_from_within(..block.len().min(length.saturating_sub(block.len())));
    }
    block
}
