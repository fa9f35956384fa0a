//! Which signatures a bmap must have.

use super::{Error, Fingerprint, Keyring, Signer};
use crate::source::Location;

/// What is asked of a bmap's signatures.
pub enum Policy {
    /// Nothing: none is looked for, and none is verified.
    Skip,
    /// Every signature that there is must be good.
    Verify(Requirements),
}

/// What a bmap's signatures must be like. A bmap without any is accepted, unless a keyring or a fingerprint is named.
pub struct Requirements {
    /// The keys whose signatures are good.
    pub keys: Keys,
    /// One of the signers must have this fingerprint.
    pub fingerprint: Option<Fingerprint>,
    /// Where the detached signature is; `None` to look for one beside the bmap.
    pub signature: Option<Location>,
}

/// Whose signatures are good.
pub enum Keys {
    /// Those of the keys in the user's keyring: the default of `gpg`, or of `gpgv` where there is no `gpg`.
    OfUser,
    /// Those of the keys in this keyring.
    In(Keyring),
}

/// What makes a signature mandatory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequiredBy {
    /// [`Requirements::fingerprint`].
    Fingerprint,
    /// [`Keys::In`].
    Keyring,
}

impl Requirements {
    /// Accepts the bmap with good signatures of `signers`, or refuses it.
    pub(super) fn judge(&self, bmap: &Location, signers: &[Signer]) -> Result<(), Error> {
        let not_signed = |required_by| Err(Error::NotSigned { bmap: bmap.clone(), required_by });
        match (&self.fingerprint, &self.keys) {
            (Some(_), _) if signers.is_empty() => not_signed(RequiredBy::Fingerprint),
            (None, Keys::In(_)) if signers.is_empty() => not_signed(RequiredBy::Keyring),
            (Some(expected), _) if !signers.iter().any(|signer| signer.has(expected)) => {
                Err(Error::WrongSigner { bmap: bmap.clone(), found: signers.to_vec(), expected: expected.clone() })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// Whether a bmap that is signed by Ann and Bob, or not signed, is accepted.
    fn judge(keys: Keys, fingerprint: Option<&str>, is_signed: bool) -> Result<(), Error> {
        let signer = |user_id: &str, digit: &str| Signer {
            user_id: user_id.to_owned(),
            fingerprint: digit.repeat(40),
            primary: digit.repeat(40),
        };
        let signers = if is_signed { vec![signer("Ann", "A"), signer("Bob", "B")] } else { Vec::new() };
        let fingerprint = fingerprint.map(|digit| digit.repeat(40).parse().unwrap());
        Requirements { keys, fingerprint, signature: None }.judge(&Location::Path("disk.bmap".into()), &signers)
    }

    /// The smallest file that is taken for keys: the header of a public-key packet.
    fn keyring() -> Keys {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"\x99").unwrap();
        Keys::In(Keyring::read(file.path()).unwrap())
    }

    #[test]
    fn a_keyring_or_a_fingerprint_makes_a_signature_mandatory() {
        assert!(judge(Keys::OfUser, None, false).is_ok());
        let required_by = |result| match result {
            Err(Error::NotSigned { required_by, .. }) => required_by,
            other => panic!("{other:?}"),
        };
        assert_eq!(required_by(judge(keyring(), None, false)), RequiredBy::Keyring);
        assert_eq!(required_by(judge(Keys::OfUser, Some("A"), false)), RequiredBy::Fingerprint);
        assert_eq!(required_by(judge(keyring(), Some("A"), false)), RequiredBy::Fingerprint);
    }

    #[test]
    fn one_of_the_signers_must_have_the_fingerprint() {
        for fingerprint in [None, Some("A"), Some("b")] {
            assert!(judge(Keys::OfUser, fingerprint, true).is_ok(), "{fingerprint:?}");
            assert!(judge(keyring(), fingerprint, true).is_ok(), "{fingerprint:?}");
        }
        let refused = judge(keyring(), Some("C"), true);
        assert!(matches!(&refused, Err(Error::WrongSigner { found, .. }) if found.len() == 2), "{refused:?}");
    }
}
