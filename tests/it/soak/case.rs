//! One random copy: what is copied, how, and what must come of it.

use std::ops::Range;

use bmaptool::digest::ChecksumKind;

use crate::common::image::Random;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// As many bytes as a GPT for sectors of 4096 takes.
const TABLE: u64 = 24 * KIB;

/// How large a device is that an image is copied to.
pub const DEVICE_SIZE: u64 = 6 * MIB;

/// A copy, drawn from a seed.
#[derive(Clone, Debug)]
pub struct Case {
    pub seed: u64,
    pub size: u64,
    pub block_size: u64,
    /// The mapped blocks, half-open.
    pub mapped: Vec<Range<u64>>,
    /// What lies in the other blocks.
    pub holes: Holes,
    pub format: Format,
    pub source: Source,
    pub target: Target,
    pub map: Map,
    pub no_verify: bool,
    pub read_back: bool,
    /// The target holds most of the image already.
    pub only_changed: bool,
    pub unmapped: Unmapped,
    /// The image begins with a GPT.
    pub relocate_gpt: bool,
    pub damage: Option<Damage>,
}

/// What becomes of the bytes that the image leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmapped {
    Keep,
    Zero,
    Discard,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holes {
    Zeroes,
    /// Data that is in the image, but not in its bmap.
    Garbage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// The program that it takes.
    pub program: &'static str,
    /// Converts `disk.img`, which is standard input as well.
    pub command: &'static str,
    pub proof: Proof,
}

/// What a format tells of damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Nothing: the bytes are stored as they are.
    None,
    /// How many there must be.
    Size,
    /// Their checksum.
    Checksum,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    File,
    Stdin,
    /// A server that sends parts of files.
    Http,
    /// A server that does not.
    HttpWhole,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    NewFile,
    /// A file of this size.
    OldFile(u64),
    /// A device with sectors of this size.
    Device(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Map {
    /// Everything is copied.
    None,
    Given(Version),
    /// It is found beside the image.
    Beside(Version),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    pub number: &'static str,
    pub checksums: Option<ChecksumKind>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// The converted image ends after this many thousandths of it.
    Truncated(u64),
    /// A bit is wrong at this many thousandths of the converted image.
    BitFlipped(u64),
    /// The checksum of a range is not that of the image.
    WrongChecksum,
    /// The bmap's own checksum is not right.
    WrongOwnChecksum,
}

const FORMATS: [Format; 16] = [
    Format { program: "cat", command: "cat", proof: Proof::None },
    Format { program: "cat", command: "cat", proof: Proof::None },
    Format { program: "cat", command: "cat", proof: Proof::None },
    Format { program: "gzip", command: "gzip -1", proof: Proof::Checksum },
    Format { program: "gzip", command: "{ head -c 70000 | gzip -1; gzip -9; }", proof: Proof::Checksum },
    Format { program: "bzip2", command: "bzip2 -1", proof: Proof::Checksum },
    Format { program: "xz", command: "xz -0", proof: Proof::Checksum },
    Format { program: "xz", command: "xz -0 -T2 --block-size=200KiB", proof: Proof::Checksum },
    Format { program: "zstd", command: "zstd -1", proof: Proof::Checksum },
    Format { program: "lz4", command: "lz4 -1", proof: Proof::Checksum },
    Format { program: "lzop", command: "lzop -1", proof: Proof::Checksum },
    Format { program: "zip", command: "zip -q -1 - disk.img", proof: Proof::Checksum },
    Format { program: "zip", command: "zip -q -0 image.zip disk.img; cat image.zip", proof: Proof::Checksum },
    Format { program: "tar", command: "tar -c disk.img", proof: Proof::Size },
    Format { program: "tar", command: "tar -cS disk.img", proof: Proof::Size },
    Format { program: "tar", command: "tar -cS --format=pax disk.img | gzip -1", proof: Proof::Checksum },
];

/// The programs that all formats take.
pub const PROGRAMS: [&str; 8] = ["gzip", "bzip2", "xz", "zstd", "lz4", "lzop", "zip", "tar"];

const VERSIONS: [(&str, bool); 8] = [
    ("1.0", false),
    ("1.1", false),
    ("1.2", true),
    ("1.3", true),
    ("1.4", true),
    ("2.0", true),
    ("2.0", true),
    ("2.7", true),
];

impl Case {
    /// The case of a seed, the same everywhere.
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        // The first numbers of neighbouring seeds are alike.
        for _ in 0..8 {
            random.next();
        }
        let format = pick(&mut random, &FORMATS);
        let size = size(&mut random);
        let block_size = pick(&mut random, &[512, KIB, 4 * KIB, 4 * KIB, 4 * KIB, 64 * KIB, 777, MIB]);
        let source = pick(&mut random, &[Source::File, Source::File, Source::Stdin, Source::Http, Source::HttpWhole]);
        let target = match random.below(5) {
            0 => Target::NewFile,
            1 => Target::OldFile(random.below(2 * size)),
            2 => Target::Device(4096),
            _ => Target::Device(512),
        };
        let version = version(&mut random);
        let map = match (random.below(4), source) {
            (0, _) => Map::None,
            (1, Source::File | Source::Http | Source::HttpWhole) => Map::Beside(version),
            _ => Map::Given(version),
        };
        let mut case = Self {
            seed,
            size,
            block_size,
            mapped: mapped(&mut random, size.div_ceil(block_size)),
            holes: pick(&mut random, &[Holes::Zeroes, Holes::Zeroes, Holes::Garbage]),
            format,
            source,
            target,
            map,
            no_verify: random.below(5) == 0,
            // Of copies that follow each other, two of five.
            read_back: seed % 5 < 2,
            only_changed: false,
            unmapped: Unmapped::Keep,
            relocate_gpt: false,
            damage: None,
        };
        if random.below(3) == 0 && case.sector().is_some() && size > 100_000 {
            case.relocate_gpt = true;
            case.mapped = with_start(case.mapped, TABLE.div_ceil(block_size));
        }
        let damage = match random.below(12) {
            0 => Some(Damage::Truncated(random.below(1000))),
            1 => Some(Damage::BitFlipped(random.below(1000))),
            2 => Some(Damage::WrongChecksum),
            3 => Some(Damage::WrongOwnChecksum),
            _ => None,
        };
        case.damage = damage.filter(|&damage| case.can_notice(damage));
        case.only_changed = random.below(3) == 0;
        if map != Map::None {
            case.unmapped = pick(&mut random, &[Unmapped::Keep, Unmapped::Zero, Unmapped::Discard]);
        }
        case
    }

    /// The size of the device's sectors, if it is one.
    pub fn sector(&self) -> Option<u64> {
        match self.target {
            Target::Device(sector) => Some(sector),
            Target::NewFile | Target::OldFile(_) => None,
        }
    }

    pub fn version(&self) -> Option<Version> {
        match self.map {
            Map::None => None,
            Map::Given(version) | Map::Beside(version) => Some(version),
        }
    }

    /// Whether every byte that is written is held against a checksum of the bmap; so are all of none.
    pub fn is_verified(&self) -> bool {
        let is_covered = |version: Version| version.checksums.is_some() || self.mapped.is_empty();
        self.version().is_some_and(is_covered) && !self.no_verify
    }

    /// Whether anyone could notice this damage.
    fn can_notice(&self, damage: Damage) -> bool {
        let Some(version) = self.version() else {
            return match damage {
                Damage::Truncated(_) => self.format.proof != Proof::None,
                Damage::BitFlipped(_) => self.format.proof == Proof::Checksum,
                Damage::WrongChecksum | Damage::WrongOwnChecksum => false,
            };
        };
        match damage {
            Damage::Truncated(_) => true,
            Damage::BitFlipped(_) => self.is_verified() || self.format.proof == Proof::Checksum,
            Damage::WrongChecksum => version.checksums.is_some() && !self.mapped.is_empty(),
            Damage::WrongOwnChecksum => version.has_own_checksum(),
        }
    }

    /// The bytes of a range of blocks.
    pub fn bytes_of(&self, blocks: &Range<u64>) -> Range<usize> {
        let end = (blocks.end * self.block_size).min(self.size);
        (blocks.start * self.block_size) as usize..end as usize
    }
}

impl Version {
    pub fn has_own_checksum(&self) -> bool {
        self.checksums.is_some() && self.number != "1.2"
    }
}

fn pick<T: Copy>(random: &mut Random, choices: &[T]) -> T {
    choices[random.below(choices.len() as u64) as usize]
}

/// Small, around the size of a chunk and of a boot region, anything else, and as large as the device.
fn size(random: &mut Random) -> u64 {
    match random.below(8) {
        0 => 1 + random.below(10_000),
        1 => MIB - 600 + random.below(1200),
        2 => DEVICE_SIZE,
        3 => DEVICE_SIZE - random.below(600),
        4 => (1 + random.below(5)) * MIB,
        _ => 1 + random.below(DEVICE_SIZE),
    }
}

fn version(random: &mut Random) -> Version {
    let (number, has_checksums) = pick(random, &VERSIONS);
    let checksums = match number {
        "1.2" | "1.3" => Some(ChecksumKind::Sha1),
        // They may be left out.
        _ if random.below(6) == 0 => None,
        _ => has_checksums.then(|| pick(random, &ChecksumKind::ALL)),
    };
    Version { number, checksums }
}

/// All blocks, none, or runs of them; at times two that touch.
fn mapped(random: &mut Random, blocks: u64) -> Vec<Range<u64>> {
    match random.below(10) {
        0 => return std::iter::once(0..blocks).collect(),
        1 => return Vec::new(),
        _ => {}
    }
    let longest = 1 + random.below(blocks.div_ceil(3));
    let mut ranges = Vec::new();
    let mut next = random.below(3) * random.below(longest + 1);
    while next < blocks && ranges.len() < 300 {
        let end = (next + 1 + random.below(longest)).min(blocks);
        ranges.push(next..end);
        next = end + if random.below(8) == 0 { 0 } else { 1 + random.below(longest) };
    }
    ranges
}

/// The same blocks, and so many at the start.
fn with_start(mapped: Vec<Range<u64>>, blocks: u64) -> Vec<Range<u64>> {
    let others = mapped.into_iter().filter(|range| range.end > blocks);
    std::iter::once(0..blocks).chain(others.map(|range| range.start.max(blocks)..range.end)).collect()
}
