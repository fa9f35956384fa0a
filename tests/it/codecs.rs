//! Images packed by the real tools: each reaches a file and a device, from a file, from standard input and over HTTP,
//! and is never taken for sound when it is cut off or corrupt.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::ChildStdin;

use crate::common::device::Disk;
use crate::common::image::{Random, assert_same, disk_like, sparse};
use crate::common::server::{File, Server};
use crate::common::tool::copy;
use crate::common::work::{Work, copy_whole, never_wrong};
use crate::common::{sh, temp_dir};
use crate::registry::{Need, Test};
use twox_hash::XxHash32;

/// How an image is packed: by a shell command that packs its standard input.
struct Packing {
    name: &'static str,
    needs: &'static [Need],
    command: &'static str,
}

macro_rules! packing {
    ($name:literal, $program:literal, $command:literal) => {
        Packing { name: $name, needs: &[Need::Root, Need::Program($program)], command: $command }
    };
}

const PACKINGS: &[Packing] = &[
    packing!("gzip", "gzip", "gzip -9"),
    packing!("gzip_members", "gzip", "head -c 300000 | gzip; gzip"),
    packing!("pigz", "pigz", "pigz -p2"),
    packing!("pigz_independent", "pigz", "pigz -p2 -i"),
    packing!("bzip2", "bzip2", "bzip2"),
    packing!("bzip2_streams", "bzip2", "head -c 300000 | bzip2 -1; bzip2"),
    packing!("pbzip2", "pbzip2", "pbzip2 -c -p2 -b1"),
    packing!("lbzip2", "lbzip2", "lbzip2 -n2"),
    packing!("xz_one_block", "xz", "xz -T1"),
    packing!("xz_blocks", "xz", "xz -T2 -0 --block-size=256KiB"),
    packing!("xz_blocks_without_sizes", "xz", "xz -T1 -0 --block-size=256KiB"),
    packing!(
        "xz_streams_and_padding",
        "xz",
        "head -c 300000 | xz -T2 --check=crc32; head -c 8 /dev/zero; xz -T2 -C sha256"
    ),
    packing!("xz_extreme", "xz", "xz -9e"),
    packing!("zstd", "zstd", "zstd"),
    packing!("zstd_long", "zstd", "zstd --long=31 --ultra -22"),
    packing!("zstd_without_checksum_in_frames", "zstd", "head -c 300000 | zstd --no-check; zstd -3 --no-check"),
    packing!("pzstd", "pzstd", "pzstd -p 2"),
    packing!("lz4", "lz4", "lz4"),
    packing!("lz4_independent_small", "lz4", "lz4 -B4 -BI"),
    packing!("lz4_linked", "lz4", "lz4 -BD -9"),
    packing!("lz4_linked_small_with_block_checksums", "lz4", "lz4 -B4 -BD -BX"),
    packing!("lz4_without_checksum", "lz4", "lz4 --no-frame-crc"),
    packing!("lz4_legacy", "lz4", "lz4 -l"),
    packing!(
        "lz4_frames_of_all_kinds",
        "lz4",
        "head -c 300000 | lz4 -l; printf 'P*M\\030\\003\\0\\0\\0abc'; head -c 300000 | lz4 -BD; lz4 -l"
    ),
    packing!("lzop", "lzop", "lzop"),
    packing!("lzop_fast", "lzop", "lzop -1"),
    packing!("lzop_best_with_crc", "lzop", "lzop -9 --crc32"),
    packing!("lzop_without_checksum", "lzop", "lzop -F"),
    packing!("lzop_parts", "lzop", "head -c 300000 | lzop; lzop -7"),
    packing!("zip_from_pipe", "zip", "zip -q - -"),
    packing!("tar_gz", "tar", "cat > image; tar -cS image | gzip"),
];

#[test_cases]
fn packings() -> Vec<Test> {
    let both = |packing: &'static Packing| {
        let name = packing.name;
        [
            Test::new(format!("{name}_reaches_file_and_device"), packing.needs, move || reaches(packing)),
            Test::new(format!("{name}_damage_is_noticed"), packing.needs, move || damage_is_noticed(packing)),
        ]
    };
    PACKINGS.iter().flat_map(both).collect()
}

#[test_cases]
fn members() -> Vec<Test> {
    let little_memory = |(name, needs, pack, count): (_, [Need; 2], _, _)| {
        Test::new(format!("{name}_takes_little_memory"), &needs, move || takes_little_memory(pack, count))
    };
    MEMBERS.map(little_memory).into()
}

/// Commands whose output may be repeated, for what it unpacks to is then repeated as well; and how often that is done.
const MEMBERS: [(&str, [Need; 2], &str, u32); 6] = [
    ("gzip", [TIME, Need::Program("gzip")], "gzip -1", 300),
    ("bzip2", [TIME, Need::Program("bzip2")], "bzip2 -1", 100),
    ("xz", [TIME, Need::Program("xz")], "xz -0", 300),
    ("zstd", [TIME, Need::Program("zstd")], "zstd -1", 300),
    ("lz4", [TIME, Need::Program("lz4")], "lz4 -1", 300),
    ("lzop", [TIME, Need::Program("lzop")], "lzop -1", 300),
];

/// Tells how much memory was taken.
const TIME: Need = Need::Program("time");

/// Far more data than memory may be taken, both packed and unpacked.
fn takes_little_memory(pack: &str, count: u32) {
    let work = Work::new(|image| fs::write(image, Random::new(1).bytes(1 << 20)).unwrap());
    let member = fs::read(work.pack(pack)).unwrap();
    let feed = move |mut stdin: ChildStdin| (0..count).for_each(|_| stdin.write_all(&member).unwrap());
    let outcome = copy(["--nobmap", "-", "/dev/null"]).measured().run_fed(feed);
    assert_eq!(outcome.status, Some(0), "{}", outcome.stderr);
    assert!(outcome.memory() < 64 << 20, "{} MiB", outcome.memory() >> 20);
}

fn reaches(packing: &Packing) {
    let work = Work::new(|image| disk_like(image, 1));
    let packed = work.pack(packing.command);
    let (out, disk) = (work.path("out"), Disk::new(18 << 20));
    work.copy(&packed, &out).ok().says(&["copying time: "]);
    assert_same(&work.image, &out);
    work.copy(Path::new("-"), &out).stdin(fs::read(&packed).unwrap()).ok();
    assert_same(&work.image, &out);
    copy_whole(Path::new("-"), &out).stdin(fs::read(&packed).unwrap()).ok();
    assert_same(&work.image, &out);
    let server = Server::of(File::new(fs::read(&packed).unwrap()));
    work.copy(server.url("download?id=1").as_ref(), &out).ok();
    assert_same(&work.image, &out);
    copy_whole(server.url("download?id=1").as_ref(), &out).ok();
    assert_same(&work.image, &out);
    work.copy(&packed, disk.path()).ok();
    disk.assert_flashed(&work.image, &work.bmap);
    disk.refill();
    copy_whole(&packed, disk.path()).ok();
    assert_same(&work.image, disk.path());
}

/// How many places are tried.
const PLACES: usize = 10;

fn damage_is_noticed(packing: &Packing) {
    let work = Work::new(|image| sparse(image, 1_200_000, &[(0, 40_000), (400_000, 100_000), (1_000_000, 200_000)], 7));
    let packed = work.pack(packing.command);
    let sound = fs::read(&packed).unwrap();
    let out = work.path("out");
    for place in (1..=PLACES).map(|n| sound.len() * n / (PLACES + 1)) {
        let cut = &sound[..place];
        copy_whole(Path::new("-"), &out).stdin(cut).fails(&["data ends too early: the file is cut off"]);
        fs::write(&packed, cut).unwrap();
        never_wrong(work.copy(&packed, &out), &work.image, &out);

        let mut corrupt = sound.clone();
        corrupt[place] ^= 0x55;
        fs::write(&packed, &corrupt).unwrap();
        never_wrong(work.copy(&packed, &out), &work.image, &out);
        if !["without_checksum", "lz4_legacy", "lz4_frames"].iter().any(|lax| packing.name.contains(lax)) {
            never_wrong(copy_whole(&packed, &out), &work.image, &out);
        }
    }
    let appended = [&sound[..], b"garbage that belongs to nothing"].concat();
    copy_whole(Path::new("-"), &out).stdin(appended).fails(&["is corrupt"]);
    copy_whole(Path::new("-"), &out).stdin([&sound[..], &[0; 5000]].concat()).ok();
    assert_same(&work.image, &out);
}

fn small() -> Work {
    Work::new(|image| sparse(image, 1 << 20, &[(0, 100_000), (900_000, 50_000)], 3))
}

#[test(Program("lz4"))]
fn the_content_size_of_lz4_is_checked() {
    let work = small();
    let packed = work.path("sized");
    sh("lz4", &["-q", "--content-size", work.image.to_str().unwrap(), packed.to_str().unwrap()]);
    copy_whole(&packed, &work.path("out")).ok();
    assert_same(&work.image, &work.path("out"));
    // The size in the header, which then needs another checksum; the data is sound.
    let mut bytes = fs::read(&packed).unwrap();
    bytes[6] ^= 1;
    fs::write(&packed, &bytes).unwrap();
    copy_whole(&packed, &work.path("out")).fails(&["the lz4 data is corrupt", "header is wrong"]);
}

#[test(Program("lz4"))]
fn lz4_with_a_dictionary_is_refused() {
    let work = small();
    // A header that names dictionary 7; its checksum is the second byte of its hash.
    let header = [0x61, 0x40, 7, 0, 0, 0];
    let [_, checksum, ..] = XxHash32::oneshot(0, &header).to_le_bytes();
    let packed = [&b"\x04\x22\x4d\x18"[..], &header, &[checksum], &[0; 4]].concat();
    fs::write(work.path("packed"), packed).unwrap();
    copy_whole(&work.path("packed"), &work.path("out")).fails(&["cannot be decoded", "dictionary 7"]);
}

#[test(Program("lz4"))]
fn lz4_after_a_short_skippable_frame_is_recognized() {
    let work = small();
    let lz4 = fs::read(work.pack("lz4 -c disk.img")).unwrap();
    let behind = |length: u32| {
        let frame = [b"P*M\x18", &length.to_le_bytes()[..], &vec![7; length as usize], &lz4].concat();
        fs::write(work.path("packed"), frame).unwrap();
        copy_whole(&work.path("packed"), &work.path("out"))
    };
    behind(100).ok();
    assert_same(&work.image, &work.path("out"));
    behind(600).fails(&["cannot be decoded", "lz4 data follows a skippable frame"]);
}

#[test(Program("xz"))]
fn something_else_after_the_data_is_an_error() {
    let work = small();
    for packer in ["gzip -c", "xz -c"] {
        let packed = work.pack(&format!("{packer} disk.img; echo something else"));
        copy_whole(&packed, &work.path("out"))
            .fails(&["data is corrupt", "something else follows it in the same file"]);
    }
}

#[test(Program("lzop"))]
fn the_file_name_of_lzop_is_checked() {
    let work = small();
    sh("lzop", &["-q", work.image.to_str().unwrap()]);
    let packed = work.path("disk.img.lzo");
    copy([&packed, &work.path("out")]).ok().says(&["discovered bmap file"]);
    assert_same(&work.image, &work.path("out"));
    let mut bytes = fs::read(&packed).unwrap();
    bytes[40] ^= 1; // in the name
    fs::write(&packed, &bytes).unwrap();
    copy([&packed, &work.path("out")]).fails(&["the lzop data is corrupt", "checksum of a header is wrong"]);
}

/// A part of a packed file that is unpacked by itself.
struct Unit {
    /// The place of a byte in its middle.
    middle: usize,
    /// What it unpacks to: the first byte in the image, and how many.
    start: usize,
    length: usize,
}

#[test(Program("xz"))]
fn xz_holes_are_left_out() {
    let work = Work::new(|image| disk_like(image, 2));
    let blocks = "xz -T2 -0 --block-size=1MiB";
    let packed = work.pack(&format!("head -c 5000000 | {blocks}; head -c 8 /dev/zero; {blocks}"));
    let list = sh("xz", &["--robot", "--list", "-vv", packed.to_str().unwrap()]);
    let blocks = list.lines().filter_map(|line| line.strip_prefix("block\t"));
    let units = blocks.map(|block| {
        let field: Vec<usize> = block.split('\t').map(|field| field.parse().unwrap_or(0)).collect();
        Unit { middle: field[3] + field[5] / 2, start: field[4], length: field[6] }
    });
    holes_are_left_out(&work, &packed, &units.collect::<Vec<_>>(), "the xz data is corrupt");
}

#[test(Program("zstd"))]
fn seekable_zstd_holes_are_left_out() {
    let work = Work::new(|image| disk_like(image, 2));
    let image = fs::read(&work.image).unwrap();
    let (mut packed, mut table, mut units) = (Vec::new(), Vec::new(), Vec::new());
    for (number, piece) in image.chunks(1 << 20).enumerate() {
        fs::write(work.path("piece"), piece).unwrap();
        sh("zstd", &["-q", "-f", work.path("piece").to_str().unwrap()]);
        let frame = fs::read(work.path("piece.zst")).unwrap();
        table.extend(u32::try_from(frame.len()).unwrap().to_le_bytes());
        table.extend(u32::try_from(piece.len()).unwrap().to_le_bytes());
        // The last four bytes are the checksum.
        units.push(Unit { middle: packed.len() + frame.len() - 2, start: number << 20, length: piece.len() });
        packed.extend(frame);
    }
    // The table, in a skippable frame.
    packed.extend(0x184d_2a5e_u32.to_le_bytes());
    packed.extend(u32::try_from(table.len() + 9).unwrap().to_le_bytes());
    packed.extend(&table);
    packed.extend(u32::try_from(units.len()).unwrap().to_le_bytes());
    packed.push(0);
    packed.extend(0x8f92_eab1_u32.to_le_bytes());
    fs::write(work.path("packed"), packed).unwrap();
    holes_are_left_out(&work, &work.path("packed"), &units, "the zstd data is corrupt");
}

/// Expects those units of `packed` that unpack to zeroes not to be read where every range has a checksum and the file
/// has an index, and else to be read.
fn holes_are_left_out(work: &Work, packed: &Path, units: &[Unit], corrupt: &str) {
    let out = work.path("out");
    work.copy(packed, &out).ok();
    assert_same(&work.image, &out);

    let image = fs::read(&work.image).unwrap();
    let is_hole = |unit: &&Unit| image[unit.start..unit.start + unit.length].iter().all(|&byte| byte == 0);
    let holes: Vec<&Unit> = units.iter().filter(is_hole).collect();
    assert!(holes.len() > 3 && holes.len() < units.len() - 3);
    let mut bytes = fs::read(packed).unwrap();
    for hole in holes {
        bytes[hole.middle] ^= 0x55;
    }
    fs::write(packed, &bytes).unwrap();
    work.copy(packed, &out).ok();
    assert_same(&work.image, &out);
    copy_whole(packed, &out).fails(&[corrupt]);
    work.copy(Path::new("-"), &out).stdin(bytes).fails(&[corrupt]);
}

#[test(Program("xz"))]
fn an_xz_file_of_another_size_is_refused() {
    let (work, other) = (small(), Work::new(|image| sparse(image, 2 << 20, &[(0, 100_000)], 3)));
    let packed = other.pack("xz -T2 -0 --block-size=256KiB");
    work.copy(&packed, &work.path("out")).fails(&["has 2097152 bytes", "an image of 1048576 bytes"]);
    assert!(!work.path("out").exists());
}

/// The offsets in the bmap are not those of the tar.
#[test(Program("xz"), Program("tar"))]
fn the_index_of_an_xz_of_a_tar_is_not_used() {
    let work = Work::new(|image| disk_like(image, 3));
    let packed = work.pack("tar -c disk.img | xz -T2 -0 --block-size=1MiB");
    work.copy(&packed, &work.path("out")).ok();
    assert_same(&work.image, &work.path("out"));
}

#[test]
fn a_zstd_window_over_2_gib_is_refused() {
    let folder = temp_dir();
    let packed = folder.path().join("packed");
    // A frame with a window of 2^32 bytes and an empty last block.
    fs::write(&packed, b"\x28\xb5\x2f\xfd\x00\xb0\x01\0\0").unwrap();
    copy_whole(&packed, &folder.path().join("out")).fails(&[
        "the zstd data cannot be decoded",
        "it needs a window of over ",
        "a quarter of the machine's memory",
    ]);
}

#[test(Program("zstd"), Program("xz"))]
fn too_little_memory_is_no_damage() {
    let work = small();
    for (command, kilobytes, format) in [("zstd --long=27", 120_000, "zstd"), ("xz -9", 60_000, "xz")] {
        let packed = work.pack(&format!("(head -c 140000000 /dev/zero; cat disk.img) | {command}"));
        let script = format!("ulimit -v {kilobytes}; exec \"$@\"");
        let tool = copy_whole(&packed, &work.path("out")).under(&["sh", "-c", &script, "sh"]);
        let reason = format!("the {format} data cannot be decoded: the machine has not enough memory left for it");
        let outcome = tool.fails(&[&reason]);
        assert!(!outcome.stderr.contains("corrupt"), "{}", outcome.stderr);
    }
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
        fs::rename(work.pack(command), work.path(name)).unwrap();
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
        let packed = work.pack(command);
        work.copy(&packed, &work.path("out")).env("PATH", "").ok();
        assert_same(&work.image, &work.path("out"));
    }
}
