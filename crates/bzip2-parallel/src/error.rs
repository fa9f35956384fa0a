//! What is wrong with the compressed data, in words.

use std::error::Error;
use std::fmt::{self, Display, Formatter};
use std::io;

/// What is wrong with the compressed data. Travels inside an [`io::Error`].
///
/// `at` is the number of compressed bytes before the one in which the cause lies or begins. Blocks begin at any bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FormatError {
    /// The data ends before its last stream does.
    CutOff,
    /// Neither "BZh" with a level, 1 to 9, nor padding, where a stream may begin.
    NoStreamHeader {
        /// Where the header should begin.
        at: u64,
    },
    /// After a block, neither the magic of another one nor the one that ends the stream.
    NoMagic {
        /// Where the magic should begin.
        at: u64,
    },
    /// A block longer than the level of its stream allows, which is 100,000 bytes for each.
    BlockTooLong {
        /// Where the block ends.
        at: u64,
    },
    /// The checksum of a stream differs from that of its blocks.
    StreamChecksum {
        /// Where the stream ends.
        at: u64,
    },
    /// The header of a block is not valid.
    BlockHeader {
        /// Where the block begins.
        at: u64,
    },
    /// The lengths of code words do not make a Huffman code.
    HuffmanCode {
        /// Where the block begins.
        at: u64,
    },
    /// A symbol that the Huffman code does not have, or more symbols than a block can have.
    Symbols {
        /// Where the block begins.
        at: u64,
    },
    /// A block ends where the length of a run should follow.
    RunLength {
        /// Where the block begins.
        at: u64,
    },
    /// The checksum of a block differs from that of its data.
    BlockChecksum {
        /// Where the block begins.
        at: u64,
    },
}

impl Display for FormatError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::CutOff => f.write_str("the bzip2 data is cut off"),
            Self::NoStreamHeader { at } => write!(f, "what follows the data at byte {at} is no bzip2 data"),
            Self::NoMagic { at } => write!(f, "neither a block nor the end of the data follows at byte {at}"),
            Self::BlockTooLong { at } => write!(f, "the block before byte {at} is larger than its stream allows"),
            Self::StreamChecksum { at } => write!(f, "the checksum of the stream that ends at byte {at} is wrong"),
            Self::BlockHeader { at } => write!(f, "the header of a block is not valid, at byte {at}"),
            Self::HuffmanCode { at } => write!(f, "a Huffman code is not valid, at byte {at}"),
            Self::Symbols { at } => write!(f, "the symbols of a block are not valid, at byte {at}"),
            Self::RunLength { at } => write!(f, "a run in a block has no length, at byte {at}"),
            Self::BlockChecksum { at } => write!(f, "the checksum of a block is wrong, at byte {at}"),
        }
    }
}

impl Error for FormatError {}

impl From<FormatError> for io::Error {
    fn from(error: FormatError) -> Self {
        let kind = match error {
            FormatError::CutOff => io::ErrorKind::UnexpectedEof,
            _ => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}
