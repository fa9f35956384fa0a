//! Compressed data that is not what its format asks for.

use std::io;

use crate::source::detect::Format;

/// What is wrong with compressed data. Travels inside an [`io::Error`], and so can be told from a failure to read the data.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// It ends too early.
    #[error("the {0} data ends too early: the file is cut off")]
    CutOff(Format),
    /// It contradicts the format or its own checksum.
    #[error("the {format} data is corrupt")]
    Corrupt {
        /// The format.
        format: Format,
        /// What the decoder says.
        source: io::Error,
    },
    /// It is sound as far as can be told, but cannot be decompressed here.
    #[error("the {format} data cannot be unpacked")]
    Unsupported {
        /// The format.
        format: Format,
        /// What it asks for.
        source: io::Error,
    },
}

impl DecodeError {
    /// What a decoder of `format` means by `error`.
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

/// What a decoder says of data that contradicts its format.
pub(super) fn corrupt(words: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, words.into())
}

/// What a decoder says of data that it cannot decompress, though it may be sound.
pub(super) fn unsupported(words: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, words.into())
}
