//! Compressed images: data without end, headers and blocks that lie, and what would take memory without end.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use super::compressors::{CODECS, lz4_frame_start, lzop_start, xz, zstd};
use super::{MEMORY, MIB, SIZE, TIME, Victim, bounded};
use crate::common::device::Disk;
use crate::common::tool::{Outcome, Tool, copy, create};
use crate::common::work::gzip;
use crate::common::{sh, text};

/// Starts a copy whose image is a compressed file without end: the same 4 MiB of zeroes again and again.
fn endless(tool: Tool, compress: fn(&[u8]) -> Vec<u8>) -> Outcome {
    let member = compress(&vec![0; 4 << 20]);
    // Until the reader has gone.
    tool.run_fed(move |mut stdin| while stdin.write_all(&member).is_ok() {})
}

#[test(TIME)]
fn endless_images_are_cut_off() {
    let victim = Victim::new();
    for (name, compress) in CODECS {
        let outcome = endless(victim.copy(Path::new("-")), compress);
        outcome.says(&["the image goes on after the 8192 bytes that the bmap says it has"]);
        assert_eq!(outcome.status, Some(1), "{name}");
        assert!(outcome.memory() < MEMORY, "{name}: {} MiB", outcome.memory() / MIB);
    }
    // One in another: only the outer layer is decompressed, whatever it holds.
    let nested = (0..10).fold(vec![0; 1 << 20], |inner, _| gzip(&inner));
    let nested = victim.file("nested", &[&nested]);
    bounded(victim.copy(&nested), 1, &["is compressed again, with gzip"]);
}

#[test(TIME, Root)]
fn endless_images_end_where_a_device_ends() {
    let disk = Disk::new(8 << 20);
    for (name, compress) in CODECS {
        let outcome = endless(copy(["--nobmap", "-", text(disk.path())]).measured(), compress);
        outcome.says(&["holds no valid image now"]);
        assert_eq!(outcome.status, Some(1), "{name}: {}", outcome.stderr);
        assert!(outcome.memory() < MEMORY, "{name}: {} MiB", outcome.memory() / MIB);
        assert!(fs::read(&disk.backing).unwrap()[..MIB as usize].iter().all(|&byte| byte == 0), "{name}");
    }
}

/// A million members with nothing in them, and then the image.
#[test(TIME)]
fn members_without_number_take_little_memory() {
    let victim = Victim::new();
    let zstd_skippable: fn(&[u8]) -> Vec<u8> =
        |data| if data.is_empty() { b"\x50\x2a\x4d\x18\0\0\0\0".to_vec() } else { zstd(data) };
    for (name, compress) in CODECS.into_iter().chain([("skippable", zstd_skippable)]) {
        // Of xz each brings the threads of its decoder along.
        let count = if name == "xz" { 10_000 } else { 200_000 };
        let compressed = victim.repeated("compressed", b"", &compress(b""), count, &compress(&[0; SIZE]));
        bounded(victim.copy(&compressed), 0, &[]);
        bounded(victim.copy_whole(&compressed), 0, &[]);
    }
}

#[test(TIME)]
fn headers_without_end_take_little_memory() {
    let victim = Victim::new();
    let whole = gzip(&[0; SIZE]);
    let head = |flags: u8| [b"\x1f\x8b\x08".as_slice(), &[flags], b"\0\0\0\0\0\x03"].concat();
    for (part, flags) in [("name", 1 << 3), ("comment", 1 << 4)] {
        let compressed = victim.repeated(part, &head(flags), b"name", 1 << 20, &[b"\0", &whole[10..]].concat());
        bounded(victim.copy(&compressed), 1, &["the gzip data is corrupt"]);
    }
    let extra = victim.file("extra", &[&head(1 << 2), b"\xff\xff", &[1; 0xffff], &whole[10..]]);
    bounded(victim.copy(&extra), 0, &[]);
    let extra = lzop_start();
    let mut lzop = victim.file("extra", &[&extra]);
    bounded(victim.copy(&lzop), 1, &["the lzop data ends too early"]);
    // With an extra field of 4 GiB after the header.
    let header = b"\x10\x40\x20\xa0\x09\x40\x01\x05\0\0\0\x40\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let checksum = simd_adler32::adler32(&header.as_slice()).to_be_bytes();
    lzop = victim.file("extra", &[b"\x89LZO\0\r\n\x1a\n", header, &checksum, &[0xff; 8]]);
    bounded(victim.copy(&lzop), 1, &["an extra field has 4294967295 bytes, at most 8388608 are allowed"]);
}

#[test(TIME)]
fn blocks_that_lie_about_their_length_are_refused() {
    let victim = Victim::new();
    let le = |length: u32| length.to_le_bytes();
    let lzop = |decompressed: u32, compressed: u32| [decompressed.to_be_bytes(), compressed.to_be_bytes()].concat();
    let cases: [(&str, Vec<u8>, &str); 9] = [
        (
            "legacy 2 GiB",
            [b"\x02\x21\x4c\x18".as_slice(), &le(0x7fff_ffff)].concat(),
            "something follows that is no frame",
        ),
        (
            "legacy 8 MiB",
            [b"\x02\x21\x4c\x18".as_slice(), &le(8 << 20), b"\xf0\xff"].concat(),
            "the lz4 data ends too early",
        ),
        ("lz4 2 GiB", [&lz4_frame_start(), le(0x7fff_ffff).as_slice()].concat(), "the frame allows 4194304"),
        (
            "lz4 4 MiB",
            [&lz4_frame_start(), le(4 << 20).as_slice(), b"\xf0\xff"].concat(),
            "the lz4 data ends too early",
        ),
        ("lzop 4 GiB", [lzop_start(), lzop(u32::MAX, 1)].concat(), "a block has 4294967295 bytes, at most 8388608"),
        ("lzop 9 MiB", [lzop_start(), lzop(9 << 20, 1)].concat(), "a block has 9437184 bytes, at most 8388608"),
        (
            "lzop 8 MiB",
            [lzop_start(), lzop(8 << 20, (8 << 20) - 1), vec![0; 9]].concat(),
            "the lzop data ends too early",
        ),
        ("lzop grows", [lzop_start(), lzop(1, 2)].concat(), "a block is larger compressed than decompressed"),
        ("zstd 2 GiB", b"\x28\xb5\x2f\xfd\0\x58\xfc\xff\xff".to_vec(), "the zstd data"),
    ];
    for (name, data, reason) in cases {
        let compressed = victim.file("compressed", &[&data]);
        println!("{name}");
        bounded(victim.copy(&compressed), 1, &[reason]);
    }
}

/// Most of the file is a hole of 4 GiB, which is skipped.
#[test(Minutes, TIME)]
fn a_frame_of_4_gib_is_skipped() {
    let victim = Victim::new();
    let compressed = victim.file("compressed", &[b"\x50\x2a\x4d\x18\xff\xff\xff\xff"]);
    let mut file = File::options().write(true).open(&compressed).unwrap();
    file.seek(SeekFrom::Start(8 + u64::from(u32::MAX))).unwrap();
    file.write_all(&zstd(&[0; SIZE])).unwrap();
    bounded(victim.copy(&compressed), 0, &[]);
}

/// A block whose code words, one after the other, spell the magic of a block as often as it has room for.
#[test(TIME)]
fn blocks_full_of_magics_are_decoded_in_time() {
    let victim = Victim::new();
    let mut bits = Vec::new();
    let mut put = |value: u64, count: u32| bits.extend((0..count).rev().map(|bit| value >> bit & 1 == 1));
    put(0x425a_6839, 32); // the header of the stream, level 9
    put(0x3141_5926_5359, 48);
    put(0, 32 + 1 + 24); // checksum, not randomised, origin
    put(0xffff, 16); // all bytes are used
    (0..16).for_each(|_| put(0xffff, 16));
    let groups = 18_001;
    put(2, 3);
    put(groups, 15);
    (0..groups).for_each(|_| put(0, 1));
    // Two codes: 254 symbols of 8 bits, and 4 of 9. The end of the block is among the last ones, which are all ones.
    for _ in 0..2 {
        put(8, 5);
        (0..254).for_each(|_| put(0, 1));
        put(0b100, 3);
        (0..3).for_each(|_| put(0, 1));
    }
    (0..150_000).for_each(|_| put(0x3141_5926_5359, 48));
    let bytes: Vec<u8> =
        bits.chunks(8).map(|bits| bits.iter().fold(0, |byte, &bit| byte << 1 | u8::from(bit))).collect();
    let compressed = victim.file("compressed", &[&bytes]);
    bounded(victim.copy(&compressed), 1, &["the bzip2 data ends too early"]);
    for magic in [&b"1AY&SY"[..], b"\x17\x72\x45\x38\x50\x90"] {
        let compressed = victim.repeated("compressed", b"BZh9", magic, 500_000, b"");
        bounded(victim.copy(&compressed), 1, &["the bzip2 data is corrupt"]);
    }
}

#[test(TIME)]
fn windows_and_dictionaries_beyond_all_memory_are_refused() {
    let victim = Victim::new();
    // 2^41 bytes, the most that a header can ask for, and 4 GiB.
    for window in [0xf8, 0xb0] {
        let compressed = victim.file("compressed", &[b"\x28\xb5\x2f\xfd\0", &[window], b"\x01\0\0"]);
        bounded(victim.copy(&compressed), 1, &["it needs a window of over", "a quarter of the machine's memory"]);
    }
    // Of 2 GiB, with a size that is not known.
    let lzma = victim.file("compressed", &[b"\x5d\0\0\0\x80", &[0xff; 8], &[0; 20]]);
    bounded(victim.copy(&lzma), 1, &["the lzma data "]);
    // A dictionary of 4 GiB - 1, which is more than a quarter of the memory of most machines.
    let mut compressed = xz(&[0; SIZE]);
    let filter = compressed.windows(2).position(|pair| pair == b"\x21\x01").unwrap();
    compressed[filter + 2] = 40;
    let length = (usize::from(compressed[12]) + 1) * 4;
    let checksum = crc32fast::hash(&compressed[12..12 + length - 4]);
    compressed[12 + length - 4..12 + length].copy_from_slice(&checksum.to_le_bytes());
    let compressed = victim.file("compressed", &[&compressed]);
    let outcome = victim.copy(&compressed).run();
    // A machine with so much memory that this is less than a quarter of it takes little of it for so little data.
    if outcome.status != Some(0) {
        outcome.says(&["it needs more memory than the", "a quarter of the machine's"]);
    }
    assert!(outcome.memory() < MEMORY, "{} MiB", outcome.memory() / MIB);
}

/// What `zstd` itself decompresses without being asked twice.
#[test(TIME, Program("zstd"))]
fn the_widest_ordinary_window_is_accepted() {
    let victim = Victim::new();
    let image = victim.path("image");
    File::create(&image).unwrap().set_len(160 * MIB).unwrap();
    let compressed = victim.path("compressed");
    sh("zstd", &["-q", "--long=27", "-1", text(&image), "-o", text(&compressed)]);
    victim.copy_whole(&compressed).ok();
}

/// An index with more entries than are kept; the file is decompressed from start to end instead.
#[test(TIME)]
fn indexes_of_too_many_units_are_not_kept() {
    let victim = Victim::new();
    let image = victim.file("image", &[&[7; SIZE]]);
    let bmap = create(&image);
    let (count, empty, last) = (2_000_000_u32, zstd(b""), zstd(&[7; SIZE]));
    let compressed = victim.repeated("compressed", b"", &empty, count as usize, &last);
    let entry = |stored: usize, decompressed: usize| {
        [(stored as u32).to_le_bytes(), (decompressed as u32).to_le_bytes()].concat()
    };
    let length = (count + 1) * 8 + 9;
    let table = victim.repeated(
        "table",
        &[0x184d_2a5e_u32.to_le_bytes(), length.to_le_bytes()].concat(),
        &entry(empty.len(), 0),
        count as usize,
        &[&entry(last.len(), SIZE)[..], &(count + 1).to_le_bytes(), &[0], &0x8f92_eab1_u32.to_le_bytes()].concat(),
    );
    let mut file = File::options().append(true).open(&compressed).unwrap();
    std::io::copy(&mut File::open(table).unwrap(), &mut file).unwrap();
    bounded(copy(["--bmap", text(&bmap), text(&compressed), "/dev/null"]).measured(), 0, &[]);
}
