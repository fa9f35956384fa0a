//! bzip2, decoded on all cores, whatever program packed it.
//!
//! A file says nowhere where its blocks begin, and they begin at any bit. But each has a magic of 48 bits:
//! [`scanner`] cuts the packed data where that comes up, the threads of [`pool`] decode what lies behind it, and
//! [`stream`] takes the blocks in order, each where the one before has ended. The checksums of the blocks and of the
//! streams are verified.
//!
//! A block is decoded in steps: [`huffman`] codes, read from [`bits`], tell the places of a move-to-front list
//! ([`mtf`]), which gives the last column of a matrix, from which [`bwt`] makes a text. Old blocks are also
//! [`random`]ised. What is then left to do is to expand [`runs`]: a text of 900 kB may become 46 MB, so that is done where
//! the data is wanted.
//!
//! There is no specification but the first program, bzip2 by Julian Seward, and descriptions of what it does.

mod bits;
mod block;
mod bwt;
mod crc;
mod huffman;
mod mtf;
mod pool;
mod random;
mod runs;
mod scanner;
mod stream;
#[cfg(test)]
mod tests;

use std::io::{self, BufRead, Read};

use super::Compressed;
use runs::Runs;
use stream::Blocks;

pub(super) fn decoder(packed: Compressed) -> io::Result<Box<dyn Read + Send>> {
    Ok(Box::new(Decoder::new(packed)?))
}

struct Decoder {
    blocks: Blocks,
    text: Vec<u8>,
    runs: Runs,
}

impl Decoder {
    fn new(packed: impl BufRead + Send + 'static) -> io::Result<Self> {
        Ok(Self { blocks: Blocks::new(pool::start(packed)?), text: Vec::new(), runs: Runs::default() })
    }
}

impl Read for Decoder {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.runs.expand(&self.text, buf);
            if count > 0 || buf.is_empty() {
                return Ok(count);
            }
            match self.blocks.next_text()? {
                Some(text) => (self.text, self.runs) = (text, Runs::default()),
                None => return Ok(0),
            }
        }
    }
}
