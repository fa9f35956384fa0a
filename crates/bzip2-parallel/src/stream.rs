//! The order of a file: one stream or more, each a header, blocks and a trailer.
//!
//! This is where candidates become blocks: one that begins exactly where the block or header before it has ended is
//! what its magic says, and all that begin earlier were inside that block.

#![expect(
    clippy::arithmetic_side_effects,
    reason = "positions are bits of a file, far below 2^64, and are only subtracted from later ones"
)]

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::sync::mpsc::Receiver;

use super::bits::BitReader;
use super::block::{Block, BlockDecoder, BlockError, LEVEL_LEN, MAGIC_BITS};
use super::crc;
use super::error::FormatError;
use super::pool::{Candidate, Scanned};
use super::scanner::{MAX_COMPRESSED, Magic, Section};

/// The blocks of a file, in order.
pub(super) struct Blocks {
    scanned: Receiver<Scanned>,
    /// Whether all candidates have been received.
    is_at_end: bool,
    /// Candidates that have been received, from the one with the next bit on.
    candidates: VecDeque<Candidate>,
    /// The next bit, counted from the start of the file.
    position: u64,
    next: Next,
    /// What was read of the header of the last stream.
    header: Vec<u8>,
    /// Decodes blocks in which a magic occurs.
    decoder: Option<BlockDecoder>,
}

/// What comes next.
#[derive(Clone, Copy)]
enum Next {
    /// The header of the first stream.
    FirstStream,
    /// A block, or the trailer of the stream.
    Block {
        /// How many bytes a block of the stream may have.
        max_len: usize,
        /// The checksum of the stream up to here.
        crc: u32,
    },
    /// Another stream, padding, or the end of the file.
    AfterStream,
}

impl Blocks {
    pub(super) fn new(scanned: Receiver<Scanned>) -> Self {
        let (next, candidates) = (Next::FirstStream, VecDeque::new());
        Self { scanned, is_at_end: false, candidates, position: 0, next, header: Vec::new(), decoder: None }
    }

    /// The bytes of the next block, before their runs are expanded; `None` at the end of the file.
    pub(super) fn next_block(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            match self.next {
                Next::FirstStream => self.header()?,
                Next::AfterStream => {
                    if self.only_padding_follows()? {
                        return Ok(None);
                    }
                    self.header()?;
                }
                Next::Block { max_len, crc } => match self.magic()? {
                    Some(Magic::Block) => {
                        let block = self.block()?;
                        self.position = block.end;
                        if block.bytes.len() > max_len {
                            return Err(FormatError::BlockTooLong { at: self.byte() }.into());
                        }
                        self.next = Next::Block { max_len, crc: crc::combine(crc, block.crc) };
                        return Ok(Some(block.bytes));
                    }
                    Some(Magic::EndOfStream) => self.trailer(crc)?,
                    None => return Err(FormatError::NoMagic { at: self.byte() }.into()),
                },
            }
        }
    }

    /// Reads the header of a stream: "BZh" and a digit for the level.
    fn header(&mut self) -> io::Result<()> {
        let at = self.byte();
        self.header.clear();
        for expected in [b'B'..=b'B', b'Z'..=b'Z', b'h'..=b'h', b'1'..=b'9'] {
            let byte = self.read(8)? as u8;
            self.header.push(byte);
            if !expected.contains(&byte) {
                return Err(FormatError::NoStreamHeader { at }.into());
            }
        }
        let level = self.header.last().map_or(0, |&digit| usize::from(digit - b'0'));
        self.next = Next::Block { max_len: LEVEL_LEN * level, crc: 0 };
        Ok(())
    }

    /// Reads to the end of the file from where no header was found. Puts the first bytes into `start`, and returns how
    /// many these are.
    pub(super) fn skip_rest(mut self, start: &mut [u8]) -> io::Result<usize> {
        let mut rest = mem::take(&mut self.header).into_iter();
        let mut count = 0;
        for byte in start {
            *byte = match rest.next() {
                Some(byte) => byte,
                None if self.section()?.is_none() => break,
                None => self.read(8)? as u8,
            };
            count += 1;
        }
        while let Some(section) = self.section()? {
            self.position = section.end;
        }
        Ok(count)
    }

    /// Reads the trailer of a stream, and the bits up to the next byte. `crc` is the checksum of its blocks.
    fn trailer(&mut self, crc: u32) -> io::Result<()> {
        self.position += u64::from(MAGIC_BITS);
        if self.read(32)? != crc {
            return Err(FormatError::StreamChecksum { at: self.byte() }.into());
        }
        self.position = self.position.next_multiple_of(8);
        self.next = Next::AfterStream;
        Ok(())
    }

    /// Skips zero bytes, with which tapes and devices are filled up; whether nothing follows them.
    fn only_padding_follows(&mut self) -> io::Result<bool> {
        let mut position = self.position;
        while let Some(section) = self.section()? {
            let start = (position / 8 - section.start / 8) as usize;
            let rest = section.bytes.get(start..).unwrap_or_default();
            let zeroes = rest.iter().take_while(|&&byte| byte == 0).count();
            let all_zero = zeroes == rest.len();
            position += zeroes as u64 * 8;
            self.position = position;
            if !all_zero {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The magic at the next bit, if there is one.
    fn magic(&mut self) -> io::Result<Option<Magic>> {
        let position = self.position;
        match self.section()? {
            Some(section) if section.start == position => Ok(section.magic),
            _ => {
                // If the data ends here, it is cut off rather than corrupt.
                self.read(MAGIC_BITS - 16)?;
                self.read(16)?;
                self.position = position;
                Ok(None)
            }
        }
    }

    /// The block that begins at the next bit.
    fn block(&mut self) -> io::Result<Block> {
        let candidate = self.candidates.front().ok_or(FormatError::CutOff)?;
        let decoded = match &candidate.block {
            Some(block) => block.recv().map_err(|_| thread_failed())?,
            None => Err(BlockError::CutOff),
        };
        match decoded {
            // Perhaps not by the end of the file, but by a magic inside the block.
            Err(BlockError::CutOff) => self.block_of_several_sections(),
            decoded => Ok(decoded.map_err(|error| error.at(self.byte()))?),
        }
    }

    /// The block that begins at the next bit, and in which a magic occurs.
    fn block_of_several_sections(&mut self) -> io::Result<Block> {
        let (first_byte, shift) = (self.byte(), self.position % 8);
        let mut bytes = Vec::new();
        let mut joined = 0;
        loop {
            let before = bytes.len();
            // Twice as much each time, so that all attempts together take about as long as the last one does.
            let wanted = MAX_COMPRESSED.min(2 * before);
            while bytes.len() <= wanted {
                if self.candidates.len() == joined && !self.receive()? {
                    break;
                }
                let Some(next) = self.candidates.get(joined) else { break };
                // Both have the byte in which they meet.
                bytes.truncate((next.section.start / 8 - first_byte) as usize);
                bytes.extend_from_slice(&next.section.bytes);
                joined += 1;
            }
            match self.decoder.get_or_insert_with(BlockDecoder::new).decode(&bytes, shift) {
                Ok(block) => return Ok(Block { end: first_byte * 8 + block.end, ..block }),
                Err(BlockError::CutOff) if bytes.len() > before => {}
                Err(error) => return Err(error.at(first_byte).into()),
            }
        }
    }

    /// Reads the next `count` bits, 1 to 32, as a number.
    fn read(&mut self, count: u32) -> io::Result<u32> {
        let mut value = 0;
        for _ in 0..count {
            let position = self.position;
            let section = self.section()?.ok_or(FormatError::CutOff)?;
            let mut bits = BitReader::new(&section.bytes, position - section.start / 8 * 8);
            value = value << 1 | u32::from(bits.read_flag());
            self.position += 1;
        }
        Ok(value)
    }

    /// The section that has the next bit; `None` at the end of the file. Those before it are dropped.
    fn section(&mut self) -> io::Result<Option<&Section>> {
        while self.candidates.front().is_none_or(|candidate| candidate.section.end <= self.position) {
            self.candidates.pop_front();
            if self.candidates.is_empty() && !self.receive()? {
                return Ok(None);
            }
        }
        Ok(self.candidates.front().map(|candidate| &*candidate.section))
    }

    /// Waits for one more candidate; whether there is one.
    fn receive(&mut self) -> io::Result<bool> {
        if !self.is_at_end {
            match self.scanned.recv().map_err(|_| thread_failed())? {
                Scanned::Candidate(candidate) => self.candidates.push_back(candidate),
                Scanned::EndOfFile => self.is_at_end = true,
                Scanned::ReadFailed(error) => return Err(error),
            }
        }
        Ok(!self.is_at_end)
    }

    /// The byte in which the next bit lies.
    fn byte(&self) -> u64 {
        self.position / 8
    }
}

/// The error if a thread has ended although nothing is wrong with the data.
fn thread_failed() -> io::Error {
    io::Error::other("a thread of the decoder has failed")
}
