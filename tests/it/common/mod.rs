//! What the tests share: the built binary, images, devices and file systems, servers and signers.

pub mod control_groups;
pub mod daemon;
pub mod device;
pub mod download;
pub mod fuse;
pub mod gnupg;
pub mod image;
pub mod inject;
pub mod json;
pub mod layered;
pub mod lying;
pub mod package;
pub mod server;
pub mod signed;
pub mod stage;
pub mod terminal;
pub mod tool;
pub mod trace;
pub mod work;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use sha2::{Digest, Sha256};

/// The distribution's interpreter: it has modules that another one may not have.
pub const PYTHON: &str = "/usr/bin/python3";

/// The path of a program, in the places where an administrator's PATH looks.
pub fn find_program(name: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(Into::into))
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file())
}

/// A new directory that is removed when it is dropped.
pub fn temp_dir() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("bmaptool-test-").tempdir().unwrap()
}

/// The options in a text: words that begin with dashes, up to where they end.
pub fn options(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'))
        .filter(|word| word.starts_with("--") && word.len() > 2)
        .map(str::to_owned)
        .collect()
}

/// A path of a test, all of which are UTF-8.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The digest of a file or device.
pub fn sha256(path: impl AsRef<Path>) -> String {
    let mut hasher = Sha256::new();
    let mut file = std::fs::File::open(path.as_ref()).unwrap();
    let mut chunk = vec![0; 1 << 20];
    loop {
        match std::io::Read::read(&mut file, &mut chunk).unwrap() {
            0 => break,
            count => hasher.update(&chunk[..count]),
        }
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Runs a helper program, which must succeed; returns its standard output.
pub fn sh(program: &str, arguments: &[&str]) -> String {
    let path = find_program(program).unwrap_or_else(|| program.into());
    let output = Command::new(path).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {}\n{stderr}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}
