//! Keys of every algorithm and in every state, made by GnuPG.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::common::{find_program, temp_dir};

/// Long ago, as a time of GnuPG.
pub const LONG_AGO: &str = "--faked-system-time=20200101T000000";

/// A home of GnuPG with secret keys, whose agent ends with it.
pub struct Home(tempfile::TempDir);

impl Home {
    pub fn new() -> Self {
        let home = temp_dir();
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).unwrap();
        Self(home)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Runs gpg, which must succeed; returns its standard output.
    pub fn gpg(&self, arguments: &[&str], input: &[u8]) -> Vec<u8> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), input).unwrap();
        let mut command = Command::new(find_program("gpg").unwrap());
        command.env("GNUPGHOME", self.path()).args([
            "--batch",
            "--no-tty",
            "--quiet",
            "--yes",
            "--no-auto-check-trustdb",
        ]);
        command.args(["--pinentry-mode=loopback", "--passphrase=", "--output=-"]).args(arguments);
        let output = command.stdin(file.reopen().unwrap()).stderr(Stdio::piped()).output().unwrap();
        assert!(output.status.success(), "gpg {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// Makes a key; returns its fingerprint.
    pub fn key(&self, user_id: &str, algorithm: &str, usage: &str, options: &[&str]) -> String {
        self.key_until(user_id, algorithm, usage, "never", options)
    }

    pub fn key_until(&self, user_id: &str, algorithm: &str, usage: &str, until: &str, options: &[&str]) -> String {
        self.gpg(&[options, &["--quick-generate-key", user_id, algorithm, usage, until]].concat(), b"");
        self.fingerprints(user_id).swap_remove(0)
    }

    /// Adds a subkey to the key with this fingerprint; returns that of the subkey.
    pub fn subkey(&self, primary: &str, algorithm: &str, usage: &str, until: &str, options: &[&str]) -> String {
        self.gpg(&[options, &["--quick-add-key", primary, algorithm, usage, until]].concat(), b"");
        self.fingerprints(primary).pop().unwrap()
    }

    fn fingerprints(&self, key: &str) -> Vec<String> {
        let list = String::from_utf8(self.gpg(&["--with-colons", "--list-keys", key], b"")).unwrap();
        let fields = list.lines().filter(|line| line.starts_with("fpr:")).map(|line| line.split(':').nth(9));
        fields.map(|field| field.unwrap().to_owned()).collect()
    }

    /// The certificate.
    pub fn export(&self, key: &str) -> Vec<u8> {
        self.gpg(&["--export", key], b"")
    }

    /// All certificates.
    pub fn export_all(&self) -> Vec<u8> {
        self.gpg(&["--export"], b"")
    }

    /// What comes of `data` when `key` signs it.
    pub fn sign(&self, key: &str, options: &[&str], data: &[u8]) -> Vec<u8> {
        self.gpg(&[&["--local-user", &format!("{key}!")], options].concat(), data)
    }

    /// Types these answers to `gpg --edit-key`.
    pub fn edit(&self, key: &str, answers: &[&str]) {
        let answers = answers.iter().map(|answer| format!("{answer}\n")).collect::<String>();
        let arguments = ["--no-batch", "--command-fd=0", "--expert", "--edit-key", key];
        self.gpg(&arguments, answers.as_bytes());
    }

    /// Revokes a key: GnuPG has made the signature for it together with the key.
    pub fn revoke(&self, key: &str) {
        let revocation = self.path().join("openpgp-revocs.d").join(format!("{key}.rev"));
        let revocation = fs::read_to_string(revocation).unwrap().replace("\n:-----BEGIN", "\n-----BEGIN");
        self.gpg(&["--import"], revocation.as_bytes());
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = Command::new("gpgconf").args(["--kill", "all"]).env("GNUPGHOME", self.path()).status();
    }
}
