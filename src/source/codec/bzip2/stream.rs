//! The order of things: a stream is a header, blocks, and a trailer, and a file is one stream or more.
//!
//! This is where candidates become blocks: one that begins where the part before has ended is what its magic says, and all
//! that begin earlier were part of that.

#![expect(
    clippy::arithmetic_side_effects,
    reason = "a place is a number of bits in 64 bits, and is subtracted from later ones only"
)]

use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::Receiver;

use super::bits::Bits;
use super::block::{Block, Decoder, Flaw, LEVEL_LEN, MAGIC_BITS};
use super::crc;
use super::pool::Candidate;
use super::scanner::{Kind, MAX_PACKED, Piece};

/// The blocks of a file, in order.
pub(super) struct Blocks {
    candidates: Receiver<io::Result<Option<Candidate>>>,
    /// Whether all of them have been received.
    ended: bool,
    /// Candidates that have been received and are not yet done with.
    ahead: VecDeque<Candidate>,
    /// The bit that comes next.
    at: u64,
    place: Place,
    /// Decodes blocks in which a magic came up.
    decoder: Option<Decoder>,
}

/// What comes next.
#[derive(Clone, Copy)]
enum Place {
    /// The header of the first stream.
    Start,
    /// A block, or the trailer, of a stream.
    Stream {
        /// The most text that its blocks have.
        max_len: usize,
        /// The checksum of the stream up to here.
        crc: u32,
    },
    /// Another stream, padding, or the end of the file.
    Between,
}

/// Where a thread has ended although nothing is wrong with the data.
const FAILED: &str = "a thread of the decoder has failed";

/// What contradicts the format, but for the blocks themselves.
#[derive(Debug, thiserror::Error)]
enum Corrupt {
    #[error("what follows the data at byte {0} is no bzip2 data")]
    NoHeader(u64),
    #[error("neither a block nor the end of the data follows at byte {0}")]
    NoMagic(u64),
    #[error("the block before byte {0} is larger than its stream allows")]
    Level(u64),
    #[error("the checksum of the stream that ends at byte {0} is wrong")]
    Checksum(u64),
    #[error("{flaw}, at byte {at}")]
    Block { flaw: Flaw, at: u64 },
}

impl From<Corrupt> for io::Error {
    fn from(corrupt: Corrupt) -> Self {
        io::Error::new(io::ErrorKind::InvalidData, corrupt)
    }
}

impl Blocks {
    pub(super) fn new(candidates: Receiver<io::Result<Option<Candidate>>>) -> Self {
        Self { candidates, ended: false, ahead: VecDeque::new(), at: 0, place: Place::Start, decoder: None }
    }

    /// The text of the next block; `None` at the end of the file.
    pub(super) fn next_text(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            match self.place {
                Place::Start => self.header()?,
                Place::Between => {
                    if self.only_padding_follows()? {
                        return Ok(None);
                    }
                    self.header()?;
                }
                Place::Stream { max_len, crc } => match self.magic()? {
                    Kind::Block => {
                        let block = self.block()?;
                        self.at = block.end;
                        if block.text.len() > max_len {
                            return Err(Corrupt::Level(self.byte()).into());
                        }
                        self.place = Place::Stream { max_len, crc: crc::combine(crc, block.crc) };
                        return Ok(Some(block.text));
                    }
                    Kind::End => self.trailer(crc)?,
                    Kind::Other => return Err(Corrupt::NoMagic(self.byte()).into()),
                },
            }
        }
    }

    /// Reads the header of a stream: "BZh" and a digit for the level.
    fn header(&mut self) -> io::Result<()> {
        let begin = self.byte();
        for expected in *b"BZh" {
            if self.take(8)? != u32::from(expected) {
                return Err(Corrupt::NoHeader(begin).into());
            }
        }
        let level = match u8::try_from(self.take(8)?) {
            Ok(digit @ b'1'..=b'9') => usize::from(digit - b'0'),
            _ => return Err(Corrupt::NoHeader(begin).into()),
        };
        self.place = Place::Stream { max_len: LEVEL_LEN * level, crc: 0 };
        Ok(())
    }

    /// Reads the trailer of a stream whose blocks have the checksum `crc`, to the end of its last byte.
    fn trailer(&mut self, crc: u32) -> io::Result<()> {
        self.at += u64::from(MAGIC_BITS);
        if self.take(32)? != crc {
            return Err(Corrupt::Checksum(self.byte()).into());
        }
        self.at = self.at.next_multiple_of(8);
        self.place = Place::Between;
        Ok(())
    }

    /// Passes over zeroes, with which tapes and devices are filled up; whether nothing follows them.
    fn only_padding_follows(&mut self) -> io::Result<bool> {
        let mut at = self.at;
        while let Some(piece) = self.piece()? {
            let begin = (at / 8 - piece.start / 8) as usize;
            let rest = piece.bytes.get(begin..).unwrap_or_default();
            let zeroes = rest.iter().take_while(|&&byte| byte == 0).count();
            let ended = zeroes == rest.len();
            at += zeroes as u64 * 8;
            self.at = at;
            if !ended {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What begins here.
    fn magic(&mut self) -> io::Result<Kind> {
        let at = self.at;
        match self.piece()? {
            Some(piece) if piece.start == at => Ok(piece.kind),
            _ => {
                // If it is cut off, that is what is wrong with it.
                self.take(MAGIC_BITS - 16)?;
                self.take(16)?;
                self.at = at;
                Ok(Kind::Other)
            }
        }
    }

    /// The block that begins here.
    fn block(&mut self) -> io::Result<Block> {
        let candidate = self.ahead.front().ok_or(io::ErrorKind::UnexpectedEof)?;
        let decoded = match &candidate.block {
            Some(block) => block.recv().map_err(|_| io::Error::other(FAILED))?,
            None => Err(Flaw::CutOff),
        };
        let decoded = match decoded {
            Err(Flaw::CutOff) => self.block_with_magics()?,
            decoded => decoded,
        };
        decoded.map_err(|flaw| match flaw {
            Flaw::CutOff => io::ErrorKind::UnexpectedEof.into(),
            flaw => Corrupt::Block { flaw, at: self.byte() }.into(),
        })
    }

    /// The block that begins here and goes on in the pieces behind, for in its midst a magic came up.
    fn block_with_magics(&mut self) -> io::Result<Result<Block, Flaw>> {
        let (begin, shift) = (self.byte(), self.at % 8);
        let mut bytes = Vec::new();
        let mut joined = 0;
        loop {
            let before = bytes.len();
            // Twice as much each time, so that all attempts together take about as long as the last one does.
            let wanted = MAX_PACKED.min(2 * before);
            while bytes.len() <= wanted {
                if self.ahead.len() == joined && !self.receive()? {
                    break;
                }
                let Some(next) = self.ahead.get(joined) else { break };
                // The byte in which both meet is in both.
                bytes.truncate((next.piece.start / 8 - begin) as usize);
                bytes.extend_from_slice(&next.piece.bytes);
                joined += 1;
            }
            let decoder = self.decoder.get_or_insert_with(Decoder::new);
            match decoder.decode(&bytes, shift) {
                Err(Flaw::CutOff) if bytes.len() > before => {}
                decoded => return Ok(decoded.map(|block| Block { end: begin * 8 + block.end, ..block })),
            }
        }
    }

    /// The next `count` bits, 1 to 32, as a number.
    fn take(&mut self, count: u32) -> io::Result<u32> {
        let mut value = 0;
        for _ in 0..count {
            let at = self.at;
            let piece = self.piece()?.ok_or(io::ErrorKind::UnexpectedEof)?;
            value = value << 1 | Bits::new(&piece.bytes, at - piece.start / 8 * 8).take(1) as u32;
            self.at += 1;
        }
        Ok(value)
    }

    /// The piece that has the next bit; `None` at the end of the file. Those before are done with.
    fn piece(&mut self) -> io::Result<Option<&Piece>> {
        while self.ahead.front().is_none_or(|candidate| candidate.piece.end <= self.at) {
            self.ahead.pop_front();
            if self.ahead.is_empty() && !self.receive()? {
                return Ok(None);
            }
        }
        Ok(self.ahead.front().map(|candidate| &*candidate.piece))
    }

    /// Waits for one more candidate; whether there is one.
    fn receive(&mut self) -> io::Result<bool> {
        if !self.ended {
            match self.candidates.recv().unwrap_or_else(|_| Err(io::Error::other(FAILED)))? {
                Some(candidate) => self.ahead.push_back(candidate),
                None => self.ended = true,
            }
        }
        Ok(!self.ended)
    }

    /// The byte in which the next bit lies.
    fn byte(&self) -> u64 {
        self.at / 8
    }
}
