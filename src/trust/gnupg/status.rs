//! What a verifier reports: the status lines of GnuPG, as its doc/DETAILS describes them.

use std::time::{Duration, SystemTime};

use percent_encoding::percent_decode_str;

use crate::trust::{Key, Refusal, Signed, Signer, accept};

/// What every status line begins with.
const PREFIX: &str = "[GNUPG:] ";

/// The result of a verifier.
#[derive(Debug, Default)]
pub(in crate::trust) struct Report {
    signatures: Vec<Signature>,
    /// How many messages had a text of their own.
    pub(super) texts: usize,
    /// Whether it met data that is not OpenPGP.
    pub(super) no_data: bool,
}

/// A signature.
#[derive(Debug)]
struct Signature {
    finding: Finding,
    key: Key,
    /// The fingerprint of the primary key, where it is the valid signature of a file.
    primary: Option<String>,
}

#[derive(Debug)]
enum Finding {
    Good,
    /// It could be checked, and is not good.
    Refused(fn(Key) -> Refusal),
    /// It could not be checked. It was made at this time, in seconds since 1970.
    Error {
        key_algorithm: String,
        digest_algorithm: String,
        made: Option<u64>,
        code: String,
    },
}

impl Report {
    /// Reads the status lines.
    pub(in crate::trust) fn parse(lines: &str) -> Self {
        let mut report = Self::default();
        for line in lines.lines().filter_map(|line| line.strip_prefix(PREFIX)) {
            let (keyword, arguments) = line.split_once(' ').unwrap_or((line, ""));
            report.note(keyword, arguments);
        }
        report
    }

    fn note(&mut self, keyword: &str, arguments: &str) {
        let finding = match keyword {
            "GOODSIG" => Finding::Good,
            "BADSIG" => Finding::Refused(|by| Refusal::Bad { by }),
            "EXPSIG" => Finding::Refused(|by| Refusal::SignatureExpired { by }),
            "EXPKEYSIG" => Finding::Refused(|by| Refusal::KeyExpired { by }),
            "REVKEYSIG" => Finding::Refused(|by| Refusal::KeyRevoked { by }),
            "ERRSIG" => return self.signatures.push(Signature::unchecked(arguments)),
            "VALIDSIG" => return self.validate(arguments),
            "PLAINTEXT" => return self.texts = self.texts.saturating_add(1),
            "NODATA" | "UNEXPECTED" => return self.no_data = true,
            _ => return,
        };
        let (id, user_id) = arguments.split_once(' ').unwrap_or((arguments, ""));
        let key = Key { user_id: unescape(user_id), id: id.to_owned() };
        self.signatures.push(Signature { finding, key, primary: None });
    }

    /// VALIDSIG says more about the signature of the line before: fingerprint, six other fields, algorithm, class, and
    /// the fingerprint of the primary key. Classes 0 and 1 are of a binary or text document (RFC 9580, section 5.2.1).
    fn validate(&mut self, arguments: &str) {
        let fields: Vec<&str> = arguments.split(' ').collect();
        if let (Some(signature), Some(&fingerprint), Some(&class)) =
            (self.signatures.last_mut(), fields.first(), fields.get(8))
        {
            signature.key.id = fingerprint.to_owned();
            let primary = fields.get(9).copied().unwrap_or(fingerprint).to_owned();
            signature.primary = Some(primary).filter(|_| matches!(class, "00" | "01"));
        }
    }

    /// Whether there is a signature that could not be checked. The exit status is one of failure then, also where
    /// another signature is good.
    pub(super) fn has_unchecked(&self) -> bool {
        self.signatures.iter().any(|signature| matches!(signature.finding, Finding::Error { .. }))
    }

    /// The makers of the good signatures, with the text that they signed.
    pub(in crate::trust) fn judge(self, text: Vec<u8>) -> Result<Signed, Refusal> {
        let signers = accept(self.signatures.into_iter().map(Signature::judge))?;
        Ok(Signed { text, signers })
    }
}

impl Signature {
    /// ERRSIG: key id, numbers of the key's and the digest's algorithms, class, time, error code, fingerprint or `-`.
    fn unchecked(arguments: &str) -> Self {
        let fields: Vec<&str> = arguments.split(' ').collect();
        let field = |index: usize| fields.get(index).copied().unwrap_or_default().to_owned();
        let fingerprint = Some(field(6)).filter(|fingerprint| fingerprint.len() > 1);
        let key = Key { user_id: String::new(), id: fingerprint.unwrap_or_else(|| field(0)) };
        let made = field(4).parse().ok();
        let finding = Finding::Error { key_algorithm: field(1), digest_algorithm: field(2), made, code: field(5) };
        Self { finding, key, primary: None }
    }

    fn judge(self) -> Result<Signer, Refusal> {
        let by = self.key;
        match self.finding {
            Finding::Good => match self.primary {
                Some(primary) => Ok(Signer { user_id: by.user_id, fingerprint: by.id, primary }),
                None => Err(Refusal::OtherClass { by }),
            },
            Finding::Refused(refusal) => Err(refusal(by)),
            Finding::Error { key_algorithm, digest_algorithm, made, code } => Err(match code.as_str() {
                // The numbers of libgpg-error: GPG_ERR_NO_PUBKEY, _PUBKEY_ALGO, _DIGEST_ALGO.
                "9" => Refusal::UnknownKey { key: by.id },
                "4" => Refusal::UnknownAlgorithm { key: by.id, algorithm: key_algorithm },
                "5" => Refusal::WeakDigest { key: by.id, digest: digest_name(&digest_algorithm) },
                // It has several codes, as also the key or a signature on the key may be from the future.
                _ if made.is_some_and(is_in_the_future) => Refusal::FromTheFuture { key: by.id },
                // GPG_ERR_BAD_PUBKEY, _TIME_CONFLICT, _WRONG_KEY_USAGE.
                "6" => Refusal::UnboundKey { key: by.id },
                "39" => Refusal::OlderThanKey { key: by.id },
                "125" => Refusal::NotForSigning { key: by.id },
                _ => Refusal::Unchecked { key: by.id, code },
            }),
        }
    }
}

fn is_in_the_future(seconds: u64) -> bool {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Duration::from_secs(seconds) > now
}

/// The name of a digest algorithm, by its number in RFC 9580 section 9.5.
fn digest_name(number: &str) -> String {
    match number {
        "1" => "MD5".to_owned(),
        "2" => "SHA-1".to_owned(),
        "3" => "RIPEMD-160".to_owned(),
        _ => format!("number {number}"),
    }
}

/// Decodes `%XX`, as GnuPG escapes what must not stand on a line. As in a URL, any other `%` stands for itself.
fn unescape(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBKEY: &str = "E73CFC7ECFBD1A4953A6EDD224CA8F25306CD41E";
    const PRIMARY: &str = "A29A880A23279E28E1A5C872D11532B09EB6A54D";

    fn good() -> String {
        format!(
            "[GNUPG:] NEWSIG\n[GNUPG:] GOODSIG 24CA8F25306CD41E 100%25 Ed <ed@x>\n\
             [GNUPG:] VALIDSIG {SUBKEY} 2026-11-23 1795459784 0 4 0 22 8 01 {PRIMARY}\n"
        )
    }

    fn unknown() -> &'static str {
        "[GNUPG:] NEWSIG\n[GNUPG:] ERRSIG E208055F2FC1F17D 22 8 00 1795459844 9 -\n\
         [GNUPG:] NO_PUBKEY E208055F2FC1F17D\n"
    }

    fn judge(lines: &str) -> Result<Vec<Signer>, Refusal> {
        Report::parse(lines).judge(Vec::new()).map(|signed| signed.signers)
    }

    fn ed() -> Signer {
        Signer { user_id: "100% Ed <ed@x>".to_owned(), fingerprint: SUBKEY.to_owned(), primary: PRIMARY.to_owned() }
    }

    #[test]
    fn a_good_one_is_enough_beside_unknown_ones() {
        assert_eq!(judge(&good()), Ok(vec![ed()]));
        for own in [SUBKEY, PRIMARY] {
            assert!(ed().has(&own.to_lowercase().parse().unwrap()), "{own}");
        }
        assert_eq!(judge(&[unknown(), &good()].concat()), Ok(vec![ed()]));
        assert_eq!(judge(&[&good(), unknown()].concat()), Ok(vec![ed()]));
        assert_eq!(judge(&good().repeat(2)), Ok(vec![ed(), ed()]));
    }

    #[test]
    fn any_other_beside_it_refuses() {
        let by = Key { user_id: "X".to_owned(), id: "24CA8F25306CD41E".to_owned() };
        let cases = [
            ("BADSIG", Refusal::Bad { by: by.clone() }),
            ("EXPSIG", Refusal::SignatureExpired { by: by.clone() }),
            ("EXPKEYSIG", Refusal::KeyExpired { by: by.clone() }),
            ("REVKEYSIG", Refusal::KeyRevoked { by }),
        ];
        for (keyword, refusal) in cases {
            let line = format!("[GNUPG:] {keyword} 24CA8F25306CD41E X\n");
            for lines in [line.clone(), good() + &line, line + &good()] {
                assert_eq!(judge(&lines).as_ref(), Err(&refusal), "{lines}");
            }
        }
        for (algorithm, name) in [("1", "MD5"), ("2", "SHA-1"), ("99", "number 99")] {
            let lines = good() + &format!("[GNUPG:] ERRSIG 4D86001190C08523 1 {algorithm} 00 1795459844 5 {PRIMARY}\n");
            let weak = Refusal::WeakDigest { key: PRIMARY.to_owned(), digest: name.to_owned() };
            assert_eq!(judge(&lines), Err(weak));
        }
    }

    #[test]
    fn nothing_good_is_found_where_there_is_nothing() {
        assert_eq!(judge(""), Err(Refusal::NoSignature));
        assert_eq!(judge("gpg: Good signature\nGOODSIG 1 X\n[GNUPG:] NODATA 1\n"), Err(Refusal::NoSignature));
        assert_eq!(judge(unknown()), Err(Refusal::UnknownKey { key: "E208055F2FC1F17D".to_owned() }));
        assert!(matches!(judge("[GNUPG:] GOODSIG 1 X\n"), Err(Refusal::OtherClass { .. })));
        assert!(matches!(judge(&good().replace(" 01 ", " 10 ")), Err(Refusal::OtherClass { .. })));
        assert!(matches!(judge("[GNUPG:] ERRSIG\n"), Err(Refusal::Unchecked { .. })));
    }

    #[test]
    fn escapes() {
        let cases = [("a%0Ab%25", "a\nb%"), ("50%", "50%"), ("%zz%2", "%zz%2"), ("%C3%BC", "ü"), ("%aé", "%aé")];
        for (escaped, text) in cases {
            assert_eq!(unescape(escaped), text);
        }
    }
}
