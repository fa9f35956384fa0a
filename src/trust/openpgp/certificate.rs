//! A certificate: a primary key, and what its own signatures say about it, its user ids and its subkeys.
//!
//! The rules are those of GnuPG. Other programs ask whether a key was expired or revoked when it signed; here it counts
//! whether it is so now.

use pgp::packet::{PacketHeader, PublicKey, SignatureType, SubpacketData, UserId};
use pgp::ser::Serialize;
use pgp::types::{EcdsaPublicParams, EddsaLegacyPublicParams, Fingerprint, KeyDetails, PublicParams, Tag};

use super::identity::{self, Identity};
use super::key_packet::KeyPacket;
use super::packets::Packets;
use super::signature::{Bound, Signature};

/// How many signatures of its own a certificate may have: verifying each takes time.
const MAX_OWN_SIGNATURES: usize = 256;

/// The longest user id in bytes, as in GnuPG.
const MAX_USER_ID: usize = 2048;

/// The longest photo in bytes, as in GnuPG.
const MAX_USER_ATTRIBUTE: usize = 16 << 20;

/// A certificate whose signatures have not been verified.
pub struct Certificate {
    primary: PublicKey,
    /// The signatures right after the primary key.
    direct: Vec<Signature>,
    /// The user ids; `None` for a photo, about whose signatures GnuPG does not care either.
    user_ids: Vec<(Option<UserId>, Vec<Signature>)>,
    subkeys: Vec<(Subkey, Vec<Signature>)>,
}

struct Subkey {
    fingerprint: Fingerprint,
    /// `None` where the crate cannot verify with it.
    key: Option<PublicKey>,
}

/// A key, and what its certificate says about it.
pub struct CertifiedKey {
    pub key: PublicKey,
    pub primary: Fingerprint,
    /// The name and address that the certificate claims, or `[?]`.
    pub user_id: String,
    /// Whether the certificate's own signatures bind it.
    pub is_bound: bool,
    pub may_sign: bool,
    pub is_expired: bool,
    pub is_revoked: bool,
    /// Whether it certifies its primary key; that would otherwise claim the signatures of somebody else's key.
    pub is_cross_certified: bool,
}

/// What the signatures of a certificate say about one of its keys.
struct Standing {
    is_bound: bool,
    may_sign: bool,
    is_expired: bool,
    is_revoked: bool,
}

impl Certificate {
    /// Reads the certificate that `bytes` begin with; `None` where a part of it cannot be read, for that could be what
    /// revokes a key. GnuPG does not use such a certificate either.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut packets = Packets { rest: bytes };
        let primary = read_key(packets.next()?.ok()?.body)?;
        let mut certificate = Self { primary, direct: Vec::new(), user_ids: Vec::new(), subkeys: Vec::new() };
        let mut own_signatures: usize = 0;
        for packet in packets {
            let packet = packet.ok()?;
            match packet.tag() {
                // GnuPG reads the next key before it knows that it has come to the end.
                Tag::PublicKey if KeyPacket::read(packet.body) == KeyPacket::Damaged => return None,
                Tag::PublicKey => break,
                Tag::PublicSubkey => {
                    let KeyPacket::Whole(fingerprint) = KeyPacket::read(packet.body) else { return None };
                    let subkey = Subkey { fingerprint, key: read_key(packet.body) };
                    certificate.subkeys.push((subkey, Vec::new()));
                }
                Tag::UserId if packet.body.len() > MAX_USER_ID => return None,
                Tag::UserAttribute if packet.body.len() > MAX_USER_ATTRIBUTE => return None,
                // After the subkeys they do not count.
                Tag::UserId | Tag::UserAttribute if !certificate.subkeys.is_empty() => {}
                Tag::UserId => {
                    let user_id = UserId::try_from_reader(packet.header, packet.body).ok()?;
                    certificate.user_ids.push((Some(user_id), Vec::new()));
                }
                Tag::UserAttribute => certificate.user_ids.push((None, Vec::new())),
                Tag::Signature => {
                    let signature = Signature::read(packet)?;
                    if signature.is_by(&certificate.primary) {
                        own_signatures = own_signatures.checked_add(1).filter(|&count| count <= MAX_OWN_SIGNATURES)?;
                    }
                    certificate.last_part().push(signature);
                }
                Tag::Trust | Tag::Padding => {}
                _ => return None,
            }
        }
        Some(certificate)
    }

    /// The signatures of the part that was read last.
    fn last_part(&mut self) -> &mut Vec<Signature> {
        if let Some((_, signatures)) = self.subkeys.last_mut() {
            return signatures;
        }
        self.user_ids.last_mut().map_or(&mut self.direct, |(_, signatures)| signatures)
    }

    /// The key with this fingerprint; `None` where it cannot be read.
    pub fn certified_key(&self, wanted: &Fingerprint, now: u32) -> Option<CertifiedKey> {
        let identities: Vec<Identity<'_>> = self.identities(now).collect();
        let of_primary = self.standing_of_primary(&identities, now);
        let primary = self.primary.fingerprint();
        let (key, standing, is_cross_certified) = match primary == *wanted {
            true => (&self.primary, of_primary, true),
            false => {
                let has_fingerprint = |(subkey, _): &&(Subkey, _)| subkey.fingerprint == *wanted;
                let (subkey, signatures) = self.subkeys.iter().find(has_fingerprint)?;
                let key = subkey.key.as_ref()?;
                let (standing, is_cross_certified) = self.standing_of_subkey(key, signatures, &of_primary, now);
                (key, standing, is_cross_certified)
            }
        };
        let Standing { is_bound, may_sign, is_expired, is_revoked } = standing;
        let user_id = identity::name(&identities);
        Some(CertifiedKey {
            key: key.clone(),
            primary,
            user_id,
            is_bound,
            may_sign,
            is_expired,
            is_revoked,
            is_cross_certified,
        })
    }

    /// The user ids, each with the signature that counts.
    fn identities(&self, now: u32) -> impl Iterator<Item = Identity<'_>> {
        self.user_ids.iter().filter_map(move |(user_id, signatures)| {
            let user_id = user_id.as_ref()?;
            Some(Identity::new(user_id, newest(self.own(signatures, Bound::UserId(user_id), now)), now))
        })
    }

    /// The signatures that the primary key has made of a part.
    fn own<'a>(
        &'a self,
        signatures: &'a [Signature],
        bound: Bound<'a>,
        now: u32,
    ) -> impl Iterator<Item = &'a Signature> {
        let key = &self.primary;
        signatures.iter().filter(move |signature| signature.is_by(key) && signature.binds(&bound, key, now))
    }

    fn standing_of_primary(&self, identities: &[Identity<'_>], now: u32) -> Standing {
        let direct: Vec<_> = self.own(&self.direct, Bound::Key, now).collect();
        let (revocations, statements): (Vec<&Signature>, Vec<_>) =
            direct.into_iter().partition(|signature| signature.config.typ == SignatureType::KeyRevocation);
        let newest_direct = newest(statements.iter().copied().filter(|signature| !signature.has_expired(now)));
        let newest_with = |has: &dyn Fn(&Signature) -> bool| {
            let certified = identities.iter().filter_map(Identity::certification);
            // Of those from the same second the first.
            certified.rev().filter(|signature| has(signature)).max_by_key(|signature| signature.created())
        };
        let says_usage = newest_direct
            .filter(|signature| may_sign(signature).is_some())
            .or_else(|| newest_with(&|signature| may_sign(signature).is_some()));
        let says_expiry = newest_direct
            .filter(|signature| expires(signature, &self.primary) != 0)
            .or_else(|| newest_with(&|signature| expires(signature, &self.primary) != 0));
        Standing {
            is_bound: newest_direct.is_some() || identities.iter().any(|identity| identity.signature.is_some()),
            may_sign: allows_signing(says_usage, &self.primary),
            is_expired: has_expired(says_expiry, &self.primary, now),
            is_revoked: !revocations.is_empty() || self.is_revoked_by_another(&statements),
        }
    }

    /// Whether there is a revocation by another key, and the key names others that may revoke it. Whether it is one of
    /// them, and has made it, is not verified: who puts a false one into a keyring could as well take the key away.
    fn is_revoked_by_another(&self, statements: &[&Signature]) -> bool {
        let names_revoker = |data: &SubpacketData| matches!(data, SubpacketData::RevocationKey(_)).then_some(());
        let is_by_another = |signature: &Signature| {
            signature.config.typ == SignatureType::KeyRevocation && !signature.is_by(&self.primary)
        };
        statements.iter().any(|signature| signature.hashed(names_revoker).is_some())
            && self.direct.iter().any(is_by_another)
    }

    /// The standing of a subkey, and whether it certifies its primary key. It is never better than that of the primary
    /// key. A revocation cannot be taken back.
    fn standing_of_subkey(
        &self,
        subkey: &PublicKey,
        signatures: &[Signature],
        of_primary: &Standing,
        now: u32,
    ) -> (Standing, bool) {
        let own = self.own(signatures, Bound::Subkey(subkey), now);
        let (revocations, bindings): (Vec<&Signature>, Vec<_>) =
            own.partition(|signature| signature.config.typ == SignatureType::SubkeyRevocation);
        let binding = newest(bindings.into_iter().filter(|signature| !signature.has_expired(now)));
        let back = binding.and_then(Signature::newest_embedded);
        let standing = Standing {
            is_bound: binding.is_some() && of_primary.is_bound,
            may_sign: allows_signing(binding, subkey),
            is_expired: has_expired(binding, subkey, now) || of_primary.is_expired,
            is_revoked: !revocations.is_empty() || of_primary.is_revoked,
        };
        (standing, back.is_some_and(|signature| signature.binds(&Bound::Primary(&self.primary), subkey, now)))
    }
}

/// Reads the key in the body of a packet. As with signatures, what is hashed must be what there is.
fn read_key(body: &[u8]) -> Option<PublicKey> {
    // The crate knows older versions, of which GnuPG and what follows here know nothing.
    let KeyPacket::Whole(_) = KeyPacket::read(body) else { return None };
    let header = PacketHeader::new_fixed(Tag::PublicKey, u32::try_from(body.len()).ok()?);
    let key = PublicKey::try_from_reader(header, body).ok()?;
    (key.to_bytes().ok()? == body && has_known_parameters(&key)).then_some(key)
}

/// Whether the crate can verify with such a key, if it is one for signatures at all. On secp256k1 it takes only every
/// other signature, those with the smaller of two numbers that are as good: then better none.
fn has_known_parameters(key: &PublicKey) -> bool {
    !matches!(
        key.public_params(),
        PublicParams::ECDSA(EcdsaPublicParams::Unsupported { .. } | EcdsaPublicParams::Secp256k1 { .. })
            | PublicParams::EdDSALegacy(EddsaLegacyPublicParams::Unsupported { .. })
            | PublicParams::Unknown { .. }
    )
}

/// The last of the newest.
fn newest<'a>(signatures: impl Iterator<Item = &'a Signature>) -> Option<&'a Signature> {
    signatures.max_by_key(|signature| signature.created())
}

/// Whether a key may sign files, if the signature says it.
fn may_sign(signature: &Signature) -> Option<bool> {
    signature.hashed(|data| match data {
        SubpacketData::KeyFlags(flags) => Some(flags.sign()),
        _ => None,
    })
}

/// When `key` expires, in seconds since 1970; 0 for never. As in GnuPG the sum wraps around.
fn expires(signature: &Signature, key: &PublicKey) -> u32 {
    let seconds = signature.hashed(|data| match data {
        SubpacketData::KeyExpirationTime(time) => Some(time.as_secs()),
        _ => None,
    });
    match seconds.unwrap_or_default() {
        0 => 0,
        seconds => key.created_at().as_secs().wrapping_add(seconds),
    }
}

/// Whether `key` may sign files; without a signature that says so, whatever its algorithm can do.
fn allows_signing(signature: Option<&Signature>, key: &PublicKey) -> bool {
    signature.and_then(may_sign).unwrap_or(true) && key.algorithm().can_sign()
}

fn has_expired(signature: Option<&Signature>, key: &PublicKey, now: u32) -> bool {
    let time = signature.map_or(0, |signature| expires(signature, key));
    time != 0 && time < now
}
