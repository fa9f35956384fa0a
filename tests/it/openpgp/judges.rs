//! The two who judge a signature: this program, in its own process, and `gpgv`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bmaptool::source::{Location, SmallFile, Source};
use bmaptool::trust::{Error, Keyring, Keys, Policy, Refusal, Requirements, Signatures, authenticate};

use crate::common::find_program;

/// What is said of the signatures of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// They are good; these have signed, by user id, fingerprint and primary fingerprint. Then the text that is signed, of
    /// a clearsigned file.
    Good(Vec<[String; 3]>, Vec<u8>),
    Refused(&'static str),
}

/// A file, its signature, which may be within it, and the keys.
#[derive(Clone)]
pub struct Case {
    pub name: String,
    pub ring: Vec<u8>,
    pub file: Vec<u8>,
    pub signature: Option<Vec<u8>>,
}

/// The files of a case.
pub struct Files {
    directory: tempfile::TempDir,
    is_detached: bool,
}

impl Case {
    pub fn files(&self) -> Files {
        let directory = crate::common::temp_dir();
        fs::write(directory.path().join("ring"), &self.ring).unwrap();
        fs::write(directory.path().join("file"), &self.file).unwrap();
        if let Some(signature) = &self.signature {
            fs::write(directory.path().join("signature"), signature).unwrap();
        }
        Files { directory, is_detached: self.signature.is_some() }
    }
}

impl Files {
    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn read(&self, name: &str) -> SmallFile {
        let location = Location::Path(self.path(name));
        Source::open(&location).unwrap().read_small("file", 1 << 30).unwrap()
    }

    /// Ours.
    pub fn ours(&self) -> Verdict {
        let Ok(keyring) = Keyring::read(&self.path("ring")) else { return Verdict::Refused("no keyring") };
        let requirements = Requirements { keys: Keys::In(keyring), fingerprint: None, signature: None };
        let signature = self.is_detached.then(|| self.read("signature"));
        let authentic = match authenticate(self.read("file"), signature.as_ref(), &Policy::Verify(requirements)) {
            Ok(authentic) => authentic,
            Err(Error::UnknownKey { .. }) => return Verdict::Refused("unknown key"),
            Err(Error::NotSigned { .. }) => return Verdict::Refused("no signature"),
            Err(Error::BadSignature { source, .. }) => return Verdict::Refused(reason(&source)),
            Err(other) => panic!("{other:?}"),
        };
        let Signatures::Good(signers) = authentic.signatures else { panic!("no signers") };
        let signers = signers.into_iter().map(|signer| [signer.user_id, signer.fingerprint, signer.primary]);
        Verdict::Good(signers.collect(), if self.is_detached { Vec::new() } else { authentic.text })
    }

    /// That of `gpgv`, which is good only where it ends well or some keys are unknown.
    pub fn of_gpgv(&self) -> Verdict {
        let mut command = Command::new(find_program("gpgv").unwrap());
        command.env("LC_ALL", "C").env("GNUPGHOME", self.directory.path());
        command.args(["--status-fd=2", "--output=-", "--keyring"]).arg(self.path("ring"));
        if self.is_detached {
            command.arg(self.path("signature"));
        }
        let output = command.arg(self.path("file")).output().unwrap();
        let status = String::from_utf8_lossy(&output.stderr);
        let mut signers: Vec<[String; 3]> = Vec::new();
        let mut unknown = "no signature";
        for line in status.lines().filter_map(|line| line.strip_prefix("[GNUPG:] ")) {
            let words: Vec<&str> = line.split(' ').collect();
            match words[0] {
                "GOODSIG" => signers.push([unescape(&words[2..].join(" ")), String::new(), String::new()]),
                "VALIDSIG" if !signers.is_empty() => {
                    let signer = signers.last_mut().unwrap();
                    (signer[1], signer[2]) = (words[1].to_owned(), words[10].to_owned());
                }
                "BADSIG" => return Verdict::Refused("bad"),
                "EXPSIG" => return Verdict::Refused("signature expired"),
                "EXPKEYSIG" => return Verdict::Refused("key expired"),
                "REVKEYSIG" => return Verdict::Refused("key revoked"),
                "ERRSIG" => match words[6] {
                    "9" => unknown = "unknown key",
                    "4" => unknown = "algorithm",
                    "5" => return Verdict::Refused("digest"),
                    // Nor is such a key bound yet, for GnuPG.
                    "6" if is_in_the_future(words[5]) => return Verdict::Refused("time"),
                    "6" => return Verdict::Refused("unbound key"),
                    "39" => return Verdict::Refused("time"),
                    "125" => return Verdict::Refused("not for signing"),
                    _ => return Verdict::Refused("other"),
                },
                _ => {}
            }
        }
        let is_explained = output.status.success() || (output.status.code() == Some(2) && status.contains("ERRSIG"));
        if signers.is_empty() || !is_explained {
            return Verdict::Refused(unknown);
        }
        signers.sort();
        signers.dedup();
        Verdict::Good(signers, if self.is_detached { Vec::new() } else { output.stdout })
    }
}

/// Whether these seconds since 1970 are more than have passed.
fn is_in_the_future(seconds: &str) -> bool {
    UNIX_EPOCH + Duration::from_secs(seconds.parse().unwrap()) > SystemTime::now()
}

/// What GnuPG has escaped so that it stands on a line.
fn unescape(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn reason(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Bad { .. } => "bad",
        Refusal::SignatureExpired { .. } => "signature expired",
        Refusal::KeyExpired { .. } => "key expired",
        Refusal::KeyRevoked { .. } => "key revoked",
        Refusal::UnknownKey { .. } => "unknown key",
        Refusal::UnknownAlgorithm { .. } => "algorithm",
        Refusal::WeakDigest { .. } => "digest",
        Refusal::UnboundKey { .. } => "unbound key",
        Refusal::FromTheFuture { .. } | Refusal::OlderThanKey { .. } => "time",
        Refusal::NotForSigning { .. } => "not for signing",
        Refusal::UnreadableKey { .. } => "unreadable key",
        Refusal::NotCrossCertified { .. } | Refusal::NotAnnounced { .. } | Refusal::OtherClass { .. } => "other",
        _ => "no signature",
    }
}
