//! Huffman codes: canonical, the most significant bit first, with code words of 1 to 20 bits.

use super::bits::BitReader;

/// The most symbols that a code has: RUNA, RUNB, 255 indices of the move-to-front list, and the end of the block.
pub(super) const MAX_SYMBOLS: usize = 258;

/// The longest code word of the format, in bits.
pub(super) const MAX_LENGTH: u32 = 20;

/// HuffmanCode words up to this length, in bits, are looked up in one table.
const TABLE_BITS: u32 = 10;

/// A code, ready for decoding.
pub(super) struct HuffmanCode {
    /// By the next [`TABLE_BITS`] bits: the symbol, and below it five bits with the length of its code word; 0 if that
    /// word is longer, or there is none.
    table: [u16; 1 << TABLE_BITS],
    /// By length: the first number after its code words, all of them filled up to [`MAX_LENGTH`] bits.
    ends: [u32; MAX_LENGTH as usize + 1],
    /// By length: what to add to a code word to get its index in `symbols`.
    offsets: [i32; MAX_LENGTH as usize + 1],
    /// The symbols in the order of their code words.
    symbols: [u16; MAX_SYMBOLS],
}

impl HuffmanCode {
    /// A code without symbols.
    pub(super) const fn empty() -> Self {
        Self {
            table: [0; 1 << TABLE_BITS],
            ends: [0; MAX_LENGTH as usize + 1],
            offsets: [0; MAX_LENGTH as usize + 1],
            symbols: [0; MAX_SYMBOLS],
        }
    }

    /// Becomes the code whose symbols have code words of these `lengths`, each 1 to 20 bits. It may leave words unused.
    /// `None` if there are more symbols than code words.
    #[expect(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        reason = "words have at most 21 bits, and a length up to the longest is an index"
    )]
    pub(super) fn build(&mut self, lengths: &[u8]) -> Option<()> {
        self.table.fill(0);
        let mut word = 0; // filled up to MAX_LENGTH bits
        let mut index = 0;
        for length in 1..=MAX_LENGTH {
            let unit = 1 << (MAX_LENGTH - length);
            self.offsets[length as usize] = index as i32 - (word / unit) as i32;
            for (symbol, _) in lengths.iter().enumerate().filter(|&(_, &wanted)| u32::from(wanted) == length) {
                let end = word + unit;
                if end > 1 << MAX_LENGTH {
                    return None;
                }
                *self.symbols.get_mut(index)? = symbol as u16;
                if length <= TABLE_BITS {
                    let span =
                        (word >> (MAX_LENGTH - TABLE_BITS)) as usize..(end >> (MAX_LENGTH - TABLE_BITS)) as usize;
                    self.table.get_mut(span)?.fill((symbol as u16) << 5 | length as u16);
                }
                word = end;
                index += 1;
            }
            self.ends[length as usize] = word;
        }
        Some(())
    }

    /// Reads the next symbol. At least [`MAX_LENGTH`] bits of the window must be valid. `None` if there is no such code
    /// word.
    #[expect(clippy::indexing_slicing, reason = "a number of as many bits as the table is for is an index")]
    #[inline(always)]
    pub(super) fn read_symbol(&self, bits: &mut BitReader<'_>) -> Option<u16> {
        let window = bits.window();
        let entry = match self.table[(window >> (64 - TABLE_BITS)) as usize] {
            0 => self.long_entry(window)?,
            entry => entry,
        };
        bits.skip(u32::from(entry & 31));
        Some(entry >> 5)
    }

    /// What the table would have for the longer code word that the window begins with.
    #[expect(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        reason = "words have at most 20 bits, and a length up to the longest is an index"
    )]
    #[cold]
    fn long_entry(&self, window: u64) -> Option<u16> {
        let next = (window >> (64 - MAX_LENGTH)) as u32;
        let length = (TABLE_BITS + 1..=MAX_LENGTH).find(|&length| next < self.ends[length as usize])?;
        let word = (next >> (MAX_LENGTH - length)) as i32;
        let index = usize::try_from(word + self.offsets[length as usize]).ok()?;
        self.symbols.get(index).map(|symbol| symbol << 5 | length as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(lengths: &[u8], data: &[u8]) -> Option<Vec<u16>> {
        let mut code = HuffmanCode::empty();
        code.build(lengths)?;
        let mut bits = BitReader::new(data, 0);
        let mut symbols = Vec::new();
        while bits.position() < data.len() as u64 * 8 {
            bits.refill();
            symbols.push(code.read_symbol(&mut bits)?);
        }
        Some(symbols)
    }

    #[test]
    fn code_words_are_assigned_by_length_and_then_by_symbol() {
        // 0: 10, 1: 0, 2: 110, 3: 111
        assert_eq!(decode(&[2, 1, 3, 3], &[0b1001_1011, 0b1010_0000]), Some(vec![0, 1, 2, 3, 1, 0, 1, 1, 1, 1]));
    }

    #[test]
    fn code_words_longer_than_the_table_are_decoded() {
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
