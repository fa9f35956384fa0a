//! Whether a bmap may be believed: its OpenPGP signatures (RFC 9580), and who may have made them.
//!
//! A signature on the bmap authenticates it and, through its checksums, every byte that is written. It is detached, in
//! a file of its own, or the bmap is a clearsigned text, which encloses what it signs. A [`Policy`] says which
//! signatures are accepted; [`authenticate`] checks a bmap against it, and returns the text that was signed.
//!
//! Signatures by the keys of a file with certificates are verified here, as `gpgv` would. By the keys of the user, and
//! those of a keybox, GnuPG verifies: only its status lines and its exit status count, and its input lies in memory, not in
//! files that others could reach or that could be left over. No setting makes an unknown key known, and keyrings are not
//! changed.

// Signatures and what verifiers print come from outside: no byte of it may cause a panic.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

mod armor;
mod clearsign;
mod error;
#[cfg(fuzzing)]
pub mod fuzzing;
mod gnupg;
mod keyring;
mod openpgp;
mod policy;
mod signer;

pub use armor::ArmorError;
pub use error::{Error, Refusal, VerifierError};
pub use keyring::{Keyring, KeyringError};
pub use policy::{Keys, Policy, RequiredBy, Requirements};
pub use signer::{Fingerprint, InvalidFingerprint, Key, Signer};

use crate::source::{Location, SmallFile};
use clearsign::Clearsigned;
use keyring::Contents;

/// The longest signature that is verified, in bytes. One takes a few hundred bytes, and a file may have several; a
/// verifier checks all of them, which takes time.
const MAX_LEN: usize = 64 << 10;

/// A bmap's text, as far as the policy accepts it.
pub struct Authentic {
    /// The text, decompressed. Of a clearsigned bmap it is what was signed, as the verifier printed it.
    pub text: Vec<u8>,
    /// The result of verifying its signatures.
    pub signatures: Signatures,
}

/// The result of verifying a bmap's signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signatures {
    /// They are good. Each signer is named once; there is at least one.
    Good(Vec<Signer>),
    /// There is none.
    None,
    /// There is one in the bmap, and [`Policy::Skip`] leaves it unverified.
    Unverified,
    /// The bmap is not clearsigned, and with [`Policy::Skip`] no detached signature is looked for.
    Unknown,
}

/// Checks `bmap`, with its detached `signature` where there is one, against `policy`.
///
/// # Errors
///
/// Where the bmap lacks the signatures that the policy asks for, they cannot be verified, or it cannot be decompressed.
pub fn authenticate(bmap: SmallFile, signature: Option<&SmallFile>, policy: &Policy) -> Result<Authentic, Error> {
    match policy {
        Policy::Skip => without_verifying(bmap),
        Policy::Verify(requirements) => verified(bmap, signature, requirements),
    }
}

fn verified(bmap: SmallFile, signature: Option<&SmallFile>, requirements: &Requirements) -> Result<Authentic, Error> {
    let location = bmap.location().clone();
    let keys = &requirements.keys;
    let mut signers = Vec::new();
    if let Some(signature) = signature {
        // It signs the stored bytes, which are not decompressed before it is known to be good.
        let verified = verify_detached(bmap.bytes(), signature.bytes(), keys);
        signers = verified.map_err(|error| Error::of_signature(&location, signature.location(), error))?;
    }
    let file = bmap.decompress()?;
    let text = match find_clearsigned(&file, &location)? {
        Some(message) => {
            let signed = verify(&Subject::Clearsigned(&message), keys);
            let signed = signed.map_err(|error| Error::of_signature(&location, &location, error))?;
            signers.extend(signed.signers);
            signed.text
        }
        None => file,
    };
    requirements.judge(&location, &signers)?;
    signers.sort();
    signers.dedup();
    let signatures = if signers.is_empty() { Signatures::None } else { Signatures::Good(signers) };
    Ok(Authentic { text, signatures })
}

/// The text of a clearsigned bmap must be taken out of it even where its signature does not matter.
fn without_verifying(bmap: SmallFile) -> Result<Authentic, Error> {
    let location = bmap.location().clone();
    let file = bmap.decompress()?;
    let (text, signatures) = match find_clearsigned(&file, &location)? {
        Some(message) => (message.unverified_text(), Signatures::Unverified),
        None => (file, Signatures::Unknown),
    };
    Ok(Authentic { text, signatures })
}

fn find_clearsigned<'a>(file: &'a [u8], bmap: &Location) -> Result<Option<Clearsigned<'a>>, Error> {
    Clearsigned::find(file).map_err(|refusal| Error::of_signature(bmap, bmap, refusal.into()))
}

/// Verifies that `signature`, binary or armoured, is a good one of `data`. Returns who signed.
///
/// Of several signatures one good one is enough if of the others only the key or the algorithm is unknown.
fn verify_detached(data: &[u8], signature: &[u8], keys: &Keys) -> Result<Vec<Signer>, VerifierError> {
    if Clearsigned::find(signature) != Ok(None) {
        return Err(Refusal::NotDetached.into());
    }
    Ok(verify(&Subject::Detached { data, signature }, keys)?.signers)
}

/// What is verified.
enum Subject<'a> {
    /// A text that encloses its signature.
    Clearsigned(&'a Clearsigned<'a>),
    /// A file and its signature in another.
    Detached { data: &'a [u8], signature: &'a [u8] },
}

/// A text whose signatures are good.
struct Signed {
    /// The text, as the verifier printed it; empty where the signature is detached.
    text: Vec<u8>,
    /// At least one.
    signers: Vec<Signer>,
}

/// Verifies `subject`. This is the place to choose between verifiers.
fn verify(subject: &Subject<'_>, keys: &Keys) -> Result<Signed, VerifierError> {
    let length = match subject {
        Subject::Clearsigned(message) => message.signature_len(),
        Subject::Detached { signature, .. } => signature.len(),
    };
    if length > MAX_LEN {
        return Err(Refusal::TooLong { length }.into());
    }
    match keys {
        Keys::OfUser => gnupg::verify(subject, None),
        Keys::In(keyring) => match &keyring.contents {
            Contents::Certificates(certificates) => Ok(openpgp::verify(subject, certificates)?),
            Contents::Keybox(keybox) => gnupg::verify(subject, Some(keybox)),
        },
    }
}

/// The makers of the good ones of several signatures. One is enough if of the others only the key or the algorithm is
/// unknown; nothing is asked about those after one that refuses all.
fn accept(verdicts: impl Iterator<Item = Result<Signer, Refusal>>) -> Result<Vec<Signer>, Refusal> {
    let mut signers = Vec::new();
    let mut unknown = Refusal::NoSignature;
    for verdict in verdicts {
        match verdict {
            Ok(signer) => signers.push(signer),
            Err(refusal @ (Refusal::UnknownKey { .. } | Refusal::UnknownAlgorithm { .. })) => unknown = refusal,
            Err(refusal) => return Err(refusal),
        }
    }
    if signers.is_empty() { Err(unknown) } else { Ok(signers) }
}
