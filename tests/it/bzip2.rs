//! bzip2 images from every program that makes them, whole and damaged.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::common::image::{Random, assert_same, disk_like};
use crate::common::tool::{copy, create};
use crate::common::{find_program, temp_dir};
use crate::registry::{Need, Test};

const PROGRAMS: [&str; 3] = ["bzip2", "pbzip2", "lbzip2"];

#[test_cases]
fn programs() -> Vec<Test> {
    let levels =
        |program| Test::new(format!("levels_of_{program}"), &[Need::Program(program)], move || levels_of(program));
    PROGRAMS.into_iter().map(levels).collect()
}

/// Compresses `data` with `program`, at `level`.
fn compress_with(program: &str, level: u32, data: &[u8]) -> Vec<u8> {
    use std::process::{Command, Stdio};
    let mut command = Command::new(find_program(program).unwrap());
    command.arg(format!("-{level}")).arg("-c").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let data = data.to_vec();
    let feeder = std::thread::spawn(move || stdin.write_all(&data).unwrap());
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap();
    assert!(output.status.success(), "{command:?}");
    output.stdout
}

/// Compresses `data` with the reference.
fn compress(level: u32, data: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::new(level));
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

/// Text, noise, zeroes and repetitions: several blocks of the lower levels.
fn mixture(seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    let mut data = Vec::new();
    for _ in 0..3 {
        data.extend(random.text(300_000));
        data.extend(random.bytes(60_000));
        data.extend(vec![0; 500_000]);
        let period = random.below(5000) as usize + 1;
        data.extend(random.text(period).repeat(200_000 / period));
    }
    data
}

/// A directory with a compressed file in it.
struct Compressed {
    directory: tempfile::TempDir,
    path: PathBuf,
}

impl Compressed {
    fn new(compressed: &[u8]) -> Self {
        let directory = temp_dir();
        let path = directory.path().join("disk.img.bz2");
        fs::write(&path, compressed).unwrap();
        Self { directory, path }
    }

    fn target(&self) -> PathBuf {
        self.directory.path().join("out")
    }

    /// Copies everything, and expects `data`.
    fn delivers(&self, data: &[u8], what: &str) {
        copy(["--nobmap".as_ref(), self.path.as_os_str(), self.target().as_os_str()]).ok();
        assert!(fs::read(self.target()).unwrap() == data, "{what}");
    }

    /// Expects a copy without a bmap to fail, with a message that has all of `fragments`.
    fn is_refused(&self, fragments: &[&str]) {
        copy(["--nobmap".as_ref(), self.path.as_os_str(), self.target().as_os_str()]).fails(fragments);
    }
}

fn levels_of(program: &str) {
    let data = mixture(1);
    for level in 1..=9 {
        Compressed::new(&compress_with(program, level, &data)).delivers(&data, &format!("{program} -{level}"));
    }
    for data in [&b""[..], b"x", &[0; 1_000_000]] {
        Compressed::new(&compress_with(program, 9, data)).delivers(data, &format!("{program}, {} bytes", data.len()));
    }
}

#[test]
fn streams_one_after_another_are_decoded() {
    let data = mixture(2);
    let mut compressed = compress(9, b"");
    for part in data.chunks(data.len() / 7 + 1) {
        compressed.extend(compress(3, part));
        compressed.extend(compress(1, b""));
    }
    Compressed::new(&compressed).delivers(&data, "streams, some of them empty");
}

#[test]
fn a_level_that_changes_between_streams_is_followed() {
    let data = mixture(3);
    let compressed: Vec<u8> =
        (1..=9).zip(data.chunks(data.len() / 9 + 1)).flat_map(|(level, part)| compress(level, part)).collect();
    Compressed::new(&compressed).delivers(&data, "nine streams of nine levels");
}

#[test]
fn an_image_cut_anywhere_is_refused() {
    let directory = temp_dir();
    let image = directory.path().join("disk.img");
    disk_like(&image, 4);
    let bmap = create(&image);
    let compressed = compress(1, &fs::read(&image).unwrap());
    for part in 1..20 {
        let cut = Compressed::new(&compressed[..compressed.len() * part / 20]);
        cut.is_refused(&["bzip2", "cut off"]);
        copy([Path::new("--bmap"), &bmap, &cut.path, &cut.target()]).fails(&["bzip2", "cut off"]);
    }
    for missing in [1, 4, 5, 9, 10, 11] {
        // Every mapped byte is there, and with a bmap that is enough.
        let cut = Compressed::new(&compressed[..compressed.len() - missing]);
        cut.is_refused(&["bzip2", "cut off"]);
    }
    let whole = Compressed::new(&compressed);
    copy([Path::new("--bmap"), &bmap, &whole.path, &whole.target()]).ok();
    assert_same(&image, &whole.target());
}

#[test]
fn an_image_damaged_anywhere_is_refused() {
    let mut random = Random::new(5);
    let compressed = compress(2, &mixture(5));
    for part in 0..40 {
        let mut damaged = compressed.clone();
        // After the magic, by which the format is told, and before the padding of the last byte.
        let place = 10 + part * (compressed.len() - 11) / 40 + random.below(100) as usize;
        damaged[place] ^= 1 << random.below(8);
        Compressed::new(&damaged).is_refused(&["bzip2"]);
    }
    let mut damaged = compressed.clone();
    let crc = compressed.len() - 4;
    damaged[crc] ^= 0x80;
    Compressed::new(&damaged).is_refused(&["bzip2 data is corrupt", "checksum of the stream"]);
}

#[test]
fn only_padding_may_follow_the_image() {
    let data = mixture(6);
    let compressed = compress(9, &data);
    let with = |more: &[u8]| Compressed::new(&[&compressed, more].concat());
    with(&[0; 512]).delivers(&data, "padding");
    with(&vec![0; 5 << 20]).delivers(&data, "much padding");
    with(b"\x01garbage").is_refused(&["bzip2 data is corrupt", "no bzip2 data"]);
    with(&[&[0; 512], &b"\x01garbage"[..]].concat()).is_refused(&["bzip2 data is corrupt"]);
    with(&compressed[..40]).is_refused(&["bzip2", "cut off"]);
}
