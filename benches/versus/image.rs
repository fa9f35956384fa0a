//! The image that is copied: as large as the one that bmaptool was introduced with, filled with files of this machine.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bmaptool::bmap::{Bmap, Checksums};
use bmaptool::digest::ChecksumKind;
use bmaptool::range::BlockRange;

use crate::common::find_program;
use crate::common::image::{Random, create};

const MIB: u64 = 1 << 20;

/// 3.7 GiB.
const SIZE: u64 = 3789 * MIB;

/// The mapped ranges, each its offset and length in MiB: 1.1 GiB, most of it in one range.
const RANGES: [(u64, u64); 8] =
    [(0, 2), (16, 40), (96, 2), (128, 760), (1200, 110), (1800, 96), (2600, 76), (3700, 40)];

/// The order in which files are taken.
const SEED: u64 = 20_120_907;

/// A way in which the image is compressed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    Raw,
    Gz,
    Bz2,
    Xz,
    Zst,
    Lz4,
}

impl Compression {
    pub const ALL: [Self; 6] = [Self::Raw, Self::Gz, Self::Bz2, Self::Xz, Self::Zst, Self::Lz4];

    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Gz => "gz",
            Self::Bz2 => "bz2",
            Self::Xz => "xz",
            Self::Zst => "zst",
            Self::Lz4 => "lz4",
        }
    }

    /// Whether one core decompresses it as fast as a good card takes it.
    pub fn keeps_up(self) -> bool {
        !matches!(self, Self::Bz2 | Self::Xz)
    }

    /// The program that compresses standard input to standard output; lbzip2 makes one stream, xz many blocks.
    fn compressor(self) -> &'static [&'static str] {
        match self {
            Self::Raw => &["cat"],
            Self::Gz => &["gzip", "-6"],
            Self::Bz2 => &["lbzip2", "-9"],
            Self::Xz => &["xz", "-T0", "-c"],
            Self::Zst => &["zstd", "-9", "-c"],
            Self::Lz4 => &["lz4", "-c"],
        }
    }
}

/// Everything that is copied and mapped.
pub struct Images {
    directory: PathBuf,
    pub raw: PathBuf,
    pub bmap: PathBuf,
    pub size: u64,
    pub mapped: u64,
    /// How long the largest range is.
    pub largest: u64,
}

impl Images {
    /// Makes the image and its bmap in `directory`, at one `scale`th of the size, unless they are there. What else a table
    /// needs is made when it is asked for.
    pub fn make(directory: &Path, scale: u64) -> Self {
        let directory = directory.join(format!("scale-{scale}"));
        fs::create_dir_all(&directory).unwrap();
        let scaled =
            |(offset, length): (u64, u64)| (offset * MIB / scale / 4096 * 4096, length * MIB / scale / 4096 * 4096);
        let ranges = RANGES.map(scaled);
        let images = Self {
            raw: directory.join("disk.img"),
            bmap: directory.join("disk.img.bmap"),
            size: SIZE / scale / 4096 * 4096,
            mapped: ranges.iter().map(|(_, length)| length).sum(),
            largest: ranges.iter().map(|&(_, length)| length).max().unwrap_or(0),
            directory,
        };
        make_once(&images.raw, |path| images.fill(path, &ranges));
        make_once(&images.bmap, |path| {
            let status = Command::new(crate::OURS).arg("create").arg("-o").arg(path).arg(&images.raw).status();
            assert!(status.unwrap().success());
        });
        images
    }

    /// The same data in many ranges of the same length.
    pub fn many(&self) -> PathBuf {
        let path = self.directory.join("many.img");
        let part = self.mapped / 256 / 4096 * 4096;
        let parts: Vec<_> = (0..256).map(|number| (number * (self.size / 256 / 4096 * 4096), part)).collect();
        make_once(&path, |path| self.fill(path, &parts));
        path
    }

    /// The image as it is compressed.
    pub fn compressed(&self, compression: Compression) -> PathBuf {
        if compression == Compression::Raw {
            return self.raw.clone();
        }
        let path = self.directory.join(format!("disk.img.{}", compression.name()));
        make_once(&path, |path| compress(&self.raw, path, compression));
        path
    }

    /// A bmap of the image whose ranges are cut at multiples of 4 MiB.
    pub fn bmap_of_short_ranges(&self) -> PathBuf {
        const LENGTH: u64 = 4 << 20;
        let path = self.directory.join("short-ranges.bmap");
        make_once(&path, |path| {
            let map = Bmap::parse(&fs::read(&self.bmap).unwrap()).unwrap();
            let blocks = LENGTH / map.block_size().bytes();
            let image = File::open(&self.raw).unwrap();
            let (mut ranges, mut checksums) = (Vec::new(), Checksums::new(ChecksumKind::Sha256));
            let mut hasher = ChecksumKind::Sha256.hasher();
            for range in map.ranges() {
                let mut start = range.blocks.start();
                while start < range.blocks.end() {
                    let end = range.blocks.end().min((start / blocks + 1) * blocks);
                    let part = BlockRange::new(start, end).unwrap();
                    let bytes = part.bytes(map.block_size(), map.image_size());
                    let mut data = vec![0; bytes.len() as usize];
                    image.read_exact_at(&mut data, bytes.start).unwrap();
                    hasher.update(&data);
                    checksums.push(&hasher.finish());
                    ranges.push(part);
                    start = end;
                }
            }
            let map = Bmap::new(map.image_size(), map.block_size(), ranges, Some(checksums)).unwrap();
            map.emit(&mut File::create(path).unwrap()).unwrap();
        });
        path
    }

    /// One of a hundred ranges of 4 MiB that are mapped, or one at least: each an offset and a length in MiB.
    pub fn every_hundredth_range(&self) -> Vec<(u64, u64)> {
        let map = Bmap::parse(&fs::read(self.bmap_of_short_ranges()).unwrap()).unwrap();
        let whole = map.ranges().map(|range| range.bytes).filter(|bytes| bytes.len() == 4 * MIB);
        whole.skip(10).step_by(100).map(|bytes| (bytes.start / MIB, bytes.len() / MIB)).collect()
    }

    /// A file to write to.
    pub fn scratch(&self) -> OsString {
        self.directory.join("scratch").into()
    }

    /// Makes an image with the contents of /usr in `ranges`, each an offset and a length in bytes.
    fn fill(&self, path: &Path, ranges: &[(u64, u64)]) {
        let image = create(path, self.size);
        let mut contents = Contents::of(Path::new("/usr"));
        let mut buf = vec![0; MIB as usize];
        for &(offset, length) in ranges {
            let mut at = offset;
            while at < offset + length {
                let buf = &mut buf[..(offset + length - at).min(MIB) as usize];
                contents.read_exact(buf).expect("/usr is too small: try --scale");
                image.write_all_at(buf, at).unwrap();
                at += buf.len() as u64;
            }
        }
    }
}

/// Has `make` make the file at `path`, unless it is there; half-made it never is.
fn make_once(path: &Path, make: impl FnOnce(&Path)) {
    if !path.exists() {
        eprintln!("making {}", path.display());
        let unfinished = path.with_extension("unfinished");
        make(&unfinished);
        fs::rename(&unfinished, path).unwrap();
    }
}

fn compress(image: &Path, to: &Path, compression: Compression) {
    let [program, options @ ..] = compression.compressor() else { return };
    let program = find_program(program).unwrap_or_else(|| panic!("install {program}"));
    let mut command = Command::new(program);
    command.args(options).stdin(File::open(image).unwrap()).stdout(File::create(to).unwrap());
    assert!(command.stderr(Stdio::inherit()).status().unwrap().success());
}

/// The files under a directory, one after another, each filled up to a block as on a disk.
struct Contents {
    files: std::vec::IntoIter<PathBuf>,
    current: Box<dyn Read>,
}

impl Contents {
    fn of(directory: &Path) -> Self {
        let mut files = Vec::new();
        list(directory, &mut files);
        files.sort();
        let mut random = Random::new(SEED);
        for last in (1..files.len()).rev() {
            files.swap(last, random.below(last as u64 + 1) as usize);
        }
        Self { files: files.into_iter(), current: Box::new(io::empty()) }
    }
}

impl Read for Contents {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.current.read(buf)?;
            if count > 0 || buf.is_empty() {
                return Ok(count);
            }
            let Some(path) = self.files.next() else { return Ok(0) };
            if let Ok(file) = File::open(path) {
                let length = file.metadata()?.len();
                let padding = length.next_multiple_of(4096) - length;
                self.current = Box::new(file.take(length).chain(io::repeat(0).take(padding)));
            }
        }
    }
}

/// Lists the regular files under `directory`, on its file system and without symbolic links.
fn list(directory: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => list(&entry.path(), files),
            // One name of each file is enough, and a single huge file would be no mixture.
            Ok(kind) if kind.is_file() => match entry.metadata() {
                Ok(metadata) if metadata.nlink() == 1 && metadata.len() < 64 * MIB => files.push(entry.path()),
                _ => {}
            },
            _ => {}
        }
    }
}
