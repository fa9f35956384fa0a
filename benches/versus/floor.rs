//! The least that a copy could take: decompressing alone, or hashing alone.

use std::fs::File;
use std::io::{self, BufReader, Read};

use flate2::bufread::GzDecoder;
use sha2::{Digest, Sha256};

use crate::common::find_program;
use crate::image::{Compression, Images};
use crate::run::Program;

/// Something that has to be done in any case.
pub enum Floor {
    /// One core hashes so many bytes, which it need not even read.
    Hashing { bytes: u64 },
    /// One core hashes the mapped bytes.
    HashingMapped,
    /// One core decompresses gzip by the decoder that we use.
    Flate2,
    /// A program decompresses the image to /dev/null.
    Decompressing { compression: Compression, command: &'static [&'static str] },
}

impl Floor {
    /// The floors of copying an image, the lowest first.
    pub fn of(compression: Compression) -> Vec<Self> {
        let by = |command| Self::Decompressing { compression, command };
        match compression {
            Compression::Raw => vec![Self::HashingMapped],
            Compression::Gz => vec![Self::Flate2, by(&["pigz", "-dc"])],
            Compression::Bz2 => vec![by(&["lbzip2", "-dc"])],
            Compression::Xz => vec![by(&["xz", "-T0", "-dc"])],
            Compression::Zst => vec![by(&["zstd", "-dc"])],
            Compression::Lz4 => vec![by(&["lz4", "-dc"])],
        }
    }

    pub fn program(self, images: &Images) -> Program {
        let ourselves = std::env::current_exe().unwrap();
        let hashing = |bytes: u64| {
            Program::new("SHA-256 on one core", &ourselves, ["floor-hash".into(), bytes.to_string().into()])
        };
        match self {
            Self::Hashing { bytes } => hashing(bytes),
            Self::HashingMapped => hashing(images.mapped),
            Self::Flate2 => Program::new(
                "flate2 alone",
                &ourselves,
                ["floor-gunzip".into(), images.compressed(Compression::Gz).into()],
            ),
            Self::Decompressing { compression, command: [program, options @ ..] } => {
                let path = find_program(program).unwrap_or_else(|| panic!("install {program}"));
                let arguments = options.iter().map(Into::into).chain([images.compressed(compression).into()]);
                Program::new(&format!("{program} {}", options.join(" ")), path, arguments)
            }
            Self::Decompressing { command: [], .. } => unreachable!("every command has a program"),
        }
    }
}

/// Does what a floor of ours does, if that is what this program has been started for.
pub fn run_if_asked() -> bool {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.as_slice() {
        [_, floor, bytes] if floor == "floor-hash" => hash(bytes.parse().unwrap()),
        [_, floor, file] if floor == "floor-gunzip" => gunzip(file).unwrap(),
        _ => return false,
    }
    true
}

fn hash(bytes: u64) {
    let buf = vec![0x5a; 256 << 10];
    let mut hasher = Sha256::new();
    for _ in 0..bytes / buf.len() as u64 {
        hasher.update(&buf);
    }
    std::hint::black_box(hasher.finalize());
}

fn gunzip(file: &str) -> io::Result<()> {
    let mut decoder = GzDecoder::new(BufReader::with_capacity(256 << 10, File::open(file)?));
    let mut buf = vec![0; 1 << 20];
    while decoder.read(&mut buf)? > 0 {}
    Ok(())
}
