//! The commands that the README and the guide show are run here, as they stand there, with stand-ins for what a test
//! does not have: a loop device for the card, a server of the test for the one of the internet. The table says where
//! else some are.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::device::Loop;
use crate::common::image::{create as hole, disk_like};
use crate::common::server::{File, Server};
use crate::common::tool::{Tool, create, write_program};
use crate::common::{sh, temp_dir, text};
use crate::registry::{Need, Test};

/// How a block of commands is tried.
enum How {
    /// It is run as it is, between two scripts: one that makes what it needs, and one that checks what came of it.
    Run { before: &'static str, after: &'static str },
    /// Somewhere else.
    Elsewhere(&'static str),
}

/// A block of commands, found by its heading and by how it begins.
struct Example {
    heading: &'static str,
    begins: &'static str,
    how: How,
    needs: &'static [Need],
}

const IMAGE_ON_DEVICE: &str = "cmp -n $(stat -c %s original.img) original.img $DEVICE";

const README: [Example; 15] = [
    Example {
        heading: "bmaptool",
        begins: "bmaptool create",
        how: How::Run { before: "rm disk.bmap", after: IMAGE_ON_DEVICE },
        needs: &[Need::Root],
    },
    Example { heading: "Try it", begins: "cargo run", how: How::Elsewhere("the_quickstart_runs"), needs: &[] },
    Example { heading: "Install", begins: "", how: How::Elsewhere("the tests of the packages"), needs: &[] },
    Example {
        heading: "Make a bmap in a build",
        begins: "bmaptool create",
        how: How::Run { before: "rm disk.bmap disk.img.xz", after: "cmp disk.bmap original.bmap; test -s disk.img.xz" },
        needs: &[Need::Program("xz")],
    },
    Example {
        heading: "Flash a card",
        begins: "bmaptool list",
        how: How::Run { before: "", after: IMAGE_ON_DEVICE },
        needs: &[Need::Root],
    },
    Example {
        heading: "Flash a card",
        begins: "sudo bmaptool copy --bmap",
        how: How::Run { before: "mkdir maps; mv disk.bmap maps", after: IMAGE_ON_DEVICE },
        needs: &[Need::Root],
    },
    Example {
        heading: "Flash several cards at once",
        begins: "sudo bmaptool copy disk.img.xz /dev/sdX /dev/sdY",
        how: How::Run {
            before: "",
            after: "cmp original.img card-y; cmp original.img card-z; cmp -n 16777216 card-y $DEVICE",
        },
        needs: &[Need::Root],
    },
    Example {
        heading: "Check the card",
        begins: "sudo bmaptool copy --read-back",
        how: How::Run { before: "", after: IMAGE_ON_DEVICE },
        needs: &[Need::Root],
    },
    Example {
        heading: "See what it is",
        begins: "bmaptool info",
        how: How::Run { before: "bmaptool copy disk.img.xz $DEVICE", after: IMAGE_ON_DEVICE },
        needs: &[Need::Root],
    },
    Example {
        heading: "Flash from a URL",
        begins: "sudo bmaptool copy https:",
        how: How::Run { before: "", after: IMAGE_ON_DEVICE },
        needs: &[Need::Root, Need::Loopback],
    },
    Example {
        heading: "Flash from a pipe",
        begins: "curl",
        how: How::Run { before: "", after: IMAGE_ON_DEVICE },
        needs: &[Need::Root, Need::Program("curl"), Need::Loopback],
    },
    Example {
        heading: "Verify a signature",
        begins: "gpg --armor --detach-sign",
        how: How::Run { before: KEY, after: IMAGE_ON_DEVICE },
        needs: &[Need::Root, Need::Program("gpg"), Need::Program("gpgv")],
    },
    Example {
        heading: "Make a file sparse again",
        begins: "bmaptool copy",
        how: How::Run {
            before: "rm disk.img",
            after: "cmp disk.img original.img; bmaptool create disk.img | cmp - disk.bmap",
        },
        needs: &[],
    },
    Example {
        heading: "In a script",
        begins: "set -eu",
        how: How::Run { before: "", after: IMAGE_ON_DEVICE },
        needs: &[Need::Root],
    },
    Example {
        heading: "In an initramfs",
        begins: "mount -t proc",
        how: How::Run { before: "mount --bind . /mnt; umount --lazy /dev /sys /proc", after: IMAGE_ON_DEVICE },
        needs: &[Need::Root, Need::Program("unshare"), Need::Program("zstd")],
    },
];

const GUIDE: [Example; 19] = [
    Example {
        heading: "For programs",
        begins: "bmaptool copy --json",
        how: How::Elsewhere("json::the_examples_for_shells_work"),
        needs: &[],
    },
    Example {
        heading: "Sparse files, raw images, bmaps",
        begins: "truncate",
        how: How::Run {
            before: "rm disk.img",
            after: "test $(stat -c %s disk.img) = 4294967296 -a $(stat -c %b disk.img) = 0",
        },
        needs: &[],
    },
    Example {
        heading: "Making images that map well",
        begins: "truncate",
        how: How::Run {
            before: "rm disk.img disk.bmap; mkdir -p rootfs/etc; echo hello > rootfs/etc/motd",
            // What the card held before is no harm.
            after: "head -c 256M /dev/zero | tr '\\0' '\\245' > $DEVICE; bmaptool copy disk.img $DEVICE; \
                    dd if=$DEVICE bs=1M skip=1 count=64 of=boot.fs; fsck.vfat -n boot.fs; \
                    dd if=$DEVICE bs=1M skip=65 count=190 of=root.fs; e2fsck -fn root.fs",
        },
        needs: &[Need::Root, Need::Program("sfdisk"), Need::Program("mkfs.vfat"), Need::Program("mkfs.ext4")],
    },
    Example {
        heading: "Making images that map well",
        begins: "device=$(losetup",
        how: How::Run {
            before: "trap 'losetup --noheadings --output NAME --associated disk.img | xargs -r losetup --detach' EXIT; \
                     truncate -s 64M new.img; mkfs.ext4 -q new.img; mount new.img /mnt; \
                     head -c 20M /dev/urandom > /mnt/x; sync; rm /mnt/x; umount /mnt; mv new.img disk.img; \
                     before=$(stat -c %b disk.img)",
            after: "test $((before - $(stat -c %b disk.img))) -gt 30000",
        },
        needs: &[Need::Root, Need::Program("mkfs.ext4")],
    },
    Example {
        heading: "Old data in the holes",
        begins: "sudo bmaptool copy --unmapped",
        how: How::Run { before: "", after: IMAGE_ON_DEVICE },
        needs: &[Need::Root],
    },
    Example {
        heading: "A larger card",
        begins: "sudo bmaptool copy --relocate-gpt",
        how: How::Elsewhere("relocate::the_table_is_right_and_no_partition_changes"),
        needs: &[],
    },
    Example {
        heading: "Yocto",
        begins: "bmaptool copy",
        how: How::Run {
            before: "cp disk.img.gz core-image-minimal.wic.gz; cp disk.bmap core-image-minimal.wic.bmap",
            after: IMAGE_ON_DEVICE,
        },
        needs: &[Need::Root],
    },
    Example { heading: "Yocto", begins: "bitbake-layers", how: How::Elsewhere("packaging::yocto"), needs: &[] },
    Example {
        heading: "mkosi, debos and others",
        begins: "- action: run",
        how: How::Run { before: "rm disk.img.xz", after: "cmp disk.img.bmap original.bmap; test -s disk.img.xz" },
        needs: &[Need::Program("xz")],
    },
    Example {
        heading: "Compressing",
        begins: "xz",
        how: How::Run { before: "rm disk.img.*", after: "test -s disk.img.xz -a -s disk.img.zst -a -s disk.img.gz" },
        needs: &[Need::Program("xz"), Need::Program("zstd"), Need::Program("gzip")],
    },
    Example {
        heading: "Flashing",
        begins: "bmaptool list",
        how: How::Run { before: "", after: IMAGE_ON_DEVICE },
        needs: &[Need::Root],
    },
    Example {
        heading: "Is it really on the card?",
        begins: "sudo bmaptool copy --read-back",
        how: How::Run { before: "", after: IMAGE_ON_DEVICE },
        needs: &[Need::Root],
    },
    Example {
        heading: "Is it really on the card?",
        begins: "sudo bmaptool verify",
        how: How::Run { before: "bmaptool copy disk.img.xz $DEVICE", after: "" },
        needs: &[Need::Root],
    },
    Example {
        heading: "A rack of cards",
        begins: "sudo bmaptool copy --read-back",
        how: How::Run { before: "", after: "cmp original.img card-y" },
        needs: &[Need::Root],
    },
    Example {
        heading: "A rack of cards",
        begins: "sudo bmaptool --quiet copy",
        how: How::Run { before: "", after: "cmp original.img card-y; test ! -s log" },
        needs: &[Need::Root],
    },
    Example {
        heading: "Nightly builds onto the same board",
        begins: "bmaptool create --range-size",
        how: How::Run { before: "rm disk.bmap", after: IMAGE_ON_DEVICE },
        needs: &[Need::Root],
    },
    Example {
        heading: "Signed bmaps",
        begins: "gpg --detach-sign",
        how: How::Run { before: KEY, after: "gpg --verify disk.bmap.asc disk.bmap; gpg --verify signed.bmap" },
        needs: &[Need::Program("gpg")],
    },
    Example {
        heading: "Signed bmaps",
        begins: "gpg --export",
        how: How::Run { before: KEY_AND_SIGNATURE, after: IMAGE_ON_DEVICE },
        needs: &[Need::Root, Need::Program("gpg"), Need::Program("gpgv")],
    },
    Example {
        heading: "In a script",
        begins: "set -eu",
        how: How::Run { before: "device=$DEVICE", after: IMAGE_ON_DEVICE },
        needs: &[Need::Root],
    },
];

/// A key that signs, in a home of its own.
const KEY: &str = "export GNUPGHOME=$PWD/keys; mkdir -m 700 keys; trap 'gpgconf --kill all' EXIT; \
    gpg -q --batch --passphrase '' --quick-generate-key 'Releases <releases@example.org>' ed25519 sign never";

const KEY_AND_SIGNATURE: &str = "export GNUPGHOME=$PWD/keys; mkdir -m 700 keys; trap 'gpgconf --kill all' EXIT; \
    gpg -q --batch --passphrase '' --quick-generate-key 'Releases <releases@example.org>' ed25519 sign never; \
    gpg --armor --detach-sign disk.bmap";

#[test_cases]
fn blocks_that_are_run() -> Vec<Test> {
    let mut tests = Vec::new();
    for (document, examples) in [("README.md", &README[..]), ("docs/guide.md", &GUIDE[..])] {
        for (number, example) in examples.iter().enumerate() {
            let How::Run { before, after } = example.how else { continue };
            let name = format!("{document}: {} ({})", example.heading, number + 1);
            tests.push(Test::new(name, example.needs, move || {
                let blocks = blocks(document);
                let block = blocks.iter().find(|block| example.is_for(block)).expect("there is such a block");
                try_block(&block.text, before, after);
            }));
        }
    }
    tests
}

/// Commands in a document.
struct Block {
    /// The heading of the second level that it stands under.
    section: String,
    /// The last heading before it.
    heading: String,
    text: String,
}

impl Example {
    fn is_for(&self, block: &Block) -> bool {
        [&block.section, &block.heading].contains(&&self.heading.to_owned()) && block.text.starts_with(self.begins)
    }
}

/// The blocks of a document that are commands, or have one in them.
fn blocks(document: &str) -> Vec<Block> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(document)).unwrap();
    let (mut blocks, mut section, mut heading) = (Vec::new(), String::new(), String::new());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some((_, title)) = line.split_once("# ").filter(|(level, _)| level.chars().all(|c| c == '#')) {
            heading = title.to_owned();
            if line.starts_with("## ") {
                section = heading.clone();
            }
        }
        let Some(language) = line.strip_prefix("```") else { continue };
        let text: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        assert!(["", "sh", "yaml", "text"].contains(&language), "{document}: {heading}: what is '{language}'?");
        if language != "text" {
            blocks.push(Block { section: section.clone(), heading: heading.clone(), text: text.join("\n") });
        }
    }
    blocks
}

#[test]
fn every_block_is_tried() {
    for (document, examples) in [("README.md", &README[..]), ("docs/guide.md", &GUIDE[..])] {
        let blocks = blocks(document);
        for block in &blocks {
            let tried = examples.iter().filter(|example| example.is_for(block)).count();
            assert_eq!(tried, 1, "{document}: {}: {} is tried {tried} times", block.heading, block.text);
        }
        for example in examples {
            let found = blocks.iter().any(|block| example.is_for(block));
            assert!(found, "{document}: {} has no block that begins with '{}'", example.heading, example.begins);
            if let How::Elsewhere(place) = example.how {
                assert!(!place.is_empty());
            }
        }
    }
}

/// What a test has in place of what a user has.
struct Scene {
    directory: tempfile::TempDir,
    device: Option<Loop>,
    server: Server,
}

impl Scene {
    fn new() -> Self {
        let directory = temp_dir();
        let path = |name: &str| directory.path().join(name);
        disk_like(&path("disk.img"), 1);
        fs::rename(create(&path("disk.img")), path("disk.bmap")).unwrap();
        let compressors = "cp --sparse=always disk.img original.img; cp disk.bmap original.bmap; \
                       for compressor in 'xz -1' 'gzip -1' 'zstd -q'; do \
                           ! type ${compressor%% *} > /dev/null 2>&1 || $compressor --keep disk.img; done";
        sh("sh", &["-c", &format!("cd '{}'; {compressors}", directory.path().display())]);
        fs::create_dir(path("bin")).unwrap();
        symlink(env!("CARGO_BIN_EXE_bmaptool"), path("bin/bmaptool")).unwrap();
        let programs = [
            ("sudo", "exec \"$@\"".to_owned()),
            // Runs the command that it is to run on the server here, where the server's files are in the directory.
            (
                "ssh",
                format!(
                    "while [ \"$1\" != -- ]; do shift; done; eval \"$(printf %s \"$3\" | sed 's#/srv/#{}/#')\"",
                    directory.path().display()
                ),
            ),
        ];
        for (name, script) in programs {
            write_program(&path("bin").join(name), &script);
        }
        let served = directory.path().to_owned();
        let server = Server::start(move |request, reply| match fs::read(served.join(&request.path()[1..])) {
            Ok(data) => reply.file(request, &File::new(data)),
            Err(_) => reply.status("404 Not Found", &[]),
        });
        let device = nix::unistd::geteuid().is_root().then(|| {
            hole(&path("card"), 1100 << 20);
            Loop::attach(&path("card"))
        });
        Self { directory, device, server }
    }

    /// The commands with the stand-ins in place.
    fn stand_in(&self, commands: &str) -> String {
        let device = self.device.as_ref().map_or(PathBuf::new(), |device| device.path.clone());
        let commands = commands.replace("https://example.com/", &self.server.url(""));
        // Further cards are files.
        let commands = commands.replace("/dev/sdY", "card-y").replace("/dev/sdZ", "card-z");
        ["/dev/sdX", "/dev/mmcblk0", "$DEVICE"]
            .iter()
            .fold(commands, |commands, name| commands.replace(name, text(&device)))
    }
}

fn try_block(block: &str, before: &str, after: &str) {
    let scene = Scene::new();
    // Of a recipe only the command.
    let commands = block.split_once("command: ").map_or(block, |(_, command)| command);
    let script = scene.stand_in(&format!("{before}\n{commands}\n{after}\n"));
    let directory = text(scene.directory.path());
    let path = format!("{directory}/bin:{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap());
    // What root mounts is hidden from other processes.
    let wrapper: &[&str] = if scene.device.is_some() { &["unshare", "--mount"] } else { &["env"] };
    let mut command = Command::new(wrapper[0]);
    command.args(&wrapper[1..]).args(["bash", "-eu", "-o", "pipefail", "-c", &script]);
    command.current_dir(directory).env("PATH", path);
    let outcome = Tool::of(command).run();
    assert_eq!(outcome.status, Some(0), "{script}\n{}", outcome.stderr);
}

#[test]
fn the_quickstart_runs() {
    // `cargo test` has built it, unless it was told to run this file alone.
    sh(env!("CARGO"), &["build", "--quiet", "--offline", "--example", "quickstart"]);
    let example = Path::new(env!("CARGO_BIN_EXE_bmaptool")).with_file_name("examples").join("quickstart");
    let output = Command::new(example).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("no difference"), "{said}");
}
