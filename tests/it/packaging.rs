//! What is shipped besides the static binary and the package for Debian.

mod crates;
mod picture;
mod wheel;
mod yocto;

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::common::tool::Tool;
use crate::common::{PYTHON, sh, temp_dir, text};

/// A virtual environment of Python, and nothing of this machine but what Debian has.
struct Environment {
    directory: TempDir,
}

impl Environment {
    fn new() -> Self {
        let directory = temp_dir();
        sh(PYTHON, &["-m", "venv", text(directory.path())]);
        Self { directory }
    }

    fn program(&self, name: &str) -> PathBuf {
        self.directory.path().join("bin").join(name)
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.program(name));
        command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", self.directory.path());
        // Where packages come from, and through what.
        let kept = |name: &str| {
            name.starts_with("PIP_") || name.to_lowercase().ends_with("_proxy") || name.starts_with("SSL_")
        };
        command.envs(std::env::vars().filter(|(name, _)| kept(name)));
        command
    }

    fn run(&self, name: &str, arguments: &[&str]) -> Tool {
        let mut command = self.command(name);
        command.args(arguments);
        Tool::of(command)
    }

    fn install(&self, arguments: &[&str]) {
        let output = self.command("pip").args(["install", "--quiet"]).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// What `--version` prints.
fn version() -> Vec<u8> {
    format!("bmaptool {}\n", env!("BMAPTOOL_VERSION")).into()
}

/// Cargo, as it runs this.
fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

/// Copies a file into a directory that need not be there yet.
fn place(file: &Path, at: &Path) {
    std::fs::create_dir_all(at.parent().unwrap()).unwrap();
    std::fs::copy(file, at).unwrap();
}
