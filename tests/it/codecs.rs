//! Images compressed by the real tools: each reaches a file and a device, from a file, from standard input and over
//! HTTP, and is never taken for sound when it is cut off or corrupt.

use std::fs;
use std::path::Path;

use crate::common::device::Disk;
use crate::common::image::{Random, assert_same, disk_like, sparse};
use crate::common::server::{File, Server};
use crate::common::sh;
use crate::common::tool::copy;
use crate::common::work::{Work, copy_whole, never_wrong};
use crate::registry::{Need, Test};
use twox_hash::XxHash32;

/// How an image is compressed: by a shell command that compresses its standard input.
pub struct Compression {
    pub name: &'static str,
    pub needs: &'static [Need],
    pub command: &'static str,
}

macro_rules! compression {
    ($name:literal, $program:literal, $command:literal) => {
        Compression { name: $name, needs: &[Need::Root, Need::Program($program)], command: $command }
    };
}

pub const COMPRESSIONS: &[Compression] = &[
    compression!("gzip", "gzip", "gzip -9"),
    compression!("gzip_members", "gzip", "head -c 300000 | gzip; gzip"),
    compression!("pigz", "pigz", "pigz -p2"),
    compression!("pigz_independent", "pigz", "pigz -p2 -i"),
    compression!("bzip2", "bzip2", "bzip2"),
    compression!("bzip2_streams", "bzip2", "head -c 300000 | bzip2 -1; bzip2"),
    compression!("pbzip2", "pbzip2", "pbzip2 -c -p2 -b1"),
    compression!("lbzip2", "lbzip2", "lbzip2 -n2"),
    compression!("xz_one_block", "xz", "xz -T1"),
    compression!("xz_blocks", "xz", "xz -T2 -0 --block-size=256KiB"),
    compression!("xz_blocks_without_sizes", "xz", "xz -T1 -0 --block-size=256KiB"),
    compression!(
        "xz_streams_and_padding",
        "xz",
        "head -c 300000 | xz -T2 --check=crc32; head -c 8 /dev/zero; xz -T2 -C sha256"
    ),
    compression!("xz_extreme", "xz", "xz -9e"),
    compression!("lzma", "xz", "xz --format=lzma"),
    compression!("lzma_fast", "xz", "xz --format=lzma -0"),
    compression!("zstd", "zstd", "zstd"),
    compression!("zstd_long", "zstd", "zstd --long=31 --ultra -22"),
    compression!("zstd_without_checksum_in_frames", "zstd", "head -c 300000 | zstd --no-check; zstd -3 --no-check"),
    compression!("pzstd", "pzstd", "pzstd -p 2"),
    compression!("lz4", "lz4", "lz4"),
    compression!("lz4_independent_small", "lz4", "lz4 -B4 -BI"),
    compression!("lz4_linked", "lz4", "lz4 -BD -9"),
    compression!("lz4_linked_small_with_block_checksums", "lz4", "lz4 -B4 -BD -BX"),
    compression!("lz4_without_checksum", "lz4", "lz4 --no-frame-crc"),
    compression!("lz4_legacy", "lz4", "lz4 -l"),
    compression!(
        "lz4_frames_of_all_kinds",
        "lz4",
        "head -c 300000 | lz4 -l; printf 'P*M\\030\\003\\0\\0\\0abc'; head -c 300000 | lz4 -BD; lz4 -l"
    ),
    compression!("lzop", "lzop", "lzop"),
    compression!("lzop_fast", "lzop", "lzop -1"),
    compression!("lzop_best_with_crc", "lzop", "lzop -9 --crc32"),
    compression!("lzop_without_checksum", "lzop", "lzop -F"),
    compression!("lzop_parts", "lzop", "head -c 300000 | lzop; lzop -7"),
    compression!("zip_from_pipe", "zip", "zip -q - -"),
    compression!("tar_gz", "tar", "cat > image; tar -cS image | gzip"),
];

#[test_cases]
fn compressions() -> Vec<Test> {
    let both = |compression: &'static Compression| {
        let name = compression.name;
        [
            Test::new(format!("{name}_reaches_file_and_device"), compression.needs, move || reaches(compression)),
            Test::new(format!("{name}_damage_is_noticed"), compression.needs, move || damage_is_noticed(compression)),
        ]
    };
    COMPRESSIONS.iter().flat_map(both).collect()
}

fn reaches(compression: &Compression) {
    let work = Work::new(|image| disk_like(image, 1));
    let compressed = work.output_of(compression.command);
    let (out, disk) = (work.path("out"), Disk::new(18 << 20));
    work.copy(&compressed, &out).ok().says(&["copying time: "]);
    assert_same(&work.image, &out);
    work.copy(Path::new("-"), &out).stdin(fs::read(&compressed).unwrap()).ok();
    assert_same(&work.image, &out);
    copy_whole(Path::new("-"), &out).stdin(fs::read(&compressed).unwrap()).ok();
    assert_same(&work.image, &out);
    let server = Server::of(File::new(fs::read(&compressed).unwrap()));
    work.copy(server.url("download?id=1").as_ref(), &out).ok();
    assert_same(&work.image, &out);
    copy_whole(server.url("download?id=1").as_ref(), &out).ok();
    assert_same(&work.image, &out);
    work.copy(&compressed, disk.path()).ok();
    disk.assert_flashed(&work.image, &work.bmap);
    disk.refill();
    copy_whole(&compressed, disk.path()).ok();
    assert_same(&work.image, disk.path());
}

/// How many places are tried.
const PLACES: usize = 10;

fn damage_is_noticed(compression: &Compression) {
    let work = Work::new(|image| sparse(image, 1_200_000, &[(0, 40_000), (400_000, 100_000), (1_000_000, 200_000)], 7));
    let compressed = work.output_of(compression.command);
    let sound = fs::read(&compressed).unwrap();
    let out = work.path("out");
    for place in (1..=PLACES).map(|n| sound.len() * n / (PLACES + 1)) {
        let cut = &sound[..place];
        copy_whole(Path::new("-"), &out).stdin(cut).fails(&["data ends too early: the file is cut off"]);
        fs::write(&compressed, cut).unwrap();
        never_wrong(work.copy(&compressed, &out), &work.image, &out);

        let mut corrupt = sound.clone();
        corrupt[place] ^= 0x55;
        fs::write(&compressed, &corrupt).unwrap();
        never_wrong(work.copy(&compressed, &out), &work.image, &out);
        if !["without_checksum", "lz4_legacy", "lz4_frames", "lzma"].iter().any(|lax| compression.name.contains(lax)) {
            never_wrong(copy_whole(&compressed, &out), &work.image, &out);
        }
    }
    // As the formats' own programs have it.
    let appended = copy_whole(Path::new("-"), &out).stdin([&sound[..], b"garbage that belongs to nothing"].concat());
    if ["xz", "lzma", "zstd", "pzstd", "lz4"].iter().any(|strict| compression.name.starts_with(strict)) {
        appended.fails(&["is corrupt"]);
    } else {
        appended.ok().says(&["WARNING: 'standard input' goes on after its ", " data: what follows is left out"]);
        assert_same(&work.image, &out);
    }
    copy_whole(Path::new("-"), &out).stdin([&sound[..], &[0; 5000]].concat()).ok();
    assert_same(&work.image, &out);
}

fn small() -> Work {
    Work::new(|image| sparse(image, 1 << 20, &[(0, 100_000), (900_000, 50_000)], 3))
}

#[test(Program("lz4"))]
fn the_content_size_of_lz4_is_checked() {
    let work = small();
    let compressed = work.path("sized");
    sh("lz4", &["-q", "--content-size", work.image.to_str().unwrap(), compressed.to_str().unwrap()]);
    copy_whole(&compressed, &work.path("out")).ok();
    assert_same(&work.image, &work.path("out"));
    // The size in the header, which then needs another checksum; the data is sound.
    let mut bytes = fs::read(&compressed).unwrap();
    bytes[6] ^= 1;
    fs::write(&compressed, &bytes).unwrap();
    copy_whole(&compressed, &work.path("out")).fails(&["the lz4 data is corrupt", "header is wrong"]);
}

#[test(Program("lz4"))]
fn lz4_with_a_dictionary_is_refused() {
    let work = small();
    // A header that names dictionary 7; its checksum is the second byte of its hash.
    let header = [0x61, 0x40, 7, 0, 0, 0];
    let [_, checksum, ..] = XxHash32::oneshot(0, &header).to_le_bytes();
    let compressed = [&b"\x04\x22\x4d\x18"[..], &header, &[checksum], &[0; 4]].concat();
    fs::write(work.path("output"), compressed).unwrap();
    copy_whole(&work.path("output"), &work.path("out")).fails(&["cannot be decoded", "dictionary 7"]);
}

#[test(Program("lz4"))]
fn lz4_after_a_short_skippable_frame_is_recognized() {
    let work = small();
    let lz4 = fs::read(work.output_of("lz4 -c disk.img")).unwrap();
    let lz4_after = |length: u32| {
        let frame = [b"P*M\x18", &length.to_le_bytes()[..], &vec![7; length as usize], &lz4].concat();
        fs::write(work.path("output"), frame).unwrap();
        copy_whole(&work.path("output"), &work.path("out"))
    };
    lz4_after(100).ok();
    assert_same(&work.image, &work.path("out"));
    lz4_after(600).fails(&["cannot be decoded", "lz4 data follows a skippable frame"]);
}

/// As in the images of OpenWrt: a header of eight zeroes, JSON, and a trailer in binary.
const METADATA: &[u8] =
    b"\0\0\0\0\0\0\0\0{  \"metadata_version\": \"1.1\", \"compat_version\": \"1.0\", \"supported_devices\":[] }\
    FWx0\x8a\xf1\x12\x9c\x01\0\0\0\0\0\x01\x3c";

#[test(Program("gzip"), Program("bzip2"), Program("lzop"))]
fn metadata_after_the_data_is_left_out_with_a_warning() {
    let work = small();
    for (command, format) in [("gzip", "gzip"), ("head -c 300000 | bzip2; bzip2", "bzip2"), ("lzop", "lzop")] {
        let image = [&fs::read(work.output_of(command)).unwrap(), METADATA].concat();
        fs::write(work.path("output"), &image).unwrap();
        let warning = format!("goes on after its {format} data: what follows is left out");
        copy_whole(&work.path("output"), &work.path("out")).ok().says(&["WARNING", &warning]);
        assert_same(&work.image, &work.path("out"));
        work.copy(&work.path("output"), &work.path("out")).ok();
        assert_same(&work.image, &work.path("out"));
        let server = Server::of(File::new(image));
        copy_whole(server.url("download?id=1").as_ref(), &work.path("out")).ok().says(&[&warning]);
    }
}

/// Else a damaged image would be taken for a shorter one.
#[test(Program("gzip"), Program("bzip2"), Program("lzop"))]
fn what_may_be_a_damaged_member_is_not_left_out() {
    let work = small();
    for compressor in ["gzip", "gzip -n", "bzip2", "lzop"] {
        let first = fs::read(work.output_of(&format!("head -c 300000 | {compressor}"))).unwrap();
        let second = fs::read(work.output_of(&format!("tail -c +300001 | {compressor}"))).unwrap();
        let refused = |second: &[u8]| {
            copy_whole(Path::new("-"), &work.path("out")).stdin([&first, second].concat()).fails(&["is corrupt"]);
        };
        for damaged in 0..3 {
            let mut second = second.clone();
            second[damaged] ^= 0x20;
            refused(&second);
        }
        for burst in [10, 512] {
            let mut second = second.clone();
            second[..burst].fill(0);
            refused(&second);
            second[..burst].copy_from_slice(&Random::new(7).bytes(burst));
            refused(&second);
        }
        refused(&second[300..]);
    }
}

#[test(Program("xz"))]
fn lzma_with_a_known_size_is_checked_against_it() {
    let work = small();
    let compressed = work.output_of("xz --format=lzma");
    let mut bytes = fs::read(&compressed).unwrap();
    let mut sized = |size: u64| {
        bytes[5..13].copy_from_slice(&size.to_le_bytes());
        fs::write(&compressed, &bytes).unwrap();
        copy_whole(&compressed, &work.path("out"))
    };
    sized(1 << 20).ok();
    assert_same(&work.image, &work.path("out"));
    sized((1 << 20) + 1).fails(&["the lzma data is corrupt"]);
    sized((1 << 20) - 1).fails(&["the lzma data is corrupt"]);
}

#[test(Program("lzop"))]
fn the_file_name_of_lzop_is_checked() {
    let work = small();
    sh("lzop", &["-q", work.image.to_str().unwrap()]);
    let compressed = work.path("disk.img.lzo");
    copy([&compressed, &work.path("out")]).ok().says(&["discovered bmap file"]);
    assert_same(&work.image, &work.path("out"));
    let mut bytes = fs::read(&compressed).unwrap();
    bytes[40] ^= 1; // in the name
    fs::write(&compressed, &bytes).unwrap();
    copy([&compressed, &work.path("out")]).fails(&["the lzop data is corrupt", "checksum of a header is wrong"]);
}

#[test(Program("gzip"))]
fn names_that_contradict_the_contents_get_a_warning() {
    let work = small();
    for (name, command, warning) in [
        ("disk.tgz", "tar -c disk.img | gzip", None),
        ("disk.tar.gz", "tar -c disk.img | gzip", None),
        ("disk.tar", "tar -c disk.img", None),
        ("disk.txz", "tar -c disk.img | gzip", Some("says xz, but it is gzip")),
        ("disk.img.xz", "tar -c disk.img", Some("says xz, but it is tar")),
        ("disk.tar.lz4", "cat", Some("says lz4, but it is not compressed")),
    ] {
        fs::rename(work.output_of(command), work.path(name)).unwrap();
        let outcome = work.copy(&work.path(name), &work.path("out")).ok();
        assert_same(&work.image, &work.path("out"));
        assert_eq!(outcome.stderr.contains("WARNING"), warning.is_some(), "{name}: {}", outcome.stderr);
        outcome.says(&[warning.unwrap_or_default()]);
    }
}

#[test(Program("lz4"))]
fn a_compressed_bmap_is_read() {
    let work = small();
    sh("lz4", &["-q", work.bmap.to_str().unwrap(), work.path("map").to_str().unwrap()]);
    let (map, out) = (work.path("map"), work.path("out"));
    copy(["--bmap".as_ref(), map.as_os_str(), work.image.as_os_str(), out.as_os_str()]).ok();
    assert_same(&work.image, &out);
}

#[test(Program("lzop"), Program("xz"), Program("lz4"))]
fn no_program_is_needed() {
    let work = small();
    for command in ["lzop", "xz", "lz4 -l", "tar -c disk.img | bzip2"] {
        let compressed = work.output_of(command);
        work.copy(&compressed, &work.path("out")).env("PATH", "").ok();
        assert_same(&work.image, &work.path("out"));
    }
}
