//! Which certificate of a keyring has the key that a signature names.

use pgp::types::{Fingerprint, KeyId, KeyVersion, Tag};
use sha1::{Digest, Sha1};
use sha2::Sha256;

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
/// is meant, else the first with the key id, and nothing after damage is found.
///
/// The keyring is read once, whatever the number of issuers, and only to hash its keys.
pub fn locate<'a>(keyring: &'a [u8], issuers: &[Issuer]) -> Vec<Option<Located<'a>>> {
    let mut found = vec![(None, None); issuers.len()];
    let mut certificate = keyring;
    let mut packets = Packets { rest: keyring };
    loop {
        let start = packets.rest;
        let Some(Ok(packet)) = packets.next() else { break };
        match packet.tag() {
            Tag::PublicKey => certificate = start,
            Tag::PublicSubkey => {}
            _ => continue,
        }
        let Some(fingerprint) = fingerprint(packet.body) else { continue };
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

/// The fingerprint of the key in the body of a packet (RFC 9580, section 5.5.4); `None` where it has a version other
/// than 4 and 6.
pub fn fingerprint(body: &[u8]) -> Option<Fingerprint> {
    match body.first()? {
        4 => {
            let length = u16::try_from(body.len()).ok()?;
            let hasher = Sha1::new_with_prefix([0x99]).chain_update(length.to_be_bytes());
            Fingerprint::new(KeyVersion::V4, &hasher.chain_update(body).finalize()).ok()
        }
        6 => {
            let length = u32::try_from(body.len()).ok()?;
            let hasher = Sha256::new_with_prefix([0x9b]).chain_update(length.to_be_bytes());
            Fingerprint::new(KeyVersion::V6, &hasher.chain_update(body).finalize()).ok()
        }
        _ => None,
    }
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
