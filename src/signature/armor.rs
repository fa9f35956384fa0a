//! ASCII armour (RFC 9580, section 6), only so far as keyrings need it: `gpgv` reads none.

/// Why armour cannot be taken off.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArmorError {
    /// A line that is not radix 64.
    #[error("line {line} of the ASCII armour is damaged")]
    Damaged {
        /// The line, counted from 1.
        line: usize,
    },
    /// A block without an end.
    #[error("the ASCII armour has no end: the file is cut off")]
    CutOff,
}

const BEGIN: &[u8] = b"-----BEGIN PGP PUBLIC KEY BLOCK-----";
const END: &[u8] = b"-----END PGP PUBLIC KEY BLOCK-----";

/// Where a line stands.
enum Part {
    Outside,
    Headers,
    Data,
}

/// Whether there is a block of armoured keys in `text`.
pub(super) fn is_armored(text: &[u8]) -> bool {
    text.split(|&byte| byte == b'\n').any(|line| line.trim_ascii_end() == BEGIN)
}

/// The contents of all blocks of armoured keys in `text`, one after another. A checksum (CRC24) behind the data is passed
/// over, as the RFC demands.
pub(super) fn decode(text: &[u8]) -> Result<Vec<u8>, ArmorError> {
    let mut decoded = Vec::with_capacity((text.len() / 4).saturating_mul(3));
    let mut part = Part::Outside;
    let mut block = Radix64::default();
    for (line, number) in text.split(|&byte| byte == b'\n').zip(1..) {
        let line = line.trim_ascii_end();
        part = match part {
            Part::Outside if line == BEGIN => Part::Headers,
            Part::Outside => Part::Outside,
            Part::Headers if line.is_empty() => Part::Data,
            Part::Headers => Part::Headers,
            Part::Data if line == END => {
                block = Radix64::default();
                Part::Outside
            }
            Part::Data if line.starts_with(b"=") => Part::Data,
            Part::Data => {
                block.decode(line, &mut decoded).ok_or(ArmorError::Damaged { line: number })?;
                Part::Data
            }
        };
    }
    match part {
        Part::Outside => Ok(decoded),
        Part::Headers | Part::Data => Err(ArmorError::CutOff),
    }
}

/// Four digits of six bits each make three bytes.
#[derive(Default)]
struct Radix64 {
    bits: u32,
    /// How many of the bits are not delivered yet: less than 8 between two digits.
    count: u32,
}

impl Radix64 {
    #[expect(
        clippy::arithmetic_side_effects,
        reason = "the count is less than 8 between two digits, and less than 14 within"
    )]
    fn decode(&mut self, digits: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let padding = digits.iter().rev().take_while(|&&digit| digit == b'=').count();
        for &digit in digits.get(..digits.len().checked_sub(padding)?)? {
            self.bits = self.bits << 6 | value(digit)?;
            self.count += 6;
            if self.count >= 8 {
                self.count -= 8;
                out.push((self.bits >> self.count) as u8);
            }
        }
        Some(())
    }
}

#[expect(clippy::arithmetic_side_effects, reason = "each arm has the digits from the one on that it subtracts")]
fn value(digit: u8) -> Option<u32> {
    let value = match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(u32::from(value))
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
        let cases = [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9v\nYmFy", "foobar")];
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
        assert_eq!(decode(block("Z=m9").as_bytes()), Err(ArmorError::Damaged { line: 4 }));
        let whole = block("Zm9v");
        for lines in 1..4 {
            let cut: String = whole.split_inclusive('\n').take(lines).collect();
            assert_eq!(decode(cut.as_bytes()), Err(ArmorError::CutOff));
        }
    }
}
