//! Random copies, each held against what plain writing of the mapped ranges makes of the same target.
//!
//! `SOAK_COPIES` and `SOAK_SECONDS` say when it ends, whichever comes first; `SOAK_SEED` repeats a run. A copy that
//! goes wrong is named by a seed of its own.

mod case;

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use self::case::{Case, DEVICE_SIZE, Damage, Holes, Map, PROGRAMS, Proof, Source, Target, Unmapped, Version};
use crate::common::device::Disk;
use crate::common::image::{Random, create, put_gpt};
use crate::common::server::{self, Server};
use crate::common::tool::{Outcome, Tool, bmaptool};
use crate::common::{sh, temp_dir};
use crate::registry::{Need, Test};
use bmaptool::digest::ChecksumKind;
use bmaptool::partition::relocate;

const MIB: usize = 1 << 20;

#[test_cases]
fn soak() -> Vec<Test> {
    let needs: Vec<_> = PROGRAMS.into_iter().map(Need::Program).chain([Need::Root, Need::Minutes]).collect();
    vec![Test::new("random_copies_are_right_or_refused", &needs, random_copies_are_right_or_refused)]
}

/// A number from the environment.
fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} must be a number")))
}

/// How many copies came to what.
#[derive(Default)]
struct Tally {
    compared: AtomicU64,
    /// Of all.
    read_back: AtomicU64,
    /// Of those with damage.
    noticed: AtomicU64,
    unread: AtomicU64,
}

fn random_copies_are_right_or_refused() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = setting("SOAK_SEED").unwrap_or(now % 1_000_000_000);
    let copies = setting("SOAK_COPIES").unwrap_or(300);
    let time = Duration::from_secs(setting("SOAK_SECONDS").unwrap_or(60));
    let started = Instant::now();
    let (next, tally, failures) = (AtomicU64::new(0), Tally::default(), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let bench = Bench::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= copies || started.elapsed() > time || failures.lock().unwrap().len() > 4 {
                        return;
                    }
                    let case = Case::new(seed.wrapping_add(number));
                    if catch_unwind(AssertUnwindSafe(|| bench.try_case(&case, &tally))).is_err() {
                        let again = format!(
                            "SOAK_SEED={} SOAK_COPIES=1 BMAPTOOL_TEST=all cargo test --test it soak",
                            case.seed
                        );
                        eprintln!("this copy went wrong; it is repeated by: {again}\n{case:?}");
                        failures.lock().unwrap().push(again);
                    }
                }
            });
        }
    });
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    println!(
        "soak: SOAK_SEED={seed}, {} copies compared in {:.0?}, {} of them with --read-back; of those with damage {} were noticed, and in {} nothing that is \
         needed was damaged",
        count(&tally.compared),
        started.elapsed(),
        count(&tally.read_back),
        count(&tally.noticed),
        count(&tally.unread)
    );
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "went wrong:\n{}", failures.join("\n"));
    assert!(count(&tally.compared) > 0);
    assert!(count(&tally.compared) < 30 || 3 * count(&tally.read_back) >= count(&tally.compared));
}

/// Where copies are tried, one after another.
struct Bench {
    /// With sectors of 512 and of 4096 bytes.
    disks: [Disk; 2],
}

impl Bench {
    fn new() -> Self {
        Self { disks: ["512", "4096"].map(|sector| Disk::with(DEVICE_SIZE, &["--sector-size", sector])) }
    }

    fn disk(&self, sector: u64) -> &Disk {
        &self.disks[usize::from(sector == 4096)]
    }

    fn try_case(&self, case: &Case, tally: &Tally) {
        let directory = temp_dir();
        let path = |name: &str| directory.path().join(name);
        let image = image(case);
        store(case, &image, &path("disk.img"));
        let script =
            format!("set -e; cd '{}'; ({}) < disk.img > converted", directory.path().display(), case.format.command);
        sh("sh", &["-c", &script]);
        let mut converted = fs::read(path("converted")).unwrap();
        damage(case, &mut converted);
        fs::write(path("converted"), &converted).unwrap();
        let map = case.version().map(|version| written(case, version, &image).into_bytes());
        // What has just the size that the bmap tells is taken for the image itself, which compressed data rarely has.
        if map.is_some() && case.format.program != "cat" && converted.len() as u64 == case.size {
            return;
        }
        if let Some(map) = &map {
            let name = if matches!(case.map, Map::Beside(_)) { "converted.bmap" } else { "given" };
            fs::write(path(name), map).unwrap();
        }

        let before = self.prepare(case, &image, path("target"));
        let target = self.target(case, path("target"));
        let mut tool = bmaptool(["copy"]);
        match case.map {
            Map::None => drop(tool.command.arg("--nobmap")),
            Map::Given(_) => drop(tool.command.arg("--bmap").arg(path("given"))),
            Map::Beside(_) => {}
        }
        if case.no_verify {
            tool.command.arg("--no-verify");
        }
        if case.read_back {
            tool.command.arg("--read-back");
        }
        if case.only_changed {
            tool.command.arg("--only-changed");
        }
        if case.relocate_gpt {
            tool.command.arg("--relocate-gpt");
        }
        match case.unmapped {
            Unmapped::Keep => {}
            Unmapped::Zero => drop(tool.command.arg("--unmapped=zero")),
            Unmapped::Discard => drop(tool.command.arg("--unmapped=discard")),
        }
        let (mut tool, _server) = from(case, tool, converted, map, path("converted"));
        tool.command.arg(&target);
        let outcome = tool.run();

        let is_done = match outcome.status {
            Some(0) => true,
            Some(1) => false,
            status => panic!("{status:?}: {}", outcome.stderr),
        };
        let after = self.contents(case, &target);
        if is_done {
            assert!(!must_fail(case, &image), "it succeeded: {}", outcome.stderr);
            let is_right = is_expected(case, before, &image, &after.unwrap());
            assert!(is_right, "the target differs: {}", outcome.stderr);
        } else {
            assert!(case.damage.is_some(), "it failed: {}", outcome.stderr);
            assert!(outcome.stderr.contains("bmaptool: ERROR: "), "{}", outcome.stderr);
            judge_remains(case, before, after, &outcome);
        }
        tally.compared.fetch_add(1, Ordering::Relaxed);
        tally.read_back.fetch_add(case.read_back.into(), Ordering::Relaxed);
        if case.damage.is_some() {
            let counter = if is_done { &tally.unread } else { &tally.noticed };
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Makes the target as it is before the copy; returns what it holds.
    fn prepare(&self, case: &Case, image: &[u8], file: PathBuf) -> Option<Vec<u8>> {
        let mut random = Random::new(case.seed ^ 0x5555);
        let mut bytes = |length: u64| {
            let mut bytes = random.bytes(length as usize);
            if case.only_changed {
                let held = bytes.len().min(image.len());
                bytes[..held].copy_from_slice(&image[..held]);
                for _ in 0..random.below(4).min(length) {
                    bytes[random.below(length) as usize] ^= 1;
                }
            }
            bytes
        };
        match case.target {
            Target::NewFile => None,
            Target::OldFile(size) => {
                let bytes = bytes(size);
                fs::write(file, &bytes).unwrap();
                Some(bytes)
            }
            Target::Device(sector) => {
                let bytes = bytes(DEVICE_SIZE);
                let device = OpenOptions::new().write(true).open(self.disk(sector).path()).unwrap();
                device.write_all_at(&bytes, 0).unwrap();
                device.sync_all().unwrap();
                Some(bytes)
            }
        }
    }

    fn target(&self, case: &Case, file: PathBuf) -> PathBuf {
        match case.target {
            Target::NewFile | Target::OldFile(_) => file,
            Target::Device(sector) => self.disk(sector).path().to_owned(),
        }
    }

    /// What the target holds; `None` where there is none.
    fn contents(&self, case: &Case, target: &PathBuf) -> Option<Vec<u8>> {
        match case.target {
            Target::NewFile | Target::OldFile(_) => fs::read(target).ok(),
            Target::Device(sector) => Some(fs::read(&self.disk(sector).backing).unwrap()),
        }
    }
}

/// The image's bytes.
fn image(case: &Case) -> Vec<u8> {
    let mut random = Random::new(case.seed ^ 0xaaaa);
    let mut image = match case.holes {
        Holes::Zeroes => vec![0; case.size as usize],
        Holes::Garbage => random.text(case.size as usize),
    };
    for blocks in &case.mapped {
        let place = case.bytes_of(blocks);
        let bytes = if random.below(4) == 0 { random.bytes(place.len()) } else { random.text(place.len()) };
        image[place].copy_from_slice(&bytes);
    }
    if case.relocate_gpt {
        put_gpt(&mut image, case.sector().unwrap() as usize);
    }
    image
}

/// Writes the image to a file, in which blocks of zeroes are holes.
fn store(case: &Case, image: &[u8], path: &Path) {
    if case.holes == Holes::Garbage {
        return fs::write(path, image).unwrap();
    }
    let file = create(path, case.size);
    for place in case.mapped.iter().map(|blocks| case.bytes_of(blocks)) {
        file.write_all_at(&image[place.clone()], place.start as u64).unwrap();
    }
}

/// Does to the converted image what the case has in mind.
fn damage(case: &Case, converted: &mut Vec<u8>) {
    let place = |thousandths: u64| (converted.len() as u64 * thousandths / 1000) as usize;
    match case.damage {
        Some(Damage::Truncated(thousandths)) => converted.truncate(place(thousandths)),
        Some(Damage::BitFlipped(thousandths)) => {
            let place = place(thousandths);
            converted[place] ^= 1 << (case.seed % 8);
        }
        _ => {}
    }
}

fn digest(kind: ChecksumKind, bytes: &[u8]) -> String {
    let mut hasher = kind.hasher();
    hasher.update(bytes);
    hasher.finish().to_string()
}

/// The bmap, as programs of this version write it.
fn written(case: &Case, version: Version, image: &[u8]) -> String {
    let own = match (version.number, version.checksums) {
        (_, None) | ("1.2", _) => String::new(),
        ("1.3", _) => "<BmapFileSHA1> @ </BmapFileSHA1>".to_owned(),
        (_, Some(kind)) => format!("<ChecksumType> {kind} </ChecksumType><BmapFileChecksum> @ </BmapFileChecksum>"),
    };
    let attribute = if matches!(version.number, "1.2" | "1.3") { "sha1" } else { "chksum" };
    let wrong = (case.damage == Some(Damage::WrongChecksum)).then(|| case.seed as usize % case.mapped.len());
    let mut ranges = String::new();
    for (number, blocks) in case.mapped.iter().enumerate() {
        let (first, last) = (blocks.start, blocks.end - 1);
        let place = if first == last { first.to_string() } else { format!("{first}-{last}") };
        let checksum = version.checksums.map(|kind| {
            let data = &image[case.bytes_of(blocks)];
            let right = digest(kind, data);
            let told = if wrong == Some(number) { digest(kind, right.as_bytes()) } else { right };
            format!(" {attribute}=\"{told}\"")
        });
        ranges.push_str(&format!("        <Range{}> {place} </Range>\n", checksum.unwrap_or_default()));
    }
    let blocks = case.size.div_ceil(case.block_size);
    let mapped: u64 = case.mapped.iter().map(|blocks| blocks.end - blocks.start).sum();
    let text = format!(
        "<?xml version=\"1.0\" ?>\n<bmap version=\"{}\">\n    <ImageSize> {} </ImageSize>\n    <BlockSize> {} </BlockSize>\n    \
         <BlocksCount> {blocks} </BlocksCount>\n    {own}\n    <BlockMap>\n{ranges}    </BlockMap>\n    \
         <MappedBlocksCount> {mapped} </MappedBlocksCount>\n</bmap>\n",
        version.number, case.size, case.block_size
    );
    let Some(kind) = version.checksums else { return text };
    let sealed = digest(kind, text.replace('@', &"0".repeat(kind.digest_len() * 2)).as_bytes());
    let told = if case.damage == Some(Damage::WrongOwnChecksum) { digest(kind, sealed.as_bytes()) } else { sealed };
    text.replace('@', &told)
}

/// Gives the tool its source, and the server that has it, if any.
fn from(
    case: &Case,
    mut tool: Tool,
    converted: Vec<u8>,
    map: Option<Vec<u8>>,
    path: PathBuf,
) -> (Tool, Option<Server>) {
    match case.source {
        Source::File => {
            tool.command.arg(path);
            (tool, None)
        }
        Source::Stdin => {
            tool.command.arg("-");
            (tool.stdin(converted), None)
        }
        Source::Http | Source::HttpWhole => {
            let with_ranges = |data| server::File { ranges: case.source == Source::Http, ..server::File::new(data) };
            let (converted, map) = (with_ranges(converted), map.map(with_ranges));
            let server = Server::start(move |request, reply| match (request.path(), &map) {
                ("/converted", _) => reply.file(request, &converted),
                ("/converted.bmap", Some(map)) => reply.file(request, map),
                _ => reply.status("404 Not Found", &[]),
            });
            tool.command.arg(server.url("converted"));
            (tool, Some(server))
        }
    }
}

/// Whether a target that held `before` holds after the copy what it must.
fn is_expected(case: &Case, before: Option<Vec<u8>>, image: &[u8], after: &[u8]) -> bool {
    let kept = match case.target {
        // A file is emptied first.
        Target::NewFile | Target::OldFile(_) => vec![0; image.len()],
        Target::Device(_) => before.unwrap(),
    };
    let mut zeroed = kept.clone();
    match case.unmapped {
        Unmapped::Keep => {}
        Unmapped::Zero => zeroed[..image.len()].fill(0),
        Unmapped::Discard => zeroed.fill(0),
    }
    let [kept, zeroed] = [kept, zeroed].map(|target| with_image(case, target, image));
    match case.unmapped {
        Unmapped::Keep | Unmapped::Zero => after == zeroed,
        // A device discards what it likes of what it is told to.
        Unmapped::Discard => {
            let is_right = |(byte, (kept, zeroed)): (&u8, (&u8, &u8))| byte == kept || byte == zeroed;
            after.len() == kept.len() && after.iter().zip(kept.iter().zip(&zeroed)).all(is_right)
        }
    }
}

/// What a target holds once the image has been written to it.
fn with_image(case: &Case, mut target: Vec<u8>, image: &[u8]) -> Vec<u8> {
    let everything = std::iter::once(0..case.size.div_ceil(case.block_size)).collect();
    let ranges = if case.map == Map::None { &everything } else { &case.mapped };
    for blocks in ranges {
        let place = case.bytes_of(blocks);
        target[place.clone()].copy_from_slice(&image[place]);
    }
    if case.relocate_gpt {
        let backup = relocate(&mut target[..MIB], case.sector().unwrap() as u32, DEVICE_SIZE).unwrap();
        target[backup.offset as usize..].copy_from_slice(&backup.bytes);
    }
    target
}

/// Whether the damage must be noticed.
fn must_fail(case: &Case, image: &[u8]) -> bool {
    match case.damage {
        None => false,
        Some(Damage::WrongOwnChecksum) => true,
        Some(Damage::WrongChecksum) => !case.no_verify,
        // A flipped bit may lie in a name, a time stamp or a hole. If it does not, the target differs.
        Some(Damage::BitFlipped(_)) => false,
        Some(Damage::Truncated(thousandths)) => {
            let is_sized = matches!(case.source, Source::File | Source::Http | Source::HttpWhole);
            match case.format.proof {
                Proof::None if is_sized => true,
                // After the last mapped block nothing is needed.
                _ if case.is_verified() => false,
                // What is missing may be padding.
                Proof::Size => thousandths < 500 && image.len() > 100_000 && case.format.command == "tar -c disk.img",
                Proof::None | Proof::Checksum => true,
            }
        }
    }
}

/// After a failure nothing looks valid, or nothing was changed.
fn judge_remains(case: &Case, before: Option<Vec<u8>>, after: Option<Vec<u8>>, outcome: &Outcome) {
    let said = &outcome.stderr;
    match case.target {
        Target::NewFile => assert!(after.is_none(), "the file was left: {said}"),
        Target::OldFile(_) => assert!(after == before || said.contains("is incomplete"), "{said}"),
        Target::Device(_) => {
            let after = after.unwrap();
            let is_untouched = Some(&after) == before.as_ref();
            assert!(is_untouched || after[..MIB].iter().all(|&byte| byte == 0), "the device may look valid: {said}");
            assert!(is_untouched || said.contains("holds no valid image"), "{said}");
        }
    }
}
