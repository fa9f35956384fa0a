//! The records of a pax header (POSIX.1-2001, pax, "pax Extended Header"), with GNU's for sparse files.

use std::io;
use std::str;

use super::bad;
use crate::source::damage::corrupt;

/// The records of the header before a file.
#[derive(Default)]
pub(super) struct Records(Vec<Record>);

/// A key and its value.
type Record = (String, Vec<u8>);

impl Records {
    /// The records in `data`: each its own length in decimal, a space, the key, `=`, the value, and a newline.
    pub(super) fn parse(data: &[u8]) -> io::Result<Self> {
        let mut records = Vec::new();
        let mut rest = data;
        while !rest.is_empty() {
            let (record, following) = record(rest).ok_or_else(|| bad(corrupt("a pax header is invalid")))?;
            records.push(record);
            rest = following;
        }
        Ok(Self(records))
    }

    /// The name of the file; of a sparse one that which it really has.
    pub(super) fn name(&self) -> Option<Vec<u8>> {
        self.get("GNU.sparse.name").or(self.get("path")).map(<[u8]>::to_vec)
    }

    /// The value of `key`, which is a decimal number.
    pub(super) fn number(&self, key: &str) -> io::Result<Option<u64>> {
        self.get(key).map(|value| decimal(value).ok_or_else(|| invalid(key))).transpose()
    }

    /// The size of a sparse file with its holes; `None` if it is not sparse.
    pub(super) fn sparse_size(&self) -> io::Result<Option<u64>> {
        match self.number("GNU.sparse.realsize")? {
            None => self.number("GNU.sparse.size"),
            size => Ok(size),
        }
    }

    /// Whether the map of a sparse file stands before its data, which is version 1.0 of GNU's format.
    pub(super) fn map_is_in_data(&self) -> io::Result<bool> {
        Ok(self.number("GNU.sparse.major")?.is_some_and(|version| version >= 1))
    }

    /// The map of a sparse file: offsets and lengths.
    pub(super) fn sparse_map(&self) -> io::Result<Vec<(u64, u64)>> {
        const MAP: &str = "GNU.sparse.map";
        if let Some(map) = self.get(MAP) {
            // Version 0.1: all numbers in one record.
            let numbers: Option<Vec<u64>> = map.split(|&byte| byte == b',').map(decimal).collect();
            let numbers = numbers.filter(|numbers| numbers.len() % 2 == 0).ok_or_else(|| invalid(MAP))?;
            return Ok(numbers.chunks_exact(2).filter_map(|pair| Some((*pair.first()?, *pair.last()?))).collect());
        }
        // Version 0.0: a pair of records for each extent.
        let all = |key: &'static str| {
            let values = self.0.iter().filter(move |(name, _)| name == key);
            values.map(move |(_, value)| decimal(value).ok_or_else(|| invalid(key)))
        };
        let (offsets, lengths) = ("GNU.sparse.offset", "GNU.sparse.numbytes");
        if all(offsets).count() != all(lengths).count() {
            return Err(invalid(lengths));
        }
        all(offsets).zip(all(lengths)).map(|(offset, length)| Ok((offset?, length?))).collect()
    }

    /// The last value of `key`, which is the one that counts.
    fn get(&self, key: &str) -> Option<&[u8]> {
        self.0.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value.as_slice())
    }
}

/// The record at the start of `data`, and what follows it.
fn record(data: &[u8]) -> Option<(Record, &[u8])> {
    let space = data.iter().position(|&byte| byte == b' ')?;
    let length = usize::try_from(decimal(data.get(..space)?)?).ok()?;
    let record = data.get(space..length)?.strip_prefix(b" ")?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|&byte| byte == b'=')?;
    let (key, value) = record.split_at_checked(equals)?;
    let value = value.strip_prefix(b"=")?.to_vec();
    Some(((String::from_utf8_lossy(key).into_owned(), value), data.get(length..)?))
}

/// A number of decimal digits.
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    // The library's parser accepts a sign.
    let is_number = digits.first().is_some_and(u8::is_ascii_digit);
    is_number.then(|| str::from_utf8(digits).ok()?.parse().ok()).flatten()
}

fn invalid(key: &str) -> io::Error {
    bad(corrupt(format!("the record {key} of a pax header is invalid")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_with_any_value() {
        let records = Records::parse(b"12 path=a\nb\n13 size=1234\n12 path=c d\n").unwrap();
        assert_eq!(records.name().unwrap(), b"c d");
        assert_eq!(records.number("size").unwrap(), Some(1234));
        assert_eq!(records.sparse_size().unwrap(), None);
    }

    #[test]
    fn maps() {
        let records = Records::parse(b"26 GNU.sparse.map=0,5,9,1\n").unwrap();
        assert_eq!(records.sparse_map().unwrap(), [(0, 5), (9, 1)]);
        let pairs = b"23 GNU.sparse.offset=7\n25 GNU.sparse.numbytes=8\n";
        assert_eq!(Records::parse(pairs).unwrap().sparse_map().unwrap(), [(7, 8)]);
        assert!(Records::parse(&pairs[..23]).unwrap().sparse_map().is_err());
    }

    #[test]
    fn invalid_records() {
        assert!(Records::parse(b"6 a=b\n").is_ok());
        for data in [&b"x"[..], b"99 a=b\n", b"5 a=b\n", b"5 ab\n", b"0 a=b\n", b"-6 a=b\n"] {
            assert!(Records::parse(data).is_err(), "{data:?}");
        }
    }
}
