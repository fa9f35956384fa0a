//! Texts that are clearsigned: the cleartext signature framework (RFC 9580, section 7).
//!
//! `gpg` ignores what surrounds the signed part. Here such a file is refused, so that unsigned text cannot be taken for
//! signed; and of a good one only the verifier's output is used.

use std::borrow::Cow;
use std::mem;

use pgp::crypto::hash::HashAlgorithm;

use super::Refusal;

const BEGIN: &[u8] = b"-----BEGIN PGP SIGNED MESSAGE-----";
const SIGNATURE: &[u8] = b"-----BEGIN PGP SIGNATURE-----";
const END: &[u8] = b"-----END PGP SIGNATURE-----";

/// The digests that GnuPG knows before a text.
const DIGESTS: [(&[u8], HashAlgorithm); 6] = [
    (b"RIPEMD160", HashAlgorithm::Ripemd160),
    (b"SHA1", HashAlgorithm::Sha1),
    (b"SHA224", HashAlgorithm::Sha224),
    (b"SHA256", HashAlgorithm::Sha256),
    (b"SHA384", HashAlgorithm::Sha384),
    (b"SHA512", HashAlgorithm::Sha512),
];

/// A file that is one signed part and nothing else.
#[derive(Debug, PartialEq, Eq)]
pub struct Clearsigned<'a> {
    message: Cow<'a, [u8]>,
    signature_len: usize,
}

/// The part of the file that a line belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Before,
    Headers,
    Text,
    Signature,
    After,
}

impl Part {
    /// The part of the line after `line`.
    fn next(self, line: &[u8]) -> Self {
        match self {
            Self::Before if line == BEGIN => Self::Headers,
            Self::Headers if line.is_empty() => Self::Text,
            Self::Text if line == SIGNATURE => Self::Signature,
            Self::Signature if line == END => Self::After,
            same => same,
        }
    }
}

impl<'a> Clearsigned<'a> {
    /// The signed part that `file` is; `None` where it has none.
    ///
    /// # Errors
    ///
    /// Where there is anything but white space outside of the signed part, or the part is not complete.
    pub fn find(file: &'a [u8]) -> Result<Option<Self>, Refusal> {
        let mut part = Part::Before;
        let mut outside = None;
        let mut was_converted = false;
        let mut signature_len: usize = 0;
        for (number, line) in (1..).zip(lines(file)) {
            let content = line.trim_ascii_end();
            if content == BEGIN {
                if part != Part::Before {
                    return Err(Refusal::SecondPart { line: number });
                }
                was_converted = line.ends_with(b"\r\n");
            }
            let next = part.next(content);
            if matches!((part, next), (Part::Before, Part::Before) | (Part::After, Part::After)) && !content.is_empty()
            {
                outside.get_or_insert(number);
            }
            if part == Part::Signature {
                signature_len = signature_len.saturating_add(line.len());
            }
            part = next;
        }
        match (part, outside) {
            (Part::Before, _) => Ok(None),
            (Part::Headers | Part::Text | Part::Signature, _) => Err(Refusal::CutOff),
            (Part::After, Some(line)) => Err(Refusal::TextOutside { line }),
            (Part::After, None) => Ok(Some(Self::new(file, signature_len, was_converted))),
        }
    }

    /// Line ends are not signed in a clearsigned text (section 7.2) and may be converted in transit, but a bmap's own
    /// checksum covers them. `was_converted`, known from the framework's own lines, makes them one byte long again.
    fn new(file: &'a [u8], signature_len: usize, was_converted: bool) -> Self {
        let restored = |line: &'a [u8]| match line.strip_suffix(b"\r\n") {
            Some(content) => [content, b"\n"],
            None => [line, b""],
        };
        let message = match was_converted {
            true => Cow::Owned(lines(file).flat_map(restored).flatten().copied().collect()),
            false => Cow::Borrowed(file),
        };
        Self { message, signature_len }
    }

    /// The whole message, as a verifier must be given it.
    pub(super) fn message(&self) -> &[u8] {
        &self.message
    }

    /// The length of the signature in bytes.
    pub(super) fn signature_len(&self) -> usize {
        self.signature_len
    }

    /// The signature, in its armour.
    pub(super) fn signature(&self) -> &[u8] {
        let before = self.parts().take_while(|(_, next, _)| !matches!(next, Part::Signature | Part::After));
        let length: usize = before.map(|(_, _, line)| line.len()).sum();
        self.message.get(length..).unwrap_or_default()
    }

    /// The text that is signed, unverified.
    pub fn unverified_text(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(self.message.len());
        // A line that begins with a dash has been escaped.
        self.text_lines().for_each(|(_, line)| text.extend_from_slice(line.strip_prefix(b"- ").unwrap_or(line)));
        text
    }

    /// The text that is signed, as GnuPG puts it out: white space at the end of lines, which is not signed, is removed.
    ///
    /// # Errors
    ///
    /// Where GnuPG would take a line for the end of the text.
    pub(super) fn signed_text(&self) -> Result<Vec<u8>, Refusal> {
        let mut text = Vec::with_capacity(self.message.len());
        for (number, line) in self.text_lines() {
            if line.starts_with(b"-----") {
                return Err(Refusal::Dashes { line: number });
            }
            let end: &[u8] = if line.ends_with(b"\r\n") { b"\r\n" } else { b"\n" };
            let line = line.strip_prefix(b"- ").unwrap_or(line);
            let is_white = |byte: &u8| b" \t\r\n".contains(byte);
            let length = line.iter().rposition(|byte| !is_white(byte)).map_or(0, |last| last.saturating_add(1));
            text.extend_from_slice(line.get(..length).unwrap_or_default());
            text.extend_from_slice(end);
        }
        Ok(text)
    }

    /// The digests that stand before the text, after `Hash:`.
    ///
    /// # Errors
    ///
    /// Where anything else stands there: the RFC allows nothing else.
    pub(super) fn announced_digests(&self) -> Result<Vec<HashAlgorithm>, Refusal> {
        let mut digests = Vec::new();
        for (number, (part, next, line)) in (1..).zip(self.parts()) {
            if (part, next) == (Part::Headers, Part::Headers) {
                let names = line.strip_prefix(b"Hash:").unwrap_or(b"?").split(|&byte| byte == b',');
                let known = names.map(|name| DIGESTS.iter().find(|(known, _)| *known == name.trim_ascii()));
                let known: Option<Vec<_>> = known.map(|digest| digest.map(|(_, digest)| *digest)).collect();
                digests.extend(known.ok_or(Refusal::Header { line: number })?);
            }
        }
        Ok(digests)
    }

    /// The lines of the text with their numbers, as they are escaped.
    fn text_lines(&self) -> impl Iterator<Item = (usize, &[u8])> {
        let lines = (1..).zip(self.parts());
        lines.filter(|(_, (part, next, _))| (*part, *next) == (Part::Text, Part::Text)).map(|(n, (.., line))| (n, line))
    }

    /// The lines, each with the parts that it and the next one belong to.
    fn parts(&self) -> impl Iterator<Item = (Part, Part, &[u8])> {
        lines(&self.message).scan(Part::Before, |part, line| {
            let next = part.next(line.trim_ascii_end());
            Some((mem::replace(part, next), next, line))
        })
    }
}

/// The lines, each with its end.
fn lines(file: &[u8]) -> impl Iterator<Item = &[u8]> {
    file.split_inclusive(|&byte| byte == b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &str = "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n<bmap>\n- -dash \r\n\nend\n\
                           -----BEGIN PGP SIGNATURE-----\n\niHUE\n-----END PGP SIGNATURE-----\n";

    fn find(file: &str) -> Result<Option<Vec<u8>>, Refusal> {
        Ok(Clearsigned::find(file.as_bytes())?.map(|found| found.unverified_text()))
    }

    #[test]
    fn the_text_is_taken_out() {
        assert_eq!(find("<bmap/>\n"), Ok(None));
        assert_eq!(find(""), Ok(None));
        let text = Ok(Some(b"<bmap>\n-dash \r\n\nend\n".to_vec()));
        assert_eq!(find(MESSAGE), text);
        assert_eq!(find(&format!(" \n\r\n{MESSAGE}\t\n")), text);
    }

    #[test]
    fn the_signed_text_lacks_white_space_at_the_end_of_lines() {
        let found = |file: &str| Clearsigned::find(file.as_bytes()).unwrap().unwrap().signed_text();
        assert_eq!(found(MESSAGE), Ok(b"<bmap>\n-dash\r\n\nend\n".to_vec()));
        let spaces = MESSAGE.replace("<bmap>", "<bmap>\t \r ").replace("end\n", "- -----x\n-x\n");
        assert_eq!(found(&spaces), Ok(b"<bmap>\n-dash\r\n\n-----x\n-x\n".to_vec()));
        assert_eq!(found(&MESSAGE.replace("end\n", "-----end\n")), Err(Refusal::Dashes { line: 7 }));
    }

    #[test]
    fn the_signature_is_taken_out() {
        let found = Clearsigned::find(MESSAGE.as_bytes()).unwrap().unwrap();
        let signature = "-----BEGIN PGP SIGNATURE-----\n\niHUE\n-----END PGP SIGNATURE-----\n";
        assert_eq!(found.signature(), signature.as_bytes());
    }

    #[test]
    fn only_digests_stand_before_the_text() {
        use HashAlgorithm::{Sha1, Sha256, Sha512};
        let digests = |headers: &str| {
            let message = MESSAGE.replace("Hash: SHA256\n", headers);
            Clearsigned::find(message.as_bytes()).unwrap().unwrap().announced_digests()
        };
        assert_eq!(digests(""), Ok(vec![]));
        assert_eq!(digests("Hash: SHA256\n"), Ok(vec![Sha256]));
        assert_eq!(digests("Hash:SHA1 , SHA256\r\nHash: SHA512\n"), Ok(vec![Sha1, Sha256, Sha512]));
        for (headers, line) in [
            ("Hash: SHA256\nComment: x\n", 3),
            ("Hash: MD5\n", 2),
            ("Hash:\n", 2),
            ("hash: SHA256\n", 2),
            ("NotDashEscaped: x\n", 2),
        ] {
            assert_eq!(digests(headers), Err(Refusal::Header { line }), "{headers}");
        }
    }

    #[test]
    fn converted_line_ends_are_restored() {
        let plain = MESSAGE.replace('\r', "");
        assert_eq!(find(&plain.replace('\n', "\r\n")), find(&plain));
    }

    #[test]
    fn nothing_stands_outside() {
        let lines = MESSAGE.lines().count();
        let cases = [
            (format!("x\n{MESSAGE}"), Refusal::TextOutside { line: 1 }),
            (format!("{MESSAGE}\nx"), Refusal::TextOutside { line: lines + 2 }),
            (format!("{MESSAGE}{MESSAGE}"), Refusal::SecondPart { line: lines + 1 }),
            (format!("-----BEGIN PGP SIGNED MESSAGE-----\n\n{MESSAGE}"), Refusal::SecondPart { line: 3 }),
            (MESSAGE.replace("END PGP", "END"), Refusal::CutOff),
            (MESSAGE.replace("BEGIN PGP SIGNATURE", "BEGIN"), Refusal::CutOff),
        ];
        for (file, refusal) in cases {
            assert_eq!(find(&file), Err(refusal), "{file}");
        }
    }
}
