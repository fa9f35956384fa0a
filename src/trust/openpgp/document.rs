//! What a signature of a file has hashed: its bytes as they are, or its lines with uniform ends.

use pgp::packet::{SignatureConfig, SignatureVersionSpecific};

use crate::trust::Refusal;

/// The longest line in bytes: GnuPG cuts off what is longer before it hashes it.
const MAX_LINE: usize = 19_000;

/// Which bytes of a file are hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// All, as they are.
    Binary,
    /// Those of its lines, each with the end CR LF instead of its own.
    Text,
}

/// A file that is signed.
pub struct Document<'a> {
    bytes: &'a [u8],
    form: Form,
    /// The digests of before, by what the signatures have in common that must have them. With this, a pass over the file
    /// takes one more genuine signature, as a wrong one is the last: repeating a signature does not cost time.
    digests: Vec<(SignatureConfig, Box<[u8]>)>,
}

impl<'a> Document<'a> {
    pub fn new(bytes: &'a [u8], form: Form) -> Result<Self, Refusal> {
        let long_line = (1..).zip(lines(bytes)).find(|(_, line)| line.len() > MAX_LINE);
        match long_line.filter(|_| form == Form::Text) {
            Some((line, _)) => Err(Refusal::LongLine { line }),
            None => Ok(Self { bytes, form, digests: Vec::new() }),
        }
    }

    /// The digest that a signature of this file must be of (RFC 9580, section 5.2.4); `None` where its algorithm is not
    /// known.
    pub fn digest(&mut self, config: &SignatureConfig) -> Option<Box<[u8]>> {
        let config = SignatureConfig { unhashed_subpackets: Vec::new(), ..config.clone() };
        if let Some((_, digest)) = self.digests.iter().find(|(known, _)| *known == config) {
            return Some(digest.clone());
        }
        let mut hasher = config.hash_alg.new_hasher().ok()?;
        if let SignatureVersionSpecific::V6 { salt } = &config.version_specific {
            hasher.update(salt);
        }
        match self.form {
            Form::Binary => hasher.update(self.bytes),
            Form::Text => canonical(self.bytes, |bytes| hasher.update(bytes)),
        }
        let length = config.hash_signature_data(&mut hasher).ok()?;
        hasher.update(&config.trailer(length).ok()?);
        let digest = hasher.finalize();
        self.digests.push((config, digest.clone()));
        Some(digest)
    }
}

/// Hands over a text with CR LF at the end of its lines. As with GnuPG, any number of CR before LF is a part of the end.
fn canonical(text: &[u8], mut hash: impl FnMut(&[u8])) {
    for line in lines(text) {
        let end = line.iter().rposition(|byte| !b"\r\n".contains(byte)).map_or(0, |last| last.saturating_add(1));
        hash(line.get(..end).unwrap_or_default());
        if line.ends_with(b"\n") {
            hash(b"\r\n");
        }
    }
}

/// The lines, each with its end.
fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split_inclusive(|&byte| byte == b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_are_uniform() {
        let cases = [
            ("", ""),
            ("a", "a"),
            ("a\n", "a\r\n"),
            ("a \r\nb\t\n\n", "a \r\nb\t\r\n\r\n"),
            ("a\r\r\n", "a\r\n"),
            ("a\rb\nc\r", "a\rb\r\nc"),
        ];
        for (text, expected) in cases {
            let mut hashed = Vec::new();
            canonical(text.as_bytes(), |bytes| hashed.extend_from_slice(bytes));
            assert_eq!(String::from_utf8(hashed).unwrap(), expected, "{text:?}");
        }
    }

    #[test]
    fn lines_that_gnupg_would_cut_off_are_refused() {
        let long = ["a\n".to_owned(), "b".repeat(MAX_LINE + 1)].concat();
        assert_eq!(Document::new(long.as_bytes(), Form::Text).err(), Some(Refusal::LongLine { line: 2 }));
        assert!(Document::new(long.as_bytes(), Form::Binary).is_ok());
        assert!(Document::new(&long.as_bytes()[..MAX_LINE], Form::Text).is_ok());
    }
}
