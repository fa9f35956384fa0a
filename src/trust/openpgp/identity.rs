//! A user id of a certificate, and which of them stands for all.

use pgp::packet::{SignatureType, SubpacketData, UserId};

use super::signature::Signature;

/// A user id, with the newest signature by which the certificate confirms or revokes it.
pub struct Identity<'a> {
    user_id: &'a UserId,
    pub signature: Option<&'a Signature>,
    is_certified: bool,
}

impl<'a> Identity<'a> {
    pub fn new(user_id: &'a UserId, signature: Option<&'a Signature>, now: u32) -> Self {
        let certifies = |signature: &Signature| {
            signature.config.typ != SignatureType::CertRevocation && !signature.has_expired(now)
        };
        Self { user_id, signature, is_certified: signature.is_some_and(certifies) }
    }

    /// The signature, where it confirms the user id and has not expired.
    pub fn certification(&self) -> Option<&'a Signature> {
        self.signature.filter(|_| self.is_certified)
    }

    fn is_marked(&self) -> bool {
        let mark = |data: &SubpacketData| match data {
            SubpacketData::IsPrimary(is_primary) => Some(*is_primary),
            _ => None,
        };
        self.certification().and_then(|signature| signature.hashed(mark)) == Some(true)
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(self.user_id.id()).into_owned()
    }
}

/// The name of the key's owner, as GnuPG chooses it: the newest user id that is marked as the primary one, else the newest
/// that is certified, else the first; `[?]` where there is none.
pub fn name(identities: &[Identity<'_>]) -> String {
    let newest = |is_candidate: fn(&Identity<'_>) -> bool| {
        let rank = |identity: &&Identity<'_>| {
            let id = identity.user_id.id();
            (identity.certification().map(Signature::created), id.len(), id.to_owned())
        };
        identities.iter().filter(|identity| is_candidate(identity)).max_by_key(rank)
    };
    newest(|identity| identity.is_marked())
        .or_else(|| newest(|identity| identity.certification().is_some()))
        .or_else(|| identities.first())
        .map_or_else(|| "[?]".to_owned(), Identity::text)
}
