//! The package for Debian, installed in a Debian that has nothing else.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;

use crate::common::device::Disk;
use crate::common::image::{self, assert_same, disk_like};
use crate::common::package::{self, Sys};
use crate::common::{sh, text};
use crate::manual::check_links;
use nix::sys::stat::{Mode, SFlag, mknod};
use tempfile::TempDir;

static PACKAGE: LazyLock<PathBuf> = LazyLock::new(|| package::make("deb", &[]));

fn field(name: &str) -> String {
    sh("dpkg-deb", &["--field", text(&PACKAGE), name]).trim().to_owned()
}

/// Its files in a directory.
fn unpacked() -> TempDir {
    let directory = crate::common::temp_dir();
    sh("dpkg-deb", &["--extract", text(&PACKAGE), text(directory.path())]);
    directory
}

#[test(Minutes, Program("dpkg-deb"))]
fn it_has_what_belongs_to_it() {
    assert_eq!(field("Version"), env!("CARGO_PKG_VERSION").replace('-', "~"));
    assert_eq!(field("Depends"), "");
    assert_eq!(field("Provides"), format!("bmap-tools (= {})", field("Version")));
    for relation in ["Conflicts", "Replaces"] {
        assert_eq!(field(relation), "bmap-tools", "{relation}");
    }
    let directory = unpacked();
    let share = directory.path().join("usr/share");
    for name in [
        "bash-completion/completions/bmaptool",
        "zsh/vendor-completions/_bmaptool",
        "fish/vendor_completions.d/bmaptool.fish",
        "doc/bmaptool/README.md",
    ] {
        assert!(fs::metadata(share.join(name)).unwrap().len() > 1000, "{name}");
    }
    assert!(check_links(&share.join("doc/bmaptool")) > 5);
    let unzipped = |name: &str| sh("gzip", &["-dc", text(&share.join(name))]);
    assert_eq!(
        unzipped("man/man1/bmaptool.1.gz"),
        fs::read_to_string(package::project_file("man/bmaptool.1")).unwrap()
    );
    assert!(unzipped("doc/bmaptool/changelog.gz").starts_with(&format!("bmaptool ({}) ", field("Version"))));
    licences_are_complete(
        &fs::read_to_string(share.join("doc/bmaptool/copyright")).unwrap(),
        &unzipped("doc/bmaptool/notices.gz"),
    );
}

/// Each crate has a licence, each licence has its words, and each crate its notices.
fn licences_are_complete(copyright: &str, notices: &str) {
    let crates: Vec<_> = copyright.lines().filter_map(|line| line.strip_prefix(" crates/")).collect();
    for known in ["clap-", "reqwest-", "hickory-resolver-", "liblzma-sys-", "ring-", "zstd-sys-"] {
        assert!(crates.iter().any(|name| name.starts_with(known)), "{known}: {crates:?}");
    }
    for name in crates {
        let (name, version) = name.strip_suffix("/*").unwrap().rsplit_once('-').unwrap();
        let notice = format!("\n{name} {version} (");
        assert!(notices.contains(&notice), "{notice}");
    }
    let paragraphs: Vec<Vec<&str>> = copyright.split("\n\n").map(|part| part.lines().collect()).collect();
    let defined: Vec<_> = paragraphs
        .iter()
        .filter_map(|lines| lines.first()?.strip_prefix("License: ").filter(|_| lines.len() > 1))
        .collect();
    for lines in paragraphs.iter().filter(|lines| lines[0].starts_with("Files:")) {
        let licence = lines.iter().find_map(|line| line.strip_prefix("License: ")).unwrap();
        for name in licence.replace(',', "").split(" or ").flat_map(|part| part.split(" and ")) {
            let name = name.trim_start_matches("or ").trim_start_matches("and ");
            assert!(defined.contains(&name), "'{name}' of '{licence}' is not among {defined:?}");
        }
    }
}

#[test(Minutes, Program("dpkg-deb"))]
fn it_is_the_same_when_it_is_built_again() {
    let directory = crate::common::temp_dir();
    let again = package::make("deb", &[text(directory.path())]);
    assert_eq!(crate::common::sha256(again), crate::common::sha256(&*PACKAGE));
}

#[test(Minutes, Program("dpkg-deb"), Program("lintian"))]
fn lintian_finds_nothing() {
    let output =
        Command::new("lintian").args(["--fail-on", "error,warning", "--allow-root"]).arg(&*PACKAGE).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// A Debian of its own.
struct Debian {
    directory: TempDir,
}

impl Debian {
    /// The smallest that there is, from the server that this machine uses.
    fn new() -> Self {
        let list = sh("apt-get", &["indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages"]);
        let (server, release) = list.lines().find_map(|line| line.split_once(' ')).unwrap();
        let debian = Self { directory: crate::common::temp_dir() };
        sh("debootstrap", &["--variant=minbase", release, text(debian.directory.path()), server]);
        debian
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn run(&self, command: &[&str]) -> Output {
        let mut chroot = package::chroot(self.directory.path());
        chroot.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").args(command).stdin(Stdio::null());
        chroot.output().unwrap()
    }

    /// Runs a command, which must succeed; returns what it printed.
    fn ok(&self, command: &[&str]) -> String {
        let output = self.run(command);
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

#[test(Minutes, Program("dpkg-deb"), Root, Program("debootstrap"))]
fn it_works_where_it_is_installed() {
    let debian = Debian::new();
    fs::copy(&*PACKAGE, debian.path("tmp/bmaptool.deb")).unwrap();
    debian.ok(&["dpkg", "--install", "/tmp/bmaptool.deb"]);
    let version = debian.ok(&["bmaptool", "--version"]);
    assert_eq!(version, format!("bmaptool {}\n", env!("BMAPTOOL_VERSION")));
    assert_eq!(debian.ok(&["dpkg", "--verify", "bmaptool"]), "");
    // A minimal system leaves documents out, or not.
    assert!(debian.ok(&["dpkg", "--listfiles", "bmaptool"]).contains("/usr/share/man/man1/bmaptool.1.gz\n"));

    let image = debian.path("tmp/disk.img");
    disk_like(&image, 7);
    debian.ok(&["bmaptool", "create", "-o", "/tmp/disk.img.bmap", "/tmp/disk.img"]);
    debian.ok(&["gzip", "--keep", "/tmp/disk.img"]);
    let disk = Disk::new(24 << 20);
    let node = debian.path(text(disk.path().strip_prefix("/").unwrap()));
    let number = std::os::unix::fs::MetadataExt::rdev(&fs::metadata(disk.path()).unwrap());
    let _ = fs::remove_file(&node);
    let _sys = Sys::within(debian.directory.path());
    mknod(&node, SFlag::S_IFBLK, Mode::from_bits_truncate(0o600), number).unwrap();
    for target in ["/tmp/copy", text(disk.path())] {
        debian.ok(&["bmaptool", "copy", "/tmp/disk.img.gz", target]);
    }
    assert_same(&image, &debian.path("tmp/copy"));
    assert!(fs::read(disk.path()).unwrap() == image::flashed(&image, 24 << 20));

    beside_the_peer(&debian);
    debian.ok(&["dpkg", "--purge", "bmaptool"]);
    assert!(!debian.path("usr/bin/bmaptool").exists());
}

/// It replaces bmap-tools: the two cannot be installed together, and what depends on that accepts this.
fn beside_the_peer(debian: &Debian) {
    let fetch = "cd \"$1\" && apt-get download -q bmap-tools && mv bmap-tools_*.deb peer.deb";
    sh("sh", &["-c", fetch, "sh", text(&debian.path("tmp"))]);
    let refused = debian.run(&["dpkg", "--install", "/tmp/peer.deb"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("conflicts with bmap-tools"), "{said}");

    let control = "Package: user\nVersion: 1\nArchitecture: all\nMaintainer: test <test@test.invalid>\n\
                   Depends: bmap-tools (>= 3.5)\nDescription: test\n";
    fs::create_dir_all(debian.path("tmp/user/DEBIAN")).unwrap();
    fs::write(debian.path("tmp/user/DEBIAN/control"), control).unwrap();
    debian.ok(&["dpkg-deb", "--build", "/tmp/user"]);
    debian.ok(&["dpkg", "--install", "/tmp/user.deb"]);
    debian.ok(&["dpkg", "--purge", "user"]);
}
