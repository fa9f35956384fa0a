//! Certificates and signatures that GnuPG would not make, put together packet by packet.

use std::slice;

use pgp::composed::{KeyType, SecretKeyParamsBuilder, SignedSecretKey, SubkeyParamsBuilder};
use pgp::packet::{
    KeyFlags, Notation, PacketTrait, PublicKey, SecretKey, SecretSubkey, Signature, SignatureConfig, SignatureType,
    Subpacket, SubpacketData, UserId,
};
use pgp::types::{
    Duration, KeyDetails, KeyVersion, PacketHeaderVersion, Password, RevocationKey, RevocationKeyClass, SigningKey,
    Tag, Timestamp,
};

use super::judges::{Case, Verdict};
use super::{GPGV, assert_agreed};

pub const TEXT: &[u8] = b"<bmap>\n</bmap>\n";

/// When the keys were made, in seconds since 1970.
const BIRTH: u32 = 1_600_000_000;

/// Somebody with a primary key that may sign, and a subkey that may, too.
pub struct Owner {
    pub primary: SecretKey,
    pub subkey: SecretSubkey,
    pub user_id: UserId,
}

impl Owner {
    pub fn new(version: KeyVersion) -> Self {
        let algorithm = || if version == KeyVersion::V6 { KeyType::Ed25519 } else { KeyType::Ed25519Legacy };
        let birth = Timestamp::from_secs(BIRTH);
        let subkey = SubkeyParamsBuilder::default()
            .version(version)
            .key_type(algorithm())
            .can_sign(true)
            .created_at(birth)
            .build()
            .unwrap();
        let key = SecretKeyParamsBuilder::default()
            .version(version)
            .key_type(algorithm())
            .can_certify(true)
            .can_sign(true)
            .created_at(birth)
            .primary_user_id("ignored".to_owned())
            .subkeys(vec![subkey])
            .build()
            .unwrap();
        let SignedSecretKey { primary_key, mut secret_subkeys, .. } = key.generate(rand::thread_rng()).unwrap();
        let user_id = UserId::from_str(PacketHeaderVersion::New, "Forged <forged@example.org>").unwrap();
        Self { primary: primary_key, subkey: secret_subkeys.remove(0).key, user_id }
    }

    /// What `signer` says in a signature of this type, besides who it is, and that this was a second after the keys were
    /// made, where `data` says nothing else.
    pub fn says(&self, signer: &impl SigningKey, typ: SignatureType, data: &[SubpacketData]) -> SignatureConfig {
        let mut config = SignatureConfig::from_key(rand::thread_rng(), signer, typ).unwrap();
        let mut all = data.to_vec();
        let has = |is: fn(&SubpacketData) -> bool| data.iter().any(is);
        if !has(|data| matches!(data, SubpacketData::SignatureCreationTime(_))) {
            all.push(SubpacketData::SignatureCreationTime(Timestamp::from_secs(BIRTH + 1)));
        }
        all.push(SubpacketData::IssuerFingerprint(signer.fingerprint()));
        if signer.version() == KeyVersion::V4 {
            all.push(SubpacketData::IssuerKeyId(signer.legacy_key_id()));
        }
        // Notations are critical ones here.
        let subpacket = |data| match data {
            SubpacketData::Notation(_) => Subpacket::critical(data),
            _ => Subpacket::regular(data),
        };
        config.hashed_subpackets = all.into_iter().map(|data| subpacket(data).unwrap()).collect();
        config
    }

    pub fn certification(&self, typ: SignatureType, data: &[SubpacketData]) -> Signature {
        let (config, public) = (self.says(&self.primary, typ, data), self.primary.public_key());
        config.sign_certification(&self.primary, public, &Password::empty(), Tag::UserId, &self.user_id).unwrap()
    }

    /// A signature of the primary key, by itself or by another one.
    fn direct(&self, signer: &SecretKey, typ: SignatureType, data: &[SubpacketData]) -> Signature {
        self.says(signer, typ, data).sign_key(signer, &Password::empty(), self.primary.public_key()).unwrap()
    }

    pub fn binding(&self, typ: SignatureType, data: &[SubpacketData]) -> Signature {
        let (public, subkey) = (self.primary.public_key(), self.subkey.public_key());
        self.says(&self.primary, typ, data)
            .sign_subkey_binding(&self.primary, public, &Password::empty(), subkey)
            .unwrap()
    }

    /// That the subkey belongs to the primary key of `other`.
    pub fn back(&self, other: &PublicKey, data: &[SubpacketData]) -> SubpacketData {
        let config = self.says(&self.subkey, SignatureType::KeyBinding, data);
        let public = self.subkey.public_key();
        let signature = config.sign_primary_key_binding(&self.subkey, public, &Password::empty(), other).unwrap();
        SubpacketData::EmbeddedSignature(Box::new(signature))
    }

    /// A certificate of these signatures: of the primary key, of the user id if it is to have one, and of the subkey.
    pub fn certificate(
        &self,
        direct: &[Signature],
        certifications: Option<&[Signature]>,
        bindings: &[Signature],
    ) -> Vec<u8> {
        let mut bytes = packet(self.primary.public_key());
        direct.iter().for_each(|signature| bytes.extend(packet(signature)));
        if let Some(certifications) = certifications {
            bytes.extend(packet(&self.user_id));
            certifications.iter().for_each(|signature| bytes.extend(packet(signature)));
        }
        bytes.extend(packet(self.subkey.public_key()));
        bindings.iter().for_each(|signature| bytes.extend(packet(signature)));
        bytes
    }

    /// One with nothing odd in it.
    pub fn usual(&self) -> Vec<u8> {
        let certification = self.certification(SignatureType::CertPositive, &[flags(true)]);
        let back = self.back(self.primary.public_key(), &[]);
        let binding = self.binding(SignatureType::SubkeyBinding, &[flags(true), back]);
        self.certificate(&[], Some(&[certification]), &[binding])
    }

    /// A signature of [`TEXT`].
    pub fn sign(&self, signer: &impl SigningKey, data: &[SubpacketData]) -> Vec<u8> {
        signed(signer, self.says(signer, SignatureType::Binary, data))
    }
}

pub fn signed(signer: &impl SigningKey, config: SignatureConfig) -> Vec<u8> {
    packet(&config.sign(signer, &Password::empty(), TEXT).unwrap())
}

pub fn packet(packet: &impl PacketTrait) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.to_writer_with_header(&mut bytes).unwrap();
    bytes
}

pub fn flags(may_sign: bool) -> SubpacketData {
    let mut flags = KeyFlags::default();
    flags.set_certify(true);
    flags.set_sign(may_sign);
    SubpacketData::KeyFlags(flags)
}

fn at(seconds: u32) -> SubpacketData {
    SubpacketData::SignatureCreationTime(Timestamp::from_secs(BIRTH + seconds))
}

fn duration(seconds: u32) -> Duration {
    std::time::Duration::from_secs(seconds.into()).try_into().unwrap()
}

fn expires_after(seconds: u32) -> SubpacketData {
    SubpacketData::SignatureExpirationTime(duration(seconds))
}

fn key_expires_after(seconds: u32) -> SubpacketData {
    SubpacketData::KeyExpirationTime(duration(seconds))
}

fn critical() -> SubpacketData {
    SubpacketData::Notation(Notation { readable: true, name: "a@example.org".into(), value: "b".into() })
}

#[test(GPGV)]
fn forged_certificates_are_judged_as_by_gpgv() {
    use SignatureType::{CertPositive, CertRevocation, Key, KeyRevocation, SubkeyBinding, SubkeyRevocation};
    const GOOD: &str = "good";
    const DAY: u32 = 86400;
    let (owner, other) = (Owner::new(KeyVersion::V4), Owner::new(KeyVersion::V4));
    let (primary, subkey) = (&owner.primary, &owner.subkey);
    let (by_primary, by_subkey) = (owner.sign(primary, &[]), owner.sign(subkey, &[]));
    let (by_primary, by_subkey) = (by_primary.as_slice(), by_subkey.as_slice());
    let with_id = |certifications: &[Signature]| owner.certificate(&[], Some(certifications), &[]);
    let with_direct = |direct: &[Signature]| owner.certificate(direct, None, &[]);
    let usual = owner.certification(CertPositive, &[flags(true)]);
    let certified_only = slice::from_ref(&usual);
    let back = || owner.back(primary.public_key(), &[]);
    let with_binding = |bindings: &[Signature]| owner.certificate(&[], Some(certified_only), bindings);
    let bound = || owner.binding(SubkeyBinding, &[flags(true), back()]);
    let certified = |data: &[SubpacketData]| owner.certification(CertPositive, data);
    let without = |is: fn(&SubpacketData) -> bool| {
        let mut config = owner.says(primary, SignatureType::Binary, &[]);
        config.hashed_subpackets.retain(|subpacket| !is(&subpacket.data));
        signed(primary, config)
    };
    let revoker = SubpacketData::RevocationKey(RevocationKey::new(
        RevocationKeyClass::Default,
        other.primary.algorithm(),
        other.primary.fingerprint().as_bytes(),
    ));
    let by_revoker = owner.direct(&other.primary, KeyRevocation, &[]);

    let cases: Vec<(&str, Vec<u8>, &[u8], &str)> = vec![
        ("usual", owner.usual(), by_primary, GOOD),
        ("usual, by the subkey", owner.usual(), by_subkey, GOOD),
        ("no user id", with_direct(&[]), by_primary, "unbound key"),
        ("an uncertified user id", with_id(&[]), by_primary, "unbound key"),
        ("certified by another", with_id(&[other.certification(CertPositive, &[])]), by_primary, "unbound key"),
        ("no flags", with_id(&[certified(&[])]), by_primary, GOOD),
        ("flags against it", with_id(&[certified(&[flags(false)])]), by_primary, "not for signing"),
        (
            "newer flags against it",
            with_id(&[usual.clone(), certified(&[at(2), flags(false)])]),
            by_primary,
            "not for signing",
        ),
        (
            "older flags against it",
            with_id(&[certified(&[at(2), flags(true)]), certified(&[flags(false)])]),
            by_primary,
            GOOD,
        ),
        ("the last of two from one second", with_id(&[certified(&[flags(false)]), usual.clone()]), by_primary, GOOD),
        ("direct only", with_direct(&[owner.direct(primary, Key, &[flags(true)])]), by_primary, GOOD),
        (
            "an expired direct one",
            with_direct(&[owner.direct(primary, Key, &[expires_after(1)])]),
            by_primary,
            "unbound key",
        ),
        (
            "direct against user id",
            owner.certificate(&[owner.direct(primary, Key, &[flags(false)])], Some(certified_only), &[]),
            by_primary,
            "not for signing",
        ),
        ("an expired certification", with_id(&[certified(&[expires_after(1)])]), by_primary, GOOD),
        (
            "a certification before the key",
            with_id(&[certified(&[SubpacketData::SignatureCreationTime(Timestamp::from_secs(BIRTH - 1))])]),
            by_primary,
            "unbound key",
        ),
        ("a critical notation", with_id(&[certified(&[critical()])]), by_primary, "unbound key"),
        (
            "a revoked user id",
            with_id(&[usual.clone(), owner.certification(CertRevocation, &[at(2)])]),
            by_primary,
            GOOD,
        ),
        ("expired", with_id(&[certified(&[key_expires_after(DAY)])]), by_primary, "key expired"),
        ("expires in the future", with_id(&[certified(&[key_expires_after(u32::MAX - BIRTH)])]), by_primary, GOOD),
        (
            "expires after the end of time",
            with_id(&[certified(&[key_expires_after(u32::MAX)])]),
            by_primary,
            "key expired",
        ),
        (
            "an older user id expires",
            {
                let newer = owner.certification(CertPositive, &[at(2), flags(true)]);
                let older = certified(&[key_expires_after(DAY)]);
                let (key, user_id) = (packet(primary.public_key()), packet(&owner.user_id));
                [key, user_id.clone(), packet(&older), user_id, packet(&newer)].concat()
            },
            by_primary,
            "key expired",
        ),
        (
            "revoked",
            owner.certificate(&[owner.direct(primary, KeyRevocation, &[])], Some(certified_only), &[]),
            by_primary,
            "key revoked",
        ),
        (
            "revoked by a stranger",
            owner.certificate(slice::from_ref(&by_revoker), Some(certified_only), &[]),
            by_primary,
            GOOD,
        ),
        (
            "revoked by a revoker",
            [
                owner.certificate(&[owner.direct(primary, Key, &[revoker]), by_revoker], Some(certified_only), &[]),
                other.usual(),
            ]
            .concat(),
            by_primary,
            "key revoked",
        ),
        ("no binding", with_binding(&[]), by_subkey, "unbound key"),
        (
            "a binding by another",
            with_binding(&[other.binding(SubkeyBinding, &[flags(true)])]),
            by_subkey,
            "unbound key",
        ),
        (
            "no certification of the primary key",
            with_binding(&[owner.binding(SubkeyBinding, &[flags(true)])]),
            by_subkey,
            "other",
        ),
        (
            "a certification of another's primary key",
            with_binding(&[owner.binding(SubkeyBinding, &[flags(true), owner.back(other.primary.public_key(), &[])])]),
            by_subkey,
            "other",
        ),
        (
            "a newer wrong certification",
            with_binding(&[
                owner.binding(SubkeyBinding, &[flags(true), back(), owner.back(other.primary.public_key(), &[at(2)])])
            ]),
            by_subkey,
            "other",
        ),
        ("a subkey without flags", with_binding(&[owner.binding(SubkeyBinding, &[back()])]), by_subkey, GOOD),
        (
            "a subkey with other flags",
            with_binding(&[owner.binding(SubkeyBinding, &[flags(false), back()])]),
            by_subkey,
            "not for signing",
        ),
        (
            "a newer binding with other flags",
            with_binding(&[bound(), owner.binding(SubkeyBinding, &[at(2), flags(false), back()])]),
            by_subkey,
            "not for signing",
        ),
        (
            "a newer binding, expired",
            with_binding(&[bound(), owner.binding(SubkeyBinding, &[at(2), expires_after(1), flags(false)])]),
            by_subkey,
            GOOD,
        ),
        (
            "an expired subkey",
            with_binding(&[owner.binding(SubkeyBinding, &[key_expires_after(1), flags(true), back()])]),
            by_subkey,
            "key expired",
        ),
        ("a revoked subkey", with_binding(&[bound(), owner.binding(SubkeyRevocation, &[])]), by_subkey, "key revoked"),
        (
            "a subkey bound again",
            with_binding(&[
                owner.binding(SubkeyRevocation, &[]),
                owner.binding(SubkeyBinding, &[at(2), flags(true), back()]),
            ]),
            by_subkey,
            "key revoked",
        ),
        ("a subkey of nobody", owner.certificate(&[], Some(&[]), &[bound()]), by_subkey, "unbound key"),
    ];
    let mut expected: Vec<&str> = cases.iter().map(|(.., expected)| *expected).collect();
    let case = |name: &str, ring: Vec<u8>, signature: &[u8]| Case {
        name: name.to_owned(),
        ring,
        file: TEXT.to_vec(),
        signature: Some(signature.to_vec()),
    };
    let mut cases: Vec<Case> =
        cases.into_iter().map(|(name, ring, signature, _)| case(name, ring, signature)).collect();
    let is_id = |data: &SubpacketData| matches!(data, SubpacketData::IssuerKeyId(_));
    let is_fingerprint = |data: &SubpacketData| matches!(data, SubpacketData::IssuerFingerprint(_));
    for (name, signature, verdict) in [
        ("without a key id", without(is_id), GOOD),
        ("without a fingerprint", without(is_fingerprint), GOOD),
        (
            "without either",
            without(|data| matches!(data, SubpacketData::IssuerKeyId(_) | SubpacketData::IssuerFingerprint(_))),
            "unknown key",
        ),
        ("without a time", without(|data| matches!(data, SubpacketData::SignatureCreationTime(_))), "time"),
        ("critical", owner.sign(primary, &[critical()]), "bad"),
        ("expired", owner.sign(primary, &[expires_after(1)]), "signature expired"),
        ("expires after the end of time", owner.sign(primary, &[expires_after(u32::MAX)]), "signature expired"),
        ("of another kind", packet(&usual), "other"),
    ] {
        cases.push(case(name, owner.usual(), &signature));
        expected.push(verdict);
    }
    for ((case, verdict), expected) in cases.iter().zip(assert_agreed(&cases)).zip(expected) {
        match verdict {
            Verdict::Good(..) => assert_eq!(expected, GOOD, "{}", case.name),
            Verdict::Refused(reason) => assert_eq!(reason, expected, "{}", case.name),
        }
    }
}
