//! How long a flash takes: ours, the peer's, and the least that it could take.
//!
//! `cargo bench --bench versus` makes an image, compresses it, and prints three tables: copies to a loop device over
//! tmpfs, copies to one that takes no more than an SD card reader's 126 MB/s, and maps. Run it as root, with
//! bmap-tools, lbzip2, xz, zstd, lz4, pigz and losetup installed, and 8 GB of memory to spare.
//!
//! ```text
//! cargo bench --bench versus -- [--runs N] [--table copy|throttled|create]... [--case raw|gz|bz2|xz|zst|lz4]...
//!                               [--scale N] [--directory DIRECTORY] [--other PROGRAM]
//! ```
//!
//! `--scale 10` makes an image of a tenth of the size. DIRECTORY is /dev/shm/bmaptool-bench by default: on tmpfs, so
//! that no disk is measured. What was made there is used again by the next run, and may be deleted. PROGRAM is another
//! build of bmaptool, measured beside this one: what a change costs is told by one run.

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

use device::Target;
use floor::Floor;
use image::{Compression, Images};
use run::Program;
use table::Table;

/// How much a fast SD card reader takes, in bytes a second.
const THROTTLE: u64 = 126_000_000;

const OURS: &str = env!("CARGO_BIN_EXE_bmaptool");
const PEER: &str = "/usr/bin/bmaptool";

struct Options {
    runs: usize,
    tables: Vec<String>,
    cases: Vec<String>,
    scale: u64,
    directory: PathBuf,
    other: Option<String>,
}

impl Options {
    fn parse() -> Self {
        let directory = PathBuf::from("/dev/shm/bmaptool-bench");
        let mut options = Self { runs: 5, tables: Vec::new(), cases: Vec::new(), scale: 1, directory, other: None };
        let mut arguments = std::env::args().skip(1);
        while let Some(flag) = arguments.next() {
            let mut value = || arguments.next().unwrap_or_else(|| panic!("{flag} needs a value"));
            match flag.as_str() {
                "--runs" => options.runs = value().parse().expect("a number of runs"),
                "--table" => options.tables.push(value()),
                "--case" => options.cases.push(value()),
                "--scale" => options.scale = value().parse().expect("a number"),
                "--directory" => options.directory = value().into(),
                "--other" => options.other = Some(value()),
                "--bench" => {} // from cargo
                _ => panic!("unknown argument '{flag}'"),
            }
        }
        options
    }

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
    assert!(is_peer, "{PEER} must be that of Debian's bmap-tools, a script");
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
