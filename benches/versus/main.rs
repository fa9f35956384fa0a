//! How long a flash takes: ours, the peer's, and the least that it could take.
//!
//! `cargo bench --bench versus` makes an image, compresses it, and prints tables: copies to a loop device over tmpfs,
//! copies to one that takes no more than an SD card reader's 126 MB/s, maps, devices that are compared with their bmap,
//! copies that are read back from a device that gives no more than that, copies of what differs, and copies to four
//! devices. Run it as root, with
//! bmap-tools, lbzip2, xz, zstd, lz4, pigz and losetup installed, and 8 GB of memory to spare.
//!
//! `cargo bench --bench versus -- --help` lists the options. The images are made on tmpfs, so that no disk is measured.
//! They stay there for the next run, and may be deleted. What a change costs is told by one run with `--other`, which
//! measures another build of bmaptool beside this one.

#[expect(dead_code, reason = "the tests use the rest")]
#[path = "../../tests/it/common/mod.rs"]
mod common;
mod device;
mod floor;
mod image;
mod run;
mod table;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Parser;
use device::{Limit, Target};
use floor::Floor;
use image::{Compression, Images};
use run::Program;
use table::Table;

/// How much a fast SD card reader takes, in bytes a second.
const THROTTLE: u64 = 126_000_000;

const OURS: &str = env!("CARGO_BIN_EXE_bmaptool");
const PEER: &str = "/usr/bin/bmaptool";

/// Compares the time that copies and maps take: ours, the peer's, and the least that they could take.
#[derive(Parser)]
#[command(bin_name = "cargo bench --bench versus --")]
struct Options {
    /// How many times each program is run
    #[arg(long, value_name = "N", default_value_t = 5)]
    runs: usize,
    /// A table to print: copy, throttled, create, verify, read-back, only-changed or targets; all by default
    #[arg(long = "table", value_name = "TABLE", value_parser = TABLES)]
    tables: Vec<String>,
    /// A case to measure: raw or how the image is compressed; all by default
    #[arg(long = "case", value_name = "CASE", value_parser = Compression::ALL.map(Compression::name))]
    cases: Vec<String>,
    /// Make the image N times smaller
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    scale: u64,
    /// Where the images are made, and kept for the next run
    #[arg(long, value_name = "DIRECTORY", default_value = "/dev/shm/bmaptool-bench")]
    directory: PathBuf,
    /// Another build of bmaptool to measure beside this one
    #[arg(long, value_name = "PROGRAM")]
    other: Option<String>,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

const TABLES: [&str; 7] = ["copy", "throttled", "create", "verify", "read-back", "only-changed", "targets"];

/// How much each of several targets takes, in bytes a second.
const TARGET_THROTTLE: u64 = 60_000_000;

impl Options {
    /// What is compared, by name and path.
    fn tools(&self) -> Vec<(&'static str, String)> {
        let other = self.other.iter().map(|path| ("other", path.clone()));
        [("ours", OURS.to_owned()), ("bmap-tools", PEER.to_owned())].into_iter().chain(other).collect()
    }

    fn wants_table(&self, name: &str) -> bool {
        self.tables.is_empty() || self.tables.iter().any(|table| table == name)
    }

    fn wants_case(&self, compression: Compression) -> bool {
        self.cases.is_empty() || self.cases.iter().any(|case| case == compression.name())
    }
}

fn main() {
    // A floor is a program as well, so that it is measured like the others.
    if floor::run_if_asked() {
        return;
    }
    let options = Options::parse();
    // We may have been installed under the same name.
    let is_peer = std::fs::read(PEER).is_ok_and(|program| program.starts_with(b"#!"));
    if !is_peer {
        eprintln!("{PEER} must be that of Debian's bmap-tools, a script");
        std::process::exit(1);
    }
    println!("The images are made in {} and stay there for the next run.", options.directory.display());
    let images = Images::make(&options.directory, options.scale);
    println!("Image: {} MiB, of which {} MiB are mapped.", images.size >> 20, images.mapped >> 20);
    let cases = || Compression::ALL.into_iter().filter(|&compression| options.wants_case(compression));

    if options.wants_table("copy") {
        let target = Target::new(&options.directory, images.size, Limit::None);
        let mut table = Table::new("Copy to a loop device over tmpfs");
        for compression in cases() {
            let mut programs = copies(&options, &images, compression, &target);
            programs.extend(Floor::of(compression).into_iter().map(|floor| floor.program(&images)));
            table.add(compression.name(), &programs, options.runs);
        }
        table.print();
    }
    if options.wants_table("throttled") {
        let target = Target::new(&options.directory, images.size, Limit::WritesAndReads(THROTTLE));
        let mut table = Table::new("Copy to a loop device that takes 126 MB/s");
        table.floor("the mapped bytes ÷ 126 MB/s", images.mapped as f64 / THROTTLE as f64);
        for compression in cases().filter(|compression| compression.keeps_up()) {
            table.add(compression.name(), &copies(&options, &images, compression, &target), options.runs);
        }
        table.print();
    }
    if options.wants_table("create") {
        create(&options, &images);
    }
    if options.wants_table("verify") {
        verify(&options, &images);
    }
    if options.wants_table("read-back") {
        read_back(&options, &images);
    }
    if options.wants_table("only-changed") {
        only_changed(&options, &images);
    }
    if options.wants_table("targets") {
        targets(&options, &images);
    }
}

/// What four targets at once cost, beside one. Each takes as much as the one.
fn targets(options: &Options, images: &Images) {
    let targets = [(); 4].map(|()| Target::new(&options.directory, images.size, Limit::Writes(TARGET_THROTTLE)));
    let mut table = Table::new("Copy to four loop devices of 60 MB/s each");
    table.floor("the mapped bytes ÷ 60 MB/s", images.mapped as f64 / TARGET_THROTTLE as f64);
    let copy = |compression, count: usize| {
        let mut arguments: Vec<OsString> = vec!["copy".into(), "--bmap".into(), images.bmap.clone().into()];
        arguments.push(images.compressed(compression).into());
        arguments.extend(targets[..count].iter().map(|target| target.path().into()));
        Program::new(&format!("ours, {count} at once"), OURS, arguments)
    };
    for compression in [Compression::Raw, Compression::Xz] {
        table.add(compression.name(), &[copy(compression, 4), copy(compression, 1)], options.runs);
    }
    table.print();
}

/// Maps of an image that one large range dominates, as it is and in short ranges, and of one with many ranges.
fn create(options: &Options, images: &Images) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let mut table = Table::new("Create");
    let cases = [
        ("one range dominates", images.raw.clone(), None, images.largest),
        ("the same, --range-size 4M", images.raw.clone(), Some("4M"), images.mapped / cores),
        ("many ranges", images.many(), None, images.mapped / cores),
    ];
    for (name, image, range_size, hashed) in cases {
        let map = |(name, tool): (&'static str, String)| {
            let range_size = range_size.filter(|_| name != "bmap-tools");
            let option = range_size.into_iter().flat_map(|size| ["--range-size".into(), size.into()]);
            let arguments = ["create".into(), "-o".into(), images.scratch()].into_iter().chain(option);
            Program::new(name, tool, arguments.chain([image.clone().into()]))
        };
        let mut programs: Vec<_> = options.tools().into_iter().map(map).collect();
        programs.push(Floor::Hashing { bytes: hashed }.program(images));
        table.add(name, &programs, options.runs);
    }
    table.print();
}

/// Devices that hold the image are compared with a bmap of many ranges, and with one that a large range dominates.
fn verify(options: &Options, images: &Images) {
    let target = Target::new(&options.directory, images.size, Limit::None);
    let flash = copies(options, images, Compression::Raw, &target);
    flash[0].run();
    let mut table = Table::new("Verify on a loop device over tmpfs");
    for (name, bmap) in
        [("ranges of 4 MiB", images.bmap_of_short_ranges()), ("one range dominates", images.bmap.clone())]
    {
        let verify = |(name, tool): (&'static str, String)| {
            let arguments: [OsString; 4] =
                ["verify".into(), "--bmap".into(), bmap.clone().into(), target.path().into()];
            Program::new(name, tool, arguments).preceded_by(target.forget())
        };
        let mut programs: Vec<_> =
            options.tools().into_iter().filter(|(name, _)| *name != "bmap-tools").map(verify).collect();
        programs.push(Floor::HashingMapped.program(images));
        programs.push(shell(
            "dd iflag=direct | sha256sum",
            "dd if=\"$1\" iflag=direct bs=4M count=\"$2\" | sha256sum",
            &target,
            images,
        ));
        table.add(name, &programs, options.runs);
    }
    table.print();
}

/// What reading back costs on a device that is as slow to read as to write.
fn read_back(options: &Options, images: &Images) {
    let target = Target::new(&options.directory, images.size, Limit::WritesAndReads(THROTTLE));
    let mut table = Table::new("Copy with --read-back to a loop device of 126 MB/s");
    table.floor("twice the mapped bytes ÷ 126 MB/s", 2.0 * images.mapped as f64 / THROTTLE as f64);
    let arguments = |option: &str| -> Vec<OsString> {
        let bmap = images.bmap.clone().into();
        ["copy".into(), option.into(), "--bmap".into(), bmap, images.raw.clone().into(), target.path().into()].into()
    };
    let ours = Program::new("ours", OURS, arguments("--read-back")).preceded_by(target.forget());
    let copy = format!("'{OURS}' copy --bmap '{}' '{}' \"$1\"", images.bmap.display(), images.raw.display());
    let read = "dd if=\"$1\" iflag=direct bs=4M count=\"$2\" of=/dev/null";
    let apart = shell("ours, then dd iflag=direct", &format!("{copy} && {read}"), &target, images);
    table.add("raw", &[ours, apart], options.runs);
    table.print();
}

/// What it costs to find that a device holds the image already, beside reading it; and what it costs to write the
/// hundredth part of it that it does not hold, beside writing all of it.
fn only_changed(options: &Options, images: &Images) {
    let copy = |compression, target: &Target, flags: &[&str]| {
        let flags = ["copy"].iter().chain(flags).map(Into::into);
        let bmap = ["--bmap".into(), images.bmap_of_short_ranges().into()];
        let image = [images.compressed(compression).into(), target.path().into()];
        flags.chain(bmap).chain(image).collect::<Vec<OsString>>()
    };
    let cases = || Compression::ALL.into_iter().filter(|&compression| options.wants_case(compression));
    let cases = || cases().filter(|compression| compression.keeps_up());

    let target = Target::new(&options.directory, images.size, Limit::WritesAndReads(THROTTLE));
    copies(options, images, Compression::Raw, &target)[0].run();
    let mut table = Table::new("Copy with --only-changed to a loop device of 126 MB/s that holds the image");
    table.floor("the mapped bytes ÷ 126 MB/s", images.mapped as f64 / THROTTLE as f64);
    for compression in cases() {
        let arguments = copy(compression, &target, &["--only-changed"]);
        let ours = Program::new("ours", OURS, arguments).preceded_by(target.forget());
        let read =
            shell("dd iflag=direct", "dd if=\"$1\" iflag=direct bs=4M count=\"$2\" of=/dev/null", &target, images);
        table.add(compression.name(), &[ours, read], options.runs);
    }
    table.print();
    drop(target);

    let target = Target::new(&options.directory, images.size, Limit::Writes(THROTTLE));
    copies(options, images, Compression::Raw, &target)[0].run();
    let changed = images.every_hundredth_range();
    let mut table = Table::new("Copy with --only-changed to a loop device that takes 126 MB/s, of which 1 % differs");
    for compression in cases() {
        let ours = Program::new("ours", OURS, copy(compression, &target, &["--only-changed"]));
        let plain = Program::new("ours, without --only-changed, zst", OURS, copy(Compression::Zst, &target, &[]));
        let programs = [ours, plain].map(|program| program.preceded_by(target.change(&changed)));
        table.add(compression.name(), &programs, options.runs);
    }
    table.print();
}

/// A script with the device and the number of mapped units of 4 MiB as its arguments.
fn shell(name: &str, script: &str, target: &Target, images: &Images) -> Program {
    let count = images.mapped.div_ceil(4 << 20).to_string();
    let arguments: [OsString; 5] = ["-c".into(), script.into(), "sh".into(), target.path().into(), count.into()];
    Program::new(name, "/bin/sh", arguments).preceded_by(target.forget())
}

/// The copies of an image by all that are compared.
fn copies(options: &Options, images: &Images, compression: Compression, target: &Target) -> Vec<Program> {
    let copy = |(name, tool): (&'static str, String)| {
        let arguments: [OsString; 5] = [
            "copy".into(),
            "--bmap".into(),
            images.bmap.clone().into(),
            images.compressed(compression).into(),
            target.path().into(),
        ];
        Program::new(name, tool, arguments).preceded_by(target.forget())
    };
    options.tools().into_iter().map(copy).collect()
}
