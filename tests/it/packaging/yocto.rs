//! The recipe for Yocto, and the launcher that it may install.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::common::package::project_file;
use crate::common::tool::{Tool, bmaptool};
use crate::common::{PYTHON, sh, temp_dir, text};

use super::{Environment, place, version};

const RECIPE: &str = "packaging/yocto/recipes-support/bmaptool/bmaptool_git.bb";
const CRATES: &str = "packaging/yocto/recipes-support/bmaptool/bmaptool-crates.inc";

/// The real one, of its developers.
const BITBAKE: &str = "bitbake-setup==2.19.0";

#[test]
fn the_recipe_has_the_crates_of_the_lock_file() {
    let listed = sh(text(&project_file("packaging/yocto/list-crates")), &[]);
    assert!(listed == fs::read_to_string(project_file(CRATES)).unwrap(), "packaging/yocto/list-crates > {CRATES}");
    let lock = lock_file();
    assert!(lock.len() > 100 && lock.keys().all(|name| listed.contains(name)), "{lock:?}");
}

/// The crates of Cargo.lock that come from the registry, as `name/version`, with their checksums.
fn lock_file() -> BTreeMap<String, String> {
    let lock = fs::read_to_string(project_file("Cargo.lock")).unwrap();
    let packages = lock.split("[[package]]").filter_map(|package| {
        let field = |name: &str| {
            package.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = \"")?.strip_suffix('"'))
        };
        Some((format!("{}/{}", field("name")?, field("version")?), field("checksum")?.to_owned()))
    });
    packages.collect()
}

#[test(Program("md5sum"))]
fn the_recipe_knows_the_licence() {
    let sum = sh("md5sum", &[text(&project_file("LICENSE"))]);
    let expected = format!("file://LICENSE;md5={}", &sum[..32]);
    assert!(fs::read_to_string(project_file(RECIPE)).unwrap().contains(&expected), "{expected}");
}

/// The launcher and the binary, as the recipe installs them.
#[test(Program("python3"))]
fn the_launcher_runs_the_binary_with_the_same_arguments_and_status() {
    let root = temp_dir();
    let launcher = root.path().join("bin/bmaptool");
    place(&project_file("packaging/yocto/launcher"), &launcher);
    place(Path::new(env!("CARGO_BIN_EXE_bmaptool")), &root.path().join("libexec/bmaptool/bmaptool"));
    assert!(fs::read(&launcher).unwrap().starts_with(b"#!/usr/bin/python3\n"));
    let odd = [b"create".as_slice(), b"-o", b"a b", b"--", b"-\xff'\"\\ $x\n"].map(OsStr::from_bytes);
    for interpreter in [None, Some(PYTHON)] {
        let run = |arguments: &[&OsStr]| {
            let mut command = Command::new(interpreter.map_or(launcher.as_os_str(), OsStr::new));
            command.args(interpreter.map(|_| &launcher)).args(arguments);
            Tool::of(command)
        };
        assert_eq!(run(&["--version".as_ref()]).ok().stdout, version());
        assert_eq!(run(&odd).run().stderr, bmaptool(odd).fails(&["cannot open image"]).stderr);
        run(&["--nonsense".as_ref()]).exits(2, &["--nonsense"]);
    }
    // Also by a link to it.
    let link = root.path().join("link");
    std::os::unix::fs::symlink(&launcher, &link).unwrap();
    sh(text(&link), &["--version"]);
}

#[test(Minutes, Python("ensurepip"))]
fn bitbake_reads_the_recipe() {
    let environment = Environment::new();
    environment.install(&[BITBAKE]);
    let crates = lock_file();
    for (settings, launched) in [("", false), ("launcher", true)] {
        let variants = recipes(&environment, settings);
        assert_eq!(variants.keys().collect::<Vec<_>>(), ["", "native", "nativesdk"]);
        for variant in variants.values() {
            assert_eq!(variant["PV"], env!("CARGO_PKG_VERSION").replace('-', "~"));
            assert_eq!(variant["S"], env!("CARGO_MANIFEST_DIR"));
            // A binary that comes stripped is an error of the build ("already-stripped").
            assert_eq!(variant["CARGO_PROFILE_RELEASE_STRIP"], "none");
            for relation in ["PROVIDES", "RPROVIDES", "RREPLACES", "RCONFLICTS"] {
                let names = variant[relation].as_str().unwrap();
                assert!(names.split_whitespace().any(|name| name == "bmap-tools"), "{relation}: {names}");
            }
            let fetched = variant["crates"].as_object().unwrap();
            assert_eq!(fetched.len(), crates.len());
            for (name, sum) in &crates {
                assert_eq!(fetched[&format!("https://static.crates.io/crates/{name}/download")], *sum, "{name}");
            }
            installs(variant, launched);
        }
    }
}

/// What BitBake makes of the recipe: the one for the target, and its variants.
fn recipes(environment: &Environment, settings: &str) -> BTreeMap<String, Value> {
    let directory = temp_dir();
    let mut python = environment.command("python");
    python.arg(project_file("tests/it/packaging/parse_recipe.py"));
    python.arg(project_file("packaging/yocto")).arg(directory.path());
    python.env("PACKAGECONFIG", settings).env("BINARY", env!("CARGO_BIN_EXE_bmaptool"));
    let output = python.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Runs the recipe's script, and what it has installed.
fn installs(variant: &Value, launched: bool) {
    let root = temp_dir();
    let script = variant["do_install"].as_str().unwrap().replace(variant["D"].as_str().unwrap(), text(root.path()));
    sh("sh", &["-euc", &script]);
    let command = root.path().join("usr/bin/bmaptool");
    assert_eq!(fs::read(&command).unwrap().starts_with(b"#!"), launched);
    assert_eq!(sh(text(&command), &["--version"]).into_bytes(), version());
    assert!(root.path().join("usr/share/man/man1/bmaptool.1").exists());
}
