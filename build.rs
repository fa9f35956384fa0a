//! Tells the program its version with the commit that it is built from: the one that `BMAPTOOL_COMMIT` names, that of the
//! checkout, or the one that `cargo package` has noted. Anything else, such as a source archive, has none.

use std::fs;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let commit =
        named_commit().or_else(packaged_commit).or_else(checked_out_commit).map(|commit| format!(" ({commit:.12})"));
    let version = std::env::var("CARGO_PKG_VERSION").expect("cargo sets it");
    println!("cargo::rustc-env=BMAPTOOL_VERSION={version}{}", commit.unwrap_or_default());
}

/// What the caller says, who may build where no git is.
fn named_commit() -> Option<String> {
    println!("cargo::rerun-if-env-changed=BMAPTOOL_COMMIT");
    std::env::var("BMAPTOOL_COMMIT").ok().filter(|commit| !commit.is_empty())
}

fn packaged_commit() -> Option<String> {
    let note = fs::read_to_string(".cargo_vcs_info.json").ok()?;
    let (_, rest) = note.split_once("\"sha1\": \"")?;
    rest.split_once('"').map(|(commit, _)| commit.to_owned())
}

fn checked_out_commit() -> Option<String> {
    // Not one of a directory above, which may be a repository of something else.
    if !Path::new(".git").exists() {
        return None;
    }
    let git = |arguments: &[&str]| {
        let output = Command::new("git").arg("--git-dir=.git").args(arguments).output().ok()?;
        let answer = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| answer.trim_end().to_owned())
    };
    // Its log changes with every commit and checkout, HEAD itself only with the branch.
    for name in ["HEAD", "logs/HEAD"] {
        let path = git(&["rev-parse", "--git-path", name])?;
        // Cargo would take one that does not exist for changed at each build.
        if Path::new(&path).exists() {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    git(&["rev-parse", "--verify", "HEAD"])
}
