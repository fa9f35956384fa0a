//! A bmap: what it says, and who has signed it.

use bmaptool::bmap::Bmap as Contents;
use bmaptool::source::Location;
use bmaptool::trust::Signatures;
use serde::Serialize;

use super::text;

#[derive(Serialize)]
pub struct Bmap {
    file: String,
    map: Option<Map>,
    signature: Signature,
    signers: Vec<Signer>,
}

/// What a bmap says.
#[derive(Clone, Serialize)]
pub struct Map {
    version: String,
    image_size: u64,
    block_size: u64,
    blocks: u64,
    mapped_blocks: u64,
    mapped_bytes: u64,
    ranges: u64,
    largest_range: u64,
    checksum: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
enum Signature {
    Good,
    None,
    Refused,
    NotVerified,
    NotSought,
}

#[derive(Serialize)]
struct Signer {
    user_id: String,
    fingerprint: String,
    primary: String,
}

impl Bmap {
    /// The bmap at `file`, as far as it is valid, and its signatures, unless they are refused.
    pub fn new(file: &Location, map: Option<&Contents>, signatures: Option<&Signatures>) -> Self {
        let (signature, signers) = match signatures {
            None => (Signature::Refused, &[][..]),
            Some(Signatures::Good(signers)) => (Signature::Good, &signers[..]),
            Some(Signatures::None) => (Signature::None, &[][..]),
            Some(Signatures::Unverified) => (Signature::NotVerified, &[][..]),
            Some(Signatures::Unknown) => (Signature::NotSought, &[][..]),
        };
        let signers = signers.iter().map(|signer| Signer {
            user_id: signer.user_id.clone(),
            fingerprint: signer.fingerprint.clone(),
            primary: signer.primary.clone(),
        });
        Self { file: text(&file.to_string()), map: map.map(Map::of), signature, signers: signers.collect() }
    }
}

impl Map {
    pub fn of(map: &Contents) -> Self {
        Self {
            version: map.version().to_string(),
            image_size: map.image_size(),
            block_size: map.block_size().bytes(),
            blocks: map.blocks(),
            mapped_blocks: map.mapped_blocks(),
            mapped_bytes: map.mapped_bytes(),
            ranges: map.ranges().count() as u64,
            largest_range: map.ranges().map(|range| range.bytes.len()).max().unwrap_or(0),
            checksum: map.checksum_kind().map(|kind| kind.name()),
        }
    }
}
