//! The data of an entry, and the checks at its end.

use std::io::{self, BufRead, Read};

use crc32fast::Hasher;
use flate2::{Decompress, FlushDecompress, Status};

use super::local::{Entry, Method};
use super::signature;
use crate::source::codec::{array, skip};
use crate::source::decode_error::corrupt;
use crate::source::detect::HEAD_LEN;

/// The data of an entry while it is read.
pub(super) struct Body {
    entry: Entry,
    /// For a deflated entry.
    inflate: Decompress,
    crc: Hasher,
    /// How many compressed bytes have been read.
    taken: u64,
    /// How many bytes have been delivered.
    delivered: u64,
    /// Whether all have been, and checked.
    is_at_end: bool,
}

impl Body {
    pub(super) fn new(entry: Entry) -> Self {
        Self { entry, inflate: Decompress::new(false), crc: Hasher::new(), taken: 0, delivered: 0, is_at_end: false }
    }

    /// The entry, which has this data.
    pub(super) fn entry(&self) -> &Entry {
        &self.entry
    }

    /// Decompresses the first bytes.
    pub(super) fn start(&mut self, data: &mut impl BufRead) -> io::Result<Vec<u8>> {
        self.entry.check_usable()?;
        let mut start = vec![0; HEAD_LEN];
        let mut length = 0;
        while let Some(room) = start.get_mut(length..).filter(|room| !room.is_empty()) {
            match self.read(data, room)? {
                0 => break,
                count => length = length.saturating_add(count),
            }
        }
        start.truncate(length);
        Ok(start)
    }

    /// Decompresses the next bytes into `buf`, which has room for some. At their end, where it returns 0, checks them
    /// and reads what stands after them.
    pub(super) fn read(&mut self, data: &mut impl BufRead, buf: &mut [u8]) -> io::Result<usize> {
        if self.is_at_end {
            return Ok(0);
        }
        let count = match self.entry.method {
            Method::Deflated => self.inflate(data, buf)?,
            _ => self.copy(data, buf)?,
        };
        self.delivered = self.delivered.saturating_add(count as u64);
        self.crc.update(buf.get(..count).unwrap_or_default());
        if count == 0 {
            self.check_end(data)?;
            self.is_at_end = true;
        }
        Ok(count)
    }

    /// Passes over the rest of the data, which need not be decompressed if its length is known.
    pub(super) fn skip(mut self, data: &mut impl BufRead) -> io::Result<()> {
        let Some(size) = self.entry.compressed_size.filter(|_| !self.is_at_end) else {
            self.entry.check_usable()?;
            let mut scratch = [0; 32 << 10];
            while self.read(data, &mut scratch)? > 0 {}
            return Ok(());
        };
        skip(data, self.left())?;
        if self.entry.has_descriptor {
            Descriptor::read(data, self.is_wide(size.max(self.entry.size.unwrap_or(0))))?;
        }
        Ok(())
    }

    /// How many compressed bytes are left, where that is known.
    fn left(&self) -> u64 {
        self.entry.compressed_size.map_or(u64::MAX, |size| size.saturating_sub(self.taken))
    }

    fn copy(&mut self, data: &mut impl BufRead, buf: &mut [u8]) -> io::Result<usize> {
        let left = self.left();
        let count = data.take(left).read(buf)?;
        if count == 0 && left > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.taken = self.taken.saturating_add(count as u64);
        Ok(count)
    }

    fn inflate(&mut self, data: &mut impl BufRead, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            let left = usize::try_from(self.left()).unwrap_or(usize::MAX);
            let input = data.fill_buf()?;
            let at_end = input.is_empty();
            let input = input.get(..left.min(input.len())).unwrap_or_default();
            let status = self.inflate.decompress(input, buf, FlushDecompress::None);
            let status = status.map_err(|error| corrupt(error.to_string()))?;
            let taken = self.inflate.total_in().saturating_sub(self.taken);
            let delivered = self.inflate.total_out().saturating_sub(self.delivered);
            data.consume(usize::try_from(taken).unwrap_or(usize::MAX));
            self.taken = self.inflate.total_in();
            if delivered > 0 || status == Status::StreamEnd {
                return Ok(usize::try_from(delivered).unwrap_or(usize::MAX));
            }
            if at_end {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if taken == 0 {
                return Err(corrupt("the deflated data of a file does not end where it should"));
            }
        }
    }

    fn check_end(&mut self, data: &mut impl BufRead) -> io::Result<()> {
        let found = Descriptor { crc: self.crc.clone().finalize(), compressed_size: self.taken, size: self.delivered };
        let known_before = Descriptor {
            crc: self.entry.crc.unwrap_or(found.crc),
            compressed_size: self.entry.compressed_size.unwrap_or(found.compressed_size),
            size: self.entry.size.unwrap_or(found.size),
        };
        found.check(&known_before)?;
        if self.entry.has_descriptor {
            found.check(&Descriptor::read(data, self.is_wide(self.taken.max(self.delivered)))?)?;
        }
        Ok(())
    }

    /// Whether the sizes after the data have 64 bits: some writers use these without a Zip64 field in the header.
    fn is_wide(&self, size: u64) -> bool {
        self.entry.is_zip64 || size > u64::from(u32::MAX)
    }
}

/// The data descriptor, which stands after the data [4.3.9].
struct Descriptor {
    crc: u32,
    compressed_size: u64,
    size: u64,
}

impl Descriptor {
    fn read(data: &mut impl Read, is_wide: bool) -> io::Result<Self> {
        let mut crc = array(data)?;
        // The signature is optional.
        if crc == signature::DESCRIPTOR {
            crc = array(data)?;
        }
        let mut size = || match is_wide {
            true => array(data).map(u64::from_le_bytes),
            false => array(data).map(u32::from_le_bytes).map(u64::from),
        };
        Ok(Self { crc: u32::from_le_bytes(crc), compressed_size: size()?, size: size()? })
    }

    fn check(&self, expected: &Self) -> io::Result<()> {
        if self.compressed_size != expected.compressed_size || self.size != expected.size {
            return Err(corrupt("the size of a file is wrong"));
        }
        if self.crc != expected.crc { Err(corrupt("the checksum of a file is wrong")) } else { Ok(()) }
    }
}
