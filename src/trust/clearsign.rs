//! Texts that are clearsigned: the cleartext signature framework (RFC 9580, section 7).
//!
//! `gpg` ignores what surrounds the signed part. Here such a file is refused, so that unsigned text cannot be taken for
//! signed; and of a good one only the verifier's output is used.

use std::borrow::Cow;

use super::Refusal;

const BEGIN: &[u8] = b"-----BEGIN PGP SIGNED MESSAGE-----";
const SIGNATURE: &[u8] = b"-----BEGIN PGP SIGNATURE-----";
const END: &[u8] = b"-----END PGP SIGNATURE-----";

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

    /// The text that is signed, unverified.
    pub fn unverified_text(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(self.message.len());
        let mut part = Part::Before;
        for line in lines(&self.message) {
            let next = part.next(line.trim_ascii_end());
            if (part, next) == (Part::Text, Part::Text) {
                // A line that begins with a dash has been escaped.
                text.extend_from_slice(line.strip_prefix(b"- ").unwrap_or(line));
            }
            part = next;
        }
        text
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
