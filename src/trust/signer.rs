//! The keys that signed, and who they say they are.

use std::fmt;
use std::str::FromStr;

/// The whole fingerprint of an OpenPGP key: other keys with the same short key id can be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// Hexadecimal, in upper case: 40 for keys of version 4 (RFC 4880), 64 for versions 5 and 6 (RFC 9580).
    digits: String,
}

/// A text that is not a whole fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint has 40 or 64 hexadecimal digits; a shorter key id is not enough")]
pub struct InvalidFingerprint;

/// People group the digits and write them in either case, and `gpg` prints `0x` before them if it is asked to.
impl FromStr for Fingerprint {
    type Err = InvalidFingerprint;

    fn from_str(text: &str) -> Result<Self, InvalidFingerprint> {
        let text: String = text.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_ascii_uppercase()).collect();
        let digits = text.strip_prefix("0X").unwrap_or(&text);
        match matches!(digits.len(), 40 | 64) && digits.chars().all(|c| c.is_ascii_hexdigit()) {
            true => Ok(Self { digits: digits.to_owned() }),
            false => Err(InvalidFingerprint),
        }
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.digits)
    }
}

/// Someone who made a good signature.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Signer {
    /// The name and address that the key claims.
    pub user_id: String,
    /// The fingerprint of the key that signed, in hexadecimal digits as the verifier prints them.
    pub fingerprint: String,
    /// The fingerprint of the primary key; the same where the primary key itself signed.
    pub primary: String,
}

impl Signer {
    /// Whether `fingerprint` is that of the signing key or of its primary key.
    pub fn has(&self, fingerprint: &Fingerprint) -> bool {
        [&self.fingerprint, &self.primary].into_iter().any(|own| own.eq_ignore_ascii_case(&fingerprint.digits))
    }
}

/// `UID (fingerprint FPR)`, and for a subkey the primary key.
impl fmt::Display for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (fingerprint {})", self.user_id, self.fingerprint)?;
        if self.primary != self.fingerprint {
            write!(f, ", a subkey of {}", self.primary)?;
        }
        Ok(())
    }
}

/// The key that a signature names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The name and address that the key claims.
    pub user_id: String,
    /// The fingerprint, or the key id where the signature says no more.
    pub id: String,
}

/// `UID (key ID)`.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (key {})", self.user_id, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORTY: &str = "0123456789abcdef0123456789ABCDEF01234567";

    #[test]
    fn a_whole_fingerprint_is_read_however_it_is_written() {
        let upper = FORTY.to_uppercase();
        let spaced = format!(" {} {}\t{}\n", &FORTY[..4], &FORTY[4..20], &FORTY[20..]);
        let (marked, marked_upper) = (format!("0x{FORTY}"), format!(" 0X {spaced}"));
        for text in [FORTY, &spaced, &FORTY.to_lowercase(), &marked, &marked_upper] {
            assert_eq!(text.parse::<Fingerprint>().unwrap().to_string(), upper, "{text:?}");
        }
        let long = "AB".repeat(32);
        assert_eq!(long.parse::<Fingerprint>().unwrap().to_string(), long);
    }

    #[test]
    fn what_is_not_a_whole_fingerprint_is_refused() {
        let (longer, foreign) = (format!("{FORTY}8"), "ä".repeat(20));
        let (marked, twice) = (format!("0x{}", &FORTY[2..]), format!("0x0x{FORTY}"));
        let short = ["", "   ", "0x", "ABCDEF01", "0x0123456789", &FORTY[1..], &marked];
        for text in [&short[..], &[&twice, &longer, &FORTY.replace('0', "x"), &foreign]].concat() {
            assert_eq!(text.parse::<Fingerprint>(), Err(InvalidFingerprint), "{text:?}");
        }
    }

    #[test]
    fn a_signer_has_the_fingerprints_of_subkey_and_primary_key() {
        let (subkey, primary) = (FORTY.to_uppercase(), "AB".repeat(20));
        let signer = Signer { user_id: "Ed".to_owned(), fingerprint: subkey.clone(), primary: primary.clone() };
        for own in [&subkey, &primary, &subkey.to_lowercase()] {
            assert!(signer.has(&own.parse().unwrap()), "{own}");
        }
        assert!(!signer.has(&"CD".repeat(20).parse().unwrap()));
        assert_eq!(signer.to_string(), format!("Ed (fingerprint {subkey}), a subkey of {primary}"));
    }
}
