//! The header before the data of an entry.

use std::io::{self, BufRead, Read};

use super::directory::Listed;
use super::{u16_at, u32_at};
use crate::source::codec::array;
use crate::source::decode_error::unsupported;

/// The value of a 32-bit size where the true one stands in the extra field for Zip64.
pub(super) const IN_ZIP64: u32 = u32::MAX;

/// How the data of an entry is compressed [4.4.5].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Stored,
    Deflated,
    Other(u16),
}

/// An entry, as its local header [4.3.7] describes it, or the central directory.
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) is_regular: bool,
    pub(super) method: Method,
    is_encrypted: bool,
    /// Whether the checksum and sizes stand after the data; in Zip64, with sizes of 64 bits.
    pub(super) has_descriptor: bool,
    pub(super) is_zip64: bool,
    /// Known before the data, unless they stand after it.
    pub(super) crc: Option<u32>,
    pub(super) compressed_size: Option<u64>,
    pub(super) size: Option<u64>,
}

impl Entry {
    /// Reads the header after its signature. `listed` is its entry in the central directory, if there is one.
    pub(super) fn parse(data: &mut impl Read, listed: Option<&Listed>) -> io::Result<Self> {
        let header = array::<26>(data)?;
        let name = bytes(data, u16_at(&header, 22))?;
        let extra = bytes(data, u16_at(&header, 24))?;
        let flags = u16_at(&header, 2);
        let has_descriptor = flags & 1 << 3 != 0;
        let zip64 = zip64_extra(&extra);
        let mut numbers = zip64.unwrap_or_default();
        let size = wide(u32_at(&header, 18), &mut numbers);
        let compressed_size = wide(u32_at(&header, 14), &mut numbers);
        let method = match u16_at(&header, 4) {
            0 => Method::Stored,
            8 => Method::Deflated,
            other => Method::Other(other),
        };
        // If the true sizes follow the data, these may be zero or guesses. Those of stored data are good if they agree.
        let is_known = !has_descriptor || (method == Method::Stored && size == compressed_size && size != 0);
        let known = |number: u64| is_known.then_some(number);
        Ok(Self {
            is_regular: !name.ends_with(b"/") && listed.is_none_or(|listed| listed.is_regular),
            name: String::from_utf8_lossy(&name).into_owned(),
            method,
            is_encrypted: flags & 1 != 0,
            has_descriptor,
            is_zip64: zip64.is_some(),
            crc: (!has_descriptor).then(|| u32_at(&header, 10)),
            compressed_size: known(compressed_size).or(listed.map(|listed| listed.compressed_size)),
            size: known(size).or(listed.map(|listed| listed.size)),
        })
    }

    /// Checks that the data can be decompressed.
    pub(super) fn check_usable(&self) -> io::Result<()> {
        if self.is_encrypted {
            return Err(unsupported("it is encrypted"));
        }
        match self.method {
            Method::Stored if self.compressed_size.is_none() => {
                Err(unsupported("only its end says how long the image is, and a stream's end cannot be read first"))
            }
            Method::Other(method) => Err(unsupported(format!(
                "it uses compression method {method}; only stored (0) and deflated (8) files can be read"
            ))),
            _ => Ok(()),
        }
    }
}

/// The next `length` bytes of `data`.
fn bytes(data: &mut impl Read, length: u16) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::from(length)];
    data.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// The numbers in the extra field for Zip64 [4.5.3], if there is one.
pub(super) fn zip64_extra(mut extra: &[u8]) -> Option<&[u8]> {
    const ZIP64: u16 = 1;
    while extra.len() >= 4 {
        let (id, length) = (u16_at(extra, 0), usize::from(u16_at(extra, 2)));
        let rest = extra.get(4..)?;
        if id == ZIP64 {
            return rest.get(..length);
        }
        extra = rest.get(length..)?;
    }
    None
}

/// The number that `narrow` says, or else the next one of the extra field for Zip64.
pub(super) fn wide(narrow: u32, numbers: &mut &[u8]) -> u64 {
    match numbers.split_first_chunk() {
        Some((&number, rest)) if narrow == IN_ZIP64 => {
            *numbers = rest;
            u64::from_le_bytes(number)
        }
        _ => u64::from(narrow),
    }
}

/// Data, and how much of it has been read.
pub(super) struct Counted<R> {
    pub(super) inner: R,
    /// In bytes from the start.
    pub(super) offset: u64,
}

impl<R: BufRead> Read for Counted<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buf)?;
        self.offset = self.offset.saturating_add(count as u64);
        Ok(count)
    }
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.offset = self.offset.saturating_add(amount as u64);
        self.inner.consume(amount);
    }
}
