//! Who signed a file: OpenPGP signatures (RFC 9580), verified by GnuPG.
//!
//! A signature is detached, in a file of its own ([`verify_detached`]), or it encloses what it signs ([`Clearsigned`]).
//! What is known about the signers comes from `gpgv` or `gpg`, of which only the status lines and the exit status count.
//! What they are given lies in memory, not in files that others could reach or that could be left behind.

mod armor;
mod clearsign;
#[cfg(fuzzing)]
pub mod fuzzing;
mod keyring;
mod status;
mod verifier;

use std::fmt;
use std::io;

pub use clearsign::Clearsigned;
pub use keyring::{Keyring, KeyringError};

use verifier::Subject;

/// The longest signature that is looked at, in bytes. Those of some keys have a few hundred each; a verifier checks every one
/// that it is given, and takes its time.
const MAX_LEN: usize = 64 << 10;

/// Whose signatures are good.
pub enum Keys {
    /// Those of the keys in the user's keyring: what `gpg` uses by itself, or `gpgv` where there is no `gpg`.
    OfUser,
    /// Those of the keys in this keyring.
    In(Keyring),
}

/// Someone who made a good signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    /// Who that is, as the key says.
    pub user_id: String,
    /// The fingerprint of the key that signed, in hexadecimal digits.
    pub fingerprint: String,
    /// The fingerprint of the primary key that it belongs to; the same where it is the primary key itself.
    pub primary: String,
}

impl Signer {
    /// Whether `fingerprint`, in hexadecimal digits, is that of the key or of its primary key.
    pub fn has(&self, fingerprint: &str) -> bool {
        [&self.fingerprint, &self.primary].into_iter().any(|own| own.eq_ignore_ascii_case(fingerprint))
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

/// A text, and who signed it.
pub struct Signed {
    /// What was signed, as the verifier put it out.
    pub text: Vec<u8>,
    /// At least one.
    pub signers: Vec<Signer>,
}

/// Why nothing good can be said about a signature.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not good.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// There is no program that could tell.
    #[error("{programs} not found on PATH")]
    NoVerifier {
        /// Those that could.
        programs: &'static str,
    },
    /// The program that could tell cannot be run.
    #[error("cannot run {program}")]
    Run {
        /// The program.
        program: &'static str,
        /// Why.
        source: io::Error,
    },
    /// What the program must read cannot be laid before it.
    #[error("cannot make a file in memory")]
    Memory(#[source] io::Error),
    /// The program finds what it must read in /proc.
    #[error("/proc is not mounted (mount -t proc proc /proc), where {program} finds what it reads")]
    NoProc {
        /// The program.
        program: &'static str,
    },
}

/// Why a signature is not good.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is of another file, or of what this file was.
    #[error("it is by {by}, but not of this file: one of them has been changed")]
    Bad {
        /// The signer, as the signature says.
        by: Key,
    },
    /// It was good for some time only.
    #[error("it is by {by}, but has expired")]
    SignatureExpired {
        /// The signer.
        by: Key,
    },
    /// Its key was good for some time only.
    #[error("it is by {by}, whose key has expired")]
    KeyExpired {
        /// The signer.
        by: Key,
    },
    /// Its key has been revoked.
    #[error("it is by {by}, whose key has been revoked")]
    KeyRevoked {
        /// The signer.
        by: Key,
    },
    /// Its key is not among those whose signatures are good.
    #[error("it is by the unknown key {key}")]
    UnknownKey {
        /// The fingerprint, or the key id where the signature says no more.
        key: String,
    },
    /// Its digest can be forged.
    #[error("it is by key {key}, but its digest {digest} is too weak or not supported")]
    WeakDigest {
        /// The fingerprint or key id.
        key: String,
        /// The digest algorithm.
        digest: String,
    },
    /// It uses an algorithm that the verifier does not know.
    #[error("it is by key {key}, whose algorithm (number {algorithm} of OpenPGP) is not supported")]
    UnknownAlgorithm {
        /// The fingerprint or key id.
        key: String,
        /// The number, of RFC 9580 section 9.1.
        algorithm: String,
    },
    /// By the clock of this machine it does not exist yet.
    #[error("it is by key {key}, and from the future by this machine's clock")]
    FromTheFuture {
        /// The fingerprint or key id.
        key: String,
    },
    /// The verifier cannot check it.
    #[error("it is by key {key} and cannot be checked (error {code} of GnuPG)")]
    Unchecked {
        /// The fingerprint or key id.
        key: String,
        /// The number of the error in libgpg-error.
        code: String,
    },
    /// It is not a signature of a file: of a key, for example.
    #[error("it is by {by}, but it is not a signature of a file")]
    OtherClass {
        /// The signer.
        by: Key,
    },
    /// There is none.
    #[error("there is no OpenPGP signature in it")]
    NoSignature,
    /// Whoever made it wants the verifier to be busy.
    #[error("it has {length} bytes, and signatures of over {MAX_LEN} are not looked at")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// It brings its own text along, and signs that.
    #[error("it is not a detached signature but a message of its own")]
    NotDetached,
    /// There is something that is not signed.
    #[error("line {line}: there is text outside of the signed part")]
    TextOutside {
        /// The line, counted from 1.
        line: usize,
    },
    /// There is more than one signed part.
    #[error("line {line}: a second signed part begins")]
    SecondPart {
        /// The line.
        line: usize,
    },
    /// The signature has no end, or there is none.
    #[error("the signed part has no end: the file is cut off")]
    CutOff,
    /// The verifier reports failure, or something that we do not understand.
    #[error("{program} failed ({status}): {said}")]
    VerifierFailed {
        /// The program.
        program: &'static str,
        /// How it ended.
        status: String,
        /// The last that it said.
        said: String,
    },
}

impl Refusal {
    /// Refuses a signature of too many bytes.
    fn unless_short(length: usize) -> Result<(), Self> {
        if length > MAX_LEN { Err(Self::TooLong { length }) } else { Ok(()) }
    }
}

/// The key that a signature names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Whose it is, as the key says.
    pub user_id: String,
    /// The fingerprint, or the key id where no more is known.
    pub id: String,
}

/// `UID (key ID)`.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (key {})", self.user_id, self.id)
    }
}

/// Verifies that `signature`, binary or armoured, is a good one of `data`. Returns who signed.
///
/// Of several signatures one good one is enough if the others only cannot be checked for want of their keys or
/// algorithms.
///
/// # Errors
///
/// Where it is not good, or that cannot be found out.
pub fn verify_detached(data: &[u8], signature: &[u8], keys: &Keys) -> Result<Vec<Signer>, Error> {
    if Clearsigned::find(signature) != Ok(None) {
        return Err(Refusal::NotDetached.into());
    }
    Refusal::unless_short(signature.len())?;
    Ok(verifier::verify(&Subject::Detached { data, signature }, keys)?.signers)
}
