//! A signature, and whether a key has made it.

use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{
    self, PublicKey, SignatureConfig, SignatureType, SignatureVersion, Subpacket, SubpacketData, UserId,
};
use pgp::ser::Serialize;
use pgp::types::{EcdsaPublicParams, KeyDetails, KeyVersion, PublicParams, Tag, VerifyingKey};

use super::keyring::Issuer;
use super::packets::Packet;

/// The shortest signature that GnuPG reads, in bytes.
const MIN_SIZE: usize = 16;

/// The longest area of subpackets that GnuPG reads, in bytes.
const MAX_AREA: usize = 10_000;

/// A signature whose version and fields are known.
pub struct Signature {
    packet: packet::Signature,
    pub config: SignatureConfig,
}

/// What a signature in a certificate is about.
pub enum Bound<'a> {
    /// The primary key itself.
    Key,
    UserId(&'a UserId),
    Subkey(&'a PublicKey),
    /// The primary key of the subkey that signs.
    Primary(&'a PublicKey),
}

impl Signature {
    /// Reads a signature; `None` where it is of an unknown version or damaged, or where writing it again gives other
    /// bytes: what is hashed must be what there is, and not what it was taken for.
    pub fn read(packet: Packet<'_>) -> Option<Self> {
        if packet.body.len() < MIN_SIZE {
            return None;
        }
        let parsed = packet::Signature::try_from_reader(packet.header, packet.body).ok()?;
        let signature = Self::of(&parsed)?;
        (parsed.to_bytes().ok()? == packet.body).then_some(signature)
    }

    fn of(parsed: &packet::Signature) -> Option<Self> {
        let config = parsed.config()?.clone();
        let is_short = |area: &Vec<Subpacket>| area.write_len() <= MAX_AREA;
        let is_read = is_short(&config.hashed_subpackets) && is_short(&config.unhashed_subpackets);
        is_read.then(|| Self { packet: parsed.clone(), config })
    }

    /// The first of some subpackets. Only what is hashed is signed.
    pub fn hashed<T>(&self, select: impl FnMut(&SubpacketData) -> Option<T>) -> Option<T> {
        self.config.hashed_subpackets.iter().map(|subpacket| &subpacket.data).find_map(select)
    }

    /// The key that it names. It does not matter whether that is signed: another key would not fit.
    pub fn issuer(&self) -> Issuer {
        Issuer {
            fingerprint: self.config.issuer_fingerprint().first().map(|&fingerprint| fingerprint.clone()),
            key_id: self.config.issuer_key_id().first().map(|&key_id| *key_id),
        }
    }

    /// Whether it names `key`. Those of version 4 must give the key id, as GnuPG demands.
    pub fn is_by(&self, key: &PublicKey) -> bool {
        let issuer = self.issuer();
        match key.version() {
            KeyVersion::V6 => issuer.fingerprint == Some(key.fingerprint()),
            _ => issuer.key_id == Some(key.legacy_key_id()),
        }
    }

    /// When it was made, in seconds since 1970; 0 where it does not say.
    pub fn created(&self) -> u32 {
        self.config.created().map_or(0, |time| time.as_secs())
    }

    /// Whether it has expired. The sum wraps around as in GnuPG, for which such a signature has expired long ago.
    pub fn has_expired(&self, now: u32) -> bool {
        let seconds = self.hashed(|data| match data {
            SubpacketData::SignatureExpirationTime(time) => Some(time.as_secs()),
            _ => None,
        });
        seconds.is_some_and(|seconds| seconds != 0 && self.created().wrapping_add(seconds) <= now)
    }

    /// Whether it says that it must not be accepted by those who do not understand a part that is not understood here.
    pub fn has_unknown_critical(&self) -> bool {
        let mut subpackets = self.config.hashed_subpackets.iter().chain(&self.config.unhashed_subpackets);
        subpackets.any(|subpacket| subpacket.is_critical && !is_understood(&subpacket.data))
    }

    /// Whether its digest is strong enough for a file.
    pub fn has_strong_digest(&self) -> bool {
        use HashAlgorithm::{Sha3_256, Sha3_512, Sha224, Sha256, Sha384, Sha512};
        matches!(self.config.hash_alg, Sha224 | Sha256 | Sha384 | Sha512 | Sha3_256 | Sha3_512)
    }

    /// Whether its digest is strong enough within a certificate. As with GnuPG, SHA-1 is: old keys have nothing else, and
    /// what it covers is their owner's own choice. The crate recognises the known attacks on it.
    fn has_sufficient_digest(&self) -> bool {
        self.has_strong_digest() || matches!(self.config.hash_alg, HashAlgorithm::Sha1 | HashAlgorithm::Ripemd160)
    }

    /// Whether its digest is long enough for `key`: of DSA and ECDSA the digest must have the size of the group.
    pub fn has_digest_for(&self, key: &PublicKey) -> bool {
        let bits = match key.public_params() {
            PublicParams::DSA(params) => params.key.components().q().bits(),
            PublicParams::ECDSA(params) => match params {
                EcdsaPublicParams::P384 { .. } => 384,
                EcdsaPublicParams::P521 { .. } => 512,
                _ => 256,
            },
            _ => return true,
        };
        let size = self.config.hash_alg.digest_size().unwrap_or_default();
        bits >= 160 && bits.is_multiple_of(8) && size >= bits / 8
    }

    /// Whether `key` has made this signature of `bound`, which is a part of its certificate.
    pub fn binds(&self, bound: &Bound<'_>, key: &PublicKey, now: u32) -> bool {
        let created = key.created_at().as_secs();
        let is_acceptable = created <= self.created()
            && created <= now
            && self.has_sufficient_digest()
            && self.has_digest_for(key)
            && !self.has_unknown_critical();
        is_acceptable
            && match bound {
                Bound::Key => self.packet.verify_key(key),
                Bound::UserId(user_id) => self.packet.verify_certification(key, Tag::UserId, *user_id),
                Bound::Subkey(subkey) => self.packet.verify_subkey_binding(key, *subkey),
                Bound::Primary(primary) => self.packet.verify_primary_key_binding(key, *primary),
            }
            .is_ok()
    }

    /// Whether `key` has made this signature of a file with this `digest`.
    pub fn verifies(&self, key: &PublicKey, digest: &[u8]) -> bool {
        let is_of_version_6 = self.config.version() == SignatureVersion::V6;
        is_of_version_6 == (key.version() == KeyVersion::V6)
            && self.packet.signed_hash_value().as_ref() == digest.first_chunk()
            && self.packet.signature().is_some_and(|bytes| key.verify(self.config.hash_alg, digest, bytes).is_ok())
    }

    /// The newest signature within this one by which a subkey certifies its primary key. Where it stands does not matter:
    /// it signs itself.
    pub fn newest_embedded(&self) -> Option<Self> {
        let subpackets = self.config.hashed_subpackets.iter().chain(&self.config.unhashed_subpackets);
        let mut newest: Option<Self> = None;
        for subpacket in subpackets {
            let SubpacketData::EmbeddedSignature(embedded) = &subpacket.data else { continue };
            let Some(embedded) = Self::of(embedded) else { continue };
            let is_newer = embedded.created() > newest.as_ref().map_or(0, Self::created);
            if is_newer && embedded.config.typ == SignatureType::KeyBinding {
                newest = Some(embedded);
            }
        }
        newest
    }
}

/// Those that GnuPG understands, too.
fn is_understood(data: &SubpacketData) -> bool {
    use SubpacketData as Data;
    matches!(
        data,
        Data::SignatureCreationTime(_)
            | Data::SignatureExpirationTime(_)
            | Data::ExportableCertification(_)
            | Data::TrustSignature(..)
            | Data::RegularExpression(_)
            | Data::Revocable(_)
            | Data::KeyExpirationTime(_)
            | Data::PreferredSymmetricAlgorithms(_)
            | Data::RevocationKey(_)
            | Data::IssuerKeyId(_)
            | Data::PreferredHashAlgorithms(_)
            | Data::PreferredCompressionAlgorithms(_)
            | Data::PreferredKeyServer(_)
            | Data::IsPrimary(_)
            | Data::PolicyURI(_)
            | Data::KeyFlags(_)
            | Data::RevocationReason(..)
            | Data::Features(_)
            | Data::EmbeddedSignature(_)
            | Data::IssuerFingerprint(_)
    )
}
