//! Where blocks may begin: their magic, at any bit.
//!
//! The magic may also come up by chance, or on purpose, inside a block. So what is found here is only a candidate; which
//! ones are blocks is known once the one before has been decoded, and has ended there.

#![expect(
    clippy::arithmetic_side_effects,
    reason = "a place is a number of bits in 64 bits, and is subtracted from later ones only"
)]

use std::io::{self, BufRead};

use super::bits::Bits;
use super::block::{BLOCK_MAGIC, END_MAGIC, MAGIC_BITS};

/// The longest block in bytes of packed data, and more: 900,000 symbols of 20 bits, and 60 kB for its header.
pub(super) const MAX_PACKED: usize = 5 << 19;

/// Where a piece of packed data is cut off that no magic ends, once it is longer than any block.
const MAX_PIECE: usize = MAX_PACKED + (64 << 10);

/// How many bytes at the end of the data are not searched as long as there is more to come.
const UNSEEN: usize = 16;

/// Packed data from one candidate to the next.
pub(super) struct Piece {
    /// What it begins with.
    pub(super) kind: Kind,
    /// Its first bit, counted from the start of the file.
    pub(super) start: u64,
    /// The bit behind its last, which is the first of the next piece.
    pub(super) end: u64,
    /// The bytes that its bits lie in: the first and the last may belong to its neighbours as well.
    pub(super) bytes: Vec<u8>,
}

/// What a piece begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The magic of a block.
    Block,
    /// The magic of a stream's trailer.
    End,
    /// Anything else, at a byte's start.
    Other,
}

/// Cuts packed data into pieces.
pub(super) struct Scanner<R> {
    packed: R,
    /// Data that has been read.
    bytes: Vec<u8>,
    /// Where in it the first byte of the next piece is. Those before it are dropped all at once, when more is read: pieces
    /// may be as short as a magic.
    begin: usize,
    /// What the next piece begins with, and at which bit of its first byte.
    kind: Kind,
    shift: u64,
    /// How many bytes of the file come before.
    offset: u64,
    /// The pair of bytes that is looked at next.
    scanned: usize,
    ended: bool,
    filter: Filter,
}

impl<R: BufRead> Scanner<R> {
    pub(super) fn new(packed: R) -> Self {
        let filter = Filter::new();
        Self {
            packed,
            bytes: Vec::new(),
            begin: 0,
            kind: Kind::Other,
            shift: 0,
            offset: 0,
            scanned: 0,
            ended: false,
            filter,
        }
    }

    /// The next piece; `None` at the end of the data.
    pub(super) fn next_piece(&mut self) -> io::Result<Option<Piece>> {
        loop {
            if let Some((kind, bit)) = self.find() {
                return Ok(Some(self.cut(kind, bit)));
            }
            let length = pending(&self.bytes, self.begin).len();
            if length >= MAX_PIECE {
                // A magic may have begun shortly before the end.
                return Ok(Some(self.cut(Kind::Other, (MAX_PIECE - UNSEEN) as u64 * 8)));
            }
            if self.ended {
                let end = length as u64 * 8;
                return Ok((end > self.shift).then(|| self.cut(Kind::Other, end)));
            }
            self.read()?;
        }
    }

    fn read(&mut self) -> io::Result<()> {
        self.bytes.drain(..self.begin);
        self.begin = 0;
        match self.packed.fill_buf() {
            Ok([]) => self.ended = true,
            Ok(data) => {
                // All of it, so that one more scan is enough; but no piece shall become much longer than a block.
                let length = data.len().min(MAX_PIECE.saturating_sub(self.bytes.len()));
                self.bytes.extend_from_slice(data.get(..length).unwrap_or_default());
                self.packed.consume(length);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// The next magic, and its first bit.
    fn find(&mut self) -> Option<(Kind, u64)> {
        // The piece's own magic has been found already.
        let first = if self.kind == Kind::Other { self.shift } else { self.shift + 1 };
        let bytes = pending(&self.bytes, self.begin);
        let last_pair = bytes.len().saturating_sub(if self.ended { 1 } else { UNSEEN });
        while self.scanned < last_pair {
            if self.filter.passes(bytes, self.scanned)
                && let Some(found) = magic_around(bytes, self.scanned, first)
            {
                return Some(found);
            }
            self.scanned += STRIDE;
        }
        None
    }

    /// Takes the piece that ends at `bit`, where one of `kind` begins.
    fn cut(&mut self, kind: Kind, bit: u64) -> Piece {
        let (whole, shift) = ((bit / 8) as usize, bit % 8);
        let bytes = pending(&self.bytes, self.begin).get(..bit.div_ceil(8) as usize).unwrap_or_default().to_vec();
        self.begin += whole;
        let before = self.offset * 8;
        let piece = Piece { kind: self.kind, start: before + self.shift, end: before + bit, bytes };
        (self.kind, self.shift) = (kind, shift);
        self.offset += whole as u64;
        self.scanned = self.scanned.saturating_sub(whole);
        piece
    }
}

/// The bytes from `begin` on.
fn pending(bytes: &[u8], begin: usize) -> &[u8] {
    bytes.get(begin..).unwrap_or_default()
}

/// How far apart the pairs of bytes are that are looked at. Wherever a magic begins, five bytes are its alone, and so
/// one of four pairs that follow one another is.
const STRIDE: usize = 4;

/// The pairs of bytes that lie within a magic, one bit for each.
struct Filter(Box<[u64; 1 << 10]>);

impl Filter {
    #[expect(clippy::indexing_slicing, reason = "ten bits are an index")]
    fn new() -> Self {
        let mut pairs = Box::new([0; 1 << 10]);
        for magic in [BLOCK_MAGIC, END_MAGIC] {
            // The last of the pairs ends 0 to 7 bits before the magic does, the others 8, 16 and 24 bits earlier.
            for shift in 0..8 * STRIDE {
                let pair = magic >> shift & 0xffff;
                pairs[(pair >> 6) as usize] |= 1 << (pair & 63);
            }
        }
        Self(pairs)
    }

    /// Whether the pair of bytes at `place` may lie within a magic.
    #[expect(clippy::indexing_slicing, reason = "ten bits are an index")]
    #[inline(always)]
    fn passes(&self, bytes: &[u8], place: usize) -> bool {
        match bytes.get(place..).and_then(|rest| rest.first_chunk::<2>()) {
            Some(pair) => {
                let pair = u16::from_be_bytes(*pair);
                self.0[usize::from(pair >> 6)] >> (pair & 63) & 1 == 1
            }
            None => false,
        }
    }
}

/// The first magic, from the bit `first` on, that has the pair of bytes at `place` to itself.
fn magic_around(bytes: &[u8], place: usize, first: u64) -> Option<(Kind, u64)> {
    let end = place as u64 * 8;
    (end.saturating_sub(8 * STRIDE as u64)..=end).filter(|&begin| begin >= first).find_map(|begin| {
        let mut bits = Bits::new(bytes, begin);
        let magic = bits.take(MAGIC_BITS);
        match magic {
            _ if bits.overran() => None,
            BLOCK_MAGIC => Some((Kind::Block, begin)),
            END_MAGIC => Some((Kind::End, begin)),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bits, the first one of each byte the most significant.
    #[derive(Default)]
    struct Writer(Vec<bool>);

    impl Writer {
        fn put(&mut self, value: u64, count: u32) {
            self.0.extend((0..count).rev().map(|bit| value >> bit & 1 == 1));
        }

        fn bytes(&self) -> Vec<u8> {
            let byte = |bits: &[bool]| (0..8).fold(0, |byte, bit| byte << 1 | u8::from(bits.get(bit) == Some(&true)));
            self.0.chunks(8).map(byte).collect()
        }
    }

    /// The pieces of `data`, which is read in small portions.
    fn pieces(data: &[u8], portion: usize) -> Vec<Piece> {
        let mut scanner = Scanner::new(io::BufReader::with_capacity(portion, data));
        std::iter::from_fn(|| scanner.next_piece().unwrap()).collect()
    }

    #[test]
    fn magics_are_found_at_any_bit_and_across_any_border() {
        for shift in 0..40 {
            let mut writer = Writer::default();
            let mut expected = vec![(Kind::Other, 0)];
            for (gap, magic, kind) in [
                (32 + shift, BLOCK_MAGIC, Kind::Block),
                (100 + 3 * shift, BLOCK_MAGIC, Kind::Block),
                (0, END_MAGIC, Kind::End),
                (32, BLOCK_MAGIC, Kind::Block),
            ] {
                (0..gap).for_each(|bit| writer.put((bit / 3) & 1, 1));
                expected.push((kind, writer.0.len() as u64));
                writer.put(magic, MAGIC_BITS);
            }
            let data = writer.bytes();
            for portion in [1, 2, 3, 5, 1000] {
                let pieces = pieces(&data, portion);
                let found: Vec<_> = pieces.iter().map(|piece| (piece.kind, piece.start)).collect();
                assert_eq!(found, expected, "shift {shift}, portions of {portion}");
                for piece in &pieces {
                    let start = (piece.start / 8) as usize;
                    assert_eq!(piece.bytes, data[start..start + piece.bytes.len()]);
                }
            }
        }
    }

    #[test]
    fn a_long_stretch_without_a_magic_is_cut_and_loses_none() {
        for before in MAX_PIECE - 40..MAX_PIECE + 10 {
            let mut data = vec![0; before];
            data.extend(&BLOCK_MAGIC.to_be_bytes()[2..]);
            let pieces = pieces(&data, 256 << 10);
            let last = pieces.last().unwrap();
            assert_eq!((last.kind, last.start), (Kind::Block, before as u64 * 8));
            assert!(pieces.iter().all(|piece| piece.bytes.len() <= MAX_PIECE));
            assert_eq!(pieces.iter().map(|piece| piece.bytes.len()).sum::<usize>(), data.len());
        }
    }
}
