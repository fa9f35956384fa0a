//! Compressed data that is not what its format asks for.

use std::io;

use crate::source::detect::Format;

/// What is wrong with compressed data. It travels inside an [`io::Error`], so that it can be told from a failed read.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the variants say what their fields are")]
pub enum DecodeError {
    /// It ends too early.
    #[error("the {0} data ends too early: the file is cut off")]
    CutOff(Format),
    /// It contradicts the format or its own checksum.
    #[error("the {format} data is corrupt")]
    Corrupt { format: Format, source: io::Error },
    /// It may be sound, but uses something that is not supported, or needs too much memory.
    #[error("the {format} data cannot be decoded")]
    Unsupported { format: Format, source: io::Error },
}

impl DecodeError {
    /// The meaning of `error`, which a decoder of `format` returned.
    pub(super) fn from_decoder(format: Format, error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::CutOff(format),
            io::ErrorKind::Unsupported => Self::Unsupported { format, source: error },
            _ => Self::Corrupt { format, source: error },
        }
    }
}

impl From<DecodeError> for io::Error {
    fn from(error: DecodeError) -> Self {
        let kind = match &error {
            DecodeError::CutOff(_) => io::ErrorKind::UnexpectedEof,
            DecodeError::Corrupt { .. } => io::ErrorKind::InvalidData,
            DecodeError::Unsupported { .. } => io::ErrorKind::Unsupported,
        };
        Self::new(kind, error)
    }
}

/// A decoder's error for data that contradicts its format.
pub(super) fn corrupt(words: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, words.into())
}

/// A decoder's error for data that may be sound, but cannot be decoded here.
pub(super) fn unsupported(words: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, words.into())
}
