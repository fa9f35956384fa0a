//! OpenPGP without a program: whether signatures are good ones by the keys of a keyring, as `gpgv` would judge.
//!
//! The crate `pgp` reads keys and signatures and verifies them; what makes a key good for it is decided here. Where the
//! verdict is another than that of `gpgv`, it is a refusal: docs/security.md lists when.

mod certificate;
mod document;
mod identity;
mod key_packet;
mod keyring;
mod packets;
mod signature;

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{SignatureType, SignatureVersion};
use pgp::types::{Fingerprint, KeyDetails, Tag};

use super::armor::{self, Block};
use super::{Key, Refusal, Signed, Signer, Subject, accept};
use certificate::{Certificate, CertifiedKey};
use document::{Document, Form};
use keyring::{Issuer, digits};
use packets::{Damaged, Packet, Packets};
use signature::Signature;

/// How far, in seconds, the clock of who signs may be ahead of ours.
const CLOCK_SKEW: u32 = 300;

/// Verifies `subject` by the keys in `keyring`, which is binary.
pub(super) fn verify(subject: &Subject<'_>, keyring: &[u8]) -> Result<Signed, Refusal> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = u32::try_from(now.as_secs()).unwrap_or(u32::MAX);
    match subject {
        Subject::Detached { data, signature } => {
            let mut signatures = read_signatures(signature)?;
            let Some(kind) = signatures.first().map(|signature| signature.config.typ) else {
                return Err(Refusal::NoSignature);
            };
            // As GnuPG does where they are not all of one kind.
            if signatures.iter().any(|signature| signature.config.typ != kind) {
                signatures.truncate(1);
            }
            let form = if kind == SignatureType::Text { Form::Text } else { Form::Binary };
            let signers = signers(&signatures, Document::new(data, form)?, keyring, now)?;
            Ok(Signed { text: Vec::new(), signers })
        }
        Subject::Clearsigned(message) => {
            let text = message.signed_text()?;
            let signatures = read_signatures(message.signature())?;
            are_announced(&signatures, &message.announced_digests()?)?;
            // The end of the last line belongs to the frame.
            let document = Document::new(text.strip_suffix(b"\n").unwrap_or(&text), Form::Text)?;
            let signers = signers(&signatures, document, keyring, now)?;
            Ok(Signed { text, signers })
        }
    }
}

/// The signatures in a file of nothing else, binary or armoured.
fn read_signatures(file: &[u8]) -> Result<Vec<Signature>, Refusal> {
    // The first byte of a packet is never one of a text.
    let decoded = match file.first() {
        Some(0x80..) => Cow::Borrowed(file),
        _ if armor::has_block(file, Block::Signature) => {
            Cow::Owned(armor::decode(file, Block::Signature).map_err(Refusal::Armor)?)
        }
        _ => return Err(Refusal::NoSignature),
    };
    let mut signatures = Vec::new();
    for packet in (Packets { rest: &decoded }) {
        match packet {
            Ok(packet) if packet.tag() == Tag::Signature => {
                signatures.push(Signature::read(packet).ok_or(Refusal::NoSignature)?);
            }
            Ok(Packet { header, .. }) if is_of_message(header.tag()) => return Err(Refusal::NotDetached),
            Err(Damaged(Some(tag))) if is_of_message(tag) => return Err(Refusal::NotDetached),
            _ => return Err(Refusal::NoSignature),
        }
    }
    Ok(signatures)
}

/// Whether such a packet is a part of a message, which holds what it signs.
fn is_of_message(tag: Tag) -> bool {
    matches!(tag, Tag::OnePassSignature | Tag::CompressedData | Tag::LiteralData)
}

/// GnuPG hashes a clearsigned text as the lines before it say. Signatures of version 6 need no such line.
fn are_announced(signatures: &[Signature], announced: &[HashAlgorithm]) -> Result<(), Refusal> {
    let is_announced = |signature: &&Signature| {
        signature.config.version() == SignatureVersion::V6 || announced.contains(&signature.config.hash_alg)
    };
    match signatures.iter().find(|signature| !is_announced(signature)) {
        Some(signature) => {
            let digest = signature.config.hash_alg.to_string();
            Err(Refusal::NotAnnounced { key: signature.issuer().name(), digest })
        }
        None => Ok(()),
    }
}

/// Who has signed `document`.
fn signers(
    signatures: &[Signature],
    mut document: Document<'_>,
    keyring: &[u8],
    now: u32,
) -> Result<Vec<Signer>, Refusal> {
    let issuers: Vec<Issuer> = signatures.iter().map(Signature::issuer).collect();
    let located = keyring::locate(keyring, &issuers);
    // Signatures of a certificate are verified once.
    let mut keys: HashMap<Fingerprint, Option<CertifiedKey>> = HashMap::new();
    let verdicts = signatures.iter().zip(&issuers).zip(located).map(|((signature, issuer), located)| {
        let key = match &located {
            None => None,
            Some(located) => {
                let certify = || Certificate::read(located.certificate)?.certified_key(&located.fingerprint, now);
                Some(keys.entry(located.fingerprint.clone()).or_insert_with(certify).as_ref())
            }
        };
        judge(signature, issuer, key, &mut document, now)
    });
    accept(verdicts)
}

/// Who has made `signature`. `key` is what is known about the key that it names: nothing where that is not in the
/// keyring, and nothing more where its certificate cannot be read.
fn judge(
    signature: &Signature,
    issuer: &Issuer,
    key: Option<Option<&CertifiedKey>>,
    document: &mut Document<'_>,
    now: u32,
) -> Result<Signer, Refusal> {
    let name = || issuer.name();
    let config = &signature.config;
    let weak = || Refusal::WeakDigest { key: name(), digest: digest_name(config.hash_alg) };
    if !config.pub_alg.can_sign() {
        return Err(Refusal::UnknownAlgorithm { key: name(), algorithm: u8::from(config.pub_alg).to_string() });
    }
    let key = match key {
        None => return Err(Refusal::UnknownKey { key: name() }),
        Some(None) => return Err(Refusal::UnreadableKey { key: name() }),
        Some(Some(key)) => key,
    };
    let by = |id: String| Key { user_id: key.user_id.clone(), id };
    if !matches!(config.typ, SignatureType::Binary | SignatureType::Text) {
        return Err(Refusal::OtherClass { by: by(name()) });
    }
    if signature.created() > now.saturating_add(CLOCK_SKEW) || key.key.created_at().as_secs() > now {
        return Err(Refusal::FromTheFuture { key: name() });
    }
    if !key.is_bound {
        return Err(Refusal::UnboundKey { key: name() });
    }
    if signature.created() < key.key.created_at().as_secs() {
        return Err(Refusal::OlderThanKey { key: name() });
    }
    if !signature.has_strong_digest() || !signature.has_digest_for(&key.key) {
        return Err(weak());
    }
    if !key.may_sign {
        return Err(Refusal::NotForSigning { key: name() });
    }
    let digest = document.digest(config).ok_or_else(weak)?;
    let fingerprint = digits(&key.key.fingerprint());
    if !signature.verifies(&key.key, &digest) || signature.has_unknown_critical() {
        return Err(Refusal::Bad { by: by(issuer.key_id_name()) });
    }
    if !key.is_cross_certified {
        return Err(Refusal::NotCrossCertified { key: name() });
    }
    if signature.has_expired(now) {
        return Err(Refusal::SignatureExpired { by: by(fingerprint) });
    }
    if key.is_expired {
        return Err(Refusal::KeyExpired { by: by(fingerprint) });
    }
    if key.is_revoked {
        return Err(Refusal::KeyRevoked { by: by(fingerprint) });
    }
    Ok(Signer { user_id: key.user_id.clone(), fingerprint, primary: digits(&key.primary) })
}

/// The name of a digest, as it is in messages about GnuPG's verdicts.
fn digest_name(algorithm: HashAlgorithm) -> String {
    match algorithm {
        HashAlgorithm::Sha1 => "SHA-1".to_owned(),
        HashAlgorithm::Ripemd160 => "RIPEMD-160".to_owned(),
        HashAlgorithm::Other(number) => format!("number {number}"),
        other => other.to_string(),
    }
}
