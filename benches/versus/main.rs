//! How long a flash takes: ours, the peer's, and the least that it could take.
//!
//! `cargo bench --bench versus` makes an image, compresses it, and prints three tables: copies to a loop device over
//! tmpfs, copies to one that takes no more than an SD card reader's 126 MB/s, and maps. Run it as root, with
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
use device::Target;
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
    /// A table to print: copy, throttled or create; all by default
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

const TABLES: [&str; 3] = ["copy", "throttled", "create"];

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
        let target = Target::new(&options.directory, images.size, None);
        let mut table = Table::new("Copy to a loop device over tmpfs");
        for compression in cases() {
            let mut programs = copies(&options, &images, compression, &target);
            programs.extend(Floor::of(compression).into_iter().map(|floor| floor.program(&images)));
            table.add(compression.name(), &programs, options.runs);
        }
        table.print();
    }
    if options.wants_table("throttled") {
        let target = Target::new(&options.directory, images.size, Some(THROTTLE));
        let mut table = Table::new("Copy to a loop device that takes 126 MB/s");
        table.floor("the mapped bytes ÷ 126 MB/s", images.mapped as f64 / THROTTLE as f64);
        for compression in cases().filter(|compression| compression.keeps_up()) {
            table.add(compression.name(), &copies(&options, &images, compression, &target), options.runs);
        }
        table.print();
    }
    if options.wants_table("create") {
        let mut table = Table::new("Create");
        for (name, image, largest) in
            [("one range dominates", &images.raw, images.largest), ("many ranges", &images.many, images.mapped / 2)]
        {
            let map = |(name, tool): (&'static str, String)| {
                let arguments = ["create".into(), "-o".into(), images.scratch(), image.into()];
                Program::new(name, tool, arguments)
            };
            let mut programs: Vec<_> = options.tools().into_iter().map(map).collect();
            programs.push(Floor::Hashing { bytes: largest }.program(&images));
            table.add(name, &programs, options.runs);
        }
        table.print();
    }
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
