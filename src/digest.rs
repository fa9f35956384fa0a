//! The checksums that a block map may carry.

use std::fmt;
use std::str::FromStr;

use sha2::digest::DynDigest;

/// A kind of checksum, as `ChecksumType` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChecksumKind {
    /// MD5, RFC 1321.
    Md5,
    /// SHA-1, FIPS 180-4.
    Sha1,
    /// SHA-224, FIPS 180-4.
    Sha224,
    /// SHA-256, FIPS 180-4.
    Sha256,
    /// SHA-384, FIPS 180-4.
    Sha384,
    /// SHA-512, FIPS 180-4.
    Sha512,
}

impl ChecksumKind {
    /// Every kind.
    pub const ALL: [Self; 6] = [Self::Md5, Self::Sha1, Self::Sha224, Self::Sha256, Self::Sha384, Self::Sha512];

    /// The name in a bmap file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha224 => "sha224",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// The length of a digest in bytes.
    pub fn digest_len(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha224 => 28,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// The length of a digest in hexadecimal digits.
    pub fn digits(self) -> usize {
        2 * self.digest_len()
    }

    /// A hasher for digests of this kind.
    pub fn hasher(self) -> Hasher {
        let state: Box<dyn DynDigest + Send> = match self {
            Self::Md5 => Box::new(md5::Md5::default()),
            Self::Sha1 => Box::new(sha1::Sha1::default()),
            Self::Sha224 => Box::new(sha2::Sha224::default()),
            Self::Sha256 => Box::new(sha2::Sha256::default()),
            Self::Sha384 => Box::new(sha2::Sha384::default()),
            Self::Sha512 => Box::new(sha2::Sha512::default()),
        };
        Hasher { state }
    }
}

impl fmt::Display for ChecksumKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that stands for no kind of checksum.
#[derive(Debug, PartialEq, Eq)]
pub struct UnknownKind;

impl FromStr for ChecksumKind {
    type Err = UnknownKind;

    fn from_str(name: &str) -> Result<Self, UnknownKind> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or(UnknownKind)
    }
}

/// Computes one digest after another.
pub struct Hasher {
    state: Box<dyn DynDigest + Send>,
}

impl Hasher {
    /// Adds data to the digest.
    pub fn update(&mut self, data: &[u8]) {
        self.state.update(data);
    }

    /// The digest of the data added since the last call.
    pub fn finish(&mut self) -> Digest {
        Digest(self.state.finalize_reset())
    }
}

/// The bytes of a digest, of any kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digest(Box<[u8]>);

impl Digest {
    /// A digest of `kind` from its hexadecimal digits, in either case; `None` where their number or one of them is
    /// wrong.
    pub fn from_hex(kind: ChecksumKind, digits: &[u8]) -> Option<Self> {
        let (pairs, rest) = digits.as_chunks::<2>();
        if !rest.is_empty() || pairs.len() != kind.digest_len() {
            return None;
        }
        pairs.iter().map(|&[high, low]| Some(hex_value(high)? << 4 | hex_value(low)?)).collect::<Option<_>>().map(Self)
    }

    /// As many as [`ChecksumKind::digest_len`] says.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<&[u8]> for Digest {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

/// Lower-case hexadecimal digits.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

fn hex_value(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The digests of "abc", from the appendices of RFC 1321 and FIPS 180-4.
    const ABC: [(ChecksumKind, &str); 4] = [
        (ChecksumKind::Md5, "900150983cd24fb0d6963f7d28e17f72"),
        (ChecksumKind::Sha1, "a9993e364706816aba3e25717850c26c9cd0d89d"),
        (ChecksumKind::Sha224, "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7"),
        (ChecksumKind::Sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
    ];

    #[test]
    fn known_digests_and_reuse_of_a_hasher() {
        for (kind, expected) in ABC {
            let mut hasher = kind.hasher();
            for _ in 0..2 {
                hasher.update(b"a");
                hasher.update(b"bc");
                assert_eq!(hasher.finish().to_string(), expected, "{kind}");
            }
        }
    }

    #[test]
    fn every_kind_has_its_name_and_length() {
        for kind in ChecksumKind::ALL {
            assert_eq!(kind.name().parse(), Ok(kind));
            assert_eq!(kind.hasher().finish().as_bytes().len(), kind.digest_len(), "{kind}");
        }
        assert_eq!("crc32".parse::<ChecksumKind>(), Err(UnknownKind));
    }

    #[test]
    fn hexadecimal_digits_are_checked() {
        let md5 = |digits: &str| Digest::from_hex(ChecksumKind::Md5, digits.as_bytes()).map(|d| d.to_string());
        assert_eq!(md5("900150983CD24fb0d6963f7d28e17f72").unwrap(), "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(md5("900150983cd24fb0d6963f7d28e17f7"), None);
        assert_eq!(md5("900150983cd24fb0d6963f7d28e17f7200"), None);
        assert_eq!(md5("+00150983cd24fb0d6963f7d28e17f72"), None);
    }
}
