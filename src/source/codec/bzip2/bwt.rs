//! The inverse Burrows-Wheeler transform.
//!
//! The last column of the sorted rotations leads from each place of the text to the next one, by a chain that jumps through
//! memory without any order. A processor that follows it waits for memory most of the time, so the chain is entered at
//! many places at once: each walker stops where another one began, and at the end the pieces are put in order.

use super::block::MAX_LEN;

/// How many entries a chain can have: the places of a block, rounded up to a power of two.
pub(super) const SLOTS: usize = 1 << 20;
const MASK: usize = SLOTS - 1;

/// Marks an entry at which a piece begins. Below it are the place of the next entry, and then a byte of the text.
const BEGIN: u32 = 1 << 31;

/// How many walkers there are: as many as it takes to keep memory busy.
const WALKERS: usize = 8;

/// How many steps are walked before it is looked which walkers have come to an end.
const STEPS: usize = 128;

/// How much text there is to a piece, on average.
const PIECE_LEN: usize = 8192;

/// The chain through a block, and the memory that following it takes.
pub(super) struct Chain {
    entries: Vec<u32>,
    pieces: Vec<Piece>,
}

/// A piece of the text: that from one mark to the next.
#[derive(Default)]
struct Piece {
    /// The entry where it begins.
    begin: usize,
    /// The entry where it ends, which is where another one begins.
    end: usize,
    length: usize,
    /// Which pages of the store hold it.
    pages: Vec<u16>,
}

#[derive(Clone, Copy)]
struct Walker {
    /// The piece that is being gathered; `None` where there are no more.
    piece: Option<usize>,
    /// The next entry.
    at: usize,
    /// Whether not a step has been made.
    fresh: bool,
    /// How many of the latest steps belong to the piece.
    steps: usize,
    /// Where the piece ended, if it did.
    end: Option<usize>,
}

impl Chain {
    pub(super) fn new() -> Self {
        Self { entries: vec![0; SLOTS], pieces: Vec::new() }
    }

    /// The text whose last column is the first `length` bytes of `column`, which has each byte as often as `counts` says,
    /// and whose own place among the rotations is `origin`. The column is lost.
    pub(super) fn invert(
        &mut self,
        column: &mut [u8; SLOTS],
        length: usize,
        counts: &[u32; 256],
        origin: usize,
    ) -> Option<Vec<u8>> {
        let entries = self.entries.first_chunk_mut::<SLOTS>()?;
        link(entries, column.get(..length.min(MAX_LEN))?, counts);
        mark(entries, &mut self.pieces, length, origin);
        walk(entries, &mut self.pieces, column);
        Some(assemble(&self.pieces, column, length))
    }
}

/// Links the entries: the n-th occurrence of a byte in the sorted first column is the n-th in the last one.
#[expect(clippy::indexing_slicing, reason = "a byte and a masked number are indices")]
fn link(entries: &mut [u32; SLOTS], column: &[u8], counts: &[u32; 256]) {
    let mut slots = [0_u32; 256];
    let mut sum = 0_u32;
    for (slot, &count) in slots.iter_mut().zip(counts) {
        *slot = sum;
        sum = sum.wrapping_add(count);
    }
    for (place, &byte) in (0_u32..).zip(column) {
        let slot = &mut slots[usize::from(byte)];
        entries[*slot as usize & MASK] = place << 8 | u32::from(byte);
        *slot = slot.wrapping_add(1);
    }
}

/// Chooses where the pieces begin: at the origin, and evenly spread over the entries.
#[expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a text has at most 900,000 bytes in 110 pieces, and a masked number is an index"
)]
fn mark(entries: &mut [u32; SLOTS], pieces: &mut Vec<Piece>, length: usize, origin: usize) {
    let count = length.div_ceil(PIECE_LEN);
    pieces.resize_with(count, Piece::default);
    let spread = (0..count).map(|number| number * length / count);
    let others = spread.filter(|&begin| begin != origin);
    let mut used = 0;
    for (piece, begin) in pieces.iter_mut().zip(std::iter::once(origin).chain(others)) {
        piece.pages.clear();
        (piece.begin, piece.end, piece.length) = (begin, begin, 0);
        entries[begin & MASK] |= BEGIN;
        used += 1;
    }
    pieces.truncate(used);
}

/// Gathers all pieces, in pages of `store`.
fn walk(entries: &[u32; SLOTS], pieces: &mut [Piece], store: &mut [u8; SLOTS]) {
    let mut waiting = 0..pieces.len();
    let (mut pages, _) = store.as_chunks_mut::<STEPS>();
    let mut page_number = 0;
    let mut walkers = [(); WALKERS].map(|()| Walker::on(waiting.next(), pieces));
    let mut texts = [[0; STEPS]; WALKERS];
    while walkers.iter().any(|walker| walker.piece.is_some()) {
        steps(entries, &mut walkers, &mut texts);
        for (walker, text) in walkers.iter_mut().zip(&texts) {
            let Some(piece) = walker.piece.and_then(|piece| pieces.get_mut(piece)) else { continue };
            // There is a page: all but the last of a piece are full, and a column is larger than its text by that much.
            let Some((page, rest)) = std::mem::take(&mut pages).split_first_mut() else { return };
            *page = *text;
            pages = rest;
            piece.pages.push(page_number);
            page_number = page_number.wrapping_add(1);
            piece.length = piece.length.saturating_add(walker.steps);
            (walker.steps, walker.fresh) = (STEPS, false);
            if let Some(end) = walker.end {
                piece.end = end;
                *walker = Walker::on(waiting.next(), pieces);
            }
        }
    }
}

impl Walker {
    fn on(piece: Option<usize>, pieces: &[Piece]) -> Self {
        let at = piece.and_then(|piece| pieces.get(piece)).map_or(0, |piece| piece.begin);
        Self { piece, at, fresh: true, steps: STEPS, end: None }
    }

    /// Takes note that the entry of `step` has a mark.
    #[cold]
    fn marked(&mut self, step: usize, at: usize) {
        if self.end.is_none() && !(self.fresh && step == 0) {
            (self.steps, self.end) = (step, Some(at));
        }
    }
}

/// Moves all walkers on; those that come to the end of their piece go on regardless.
#[expect(clippy::indexing_slicing, reason = "a masked number and a step are indices")]
#[inline(never)]
fn steps(entries: &[u32; SLOTS], walkers: &mut [Walker; WALKERS], texts: &mut [[u8; STEPS]; WALKERS]) {
    let mut places = walkers.map(|walker| walker.at & MASK);
    for step in 0..STEPS {
        for ((at, text), walker) in places.iter_mut().zip(&mut *texts).zip(&mut *walkers) {
            let entry = entries[*at];
            text[step] = entry as u8;
            if entry & BEGIN != 0 {
                walker.marked(step, *at);
            }
            *at = (entry >> 8) as usize & MASK;
        }
    }
    walkers.iter_mut().zip(places).for_each(|(walker, at)| walker.at = at);
}

/// Puts the pieces in order. A text that is a repetition has a chain that comes back to its origin early: it is followed
/// again, as often as it takes.
fn assemble(pieces: &[Piece], store: &[u8; SLOTS], length: usize) -> Vec<u8> {
    let (pages, _) = store.as_chunks::<STEPS>();
    let mut text = Vec::with_capacity(length);
    let mut next = pieces.first();
    for _ in 0..pieces.len() {
        let Some(piece) = next else { break };
        let end = text.len().saturating_add(piece.length);
        for page in piece.pages.iter().filter_map(|&page| pages.get(usize::from(page))) {
            let left = end.saturating_sub(text.len()).min(STEPS);
            text.extend_from_slice(page.get(..left).unwrap_or_default());
        }
        next = pieces.iter().find(|other| other.begin == piece.end);
        if next.zip(pieces.first()).is_some_and(|(next, first)| std::ptr::eq(next, first)) {
            break;
        }
    }
    while text.len() < length && !text.is_empty() {
        text.extend_from_within(..text.len().min(length.saturating_sub(text.len())));
    }
    text
}
