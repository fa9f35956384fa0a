//! Keys of GnuPG, made for the tests, and what is signed with them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use super::{find_program, temp_dir};

/// Who signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Has an Ed25519 key since 2020.
    Ed,
    /// Has an RSA key.
    Rsa,
    /// Has an Ed25519 key that certifies, and a subkey that signs.
    Sub,
    /// Had a key in 2020.
    Expired,
    /// Has a key that is revoked for those who verify.
    Revoked,
    /// Will have a key in 2040.
    Future,
    /// Is not known to those who verify.
    Stranger,
}

const EVERYBODY: [Who; 7] = [Who::Ed, Who::Rsa, Who::Sub, Who::Expired, Who::Revoked, Who::Future, Who::Stranger];

impl Who {
    /// The user id.
    pub fn user_id(self) -> String {
        format!("{self:?} Müller <{self:?}@example.org>")
    }

    /// When this one's key is made, for GnuPG.
    fn birth(self) -> &'static [&'static str] {
        match self {
            Self::Ed | Self::Expired => &["--faked-system-time=20200101T000000"],
            Self::Future => &["--faked-system-time=20400101T000000"],
            _ => &[],
        }
    }

    /// When this one signs, for GnuPG.
    fn clock(self) -> &'static [&'static str] {
        match self {
            Self::Expired | Self::Future => self.birth(),
            _ => &[],
        }
    }
}

/// The keys: a home with the secret ones, and one of a user who has all keys except the stranger's.
pub struct Keys {
    directory: tempfile::TempDir,
    /// The fingerprints of the keys that sign, and of their primary keys, in the order of `EVERYBODY`.
    fingerprints: Vec<(String, String)>,
}

/// Made once, for it takes a while.
static KEYS: Mutex<Option<&'static Keys>> = Mutex::new(None);

/// The keys of this run.
pub fn keys() -> &'static Keys {
    KEYS.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| Box::leak(Box::new(Keys::make())))
}

/// Ends the agents and removes the keys.
pub fn clean_up() {
    if let Some(keys) = KEYS.lock().unwrap_or_else(PoisonError::into_inner).take() {
        for home in [keys.secret_home(), keys.home()] {
            let _ = Command::new("gpgconf").args(["--kill", "all"]).env("GNUPGHOME", home).status();
        }
        let _ = std::fs::remove_dir_all(keys.directory.path());
    }
}

impl Keys {
    fn make() -> Self {
        let mut keys = Self { directory: temp_dir(), fingerprints: Vec::new() };
        for home in [keys.secret_home(), keys.home()] {
            std::fs::create_dir(&home).unwrap();
            std::fs::set_permissions(&home, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        }
        for who in EVERYBODY {
            let fingerprints = keys.make_key(who);
            keys.fingerprints.push(fingerprints);
            if who != Who::Stranger {
                let exported = keys.gpg(&["--export", &who.user_id()], b"");
                gpg(&keys.home(), &[who.clock(), &["--import"]].concat(), &exported);
            }
        }
        let (revoked, _) = keys.fingerprints(Who::Revoked);
        let certificate = keys.secret_home().join("openpgp-revocs.d").join(format!("{revoked}.rev"));
        let certificate = std::fs::read_to_string(certificate).unwrap().replace("\n:-----BEGIN", "\n-----BEGIN");
        gpg(&keys.home(), &["--import"], certificate.as_bytes());
        for (name, options) in [("ring.gpg", &["--export"][..]), ("ring.asc", &["--export", "--armor"])] {
            std::fs::write(keys.directory.path().join(name), gpg(&keys.home(), options, b"")).unwrap();
        }
        keys
    }

    fn make_key(&self, who: Who) -> (String, String) {
        let (algorithm, usage, expires) = match who {
            Who::Rsa => ("rsa2048", "sign", "never"),
            Who::Sub => ("ed25519", "cert", "never"),
            Who::Expired => ("ed25519", "sign", "1d"),
            _ => ("ed25519", "sign", "never"),
        };
        let user_id = who.user_id();
        let mut arguments = who.birth().to_vec();
        arguments.extend(["--quick-generate-key", &user_id, algorithm, usage, expires]);
        self.gpg(&arguments, b"");
        let primary = self.listed_fingerprints(&user_id).remove(0);
        if who == Who::Sub {
            self.gpg(&["--quick-add-key", &primary, "ed25519", "sign", "never"], b"");
        }
        (self.listed_fingerprints(&user_id).pop().unwrap(), primary)
    }

    fn listed_fingerprints(&self, user_id: &str) -> Vec<String> {
        let list = String::from_utf8(self.gpg(&["--with-colons", "--list-keys", user_id], b"")).unwrap();
        let fields = list.lines().filter(|line| line.starts_with("fpr:")).map(|line| line.split(':').nth(9));
        fields.map(|field| field.unwrap().to_owned()).collect()
    }

    fn secret_home(&self) -> PathBuf {
        self.directory.path().join("secret")
    }

    /// The home of a user who verifies.
    pub fn home(&self) -> PathBuf {
        self.directory.path().join("user")
    }

    /// The directory with the keyrings of this user: `ring.gpg`, `ring.asc` and `user/pubring.kbx`.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The fingerprints of the key that signs, and of its primary key.
    pub fn fingerprints(&self, who: Who) -> &(String, String) {
        &self.fingerprints[EVERYBODY.iter().position(|other| *other == who).unwrap()]
    }

    /// What comes of `data` when one signs it: `options` say how.
    pub fn sign(&self, who: Who, options: &[&str], data: &[u8]) -> Vec<u8> {
        let user_id = who.user_id();
        let mut arguments = who.clock().to_vec();
        arguments.extend(["--local-user", &user_id, "--output=-"]);
        arguments.extend(options);
        self.gpg(&arguments, data)
    }

    fn gpg(&self, arguments: &[&str], input: &[u8]) -> Vec<u8> {
        gpg(&self.secret_home(), arguments, input)
    }
}

/// Runs gpg, which must succeed; returns its standard output.
fn gpg(home: &Path, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), input).unwrap();
    let mut command = Command::new(find_program("gpg").unwrap());
    command.env("GNUPGHOME", home).args(["--batch", "--no-tty", "--quiet", "--yes", "--no-auto-check-trustdb"]);
    // The names of those who sign are UTF-8, wherever the tests run.
    command.args(["--utf8-strings", "--display-charset=utf-8"]);
    command.args(["--pinentry-mode=loopback", "--passphrase="]).args(arguments);
    let output = command.stdin(file.reopen().unwrap()).output().unwrap();
    assert!(output.status.success(), "gpg {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}
