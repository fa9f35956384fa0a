//! What `cargo publish` would publish.

use super::cargo;

/// What is in the package with this name.
fn contents(name: &str) -> Vec<String> {
    let output = cargo().args(["package", "--list", "--allow-dirty", "--package", name]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test(Program("cargo"))]
fn the_crate_has_what_is_compiled_and_installed() {
    let files = contents("bmaptool");
    for needed in [
        "Cargo.lock",
        "LICENSE",
        "README.md",
        "build.rs",
        "docs/guide.md",
        "docs/json.schema.json",
        "docs/terminal.svg",
        "examples/completions.rs",
        "man/bmaptool.1",
        "packaging/completions/tuning.bash",
        "src/cli/python.ld",
        "src/main.rs",
    ] {
        assert!(files.iter().any(|file| file == needed), "{needed}: {files:#?}");
    }
    // The attributes of the tests are in a crate that is not published.
    let foreign =
        [".ci/", ".github/", "benches/", "crates/", "fuzz/", "packaging/deb", "packaging/yocto", "target/", "tests/"];
    for name in foreign {
        assert!(!files.iter().any(|file| file.starts_with(name)), "{name}: {files:#?}");
    }
}

#[test(Program("cargo"))]
fn the_crate_of_the_decoder_has_a_licence() {
    let files = contents("bzip2-parallel");
    for needed in ["LICENSE", "README.md", "src/lib.rs"] {
        assert!(files.iter().any(|file| file == needed), "{needed}: {files:?}");
    }
}
