//! What only the fuzz targets use.

use super::gnupg::status::Report;
use super::{Refusal, Signer, armor};

pub use super::clearsign::Clearsigned;

/// The contents of all blocks of armoured keys in `text`; `None` where there is none, or one is damaged.
pub fn armored(text: &[u8]) -> Option<Vec<u8>> {
    armor::is_armored(text).then(|| armor::decode(text).ok())?
}

/// Who has signed, by a verifier's status lines.
///
/// # Errors
///
/// Where nothing good can be said.
pub fn signers(status: &str) -> Result<Vec<Signer>, Refusal> {
    Report::parse(status).judge(Vec::new()).map(|signed| signed.signers)
}
