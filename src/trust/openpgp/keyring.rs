//! Which certificate of a keyring has the key that a signature names.

use pgp::types::{Fingerprint, KeyId, Tag};

use super::key_packet::KeyPacket;
use super::packets::Packets;

/// The key that a signature names as its maker's.
pub struct Issuer {
    pub fingerprint: Option<Fingerprint>,
    pub key_id: Option<KeyId>,
}

impl Issuer {
    /// The key's name for people: the fingerprint, or the key id where there is none, in upper case.
    pub fn name(&self) -> String {
        match (&self.fingerprint, &self.key_id) {
            (Some(fingerprint), _) => digits(fingerprint),
            (None, _) => self.key_id_name(),
        }
    }

    /// The key id for people, as GnuPG has it in its verdict about a wrong signature.
    pub fn key_id_name(&self) -> String {
        let key_id = self.key_id.or_else(|| self.fingerprint.as_ref().and_then(key_id));
        key_id.unwrap_or(KeyId::WILDCARD).to_string().to_ascii_uppercase()
    }
}

/// A fingerprint as GnuPG prints it.
pub fn digits(fingerprint: &Fingerprint) -> String {
    fingerprint.to_string().to_ascii_uppercase()
}

/// A key in a keyring.
#[derive(Clone)]
pub struct Located<'a> {
    /// What the keyring holds from the key's certificate on.
    pub certificate: &'a [u8],
    pub fingerprint: Fingerprint,
}

/// The keys of `issuers`, in their order, of all that `keyring` holds. As with GnuPG the first key with the fingerprint
/// is meant, else the first with the key id, and nothing after damage is found, even to the key of
/// somebody else.
///
/// The keyring is read once, whatever the number of issuers, and only to hash its keys.
pub fn locate<'a>(keyring: &'a [u8], issuers: &[Issuer]) -> Vec<Option<Located<'a>>> {
    let mut found = vec![(None, None); issuers.len()];
    let mut certificate = None;
    let mut packets = Packets { rest: keyring };
    loop {
        let start = packets.rest;
        let Some(Ok(packet)) = packets.next() else { break };
        match packet.tag() {
            Tag::PublicKey => certificate = Some(start),
            Tag::PublicSubkey => {}
            // GnuPG reads these, too: what it makes of damaged ones is not decided here.
            Tag::SecretKey | Tag::SecretSubkey => break,
            _ => continue,
        }
        let fingerprint = match KeyPacket::read(packet.body) {
            KeyPacket::Whole(fingerprint) => fingerprint,
            KeyPacket::Old => continue,
            KeyPacket::Damaged => break,
        };
        // A subkey before all primary keys is nobody's.
        let Some(certificate) = certificate else { continue };
        let key_id = key_id(&fingerprint);
        for (issuer, (by_fingerprint, by_key_id)) in issuers.iter().zip(&mut found) {
            let located = || Located { certificate, fingerprint: fingerprint.clone() };
            if issuer.fingerprint.as_ref() == Some(&fingerprint) {
                by_fingerprint.get_or_insert_with(located);
            }
            if issuer.key_id.is_some() && issuer.key_id == key_id {
                by_key_id.get_or_insert_with(located);
            }
        }
    }
    found.into_iter().map(|(by_fingerprint, by_key_id)| by_fingerprint.or(by_key_id)).collect()
}

/// The key id that goes with a fingerprint: the end of it, from version 6 on its beginning.
fn key_id(fingerprint: &Fingerprint) -> Option<KeyId> {
    let bytes = fingerprint.as_bytes();
    let id = match fingerprint {
        Fingerprint::V4(_) => bytes.last_chunk(),
        _ => bytes.first_chunk(),
    };
    id.map(|id| KeyId::new(*id))
}
