//! The blocks of a tar's headers, laid out as `<tar.h>` and the GNU tar manual ("Basic Tar Format") have it.

use std::io;
use std::ops::Range;

use crate::source::decode_error::corrupt;
use crate::source::detect::has_tar_checksum;

/// The length of a block in bytes.
pub(super) const BLOCK_LEN: usize = 512;

/// A block.
pub(super) struct Block(pub(super) [u8; BLOCK_LEN]);

/// What follows a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The data of a regular file.
    Regular,
    /// The data of a regular file with holes, in GNU's first format.
    Sparse,
    /// The records of a pax header, for the next file.
    Pax,
    /// GNU's way to give the next file a long name.
    LongName,
    /// Nothing: it is a link, a device, a directory or a FIFO.
    Link,
    /// The target of a link, or records for all files, which are not needed.
    Note,
    /// Other data, which is ignored.
    Other,
}

impl Kind {
    /// Whether it says something about the file that follows.
    pub(super) fn is_about_next_file(self) -> bool {
        matches!(self, Self::Pax | Self::LongName | Self::Note)
    }
}

/// A header that has the right checksum.
pub(super) struct Header {
    pub(super) kind: Kind,
    pub(super) name: Vec<u8>,
    /// How many bytes of data follow, before padding.
    pub(super) size: u64,
    /// The size of a [`Kind::Sparse`] file with its holes.
    pub(super) real_size: u64,
    /// The first extents of such a file: offset and length.
    pub(super) sparse_map: Vec<(u64, u64)>,
    /// Whether blocks with more of them follow.
    pub(super) map_is_continued: bool,
}

mod field {
    use super::Range;

    pub const NAME: Range<usize> = 0..100;
    pub const SIZE: Range<usize> = 124..136;
    pub const KIND: usize = 156;
    pub const MAGIC: Range<usize> = 257..265;
    pub const PREFIX: Range<usize> = 345..500;
    pub const SPARSE: Range<usize> = 386..482;
    pub const IS_CONTINUED: usize = 482;
    pub const REAL_SIZE: Range<usize> = 483..495;
    /// In a block that continues a map.
    pub const MORE_SPARSE: Range<usize> = 0..504;
    pub const MORE_IS_CONTINUED: usize = 504;
}

/// The length of a number in a map of extents.
const NUMBER_LEN: usize = 12;

impl Block {
    pub(super) fn is_zero(&self) -> bool {
        self.0.iter().all(|&byte| byte == 0)
    }

    /// The header that this block is.
    pub(super) fn header(&self) -> io::Result<Header> {
        if !has_tar_checksum(&self.0) {
            return Err(corrupt("the checksum of a header is wrong"));
        }
        let kind = match self.0[field::KIND] {
            b'0' | b'7' | 0 => Kind::Regular,
            b'S' => Kind::Sparse,
            b'x' => Kind::Pax,
            b'L' => Kind::LongName,
            b'K' | b'g' => Kind::Note,
            b'1'..=b'6' => Kind::Link,
            _ => Kind::Other,
        };
        let size =
            |field: Range<usize>| self.0.get(field).and_then(number).ok_or_else(|| corrupt("a size is not a number"));
        let (sparse_map, map_is_continued, real_size) = match kind {
            Kind::Sparse => {
                (extents(&self.0[field::SPARSE])?, self.0[field::IS_CONTINUED] != 0, size(field::REAL_SIZE)?)
            }
            _ => (Vec::new(), false, 0),
        };
        Ok(Header { kind, name: self.name(), size: size(field::SIZE)?, real_size, sparse_map, map_is_continued })
    }

    /// The extents in this block, which continues a map, and whether another does.
    pub(super) fn sparse_continuation(&self) -> io::Result<(Vec<(u64, u64)>, bool)> {
        Ok((extents(&self.0[field::MORE_SPARSE])?, self.0[field::MORE_IS_CONTINUED] != 0))
    }

    fn name(&self) -> Vec<u8> {
        let name = until_zero(&self.0[field::NAME]).to_vec();
        let prefix = until_zero(&self.0[field::PREFIX]);
        // GNU's own format has other fields in place of the prefix.
        match &self.0[field::MAGIC] == b"ustar\x0000" && !prefix.is_empty() {
            true => [prefix, b"/", &name].concat(),
            false => name,
        }
    }
}

pub(super) fn until_zero(bytes: &[u8]) -> &[u8] {
    bytes.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// The offsets and lengths in `map`, up to the first that is empty.
fn extents(map: &[u8]) -> io::Result<Vec<(u64, u64)>> {
    map.chunks_exact(2 * NUMBER_LEN)
        .take_while(|extent| extent.first() != Some(&0))
        .map(|extent| {
            let (offset, length) = extent.split_at(NUMBER_LEN);
            number(offset).zip(number(length)).ok_or_else(|| corrupt("the map of a sparse file is invalid"))
        })
        .collect()
}

/// A number: octal digits between spaces, ended by a space or a zero byte; or, with the highest bit set, GNU's binary
/// form, big-endian. `None` for anything else, and for a number that is negative or over 64 bits.
fn number(field: &[u8]) -> Option<u64> {
    if let [first @ 0x80..=0xbf, rest @ ..] = field {
        let first = u64::from(first & 0x3f);
        return rest.iter().try_fold(first, |number, &byte| Some(number.checked_mul(256)? | u64::from(byte)));
    }
    let digits = until_zero(field).trim_ascii();
    digits.iter().try_fold(0_u64, |number, &byte| {
        let digit = char::from(byte).to_digit(8)?;
        number.checked_mul(8)?.checked_add(u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        let cases: [(&[u8], Option<u64>); 7] = [
            (b"00000001750\0", Some(1000)),
            (b"   1750 \0", Some(1000)),
            (b"\0\0\0\0", Some(0)),
            (b"\x80\0\0\0\0\0\0\x03\0\0\0\0", Some(3 << 32)),
            (b"\x80\x01\0\0\0\0\0\0\0\0\0\0", None),
            (b"\xff\xff\xff\xff", None),
            (b"1758", None),
        ];
        for (field, value) in cases {
            assert_eq!(number(field), value, "{field:?}");
        }
    }
}
