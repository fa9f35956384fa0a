//! What is shipped, as the scripts in `packaging` make it.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{find_program, sh, text};

/// A file of the project.
pub fn project_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Runs a script of `packaging`; returns what it printed.
fn run(script: &str, arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let mut command = Command::new(project_file("packaging").join(script));
    let output = command.args(arguments).envs(environment.iter().copied()).output().unwrap();
    assert!(output.status.success(), "packaging/{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a script of `packaging`, which prints the path of what it made.
pub fn make(script: &str, arguments: &[&str]) -> PathBuf {
    run(script, arguments, &[]).trim_end().into()
}

/// What is built for another architecture is tried, not shipped: optimising it would take longer than trying it.
const HASTE: [(&str, &str); 3] = [
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1"),
    ("CARGO_PROFILE_RELEASE_LTO", "off"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16"),
];

/// Runs a command of `packaging/cross`; returns what it printed.
pub fn cross(architecture: &str, command: &[&str]) -> String {
    run("cross", &[&[architecture], command].concat(), &HASTE)
}

/// The static binary for an architecture.
pub fn static_binary(architecture: &str) -> PathBuf {
    let haste = if architecture == std::env::consts::ARCH { &[][..] } else { &HASTE };
    run("static", &[architecture], haste).trim_end().into()
}

/// The command that runs another one in `root`, with no environment.
pub fn chroot(root: &Path) -> Command {
    let mut command = Command::new(find_program("chroot").unwrap());
    command.env_clear().arg(root);
    command
}

/// A view of /sys in which nothing can be changed, in another root directory. It is gone when it is dropped.
pub struct Sys {
    directory: PathBuf,
}

impl Sys {
    pub fn within(root: &Path) -> Self {
        let directory = root.join("sys");
        std::fs::create_dir_all(&directory).unwrap();
        sh("mount", &["-o", "bind,ro", "/sys", text(&directory)]);
        Self { directory }
    }
}

impl Drop for Sys {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.directory).status();
    }
}
