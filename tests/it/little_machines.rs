//! Machines with one core and 64 MiB of memory: boards that flash themselves from an initramfs.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::common::control_groups::LittleMemory;
use crate::common::device::Loop;
use crate::common::image::{self, Random};
use crate::common::tool::{Outcome, bmaptool};
use crate::common::{sh, sha256, text};
use crate::partitions::{GPT, partition};
use crate::registry::{Need, Test};

/// What a kernel leaves of it to programs.
const MEMORY: u64 = 48 << 20;

/// An image is larger than the memory, and repeats a part of it, so that it need not be compressed as a whole.
const PART: usize = 8 << 20;
const PARTS: u64 = 10;

/// What compresses the part. Its output, repeated, is the compressed image; memory is that of the largest blocks and
/// windows that the programs choose by themselves.
const COMPRESSORS: [(&str, &str, &str); 5] = [
    ("raw", "cat", "cat"),
    ("gzip", "gzip", "gzip"),
    ("zstd", "zstd", "zstd --zstd=wlog=23"),
    ("lz4", "lz4", "lz4"),
    ("bzip2", "bzip2", "bzip2 -9"),
];

#[test_cases]
fn flashes() -> Vec<Test> {
    let needs = |program| [Need::Root, Need::LittleMemory, Need::Program(program)];
    let test = |(name, program, command): (&str, &'static str, &'static str)| {
        Test::new(format!("{name}_is_flashed"), &needs(program), move || is_flashed(command))
    };
    COMPRESSORS.into_iter().map(test).collect()
}

/// A directory on a disk, as the memory for what is stored in memory is no less limited.
struct Machine {
    memory: LittleMemory,
    directory: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        Self { memory: LittleMemory::new(MEMORY), directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Outcome {
        bmaptool(arguments).under(&self.memory.command()).ok()
    }
}

fn is_flashed(command: &str) {
    let machine = Machine::new();
    let [part, image, compressed, bmap] =
        ["part", "disk.img", "disk.img.x", "disk.bmap"].map(|name| machine.path(name));
    fs::write(&part, Random::new(5).text(PART)).unwrap();
    repeat("cat", &part, &image);
    repeat(command, &part, &compressed);
    let digest = sha256(&image);
    let [image, compressed, bmap] = [&image, &compressed, &bmap].map(|path| text(path));
    machine.run(["create", "--range-size", "4M", "-o", bmap, image]);

    let backing = machine.path("device");
    image::create(&backing, PARTS * PART as u64);
    let device = Loop::attach(&backing);
    let (device_path, file) = (text(&device.path), machine.path("file"));
    machine.run(["copy", "--read-back", "--only-changed", "--bmap", bmap, compressed, device_path]);
    assert_eq!(sha256(&device.path), digest);
    machine.run(["verify", "--bmap", bmap, device_path]);
    machine.run(["verify", "--bmap", bmap, compressed]);
    machine.run(["copy", "--bmap", bmap, compressed, text(&file)]);
    assert_eq!(sha256(&file), digest);
    machine.run(["copy", "--nobmap", compressed, device_path]);
    assert_eq!(sha256(&device.path), digest);
}

#[test(Root, LittleMemory, Program("sfdisk"))]
fn eight_targets_are_flashed_with_all_options() {
    let machine = Machine::new();
    let [image, bmap] = ["disk.img", "disk.bmap"].map(|name| machine.path(name));
    fs::write(&image, Random::new(5).bytes(2 * PART)).unwrap();
    partition(&image, GPT);
    machine.run(["create", "--range-size", "4M", "-o", text(&bmap), text(&image)]);
    sh("gzip", &["-1", "--keep", text(&image)]);
    let devices = [1, 2, 3, 4, 5, 6, 7, 8].map(|number| {
        let backing = machine.path(&format!("device{number}"));
        image::create(&backing, 3 * PART as u64);
        Loop::attach(&backing)
    });
    let options = ["copy", "--read-back", "--only-changed", "--relocate-gpt", "--bmap", text(&bmap)];
    // Those of the second image hold most of it already.
    for (image, change) in [(format!("{}.gz", text(&image)), 0), (text(&image).to_owned(), 5 << 20)] {
        for device in &devices {
            let device = fs::OpenOptions::new().write(true).open(&device.path).unwrap();
            device.write_all_at(b"something else", change).unwrap();
            device.sync_all().unwrap();
        }
        let targets = devices.iter().map(|device| text(&device.path));
        machine.run(options.into_iter().chain([&*image]).chain(targets));
        for device in &devices {
            machine.run(["verify", "--bmap", text(&bmap), text(&device.path)]);
        }
    }
}

/// Compresses a part, and writes that to `to` again and again.
fn repeat(command: &str, part: &Path, to: &Path) {
    let script = format!(
        "{command} < \"$0\" > \"$1.once\" && for _ in $(seq {PARTS}); do cat \"$1.once\"; done > \"$1\" && rm \"$1.once\""
    );
    sh("sh", &["-c", &script, text(part), text(to)]);
}
