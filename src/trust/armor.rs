//! ASCII armour (RFC 9580, section 6) of keyrings, which `gpgv` cannot read.

use std::mem;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Why armour cannot be decoded.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the variants say what their fields are")]
pub enum ArmorError {
    /// A line that is not radix 64; lines count from 1.
    #[error("line {line} of the ASCII armour is damaged")]
    Damaged { line: usize },
    /// A block without an end.
    #[error("the ASCII armour has no end: the file is cut off")]
    CutOff,
}

const BEGIN: &[u8] = b"-----BEGIN PGP PUBLIC KEY BLOCK-----";
const END: &[u8] = b"-----END PGP PUBLIC KEY BLOCK-----";

/// Accepts missing padding, and bits in the last digit that belong to no byte.
const RADIX64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The part of the file that a line belongs to.
enum Part {
    Outside,
    Headers,
    Data,
}

/// Whether there is a block of armoured keys in `text`.
pub(super) fn is_armored(text: &[u8]) -> bool {
    text.split(|&byte| byte == b'\n').any(|line| line.trim_ascii_end() == BEGIN)
}

/// The contents of all blocks of armoured keys in `text`, one after another. A checksum (CRC24) after the data is
/// ignored, as the RFC demands.
pub(super) fn decode(text: &[u8]) -> Result<Vec<u8>, ArmorError> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut part = Part::Outside;
    // The digits of the block that do not yet make a group of four.
    let mut rest = Vec::new();
    for (line, number) in text.split(|&byte| byte == b'\n').zip(1..) {
        let line = line.trim_ascii_end();
        let damaged = |_| ArmorError::Damaged { line: number };
        part = match part {
            Part::Outside if line == BEGIN => Part::Headers,
            Part::Outside => Part::Outside,
            Part::Headers if line.is_empty() => Part::Data,
            Part::Headers => Part::Headers,
            Part::Data if line == END => {
                RADIX64.decode_vec(mem::take(&mut rest), &mut decoded).map_err(damaged)?;
                Part::Outside
            }
            Part::Data if line.starts_with(b"=") => Part::Data,
            Part::Data if !line.iter().all(is_digit) => return Err(ArmorError::Damaged { line: number }),
            Part::Data => {
                rest.extend_from_slice(line);
                let left_over = rest.split_off(rest.len() & !3);
                RADIX64.decode_vec(mem::replace(&mut rest, left_over), &mut decoded).map_err(damaged)?;
                Part::Data
            }
        };
    }
    match part {
        Part::Outside => Ok(decoded),
        Part::Headers | Part::Data => Err(ArmorError::CutOff),
    }
}

/// Whether `byte` may stand in a line of data. Whole lines are checked before they are decoded, as the last digits of a
/// line are decoded with the next one, which would get the blame.
fn is_digit(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/=".contains(byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(body: &str) -> String {
        format!("-----BEGIN PGP PUBLIC KEY BLOCK-----\nComment: x\n\n{body}\n-----END PGP PUBLIC KEY BLOCK-----\n")
    }

    #[test]
    fn blocks_are_joined() {
        // The test vectors of RFC 4648, section 10.
        // Lines end anywhere, and the padding may be missing.
        let cases = [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9v\nYmFy", "foobar"),
            ("Z\nm9vYm\nE", "fooba"),
        ];
        for (body, decoded) in cases {
            assert_eq!(decode(block(body).as_bytes()), Ok(decoded.into()));
            let windows = block(&format!("{body}\n=njUN")).replace('\n', "\r\n");
            assert_eq!(decode(windows.as_bytes()), Ok(decoded.into()));
        }
        let two = format!("text before\n{}between\n{}after", block("Zg=="), block("Zm9v"));
        assert!(is_armored(two.as_bytes()));
        assert_eq!(decode(two.as_bytes()), Ok(b"ffoo".to_vec()));
    }

    #[test]
    fn damage_is_named() {
        assert!(!is_armored(b"Zm9v"));
        assert_eq!(decode(block("Zm9v\nZm 9v").as_bytes()), Err(ArmorError::Damaged { line: 5 }));
        assert_eq!(decode(block("Zm9v v\nZm9v").as_bytes()), Err(ArmorError::Damaged { line: 4 }));
        assert_eq!(decode(block("Z=m9").as_bytes()), Err(ArmorError::Damaged { line: 4 }));
        // A digit of its own makes no byte.
        assert_eq!(decode(block("Zm9vZ").as_bytes()), Err(ArmorError::Damaged { line: 5 }));
        let whole = block("Zm9v");
        for lines in 1..4 {
            let cut: String = whole.split_inclusive('\n').take(lines).collect();
            assert_eq!(decode(cut.as_bytes()), Err(ArmorError::CutOff));
        }
    }
}
