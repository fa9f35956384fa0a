//! Signed bmaps, and what is said of them.

use std::fs;
use std::path::PathBuf;

use super::gnupg::{Who, keys};
use super::image::{assert_same, sparse};
use super::tool::{Outcome, Tool, copy, create};
use super::{sha256, temp_dir};

pub const BAD: &str = "discovered a BAD GPG signature";
pub const GOOD: &str = "successfully verified bmap file signature of";
pub const DETACHED: &[&str] = &["--detach-sign"];
pub const ARMORED: &[&str] = &["--detach-sign", "--armor"];
pub const CLEAR: &[&str] = &["--clearsign"];

/// An image with its bmap, and a target that holds something.
pub struct Bench {
    pub directory: tempfile::TempDir,
    pub image: PathBuf,
    pub bmap: PathBuf,
    pub target: PathBuf,
}

impl Bench {
    pub fn new() -> Self {
        let directory = temp_dir();
        let (image, target) = (directory.path().join("disk.img"), directory.path().join("target"));
        sparse(&image, 256 << 10, &[(0, 5000), (128 << 10, 4096)], 7);
        let bmap = create(&image);
        fs::write(&target, "precious").unwrap();
        Self { directory, image, bmap, target }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn text(&self) -> Vec<u8> {
        fs::read(&self.bmap).unwrap()
    }

    pub fn write_bmap(&self, text: impl AsRef<[u8]>) -> &Self {
        fs::write(&self.bmap, text).unwrap();
        self
    }

    /// Puts a file beside the bmap, with its name and `ending`.
    pub fn write_beside(&self, ending: &str, signature: impl AsRef<[u8]>) -> &Self {
        fs::write(format!("{}{ending}", self.bmap.display()), signature).unwrap();
        self
    }

    /// Lays a signature of the bmap beside it.
    pub fn sign(&self, who: Who) -> &Self {
        self.write_beside(".sig", keys().sign(who, DETACHED, &self.text()))
    }

    /// Makes the bmap a clearsigned one.
    pub fn clearsign(&self, who: Who) -> &Self {
        self.write_bmap(keys().sign(who, CLEAR, &self.text()))
    }

    /// A copy by the user who has all keys except the stranger's.
    pub fn copy(&self, options: &[&str]) -> Tool {
        let mut tool = copy(options).env("GNUPGHOME", keys().home());
        tool.command.args([&self.image, &self.target]);
        tool
    }

    /// Expects the copy to be made.
    pub fn accepts(&self, tool: Tool, fragments: &[&str]) -> Outcome {
        fs::write(&self.target, "precious").unwrap();
        let outcome = tool.ok();
        outcome.says(fragments);
        assert_same(&self.image, &self.target);
        outcome
    }

    /// Expects the copy to be refused, and the target to be left alone.
    pub fn refuses(&self, tool: Tool, fragments: &[&str]) -> Outcome {
        fs::write(&self.target, "precious").unwrap();
        let before = sha256(&self.target);
        let outcome = tool.fails(fragments);
        assert_eq!(sha256(&self.target), before);
        assert!(!outcome.stderr.contains(GOOD) || !outcome.stderr.contains(BAD), "{}", outcome.stderr);
        outcome
    }
}

/// What is said of a good signature.
pub fn good(who: Who) -> String {
    format!("{GOOD} {} (fingerprint {})", who.user_id(), keys().fingerprints(who).0)
}
