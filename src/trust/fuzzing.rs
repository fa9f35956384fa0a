//! What only the fuzz targets use.

use super::armor::{self, Block};
use super::gnupg::status::Report;
use super::{Refusal, Signer, Subject, openpgp};

pub use super::clearsign::Clearsigned;

/// The contents of all blocks of armoured keys in `text`; `None` where there is none, or one is damaged.
pub fn armored(text: &[u8]) -> Option<Vec<u8>> {
    armor::has_block(text, Block::Keys).then(|| armor::decode(text, Block::Keys).ok())?
}

/// Who has signed, by a verifier's status lines.
///
/// # Errors
///
/// Where nothing good can be said.
pub fn signers(status: &str) -> Result<Vec<Signer>, Refusal> {
    Report::parse(status).judge(Vec::new()).map(|signed| signed.signers)
}

/// Who has signed `file`, by the keys in `keyring`: with a detached `signature`, or within it. `None` where nothing good can
/// be said.
pub fn verified(keyring: &[u8], file: &[u8], signature: Option<&[u8]>) -> Option<Vec<Signer>> {
    let clearsigned = Clearsigned::find(file).ok()?;
    let subject = match signature {
        Some(signature) => Subject::Detached { data: file, signature },
        None => Subject::Clearsigned(clearsigned.as_ref()?),
    };
    openpgp::verify(&subject, keyring).ok().map(|signed| signed.signers)
}
