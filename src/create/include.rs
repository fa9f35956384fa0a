//! What is mapped though the file system may call it a hole.

use std::fmt;
use std::str::FromStr;

use crate::range::ByteRange;
use crate::size;

/// A part of an image that its map lists in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Include {
    /// These bytes, at least one; the blocks that they touch are mapped.
    Bytes(ByteRange),
    /// The partition with this number, counted from 1 as the kernel does.
    Partition(u32),
}

/// `START-END` in bytes, with the suffixes of [`size::parse`] and without the byte at END; or `pN`.
impl FromStr for Include {
    type Err = InvalidInclude;

    fn from_str(text: &str) -> Result<Self, InvalidInclude> {
        let partition = |number: &str| number.parse().ok().filter(|&number| number > 0);
        if let Some(number) = text.strip_prefix('p') {
            return partition(number).map(Self::Partition).ok_or(InvalidInclude::Form);
        }
        let (start, end) = text.split_once('-').ok_or(InvalidInclude::Form)?;
        let byte = |text| size::parse(text).ok_or(InvalidInclude::Form);
        let bytes = ByteRange { start: byte(start)?, end: byte(end)? };
        if bytes.is_empty() { Err(InvalidInclude::Empty) } else { Ok(Self::Bytes(bytes)) }
    }
}

impl fmt::Display for Include {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(ByteRange { start, end }) => write!(f, "bytes {start}-{end}"),
            Self::Partition(number) => write!(f, "partition {number}"),
        }
    }
}

/// Why a text names no part of an image.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidInclude {
    /// It is neither of the two forms.
    #[error("the form is START-END in bytes, as in 1M-4M, or pN for partition N")]
    Form,
    /// No byte is in it.
    #[error("the range is empty: of START-END, as in 1M-4M, the byte at END is not in it")]
    Empty,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_partitions_are_told_apart() {
        let bytes = |start, end| Ok(Include::Bytes(ByteRange { start, end }));
        assert_eq!("0-1".parse(), bytes(0, 1));
        assert_eq!("1M-4G".parse(), bytes(1 << 20, 4 << 30));
        assert_eq!("p12".parse(), Ok(Include::Partition(12)));
        for text in ["", "p", "p0", "p-1", "5", "1-2-3", "-5", "5-", "1x-2x", "a-b", "p1M", "99999999999G-9"] {
            assert_eq!(text.parse::<Include>(), Err(InvalidInclude::Form), "{text}");
        }
        for text in ["5-5", "6-5", "1M-1"] {
            assert_eq!(text.parse::<Include>(), Err(InvalidInclude::Empty), "{text}");
        }
    }
}
