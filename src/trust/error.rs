//! Why a bmap is not believed.

use std::io;

use super::{Fingerprint, Key, MAX_LEN, RequiredBy, Signer};
use crate::source::{self, Location};

/// Why a bmap's signatures are not what the policy asks for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A signature is not good.
    #[error("discovered a BAD GPG signature of bmap file '{bmap}'{}", in_file(.signature, .bmap))]
    BadSignature {
        /// What is signed.
        bmap: Location,
        /// Where the signature is: the bmap itself where that is a clearsigned text.
        signature: Location,
        /// What is wrong with it.
        source: Refusal,
    },
    /// The signatures are good, but none is by the signer that is asked for.
    #[error("bmap file '{bmap}' is not signed by {expected}")]
    WrongSigner {
        /// What is signed.
        bmap: Location,
        /// Who did sign; at least one.
        found: Vec<Signer>,
        /// Who should have.
        expected: Fingerprint,
    },
    /// There is no signature, and there must be one.
    #[error("bmap file '{bmap}' is not signed")]
    NotSigned {
        /// What should be signed.
        bmap: Location,
        /// What in the policy demands it.
        required_by: RequiredBy,
    },
    /// There is a signature, and nothing that can verify it.
    #[error("bmap file '{bmap}' is signed, but the signature cannot be verified")]
    Unverifiable {
        /// What is signed.
        bmap: Location,
        /// What is missing.
        source: VerifierError,
    },
    /// The bmap is compressed, and cannot be decompressed.
    #[error(transparent)]
    Source(#[from] source::Error),
}

impl Error {
    /// What it means for `bmap` that its `signature` could not be verified.
    pub(super) fn of_signature(bmap: &Location, signature: &Location, error: VerifierError) -> Self {
        let (bmap, signature) = (bmap.clone(), signature.clone());
        match error {
            VerifierError::Refused(source) => Self::BadSignature { bmap, signature, source },
            source => Self::Unverifiable { bmap, source },
        }
    }
}

fn in_file(signature: &Location, bmap: &Location) -> String {
    if signature == bmap { String::new() } else { format!(" in '{signature}'") }
}

/// Why nothing good can be said about a signature.
#[derive(Debug, thiserror::Error)]
pub enum VerifierError {
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
        /// Its name.
        program: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// The system gives no file in memory (memfd) for what the program must read.
    #[error("cannot make a file in memory")]
    Memory(#[source] io::Error),
    /// The program finds what it must read in /proc.
    #[error("/proc is not mounted (mount -t proc proc /proc), where {program} finds what it reads")]
    NoProc {
        /// Its name.
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
