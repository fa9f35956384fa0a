//! The version, and the commit in it, as `build.rs` finds it.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::common::tool::bmaptool;
use crate::common::{sh, temp_dir, text};

#[test]
fn the_version_is_followed_by_the_commit() {
    let answer = String::from_utf8(bmaptool(["--version"]).ok().stdout).unwrap();
    // Scripts take the second word.
    let mut words = answer.split_whitespace();
    assert_eq!((words.next(), words.next()), (Some("bmaptool"), Some(env!("CARGO_PKG_VERSION"))));
    let commit = words.next();
    assert!(commit.is_none_or(|word| word.len() == 14 && word.starts_with('(')) && words.next().is_none(), "{answer}");
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR"));
    if checkout.join(".git").exists() {
        let head = Command::new("git").arg("-C").arg(checkout).args(["rev-parse", "HEAD"]).output();
        let Some(head) = head.ok().filter(|head| head.status.success()) else { return };
        assert_eq!(commit, Some(&*format!("({:.12})", String::from_utf8(head.stdout).unwrap())));
    }
}

#[test(Program("rustc"), Program("git"))]
fn the_commit_is_that_of_the_source_and_of_nothing_around_it() {
    let directory = temp_dir();
    let path = |name: &str| directory.path().join(name);
    let script = path("script");
    sh("rustc", &["--edition", "2024", "-o", text(&script), concat!(env!("CARGO_MANIFEST_DIR"), "/build.rs")]);
    let version_in = |place: &Path| {
        let output = Command::new(&script)
            .env("CARGO_PKG_VERSION", "1.2.3")
            .env_remove("BMAPTOOL_COMMIT")
            .current_dir(place)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        for watched in said.lines().filter_map(|line| line.strip_prefix("cargo::rerun-if-changed=")) {
            // Cargo takes what is missing for changed.
            assert!(watched == "build.rs" || place.join(watched).exists(), "{said}");
        }
        said.lines().find_map(|line| line.strip_prefix("cargo::rustc-env=BMAPTOOL_VERSION=")).unwrap().to_owned()
    };
    let git = |arguments: &[&str]| {
        let own = ["-C", text(directory.path()), "-c", "user.name=x", "-c", "user.email=x"];
        sh("git", &[&own, arguments].concat()).trim().to_owned()
    };
    assert_eq!(version_in(directory.path()), "1.2.3");
    git(&["init", "-q"]);
    assert_eq!(version_in(directory.path()), "1.2.3");
    git(&["commit", "-q", "--allow-empty", "-m", "x"]);
    let commit = git(&["rev-parse", "HEAD"]);
    assert_eq!(version_in(directory.path()), format!("1.2.3 ({})", &commit[..12]));

    // A worktree has a commit of its own; a source archive and a package have none of the repository that they lie in.
    git(&["worktree", "add", "-q", "--detach", "tree"]);
    git(&["commit", "-q", "--allow-empty", "-m", "y"]);
    assert_eq!(version_in(&path("tree")), format!("1.2.3 ({})", &commit[..12]));
    fs::create_dir(path("archive")).unwrap();
    assert_eq!(version_in(&path("archive")), "1.2.3");
    let note =
        "{\n  \"git\": {\n    \"sha1\": \"0123456789abcdef0123456789abcdef01234567\"\n  },\n  \"path_in_vcs\": \"\"\n}";
    fs::write(path("archive/.cargo_vcs_info.json"), note).unwrap();
    assert_eq!(version_in(&path("archive")), "1.2.3 (0123456789ab)");

    let named = |commit| {
        let mut script = Command::new(&script);
        script.env("CARGO_PKG_VERSION", "1.2.3").env("BMAPTOOL_COMMIT", commit).current_dir(path("archive"));
        String::from_utf8(script.output().unwrap().stdout).unwrap()
    };
    assert!(named("fedcba9876543210").contains("=1.2.3 (fedcba987654)\n"));
    assert!(named("").contains("=1.2.3 (0123456789ab)\n"));
}
