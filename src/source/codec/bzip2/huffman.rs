//! Huffman codes: canonical, the most significant bit first, of 1 to 20 bits a symbol.

use super::bits::Bits;

/// The most symbols that a code has: two for runs, 255 places of the move-to-front list, and the end of the block.
pub(super) const MAX_SYMBOLS: usize = 258;

/// The longest code word of the format.
pub(super) const MAX_LENGTH: u32 = 20;

/// Code words up to this length are found in one look.
const FAST: u32 = 10;

/// A code, ready for decoding.
pub(super) struct Code {
    /// By the next [`FAST`] bits: the symbol, and below it five bits with the length of its code word; 0 where that word is
    /// longer, or there is none.
    fast: [u16; 1 << FAST],
    /// By length: the end of its code words, as numbers of [`MAX_LENGTH`] bits of which the first ones count.
    ends: [u32; MAX_LENGTH as usize + 1],
    /// By length: what to add to a code word, as a number of that length, to get its place among the symbols.
    offsets: [i32; MAX_LENGTH as usize + 1],
    /// The symbols in the order of their code words.
    symbols: [u16; MAX_SYMBOLS],
}

impl Code {
    /// A code without any symbol.
    pub(super) const fn empty() -> Self {
        Self {
            fast: [0; 1 << FAST],
            ends: [0; MAX_LENGTH as usize + 1],
            offsets: [0; MAX_LENGTH as usize + 1],
            symbols: [0; MAX_SYMBOLS],
        }
    }

    /// Becomes the code whose symbols have code words of these `lengths`, each 1 to 20. It may leave words unused. `None`
    /// where there are not enough code words.
    #[expect(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        reason = "words have at most 21 bits, and a length up to the longest is an index"
    )]
    pub(super) fn assign(&mut self, lengths: &[u8]) -> Option<()> {
        self.fast.fill(0);
        let mut word = 0; // of MAX_LENGTH bits
        let mut place = 0;
        for length in 1..=MAX_LENGTH {
            let unit = 1 << (MAX_LENGTH - length);
            self.offsets[length as usize] = place as i32 - (word / unit) as i32;
            for (symbol, _) in lengths.iter().enumerate().filter(|&(_, &wanted)| u32::from(wanted) == length) {
                let end = word + unit;
                if end > 1 << MAX_LENGTH {
                    return None;
                }
                *self.symbols.get_mut(place)? = symbol as u16;
                if length <= FAST {
                    let span = (word >> (MAX_LENGTH - FAST)) as usize..(end >> (MAX_LENGTH - FAST)) as usize;
                    self.fast.get_mut(span)?.fill((symbol as u16) << 5 | length as u16);
                }
                word = end;
                place += 1;
            }
            self.ends[length as usize] = word;
        }
        Some(())
    }

    /// The next symbol, of which the window of `bits` must have all bits; `None` where no code word fits.
    #[expect(clippy::indexing_slicing, reason = "as many bits as the table was made for are an index")]
    #[inline(always)]
    pub(super) fn symbol(&self, bits: &mut Bits<'_>) -> Option<u16> {
        let window = bits.window();
        let entry = match self.fast[(window >> (64 - FAST)) as usize] {
            0 => self.long_entry(window)?,
            entry => entry,
        };
        bits.skip(u32::from(entry & 31));
        Some(entry >> 5)
    }

    /// What the table would have for a longer code word.
    #[expect(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        reason = "words have at most 20 bits, and a length up to the longest is an index"
    )]
    #[cold]
    fn long_entry(&self, window: u64) -> Option<u16> {
        let next = (window >> (64 - MAX_LENGTH)) as u32;
        let length = (FAST + 1..=MAX_LENGTH).find(|&length| next < self.ends[length as usize])?;
        let word = (next >> (MAX_LENGTH - length)) as i32;
        let place = usize::try_from(word + self.offsets[length as usize]).ok()?;
        self.symbols.get(place).map(|symbol| symbol << 5 | length as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(lengths: &[u8], data: &[u8]) -> Option<Vec<u16>> {
        let mut code = Code::empty();
        code.assign(lengths)?;
        let mut bits = Bits::new(data, 0);
        let mut symbols = Vec::new();
        while bits.position() < data.len() as u64 * 8 {
            bits.refill();
            symbols.push(code.symbol(&mut bits)?);
        }
        Some(symbols)
    }

    #[test]
    fn code_words_are_given_by_length_and_then_by_symbol() {
        // 0: 10, 1: 0, 2: 110, 3: 111
        assert_eq!(decode(&[2, 1, 3, 3], &[0b1001_1011, 0b1010_0000]), Some(vec![0, 1, 2, 3, 1, 0, 1, 1, 1, 1]));
    }

    #[test]
    fn code_words_longer_than_the_table() {
        let mut lengths: Vec<u8> = (1..=20).collect();
        lengths.push(20);
        // Nineteen ones and a zero, twenty ones; eleven times 1, 0; padding.
        let data = [0xff, 0xff, 0xef, 0xff, 0xff, 0xff, 0xe0];
        assert_eq!(decode(&lengths, &data), Some(vec![19, 20, 11, 0, 0, 0, 0]));
    }

    #[test]
    fn impossible_codes_and_words_are_refused() {
        assert_eq!(decode(&[1, 1, 1], &[0]), None);
        assert_eq!(decode(&[2, 2], &[0xff]), None, "no word begins with a one");
        assert_eq!(decode(&[20, 20], &[0xff; 3]), None);
        assert_eq!(decode(&[2, 2], &[0b0001_0001]), Some(vec![0, 1, 0, 1]));
    }
}
