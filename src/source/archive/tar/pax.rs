//! The records of a pax header (POSIX.1-2001, pax, "pax Extended Header"), with GNU's for sparse files.

use std::io;
use std::str;

use super::bad;
use crate::source::decode_error::{corrupt, unsupported};

/// The keys that matter.
const KEYS: [&str; 6] =
    ["path", "size", "GNU.sparse.name", "GNU.sparse.size", "GNU.sparse.realsize", "GNU.sparse.major"];

/// The records of the header before a file, as far as they matter.
#[derive(Default)]
pub(super) struct Records {
    /// In the order of the keys. The last value of a key counts.
    values: [Option<Vec<u8>>; KEYS.len()],
}

impl Records {
    /// The records in `data`: each its own length in decimal, a space, the key, `=`, the value, and a newline.
    pub(super) fn parse(data: &[u8]) -> io::Result<Self> {
        let mut records = Self::default();
        let mut rest = data;
        while !rest.is_empty() {
            let (key, value, following) = record(rest).ok_or_else(|| bad(corrupt("a pax header is invalid")))?;
            if let Some((_, last)) = KEYS.iter().zip(&mut records.values).find(|(known, _)| known.as_bytes() == key) {
                *last = Some(value.to_vec());
            }
            rest = following;
        }
        Ok(records)
    }

    /// The name of the file; where it is sparse, its original name.
    pub(super) fn name(&self) -> Option<Vec<u8>> {
        self.get("GNU.sparse.name").or(self.get("path")).map(<[u8]>::to_vec)
    }

    /// The value of `key`, which is a decimal number.
    pub(super) fn number(&self, key: &str) -> io::Result<Option<u64>> {
        let invalid = || bad(corrupt(format!("the record {key} of a pax header is invalid")));
        self.get(key).map(|value| decimal(value).ok_or_else(invalid)).transpose()
    }

    /// The size, with its holes, of a sparse file, whose map stands before its data: version 1.0 of GNU's format.
    /// `None` if the file is not sparse.
    pub(super) fn sparse_size(&self) -> io::Result<Option<u64>> {
        let size = self.number("GNU.sparse.realsize")?.or(self.number("GNU.sparse.size")?);
        if size.is_some() && matches!(self.number("GNU.sparse.major")?, None | Some(0)) {
            return Err(bad(unsupported(
                "it has a sparse file in version 0 of GNU's format, only version 1.0 is supported",
            )));
        }
        Ok(size)
    }

    fn get(&self, key: &str) -> Option<&[u8]> {
        KEYS.iter().zip(&self.values).find(|(known, _)| **known == key)?.1.as_deref()
    }
}

/// The key and value of the record at the start of `data`, and what follows it.
fn record(data: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = data.iter().position(|&byte| byte == b' ')?;
    let length = usize::try_from(decimal(data.get(..space)?)?).ok()?;
    let record = data.get(space..length)?.strip_prefix(b" ")?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|&byte| byte == b'=')?;
    let (key, value) = record.split_at_checked(equals)?;
    Some((key, value.strip_prefix(b"=")?, data.get(length..)?))
}

/// A number of decimal digits.
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    // The library's parser accepts a sign.
    let digits = str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
    digits.parse().ok()
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
    fn only_version_1_of_sparse_files_is_read() {
        let sparse_size = |records: &[u8]| Records::parse(records).unwrap().sparse_size();
        assert_eq!(sparse_size(b"22 GNU.sparse.major=1\n30 GNU.sparse.realsize=123456\n").unwrap(), Some(123_456));
        for old in [&b"22 GNU.sparse.size=12\n"[..], b"22 GNU.sparse.major=0\n22 GNU.sparse.size=12\n"] {
            assert!(sparse_size(old).unwrap_err().source().unwrap().to_string().contains("version 0"));
        }
    }

    #[test]
    fn only_known_keys_are_kept() {
        let records = Records::parse(b"13 size=1234\n6 a=b\n6 \xff=b\n13 size=5678\n".repeat(1000).as_slice()).unwrap();
        assert_eq!(records.values.iter().flatten().collect::<Vec<_>>(), [b"5678"]);
    }

    #[test]
    fn invalid_records() {
        assert!(Records::parse(b"6 a=b\n").is_ok());
        for data in [&b"x"[..], b"99 a=b\n", b"5 a=b\n", b"5 ab\n", b"0 a=b\n", b"-6 a=b\n"] {
            assert!(Records::parse(data).is_err(), "{data:?}");
        }
    }
}
