//! Why a bmap is not believed.

use std::io;

use super::{ArmorError, Fingerprint, Key, MAX_LEN, RequiredBy, Signer};
use crate::source::{self, Location};

/// Why a bmap's signatures are not what the policy asks for.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the variants say what their fields are")]
pub enum Error {
    /// A signature is not good. It lies at `signature`, which is the bmap itself where that is clearsigned.
    #[error("discovered a BAD GPG signature of '{bmap}'{}", in_file(.signature, .bmap))]
    BadSignature { bmap: Location, signature: Location, source: Refusal },
    /// A signature is by a key that is not in the keyring: `key` is its fingerprint, or its id where the signature has no
    /// fingerprint.
    #[error("'{bmap}' is signed by key {key}, which is not in the keyring (discovered a BAD GPG signature)")]
    UnknownKey { bmap: Location, key: String },
    /// The signatures are good, but none is by the `expected` key; `found` has at least one signer.
    #[error("bmap file '{bmap}' is not signed by {expected}")]
    WrongSigner { bmap: Location, found: Vec<Signer>, expected: Fingerprint },
    /// There is no signature, and the policy demands one.
    #[error("bmap file '{bmap}' is not signed")]
    NotSigned { bmap: Location, required_by: RequiredBy },
    /// There is a signature, and no means to verify it.
    #[error("the signature of '{bmap}' cannot be verified")]
    Unverifiable { bmap: Location, source: VerifierError },
    /// The bmap is compressed, and cannot be decompressed.
    #[error(transparent)]
    Source(#[from] source::Error),
}

impl Error {
    /// The error for `bmap` where its `signature` is refused or cannot be verified.
    pub(super) fn of_signature(bmap: &Location, signature: &Location, error: VerifierError) -> Self {
        let (bmap, signature) = (bmap.clone(), signature.clone());
        match error {
            VerifierError::Refused(Refusal::UnknownKey { key }) => Self::UnknownKey { bmap, key },
            VerifierError::Refused(source) => Self::BadSignature { bmap, signature, source },
            source => Self::Unverifiable { bmap, source },
        }
    }
}

fn in_file(signature: &Location, bmap: &Location) -> String {
    if signature == bmap { String::new() } else { format!(" in '{signature}'") }
}

/// Why a signature was not found to be good.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the variants say what their fields are")]
pub enum VerifierError {
    /// It is not good.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// No program that verifies signatures by the keys of the user is installed.
    #[error("gpg and gpgv not found on PATH")]
    NoVerifier,
    /// The keyring is a keybox, and the program that reads these is not installed.
    #[error("the keyring is a keybox, and gpgv not found on PATH")]
    NoKeyboxReader,
    /// The program that verifies signatures cannot be run.
    #[error("cannot run {program}")]
    Run { program: &'static str, source: io::Error },
    /// The system gives no file in memory (memfd) for what the program must read.
    #[error("cannot create a file in memory")]
    Memory(#[source] io::Error),
    /// The program reads its input through /proc.
    #[error("/proc is not mounted, which {program} needs")]
    NoProc { program: &'static str },
}

/// Why a signature is not good. `by` is the key that made it, as far as the signature tells; `key` is a fingerprint, or
/// a key id where the signature has no fingerprint.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the variants say what their fields are")]
pub enum Refusal {
    /// It is of another file, or of an earlier state of this one.
    #[error("it is by {by}, but not of this file")]
    Bad { by: Key },
    /// It has expired.
    #[error("it is by {by}, but has expired")]
    SignatureExpired { by: Key },
    /// Its key has expired.
    #[error("it is by {by}, whose key has expired")]
    KeyExpired { by: Key },
    /// Its key has been revoked.
    #[error("it is by {by}, whose key has been revoked")]
    KeyRevoked { by: Key },
    /// Its key is not in the keyring.
    #[error("it is by the unknown key {key}")]
    UnknownKey { key: String },
    /// Its digest algorithm is weak or not supported.
    #[error("it is by key {key}, but its digest {digest} is too weak or not supported")]
    WeakDigest { key: String, digest: String },
    /// Its key has an algorithm that the verifier does not know: `algorithm` is the number of RFC 9580, section 9.1.
    #[error("it is by key {key}, whose algorithm (number {algorithm} of OpenPGP) is not supported")]
    UnknownAlgorithm { key: String, algorithm: String },
    /// By the clock of this machine it was made in the future.
    #[error("it is by key {key}, and from the future by this machine's clock")]
    FromTheFuture { key: String },
    /// It was made before its key.
    #[error("it is by key {key}, which is newer than it")]
    OlderThanKey { key: String },
    /// Its key is not meant for files.
    #[error("it is by key {key}, which is not one for signing files")]
    NotForSigning { key: String },
    /// Nothing in the keyring binds its key: a primary key to a user id, or a subkey to its primary key.
    #[error("it is by key {key}, of which the keyring has no valid signature by its owner")]
    UnboundKey { key: String },
    /// Its key is a subkey that does not certify its primary key.
    #[error("it is by key {key}, a subkey that does not certify its primary key")]
    NotCrossCertified { key: String },
    /// What the keyring has of its key is damaged, or of a kind that is not known.
    #[error("it is by key {key}, whose certificate in the keyring cannot be read")]
    UnreadableKey { key: String },
    /// The lines before a clearsigned text do not name its digest.
    #[error("it is by key {key}, but no line before the text says 'Hash: {digest}'")]
    NotAnnounced { key: String, digest: String },
    /// The verifier cannot check it; `code` is an error number of libgpg-error.
    #[error("it is by key {key} and cannot be checked (error {code} of GnuPG)")]
    Unchecked { key: String, code: String },
    /// It is not a signature of a file: of a key, for example.
    #[error("it is by {by}, but it is not a signature of a file")]
    OtherClass { by: Key },
    /// There is none.
    #[error("there is no OpenPGP signature in it")]
    NoSignature,
    /// It is so long that it would keep the verifier busy; `length` is in bytes.
    #[error("it has {length} bytes, and signatures of over {MAX_LEN} are not looked at")]
    TooLong { length: usize },
    /// It is a message that holds the text that it signs.
    #[error("it is not a detached signature but a message of its own")]
    NotDetached,
    /// Some text is not signed; `line` counts from 1.
    #[error("line {line}: there is text outside of the signed part")]
    TextOutside { line: usize },
    /// Something other than the digests stands before the signed text; `line` counts from 1.
    #[error("line {line}: only 'Hash' may stand before the signed text")]
    Header { line: usize },
    /// A line begins like one of the frame; `line` counts from 1.
    #[error("line {line} of the signed part begins with dashes that are not escaped")]
    Dashes { line: usize },
    /// A line is longer than those that are signed whole; `line` counts from 1 within what is signed.
    #[error("line {line} of the signed text is too long to be signed as text")]
    LongLine { line: usize },
    /// Its armour is damaged.
    #[error(transparent)]
    Armor(ArmorError),
    /// There is more than one signed part; `line` counts from 1.
    #[error("line {line}: a second signed part begins")]
    SecondPart { line: usize },
    /// The signature has no end, or is missing.
    #[error("the signed part has no end: the file is cut off")]
    CutOff,
    /// The verifier fails, or reports something unknown; `said` is its last line.
    #[error("{program} failed ({status}): {said}")]
    VerifierFailed { program: &'static str, status: String, said: String },
}
