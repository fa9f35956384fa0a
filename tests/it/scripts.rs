//! What the scripts of build systems, flashing stations and cron do, through a shell.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::common::image::{Random, assert_same, disk_like, sparse};
use crate::common::tool::{binary, create};
use crate::common::{sh, temp_dir};
use tempfile::TempDir;

/// A directory with an image, its bmap, and its compressed form.
struct Scene {
    directory: TempDir,
}

impl Scene {
    fn new() -> Self {
        let directory = temp_dir();
        let image = directory.path().join("image.raw");
        disk_like(&image, 1);
        std::fs::rename(create(&image), directory.path().join("image.bmap")).unwrap();
        Self { directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn compress(&self) {
        sh("xz", &["--keep", "-1", self.path("image.raw").to_str().unwrap()]);
    }

    /// Runs a script in the directory, with our bmaptool first on PATH.
    fn bash(&self, script: &str) -> Output {
        Command::new("bash")
            .args(["-c", script])
            .current_dir(self.directory.path())
            .env("PATH", path())
            .output()
            .unwrap()
    }
}

fn path() -> String {
    let binary = Path::new(binary());
    format!("{}:{}", binary.parent().unwrap().display(), std::env::var("PATH").unwrap())
}

fn assert_success(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test(Program("bash"), Program("xz"))]
fn the_recipes_of_build_scripts_work() {
    let scene = Scene::new();
    scene.compress();
    let recipes = [
        "set -eu -o pipefail; bmaptool create image.raw > image.bmap && bmaptool copy image.raw out",
        "set -eu -o pipefail; bmaptool create -o made.bmap image.raw; bmaptool copy --bmap made.bmap image.raw.xz out",
        "set -eu -o pipefail; xzcat image.raw.xz | bmaptool copy --bmap image.bmap - out",
        "bmaptool copy --bmap image.bmap image.raw.xz out 2>&1 | tee log | grep -q 'copying speed'",
        "LANG=C bmaptool -q copy --nobmap image.raw.xz out",
        "bmaptool copy --nobmap - out < image.raw",
    ];
    for recipe in recipes {
        assert_success(&scene.bash(recipe));
        assert_same(&scene.path("image.raw"), &scene.path("out"));
        std::fs::remove_file(scene.path("out")).unwrap();
    }
}

/// An image whose holes hold data that its bmap does not list, far more than a pipe takes; compressed too.
fn image_with_a_long_rest() -> Scene {
    let scene = Scene::new();
    let image = scene.path("image.raw");
    sparse(&image, 8 << 20, &[(0, 100_000)], 1);
    std::fs::rename(create(&image), scene.path("image.bmap")).unwrap();
    let rest = Random::new(2).bytes((8 << 20) - 200_000);
    File::options().write(true).open(&image).unwrap().write_all_at(&rest, 200_000).unwrap();
    assert_success(&scene.bash("gzip -1 -k image.raw; xz -0 -k image.raw; bzip2 -1 -k image.raw"));
    scene
}

#[test(Program("bash"), Program("xz"), Program("bzip2"))]
fn a_pipe_is_read_to_its_end() {
    let scene = image_with_a_long_rest();
    let image = std::fs::read(scene.path("image.raw")).unwrap();
    for feeder in ["cat image.raw", "xzcat image.raw.xz", "cat image.raw.xz", "cat image.raw.gz", "cat image.raw.bz2"] {
        let recipe = format!("{feeder} | bmaptool copy --bmap image.bmap - out; echo ${{PIPESTATUS[*]}}");
        let output = scene.bash(&recipe);
        assert_eq!(String::from_utf8_lossy(&output.stdout), "0 0\n", "{feeder}");
        assert!(std::fs::read(scene.path("out")).unwrap()[..100_000] == image[..100_000]);
        // A process that bash does not count in the pipeline, but tells the end of.
        let script = format!("set -e; bmaptool copy --bmap image.bmap <({feeder}) out2; wait $!; rm out2");
        assert_success(&scene.bash(&script));
        let script = format!("set -e -o pipefail; {feeder} | bmaptool verify --bmap image.bmap -");
        assert_success(&scene.bash(&script));
    }
}

#[test(Program("bash"), Program("gzip"))]
fn what_follows_the_last_mapped_byte_fails_no_copy() {
    let scene = image_with_a_long_rest();
    for feeder in [
        "cat image.raw /dev/zero",
        "cat image.raw.gz /dev/zero",
        "head -c 3000000 image.raw",
        "head -c 3000000 image.raw.gz",
        "(head -c 3000000 image.raw.gz; cat image.raw)",
    ] {
        let script = format!("{feeder} | bmaptool copy --bmap image.bmap - out; echo ${{PIPESTATUS[1]}}");
        let output = scene.bash(&script);
        assert_eq!(String::from_utf8_lossy(&output.stdout), "0\n", "{feeder}");
    }
}

#[test(Program("bash"), Program("xz"))]
fn a_failure_stops_a_strict_script() {
    let scene = Scene::new();
    scene.compress();
    for recipe in [
        "bmaptool create missing.raw > new.bmap",
        "xzcat image.raw.xz | head -c 100000 | bmaptool copy --bmap image.bmap - out",
        "head -c 3000 image.raw.xz | bmaptool copy --nobmap - out",
        "bmaptool copy image.raw.xz /no/such/directory/out",
    ] {
        let output = scene.bash(&format!("set -eu -o pipefail; {recipe}; echo reached"));
        assert!(!output.status.success() && output.stdout.is_empty(), "{recipe}");
        assert!(!scene.path("out").exists(), "{recipe}");
    }
}

#[test(Program("bash"))]
fn cron_gets_no_mail_on_success() {
    let scene = Scene::new();
    let output = scene.bash(
        "set -e; bmaptool --quiet create -o new.bmap image.raw; bmaptool --quiet copy image.raw out; \
         bmaptool -q copy --nobmap image.raw out; bmaptool copy -q --bmap new.bmap - out < image.raw",
    );
    assert_success(&output);
    assert!(output.stdout.is_empty() && output.stderr.is_empty());
    // On failure there is one.
    let output = scene.bash("bmaptool --quiet copy missing.raw out");
    assert!(!output.status.success() && output.stdout.is_empty() && !output.stderr.is_empty());
}

/// As OpenEmbedded's image classes and wic do, debos recipes, and those who flash what they have built.
#[test(Program("bash"), Program("xz"))]
fn the_calls_of_image_builders_work() {
    let scene = Scene::new();
    scene.compress();
    let recipes = [
        // image_types.bbclass, in its newer and its older form; wic create --bmap.
        "bmaptool create core-image.wic -o core-image.wic.bmap",
        "bmaptool create core-image.wic > core-image.wic.bmap",
        "bmaptool create $PWD/core-image.wic -o $PWD/core-image.wic.bmap",
        // A debos action that runs after the last one, with the artifacts beside each other.
        "bmaptool create core-image.wic > core-image.wic.bmap && xz -1 -T0 -f core-image.wic",
        // A flashing station.
        "bmaptool create core-image.wic -o x.bmap && xz -1 core-image.wic && \
         bmaptool copy --bmap x.bmap --no-sig-verify core-image.wic.xz flashed && mv x.bmap core-image.wic.bmap",
    ];
    for recipe in recipes {
        let script = format!(
            "set -eu -o pipefail; export LC_ALL=C; cp --sparse=always image.raw core-image.wic; {recipe}; \
             for image in core-image.wic core-image.wic.xz; do test ! -e $image || bmaptool copy $image out; done; \
             rm core-image.wic*"
        );
        assert_success(&scene.bash(&script));
        assert_same(&scene.path("image.raw"), &scene.path("out"));
        std::fs::remove_file(scene.path("out")).unwrap();
    }
    // Some ask for the version first.
    let version = scene.bash("bmaptool --version | sed -n 's/^bmaptool \\([0-9]*\\).*/\\1/p'");
    assert_eq!(String::from_utf8_lossy(&version.stdout).trim(), env!("CARGO_PKG_VERSION_MAJOR"));
}

#[test(Program("bash"))]
fn closed_standard_streams_are_no_reason_to_fail() {
    let scene = Scene::new();
    for redirection in ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"] {
        assert_success(&scene.bash(&format!("bmaptool copy image.raw out {redirection}")));
        assert_same(&scene.path("image.raw"), &scene.path("out"));
        std::fs::remove_file(scene.path("out")).unwrap();
    }
}

#[test(Program("bash"))]
fn nothing_is_made_of_a_stream_that_is_closed() {
    let scene = Scene::new();
    let output = scene.bash("bmaptool create image.raw >&-");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("cannot write the bmap to standard output: it is closed"), "{stderr}");
    let output = scene.bash("bmaptool copy --nobmap - out <&-");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("standard input is closed"));
    assert!(!scene.path("out").exists());
    // A bmap that goes elsewhere needs no standard output, and may be thrown away.
    assert_success(&scene.bash("bmaptool create image.raw -o new.bmap >&- && test -s new.bmap"));
    assert_success(&scene.bash("bmaptool create image.raw >/dev/null && bmaptool create image.raw 1<>/dev/null"));
    // That messages cannot be written is no failure.
    assert_success(
        &scene.bash("bmaptool create image.raw -o new.bmap 2>&- && bmaptool copy image.raw out 2>/dev/full"),
    );
}

#[test(Program("bash"))]
fn an_output_that_is_full_or_gone_is_a_failure() {
    let scene = Scene::new();
    let full = scene.bash("bmaptool create image.raw > /dev/full");
    assert_eq!(full.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&full.stderr).contains("cannot write the bmap to standard output: No space left"));
    // The reader may close the pipe before it has read everything, with and without a handler of SIGPIPE.
    for trap in ["", "trap '' PIPE; "] {
        let script = format!("{trap}bmaptool create image.raw | head -c 1 > /dev/null; echo ${{PIPESTATUS[0]}}");
        let output = scene.bash(&script);
        let status = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        assert!(["0", "1"].contains(&status.as_str()), "{status}");
        assert!(!String::from_utf8_lossy(&output.stderr).contains("internal error"));
    }
}

#[test(Program("bash"))]
fn names_need_not_be_text() {
    let scene = Scene::new();
    let recipe = "set -eu; n=$(printf 'a \\377 b'); cp --sparse=always image.raw \"$n.img\"; \
                  bmaptool create \"$n.img\" > \"$n.bmap\"; bmaptool copy \"$n.img\" out";
    for locale in ["LC_ALL=C", "LC_ALL=C.UTF-8"] {
        assert_success(&scene.bash(&format!("export {locale}; {recipe}")));
        assert_same(&scene.path("image.raw"), &scene.path("out"));
    }
}

#[test(Program("bash"))]
fn a_current_directory_need_not_be_writable() {
    let scene = Scene::new();
    let (image, out) = (scene.path("image.raw"), scene.path("out"));
    assert_success(&scene.bash(&format!("cd /proc && bmaptool copy {} {}", image.display(), out.display())));
    assert_same(&image, &out);
}
