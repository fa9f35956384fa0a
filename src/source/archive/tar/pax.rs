//! The records of a pax header (POSIX.1-2001, pax, "pax Extended Header"), with GNU's for sparse files.

use std::io;
use std::str;

use super::bad;
use super::sparse::{EXTENTS_MAX, too_long};
use crate::source::decode_error::corrupt;

/// The keys that matter, but for those that come once for each extent.
const KEYS: [&str; 7] =
    ["path", "size", "GNU.sparse.name", "GNU.sparse.size", "GNU.sparse.realsize", "GNU.sparse.major", MAP];

/// Version 0.1 of GNU's format: the whole map of a sparse file in one record.
const MAP: &str = "GNU.sparse.map";
/// Version 0.0: a pair of records for each extent.
const OFFSET: &str = "GNU.sparse.offset";
const LENGTH: &str = "GNU.sparse.numbytes";

/// The records of the header before a file, as far as they matter.
#[derive(Default)]
pub(super) struct Records {
    /// By their place among the keys. The last value of a key is the one that counts.
    values: [Option<Vec<u8>>; KEYS.len()],
    offsets: Vec<u64>,
    lengths: Vec<u64>,
}

impl Records {
    /// The records in `data`: each its own length in decimal, a space, the key, `=`, the value, and a newline.
    pub(super) fn parse(data: &[u8]) -> io::Result<Self> {
        let mut records = Self::default();
        let mut rest = data;
        while !rest.is_empty() {
            let Record { key, value, following } =
                record(rest).ok_or_else(|| bad(corrupt("a pax header is invalid")))?;
            let number = |key| decimal(value).ok_or_else(|| invalid(key));
            match str::from_utf8(key).unwrap_or_default() {
                OFFSET => records.offsets.push(number(OFFSET)?),
                LENGTH => records.lengths.push(number(LENGTH)?),
                key => {
                    if let Some((_, last)) = KEYS.iter().zip(&mut records.values).find(|(known, _)| **known == key) {
                        *last = Some(value.to_vec());
                    }
                }
            }
            rest = following;
        }
        Ok(records)
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
        let Some(map) = self.get(MAP) else {
            return match self.offsets.len() == self.lengths.len() {
                true => Ok(self.offsets.iter().copied().zip(self.lengths.iter().copied()).collect()),
                false => Err(invalid(LENGTH)),
            };
        };
        let mut numbers = map.split(|&byte| byte == b',').map(|digits| decimal(digits).ok_or_else(|| invalid(MAP)));
        let mut extents = Vec::new();
        while let Some(offset) = numbers.next() {
            if extents.len() == EXTENTS_MAX {
                return Err(too_long());
            }
            extents.push((offset?, numbers.next().ok_or_else(|| invalid(MAP))??));
        }
        Ok(extents)
    }

    fn get(&self, key: &str) -> Option<&[u8]> {
        KEYS.iter().zip(&self.values).find(|(known, _)| **known == key)?.1.as_deref()
    }
}

/// A record, and what follows it.
struct Record<'a> {
    key: &'a [u8],
    value: &'a [u8],
    following: &'a [u8],
}

/// The record at the start of `data`.
fn record(data: &[u8]) -> Option<Record<'_>> {
    let space = data.iter().position(|&byte| byte == b' ')?;
    let length = usize::try_from(decimal(data.get(..space)?)?).ok()?;
    let record = data.get(space..length)?.strip_prefix(b" ")?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|&byte| byte == b'=')?;
    let (key, value) = record.split_at_checked(equals)?;
    Some(Record { key, value: value.strip_prefix(b"=")?, following: data.get(length..)? })
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
    use std::error::Error;

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
    fn what_does_not_matter_is_not_kept() {
        let records = Records::parse(b"13 size=1234\n6 a=b\n6 \xff=b\n13 size=5678\n".repeat(1000).as_slice()).unwrap();
        assert_eq!(records.values.iter().flatten().collect::<Vec<_>>(), [b"5678"]);
        assert!(records.offsets.is_empty() && records.lengths.is_empty());
    }

    #[test]
    fn maps_of_too_many_extents_are_refused() {
        let map = |extents| {
            let record = format!(" {MAP}={}\n", vec!["0,0"; extents].join(","));
            let length = record.len() + 7;
            Records::parse(format!("{length}{record}").as_bytes()).unwrap().sparse_map()
        };
        assert_eq!(map(EXTENTS_MAX).unwrap().len(), EXTENTS_MAX);
        assert!(map(EXTENTS_MAX + 1).unwrap_err().source().unwrap().to_string().contains("too long"));
    }

    #[test]
    fn invalid_records() {
        assert!(Records::parse(b"6 a=b\n").is_ok());
        for data in [&b"x"[..], b"99 a=b\n", b"5 a=b\n", b"5 ab\n", b"0 a=b\n", b"-6 a=b\n"] {
            assert!(Records::parse(data).is_err(), "{data:?}");
        }
    }
}
