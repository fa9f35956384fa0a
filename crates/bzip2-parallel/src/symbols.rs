//! The symbols of a block: RUNA and RUNB, which are digits of the length of a run, indices of the move-to-front list,
//! and the end of the block. They make up its last column.

use super::bits::BitReader;
use super::block::{BlockError, MAX_LEN};
use super::bwt::ROWS;
use super::huffman::{HuffmanCode, MAX_LENGTH};
use super::mtf::MtfList;

/// How many symbols are in the same code, until the next selector chooses another.
const GROUP_LEN: usize = 50;

/// RUNA is 0 and RUNB is 1; the symbol n + 1 is the index n.
const RUNB: u16 = 1;

/// The last column of a block while it is being read.
pub(super) struct Column<'a> {
    bytes: &'a mut [u8; ROWS],
    pub(super) length: usize,
    /// How often each byte occurs in it.
    pub(super) counts: [u32; 256],
    list: MtfList,
}

impl<'a> Column<'a> {
    /// An empty column, which will be stored in `bytes`.
    pub(super) fn new(bytes: &'a mut [u8; ROWS], list: MtfList) -> Self {
        Self { bytes, length: 0, counts: [0; 256], list }
    }

    /// Reads all symbols of the block, up to `end_of_block`.
    pub(super) fn read(
        &mut self,
        bits: &mut BitReader<'_>,
        codes: &[HuffmanCode; 8],
        selectors: &[u8],
        end_of_block: u16,
    ) -> Result<(), BlockError> {
        // A copy that nothing points to can stay in registers.
        let mut copy = *bits;
        let result = self.read_groups(&mut copy, codes, selectors, end_of_block);
        *bits = copy;
        result
    }

    #[expect(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        reason = "a run and its weight stay below twice the longest block, and bytes are indices"
    )]
    #[inline(always)]
    fn read_groups(
        &mut self,
        bits: &mut BitReader<'_>,
        codes: &[HuffmanCode; 8],
        selectors: &[u8],
        end_of_block: u16,
    ) -> Result<(), BlockError> {
        let (mut run, mut weight) = (0, 1);
        for &selector in selectors {
            let code = &codes[usize::from(selector & 7)];
            for _ in 0..GROUP_LEN {
                if bits.valid() < MAX_LENGTH {
                    bits.refill();
                }
                let symbol = code.read_symbol(bits).ok_or(BlockError::Symbols)?;
                if symbol <= RUNB {
                    // The lowest digit comes first; RUNA counts once its weight, RUNB twice.
                    run += weight << symbol;
                    weight <<= 1;
                    if run > MAX_LEN {
                        return Err(BlockError::Symbols);
                    }
                    continue;
                }
                if run > 0 {
                    self.push_run(run)?;
                    (run, weight) = (0, 1);
                }
                if symbol == end_of_block {
                    return Ok(());
                }
                let byte = self.list.move_to_front((symbol - 1) as u8);
                *self.bytes[..MAX_LEN].get_mut(self.length).ok_or(BlockError::Symbols)? = byte;
                self.counts[usize::from(byte)] += 1;
                self.length += 1;
            }
        }
        Err(BlockError::Symbols)
    }

    /// Repeats the latest byte `run` times.
    #[expect(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        reason = "length and run are at most that of the longest block, and a byte is an index"
    )]
    #[inline(always)]
    fn push_run(&mut self, run: usize) -> Result<(), BlockError> {
        let byte = self.list.first();
        let end = self.length + run;
        self.bytes[..MAX_LEN].get_mut(self.length..end).ok_or(BlockError::Symbols)?.fill(byte);
        self.counts[usize::from(byte)] += run as u32;
        self.length = end;
        Ok(())
    }
}
