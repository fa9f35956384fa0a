//! ASCII armour (RFC 9580, section 6) of keyrings and signatures.

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
    /// A block of a signature with another checksum than its data.
    #[error("line {line}: the checksum of the ASCII armour is wrong")]
    Checksum { line: usize },
}

/// What is armoured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Block {
    Keys,
    Signature,
}

impl Block {
    fn begin(self) -> &'static [u8] {
        match self {
            Self::Keys => b"-----BEGIN PGP PUBLIC KEY BLOCK-----",
            Self::Signature => b"-----BEGIN PGP SIGNATURE-----",
        }
    }

    fn end(self) -> &'static [u8] {
        match self {
            Self::Keys => b"-----END PGP PUBLIC KEY BLOCK-----",
            Self::Signature => b"-----END PGP SIGNATURE-----",
        }
    }
}

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
    /// After the checksum.
    Sum,
}

/// Whether there is such a block in `text`.
pub(super) fn has_block(text: &[u8], block: Block) -> bool {
    text.split(|&byte| byte == b'\n').any(|line| line.trim_ascii_end() == block.begin())
}

/// The contents of all such blocks in `text`, one after another. The checksum (CRC24) after the data of keys is ignored,
/// as the RFC demands; that of a signature must be right where there is one, as `gpgv` demands.
pub(super) fn decode(text: &[u8], block: Block) -> Result<Vec<u8>, ArmorError> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut part = Part::Outside;
    // Where the contents of the block begin.
    let mut start = 0;
    // The digits of the block that do not yet make a group of four.
    let mut rest = Vec::new();
    for (line, number) in text.split(|&byte| byte == b'\n').zip(1..) {
        let line = line.trim_ascii_end();
        let damaged = |_| ArmorError::Damaged { line: number };
        part = match part {
            Part::Outside if line == block.begin() => Part::Headers,
            Part::Outside => Part::Outside,
            Part::Headers if line.is_empty() => Part::Data,
            Part::Headers if is_header(line) => Part::Headers,
            Part::Headers => return Err(ArmorError::Damaged { line: number }),
            Part::Data | Part::Sum if line == block.end() => {
                RADIX64.decode_vec(mem::take(&mut rest), &mut decoded).map_err(damaged)?;
                start = decoded.len();
                Part::Outside
            }
            Part::Data if line.starts_with(b"=") => {
                RADIX64.decode_vec(mem::take(&mut rest), &mut decoded).map_err(damaged)?;
                if block == Block::Signature && !is_sum(line, decoded.get(start..).unwrap_or_default()) {
                    return Err(ArmorError::Checksum { line: number });
                }
                Part::Sum
            }
            Part::Data if line.iter().all(is_digit) => {
                rest.extend_from_slice(line);
                let left_over = rest.split_off(rest.len() & !3);
                RADIX64.decode_vec(mem::replace(&mut rest, left_over), &mut decoded).map_err(damaged)?;
                Part::Data
            }
            Part::Data => return Err(ArmorError::Damaged { line: number }),
            Part::Sum if line.is_empty() => Part::Sum,
            Part::Sum => return Err(ArmorError::Damaged { line: number }),
        };
    }
    match part {
        Part::Outside => Ok(decoded),
        Part::Headers | Part::Data | Part::Sum => Err(ArmorError::CutOff),
    }
}

/// Whether a line is `NAME: VALUE`.
fn is_header(line: &[u8]) -> bool {
    let after_name = line.iter().position(|&byte| byte == b':').and_then(|colon| line.get(colon.saturating_add(1)..));
    after_name.is_some_and(|value| value.is_empty() || value.starts_with(b" "))
}

/// Whether a line is the checksum of `data`: `=` and four digits (RFC 9580, section 6.1.1).
fn is_sum(line: &[u8], data: &[u8]) -> bool {
    let sum = data.iter().fold(0x00b7_04ce, |sum: u32, &byte| {
        (0..8).fold(sum ^ u32::from(byte) << 16, |sum, _| {
            (sum << 1) ^ if sum & 0x0080_0000 == 0 { 0 } else { 0x0186_4cfb }
        })
    });
    let [_, bytes @ ..] = sum.to_be_bytes();
    line.strip_prefix(b"=").is_some_and(|digits| RADIX64.decode(digits).is_ok_and(|decoded| decoded == bytes))
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
            assert_eq!(decode(block(body).as_bytes(), Block::Keys), Ok(decoded.into()));
            let windows = block(&format!("{body}\n=njUN")).replace('\n', "\r\n");
            assert_eq!(decode(windows.as_bytes(), Block::Keys), Ok(decoded.into()));
        }
        let two = format!("text before\n{}between\n{}after", block("Zg=="), block("Zm9v"));
        assert!(has_block(two.as_bytes(), Block::Keys));
        assert_eq!(decode(two.as_bytes(), Block::Keys), Ok(b"ffoo".to_vec()));
    }

    #[test]
    fn damage_is_named() {
        assert!(!has_block(b"Zm9v", Block::Keys));
        assert_eq!(decode(block("Zm9v\nZm 9v").as_bytes(), Block::Keys), Err(ArmorError::Damaged { line: 5 }));
        assert_eq!(decode(block("Zm9v v\nZm9v").as_bytes(), Block::Keys), Err(ArmorError::Damaged { line: 4 }));
        assert_eq!(decode(block("Z=m9").as_bytes(), Block::Keys), Err(ArmorError::Damaged { line: 4 }));
        // A digit of its own makes no byte.
        assert_eq!(decode(block("Zm9vZ").as_bytes(), Block::Keys), Err(ArmorError::Damaged { line: 5 }));
        let whole = block("Zm9v");
        for lines in 1..4 {
            let cut: String = whole.split_inclusive('\n').take(lines).collect();
            assert_eq!(decode(cut.as_bytes(), Block::Keys), Err(ArmorError::CutOff));
        }
    }
    #[test]
    fn the_checksum_of_a_signature_must_be_right_where_there_is_one() {
        let signature = |sum: &str| {
            let block = block(&format!("Zm9v{sum}")).replace("PUBLIC KEY BLOCK", "SIGNATURE");
            decode(block.as_bytes(), Block::Signature)
        };
        assert_eq!(signature(""), Ok(b"foo".to_vec()));
        assert_eq!(signature("\n=T8JV"), Ok(b"foo".to_vec()));
        for wrong in ["\n=T8JW", "\n=", "\n=T8J", "\n=T8JVAA=="] {
            assert_eq!(signature(wrong), Err(ArmorError::Checksum { line: 5 }), "{wrong}");
        }
        assert_eq!(signature("\n=T8JV\nZm9v"), Err(ArmorError::Damaged { line: 6 }));
    }

    #[test]
    fn headers_have_a_name() {
        for (header, result) in [
            ("Comment: x", Ok(b"foo".to_vec())),
            ("Comment:", Ok(b"foo".to_vec())),
            ("Comment:x", Err(ArmorError::Damaged { line: 2 })),
            ("Zm9v", Err(ArmorError::Damaged { line: 2 })),
        ] {
            let text = block("Zm9v").replace("Comment: x", header);
            assert_eq!(decode(text.as_bytes(), Block::Keys), result, "{header}");
        }
    }
}
