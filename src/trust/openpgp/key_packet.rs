//! Whether a packet of a keyring holds a key, before anything is made of it.
//!
//! GnuPG gives up on what follows a damaged key, whoever's it is, and on a certificate that is followed by one. Here it is
//! decided by the same rules, for the crate's are others: it knows less curves and takes shorter packets.

use pgp::types::{Fingerprint, KeyVersion};
use sha1::{Digest, Sha1};
use sha2::Sha256;

/// The sizes of the body in bytes that GnuPG reads.
const SIZES: std::ops::RangeInclusive<usize> = 12..=256 * 1024;

/// The longest number in bits that GnuPG reads.
const MAX_NUMBER_BITS: u16 = 16_384;

/// What is in the packet of a public key.
#[derive(Debug, PartialEq, Eq)]
pub enum KeyPacket {
    /// A key. It may be of an algorithm that is unknown.
    Whole(Fingerprint),
    /// One of version 2 or 3, which is passed over.
    Old,
    Damaged,
}

/// What a key of a known algorithm consists of.
#[derive(Clone, Copy)]
enum Field {
    Number,
    /// Bytes, and before them how many: the name of a curve, or how a shared secret becomes a key.
    Sized,
}

impl KeyPacket {
    pub fn read(body: &[u8]) -> Self {
        let fingerprint = match body.first() {
            Some(2 | 3) => return Self::Old,
            Some(4) if SIZES.contains(&body.len()) && has_fields(body) => fingerprint_of_version_4(body),
            Some(6) if has_length(body) => fingerprint_of_version_6(body),
            _ => None,
        };
        fingerprint.map_or(Self::Damaged, Self::Whole)
    }
}

/// Whether a key of version 4 has all that its algorithm demands. More may follow.
fn has_fields(body: &[u8]) -> bool {
    use Field::{Number, Sized};
    // The version, the time, and the algorithm.
    let Some(([_, _, _, _, _, algorithm], mut rest)) = body.split_first_chunk() else { return false };
    let fields: &[Field] = match algorithm {
        1..=3 => &[Number; 2],
        16 | 20 => &[Number; 3],
        17 => &[Number; 4],
        18 => &[Sized, Number, Sized],
        19 | 22 => &[Sized, Number],
        _ => &[],
    };
    fields.iter().all(|field| match field.skip(rest) {
        Some(after) => {
            rest = after;
            true
        }
        None => false,
    })
}

impl Field {
    /// What follows it in `bytes`.
    fn skip(self, bytes: &[u8]) -> Option<&[u8]> {
        match self {
            Self::Number => {
                let (bits, rest) = bytes.split_first_chunk()?;
                let bits = Some(u16::from_be_bytes(*bits)).filter(|&bits| bits <= MAX_NUMBER_BITS)?;
                rest.get(usize::from(bits.div_ceil(8))..)
            }
            Self::Sized => {
                let (&size, rest) = bytes.split_first()?;
                rest.get(usize::from(Some(size).filter(|size| (2..=254).contains(size))?)..)
            }
        }
    }
}

/// Whether a key of version 6 has the length that it gives.
fn has_length(body: &[u8]) -> bool {
    let Some((_, rest)) = body.split_first_chunk::<6>() else { return false };
    let Some((length, rest)) = rest.split_first_chunk() else { return false };
    u32::try_from(rest.len()) == Ok(u32::from_be_bytes(*length))
}

/// The fingerprint (RFC 9580, section 5.5.4).
fn fingerprint_of_version_4(body: &[u8]) -> Option<Fingerprint> {
    let length = u16::try_from(body.len()).ok()?;
    let hasher = Sha1::new_with_prefix([0x99]).chain_update(length.to_be_bytes());
    Fingerprint::new(KeyVersion::V4, &hasher.chain_update(body).finalize()).ok()
}

fn fingerprint_of_version_6(body: &[u8]) -> Option<Fingerprint> {
    let length = u32::try_from(body.len()).ok()?;
    let hasher = Sha256::new_with_prefix([0x9b]).chain_update(length.to_be_bytes());
    Fingerprint::new(KeyVersion::V6, &hasher.chain_update(body).finalize()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key of version 4.
    fn key(algorithm: u8, material: &[u8]) -> Vec<u8> {
        [&[4, 0, 0, 0, 0, algorithm], material].concat()
    }

    #[test]
    fn keys_are_whole_where_all_their_fields_are_there() {
        // 9 bits in two bytes, 1 bit in one; a curve's name of three bytes.
        let rsa = key(1, b"\x00\x09ab\x00\x01c");
        let ecdsa = key(19, b"\x03abc\x00\x09ab");
        let ecdh = key(18, b"\x03abc\x00\x09ab\x03abc");
        for whole in [&rsa, &ecdsa, &ecdh] {
            assert!(matches!(KeyPacket::read(whole), KeyPacket::Whole(_)));
            assert!(matches!(KeyPacket::read(&[&whole[..], b"more"].concat()), KeyPacket::Whole(_)));
            assert_eq!(KeyPacket::read(&whole[..whole.len() - 1]), KeyPacket::Damaged);
        }
        assert!(matches!(KeyPacket::read(&key(99, b"whatever")), KeyPacket::Whole(_)));
    }

    #[test]
    fn what_gnupg_gives_up_on_is_damaged() {
        let long_number = [&b"\x40\x01"[..], &[0; 2049], b"\x00\x01a"].concat();
        let one_byte_curve = key(19, b"\x01a\x00\x20abcd");
        let version_5 = [&[5][..], &key(99, b"whatever")[1..]].concat();
        for damaged in [&b""[..], b"\x04", &key(99, b"short"), &key(1, &long_number), &one_byte_curve, &version_5] {
            assert_eq!(KeyPacket::read(damaged), KeyPacket::Damaged, "{damaged:?}");
        }
        assert_eq!(KeyPacket::read(b"\x03"), KeyPacket::Old);
    }

    #[test]
    fn keys_of_version_6_have_the_length_that_they_give() {
        assert!(matches!(KeyPacket::read(b"\x06time\x1b\x00\x00\x00\x02ab"), KeyPacket::Whole(Fingerprint::V6(_))));
        assert_eq!(KeyPacket::read(b"\x06time\x1b\x00\x00\x00\x03ab"), KeyPacket::Damaged);
    }
}
