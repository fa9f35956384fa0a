//! The words for what the library notices.

use bmaptool::event::{Event, Notice, Observer};

use super::error::in_one_line;

/// Puts notices into words, at once.
pub struct Notices;

impl Observer for Notices {
    fn event(&self, event: Event<'_>) {
        let Event::Notice(notice) = event else { return };
        match notice {
            Notice::BmapFound { bmap } => log::info!("discovered bmap file '{bmap}'"),
            Notice::BmapAccessDenied { error } => log::info!("{}", in_one_line(error)),
            Notice::SignatureFound { signature } => log::info!("discovered signature file '{signature}'"),
            Notice::WebPageForSignature { signature } => log::warn!("'{signature}' is a web page, not a signature"),
            Notice::BmapSignedBy { signer, .. } => {
                log::info!("successfully verified bmap file signature of {signer}")
            }
            Notice::BmapNotSigned { bmap } => log::info!("bmap file '{bmap}' is not signed"),
            Notice::SignatureNotVerified { bmap } => {
                log::warn!("the signature of bmap file '{bmap}' is not verified, as '--no-sig-verify' asks for")
            }
            _ => {}
        }
    }
}
