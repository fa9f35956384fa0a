//! Files that are made to do harm: each is refused with a reason, in little time and memory, and nothing hangs or panics.

mod common;

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use common::device::Disk;
use common::tool::{Outcome, Tool, copy, create};
use common::work::gzip;
use common::{Need, temp_dir, text};

/// Tells how much memory was taken.
const TIME: Need = Need::Program("time");

fn main() {
    common::run(tests![
        bmaps_that_are_bombs[TIME],
        bmaps_with_extreme_numbers[TIME],
        endless_images_are_cut_off[TIME],
        endless_images_end_where_a_device_ends[TIME, Need::Root],
        members_without_number[TIME],
        headers_without_end[TIME],
        blocks_that_lie_about_their_length[TIME],
        a_frame_to_skip_of_4_gib[TIME],
        blocks_full_of_magics[TIME],
        windows_and_dictionaries_beyond_all_memory[TIME],
        the_widest_ordinary_window[TIME, Need::Program("zstd")],
        indexes_of_too_many_units[TIME],
        zips_that_lie[TIME],
        tars_that_lie[TIME],
        tars_with_maps_beyond_measure[TIME],
    ]);
}

const MIB: u64 = 1 << 20;

/// What a copy may take of memory, whatever it copies from.
const MEMORY: u64 = 64 * MIB;

/// The size of the image that the bmap is for.
const SIZE: usize = 8192;

/// A folder with a bmap for an image of [`SIZE`] zeroes, and a target that has something in it.
struct Victim {
    folder: tempfile::TempDir,
}

impl Victim {
    fn new() -> Self {
        let victim = Self { folder: temp_dir() };
        victim.file("bmap", &[bmap(SIZE as u64, 4096, 2, 2, "<Range>0-1</Range>").as_bytes()]);
        victim.file("target", &[b"precious"]);
        victim
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes a file of pieces.
    fn file(&self, name: &str, pieces: &[&[u8]]) -> PathBuf {
        fs::write(self.path(name), pieces.concat()).unwrap();
        self.path(name)
    }

    /// Makes a file of `head`, `count` times `piece`, and `tail`.
    fn repeated(&self, name: &str, head: &[u8], piece: &[u8], count: usize, tail: &[u8]) -> PathBuf {
        let mut file = std::io::BufWriter::new(File::create(self.path(name)).unwrap());
        file.write_all(head).unwrap();
        (0..count).for_each(|_| file.write_all(piece).unwrap());
        file.write_all(tail).unwrap();
        file.flush().unwrap();
        self.path(name)
    }

    /// A copy of an image to nowhere, with the bmap.
    fn copy(&self, image: &Path) -> Tool {
        copy(["--bmap", text(&self.path("bmap")), text(image), "/dev/null"]).measured()
    }

    /// A copy of a whole image to nowhere.
    fn copy_whole(&self, image: &Path) -> Tool {
        copy(["--nobmap", text(image), "/dev/null"]).measured()
    }

    /// Expects a bmap to be refused before the target is touched.
    fn refuses_bmap(&self, bmap: &Path, fragments: &[&str]) -> Outcome {
        let image = self.file("image", &[&[0; SIZE]]);
        let tool = copy(["--bmap", text(bmap), text(&image), text(&self.path("target"))]);
        let outcome = tool.measured().fails(fragments);
        assert_eq!(fs::read(self.path("target")).unwrap(), b"precious");
        outcome
    }
}

/// Runs it in bounded memory; it must exit with this status and say all of `fragments`.
#[track_caller]
fn bounded(tool: Tool, status: i32, fragments: &[&str]) {
    let outcome = tool.exits(status, fragments);
    assert!(outcome.memory() < MEMORY, "it took {} MiB of memory", outcome.memory() / MIB);
}

/// A bmap of version 1.1, which has no checksums.
fn bmap(image_size: u64, block_size: u64, blocks: u64, mapped: u64, ranges: &str) -> String {
    format!(
        "<bmap version=\"1.1\"><ImageSize>{image_size}</ImageSize><BlockSize>{block_size}</BlockSize>\
         <BlocksCount>{blocks}</BlocksCount><MappedBlocksCount>{mapped}</MappedBlocksCount>\
         <BlockMap>{ranges}</BlockMap></bmap>"
    )
}

fn bzip2(data: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::best());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn xz(data: &[u8]) -> Vec<u8> {
    let mut encoder = xz2::write::XzEncoder::new(Vec::new(), 0);
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn zstd(data: &[u8]) -> Vec<u8> {
    zstd::encode_all(data, 3).unwrap()
}

fn lz4(data: &[u8]) -> Vec<u8> {
    let mut frame = lz4_frame_start();
    for block in data.chunks(4 << 20) {
        let packed = lz4_flex::block::compress(block);
        frame.extend((packed.len() as u32).to_le_bytes());
        frame.extend(packed);
    }
    frame.extend([0; 4]);
    frame
}

/// The header of a frame of blocks of up to 4 MiB, without checksums of them.
fn lz4_frame_start() -> Vec<u8> {
    use std::hash::Hasher;

    let mut hasher = twox_hash::XxHash32::with_seed(0);
    hasher.write(&[0x60, 0x70]);
    vec![0x04, 0x22, 0x4d, 0x18, 0x60, 0x70, (hasher.finish() >> 8) as u8]
}

/// A frame of the mildest way of packing: a file of stored blocks, with the header of a part.
fn lzop_start() -> Vec<u8> {
    // Versions, method, level, flags, mode, times, and no name.
    let header = b"\x10\x40\x20\xa0\x09\x40\x01\x05\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let checksum = simd_adler32::adler32(&header.as_slice()).to_be_bytes();
    [b"\x89LZO\0\r\n\x1a\n".as_slice(), header, &checksum].concat()
}

fn lzop(data: &[u8]) -> Vec<u8> {
    let mut part = lzop_start();
    for block in data.chunks(256 << 10) {
        let length = (block.len() as u32).to_be_bytes();
        part.extend([length, length].concat());
        part.extend(block);
    }
    part.extend([0; 4]);
    part
}

/// A way of packing, and its packer.
type Codec = (&'static str, fn(&[u8]) -> Vec<u8>);

const CODECS: [Codec; 6] = [("gzip", gzip), ("bzip2", bzip2), ("xz", xz), ("zstd", zstd), ("lz4", lz4), ("lzop", lzop)];

fn bmaps_that_are_bombs() {
    let victim = Victim::new();
    // A gibibyte of white space, a megabyte when packed; every member of the file is 1 MiB of it.
    let spaces = gzip(&vec![b' '; MIB as usize]);
    let packed = victim.repeated("packed", &gzip(b"<bmap version=\"2.0\">"), &spaces, 1024, b"");
    victim.refuses_bmap(&packed, &["over 268435456 bytes, too many for a bmap"]);
    let large = victim.path("large");
    File::create(&large).unwrap().set_len(257 * MIB).unwrap();
    victim.refuses_bmap(&large, &["over 268435456 bytes, too many for a bmap"]);

    // Nothing but frames to skip.
    let skippable = victim.repeated("skippable", b"", b"\x50\x2a\x4d\x18\0\0\0\0", 200_000, b"");
    victim.refuses_bmap(&skippable, &["not a bmap: the file is empty"]);

    let deep = victim.repeated("deep", b"<bmap version=\"2.0\">", b"<a>", 1_000_000, b"");
    victim.refuses_bmap(&deep, &["elements that are nested too deeply"]);
    let entities = "<!DOCTYPE bmap [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;'>]><bmap version=\"2.0\">&b;</bmap>";
    victim.refuses_bmap(&victim.file("xml", &[entities.as_bytes()]), &["no document type declaration"]);
    let external = "<!DOCTYPE bmap SYSTEM 'file:///etc/passwd'><bmap version=\"2.0\"/>";
    victim.refuses_bmap(&victim.file("xml", &[external.as_bytes()]), &["no document type declaration"]);
    let undeclared = bmap(8192, 4096, 2, 2, "").replace("8192", "&size;");
    victim.refuses_bmap(&victim.file("xml", &[undeclared.as_bytes()]), &["'ImageSize' must hold plain text only"]);

    // What is merely large is read, or refused, without more memory than a few times its size.
    let size = 16 << 20;
    for (name, head, tail, reason) in [
        ("attribute", "<bmap version=\"2.0\" x=\"", "\"/>", "element 'ImageSize' is missing"),
        ("version", "<bmap version=\"", "\"/>", "the version of the bmap format is missing"),
        ("name", "<bmap version=\"2.0\"><a", "/></bmap>", "element 'ImageSize' is missing"),
        ("root", "<a", "/>", "the root element is 'a9999"),
        ("comment", "<bmap version=\"2.0\"><!--", "--></bmap>", "element 'ImageSize' is missing"),
        ("number", "<bmap version=\"2.0\"><ImageSize>", "</ImageSize></bmap>", "'9999999999"),
    ] {
        let path = victim.repeated(name, head.as_bytes(), b"9", size, tail.as_bytes());
        let outcome = victim.refuses_bmap(&path, &[reason]);
        assert!(outcome.memory() < 5 * size as u64, "{name}: {} MiB", outcome.memory() / MIB);
        assert!(outcome.stderr.len() < 1000, "{}", outcome.stderr);
    }
    let attributes: String = (0..100_000).map(|number| format!(" a{number}=''")).collect();
    let path = victim.file("attributes", &[b"<bmap version=\"2.0\"", attributes.as_bytes(), b"/>"]);
    victim.refuses_bmap(&path, &["element 'ImageSize' is missing"]);
}

fn bmaps_with_extreme_numbers() {
    const MAX: u64 = u64::MAX;
    let victim = Victim::new();
    let refused =
        |text: &str, reason: &str| drop(victim.refuses_bmap(&victim.file("xml", &[text.as_bytes()]), &[reason]));
    let other_size = "'image' has 8192 bytes, but the bmap is for an image of ";
    let other_size = other_size.replace("'image'", &format!("'{}'", victim.path("image").display()));
    for size in [1 << 63, MAX, 10_u64.pow(18)] {
        refused(&bmap(size, 4096, size.div_ceil(4096), 1, "<Range>0</Range>"), &format!("{other_size}{size} bytes"));
    }
    refused(&bmap(MAX, 1, MAX, 1, &format!("<Range>{}</Range>", MAX - 1)), &other_size);
    refused(&bmap(MAX, 1, MAX, MAX, &format!("<Range>0-{}</Range>", MAX - 1)), &other_size);
    refused(&bmap(MAX, 1, MAX, 1, &format!("<Range>{MAX}</Range>")), "is not a range of blocks");
    refused(&bmap(MAX, 1, MAX, MAX, &format!("<Range>0-{}</Range>", MAX - 2).repeat(2)), "overlaps");
    refused(&bmap(8192, 1, 8192, 3, "<Range>0-1</Range><Range>1-2</Range>"), "range 1-2 overlaps range 0-1");
    refused(&bmap(8192, 1 << 40, 2, 1, "<Range>0</Range>"), "has 1 blocks of 1099511627776 bytes");
    for too_large in ["18446744073709551616", "99999999999999999999999", "0x2000", "1e3", "+8192", "8_192", "８１９２"]
    {
        refused(&bmap(7, 1, 7, 0, "").replace(">7</I", &format!(">{too_large}</I")), "is not a decimal number");
    }
    for block_size in [1, 3, 1 << 40, MAX] {
        let blocks = 8192_u64.div_ceil(block_size);
        let path = victim.file("xml", &[bmap(8192, block_size, blocks, 1, "<Range>0</Range>").as_bytes()]);
        let image = victim.file("image", &[&[7; SIZE]]);
        copy(["--bmap", text(&path), text(&image), text(&victim.path("copied"))]).ok();
        let copied = fs::read(victim.path("copied")).unwrap();
        let mapped = copied.iter().take_while(|&&byte| byte == 7).count() as u64;
        assert_eq!((copied.len(), mapped), (SIZE, block_size.min(8192)), "blocks of {block_size}");
    }
}

/// Starts a copy whose image is a packed file without end: the same 4 MiB of zeroes again and again.
fn endless(tool: Tool, pack: fn(&[u8]) -> Vec<u8>) -> Outcome {
    let member = pack(&vec![0; 4 << 20]);
    // Until nobody reads it any more.
    tool.run_fed(move |mut stdin| while stdin.write_all(&member).is_ok() {})
}

fn endless_images_are_cut_off() {
    let victim = Victim::new();
    for (name, pack) in CODECS {
        let outcome = endless(victim.copy(Path::new("-")), pack);
        outcome.says(&["the image goes on after the 8192 bytes that the bmap says it has"]);
        assert_eq!(outcome.status, Some(1), "{name}");
        assert!(outcome.memory() < MEMORY, "{name}: {} MiB", outcome.memory() / MIB);
    }
    // One in another: only the outer layer is unpacked, whatever it holds.
    let nested = (0..10).fold(vec![0; 1 << 20], |inner, _| gzip(&inner));
    let nested = victim.file("nested", &[&nested]);
    bounded(victim.copy(&nested), 1, &["the image ended at byte "]);
}

fn endless_images_end_where_a_device_ends() {
    let disk = Disk::new(8 << 20);
    for (name, pack) in CODECS {
        let outcome = endless(copy(["--nobmap", "-", text(disk.path())]).measured(), pack);
        outcome.says(&["holds no valid image now"]);
        assert_eq!(outcome.status, Some(1), "{name}: {}", outcome.stderr);
        assert!(outcome.memory() < MEMORY, "{name}: {} MiB", outcome.memory() / MIB);
        assert!(fs::read(&disk.backing).unwrap()[..MIB as usize].iter().all(|&byte| byte == 0), "{name}");
    }
}

/// A million members with nothing in them, and then the image.
fn members_without_number() {
    let victim = Victim::new();
    let zstd_skippable: fn(&[u8]) -> Vec<u8> =
        |data| if data.is_empty() { b"\x50\x2a\x4d\x18\0\0\0\0".to_vec() } else { zstd(data) };
    for (name, pack) in CODECS.into_iter().chain([("skippable", zstd_skippable)]) {
        // Of xz each brings the threads of its decoder along.
        let count = if name == "xz" { 10_000 } else { 200_000 };
        let packed = victim.repeated("packed", b"", &pack(b""), count, &pack(&[0; SIZE]));
        bounded(victim.copy(&packed), 0, &[]);
        bounded(victim.copy_whole(&packed), 0, &[]);
    }
}

fn headers_without_end() {
    let victim = Victim::new();
    let whole = gzip(&[0; SIZE]);
    let head = |flags: u8| [b"\x1f\x8b\x08".as_slice(), &[flags], b"\0\0\0\0\0\x03"].concat();
    for (part, flags) in [("name", 1 << 3), ("comment", 1 << 4)] {
        let packed = victim.repeated(part, &head(flags), b"name", 1 << 20, &[b"\0", &whole[10..]].concat());
        bounded(victim.copy(&packed), 1, &["the gzip data is corrupt"]);
    }
    let extra = victim.file("extra", &[&head(1 << 2), b"\xff\xff", &[1; 0xffff], &whole[10..]]);
    bounded(victim.copy(&extra), 0, &[]);
    let extra = lzop_start();
    let mut lzop = victim.file("extra", &[&extra]);
    bounded(victim.copy(&lzop), 1, &["the lzop data ends too early"]);
    // With an extra field of 4 GiB behind the header.
    let header = b"\x10\x40\x20\xa0\x09\x40\x01\x05\0\0\0\x40\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let checksum = simd_adler32::adler32(&header.as_slice()).to_be_bytes();
    lzop = victim.file("extra", &[b"\x89LZO\0\r\n\x1a\n", header, &checksum, &[0xff; 8]]);
    bounded(victim.copy(&lzop), 1, &["an extra field has 4294967295 bytes, at most 8388608 are allowed"]);
}

fn blocks_that_lie_about_their_length() {
    let victim = Victim::new();
    let le = |length: u32| length.to_le_bytes();
    let lzop = |unpacked: u32, packed: u32| [unpacked.to_be_bytes(), packed.to_be_bytes()].concat();
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
        ("lzop grows", [lzop_start(), lzop(1, 2)].concat(), "a block is larger packed than unpacked"),
        ("zstd 2 GiB", b"\x28\xb5\x2f\xfd\0\x58\xfc\xff\xff".to_vec(), "the zstd data"),
    ];
    for (name, data, reason) in cases {
        let packed = victim.file("packed", &[&data]);
        println!("{name}");
        bounded(victim.copy(&packed), 1, &[reason]);
    }
}

/// Most of the file is a hole of 4 GiB, which is passed over.
fn a_frame_to_skip_of_4_gib() {
    let victim = Victim::new();
    let packed = victim.file("packed", &[b"\x50\x2a\x4d\x18\xff\xff\xff\xff"]);
    let mut file = File::options().write(true).open(&packed).unwrap();
    file.seek(SeekFrom::Start(8 + u64::from(u32::MAX))).unwrap();
    file.write_all(&zstd(&[0; SIZE])).unwrap();
    bounded(victim.copy(&packed), 0, &[]);
}

/// A block whose code words, one behind the other, spell the magic of a block as often as it has room for.
fn blocks_full_of_magics() {
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
    let packed = victim.file("packed", &[&bytes]);
    bounded(victim.copy(&packed), 1, &["the bzip2 data ends too early"]);
    for magic in [&b"1AY&SY"[..], b"\x17\x72\x45\x38\x50\x90"] {
        let packed = victim.repeated("packed", b"BZh9", magic, 500_000, b"");
        bounded(victim.copy(&packed), 1, &["the bzip2 data is corrupt"]);
    }
}

fn windows_and_dictionaries_beyond_all_memory() {
    let victim = Victim::new();
    // 2^41 bytes, the most that a header can ask for, and 4 GiB.
    for window in [0xf8, 0xb0] {
        let packed = victim.file("packed", &[b"\x28\xb5\x2f\xfd\0", &[window], b"\x01\0\0"]);
        bounded(victim.copy(&packed), 1, &["it needs a window of over", "a quarter of the machine's memory"]);
    }
    // A dictionary of 4 GiB - 1, which is more than a quarter of the memory of most machines.
    let mut packed = xz(&[0; SIZE]);
    let filter = packed.windows(2).position(|pair| pair == b"\x21\x01").unwrap();
    packed[filter + 2] = 40;
    let length = (usize::from(packed[12]) + 1) * 4;
    let checksum = crc32fast::hash(&packed[12..12 + length - 4]);
    packed[12 + length - 4..12 + length].copy_from_slice(&checksum.to_le_bytes());
    let packed = victim.file("packed", &[&packed]);
    let outcome = victim.copy(&packed).run();
    // A machine with so much memory that this is less than a quarter of it takes little of it for so little data.
    if outcome.status != Some(0) {
        outcome.says(&["it needs more memory than the", "a quarter of the machine's"]);
    }
    assert!(outcome.memory() < MEMORY, "{} MiB", outcome.memory() / MIB);
}

/// What `zstd` itself unpacks without being asked twice.
fn the_widest_ordinary_window() {
    let victim = Victim::new();
    let image = victim.path("image");
    File::create(&image).unwrap().set_len(160 * MIB).unwrap();
    let packed = victim.path("packed");
    common::sh("zstd", &["-q", "--long=27", "-1", text(&image), "-o", text(&packed)]);
    victim.copy_whole(&packed).ok();
}

/// An index with more entries than are kept; the file is unpacked from front to back instead.
fn indexes_of_too_many_units() {
    let victim = Victim::new();
    let image = victim.file("image", &[&[7; SIZE]]);
    let bmap = create(&image);
    let (count, empty, last) = (2_000_000_u32, zstd(b""), zstd(&[7; SIZE]));
    let packed = victim.repeated("packed", b"", &empty, count as usize, &last);
    let entry =
        |stored: usize, unpacked: usize| [(stored as u32).to_le_bytes(), (unpacked as u32).to_le_bytes()].concat();
    let length = (count + 1) * 8 + 9;
    let table = victim.repeated(
        "table",
        &[0x184d_2a5e_u32.to_le_bytes(), length.to_le_bytes()].concat(),
        &entry(empty.len(), 0),
        count as usize,
        &[&entry(last.len(), SIZE)[..], &(count + 1).to_le_bytes(), &[0], &0x8f92_eab1_u32.to_le_bytes()].concat(),
    );
    let mut file = File::options().append(true).open(&packed).unwrap();
    std::io::copy(&mut File::open(table).unwrap(), &mut file).unwrap();
    bounded(copy(["--bmap", text(&bmap), text(&packed), "/dev/null"]).measured(), 0, &[]);
}

/// The local header of a zip's entry, stored.
fn zip_entry(name: &[u8], flags: u16, crc: u32, packed: u32, unpacked: u32, extra: &[u8]) -> Vec<u8> {
    let mut header = b"PK\x03\x04\x2d\0".to_vec();
    header.extend(flags.to_le_bytes());
    header.extend([0; 6]); // stored, at no time
    [crc, packed, unpacked].iter().for_each(|number| header.extend(number.to_le_bytes()));
    [name.len(), extra.len()].iter().for_each(|&length| header.extend((length as u16).to_le_bytes()));
    [header, name.to_vec(), extra.to_vec()].concat()
}

/// The record of the same in the central directory.
fn zip_record(name: &[u8], crc: u32, size: u32, place: u32) -> Vec<u8> {
    let mut record = b"PK\x01\x02\x2d\x03\x2d\0\0\0\0\0\0\0\0\0".to_vec();
    [crc, size, size].iter().for_each(|number| record.extend(number.to_le_bytes()));
    record.extend((name.len() as u16).to_le_bytes());
    record.extend([0; 12]);
    record.extend(place.to_le_bytes());
    [record, name.to_vec()].concat()
}

fn zip_end(entries: u16, length: u32, start: u32) -> Vec<u8> {
    let mut end = b"PK\x05\x06\0\0\0\0".to_vec();
    [entries, entries].iter().for_each(|count| end.extend(count.to_le_bytes()));
    [length, start].iter().for_each(|number| end.extend(number.to_le_bytes()));
    [end, vec![0; 2]].concat()
}

fn zips_that_lie() {
    let victim = Victim::new();
    let (data, size) = ([0; SIZE], SIZE as u32);
    let crc = crc32fast::hash(&data);
    let name = b"disk.img";
    let end = |zip: &[u8], records: &[u8], count| {
        [zip, records, &zip_end(count, records.len() as u32, zip.len() as u32)].concat()
    };
    let entry = [&zip_entry(name, 0, crc, size, size, b""), data.as_slice()].concat();
    let zip64 = |size: u64| [&[1, 0, 16, 0], size.to_le_bytes().as_slice(), &size.to_le_bytes()].concat();
    let wide = |size| [&zip_entry(name, 0, crc, u32::MAX, u32::MAX, &zip64(size)), data.as_slice()].concat();
    let escape = [&zip_entry(b"\x1b[2J\x9b\n../../etc/passwd", 0, crc, size, size, b""), data.as_slice()].concat();
    let long = [&zip_entry(&[b'n'; 0xffff], 0, crc, size, size, b""), data.as_slice()].concat();
    let cases: [(&str, Vec<u8>, i32, &str); 11] = [
        ("as it should be", end(&entry, &zip_record(name, crc, size, 0), 1), 0, ""),
        ("exabytes", end(&wide(1 << 60), &zip_record(name, crc, u32::MAX, 0), 1), 1, "the zip data ends too early"),
        ("2^64 - 1", end(&wide(u64::MAX), &zip_record(name, crc, u32::MAX, 0), 1), 1, "the zip data ends too early"),
        ("zip64 without need", end(&wide(SIZE as u64), &zip_record(name, crc, size, 0), 1), 0, ""),
        ("a directory for another size", end(&entry, &zip_record(name, crc, 5, 0), 1), 0, ""),
        ("entries in one another", end(&entry, &zip_record(name, crc, size, 0).repeat(1000), 1000), 0, ""),
        ("a directory in itself", [&entry[..], &zip_end(1, u32::MAX - 1, 0)].concat(), 0, ""),
        ("encrypted", [&zip_entry(name, 1, crc, size, size, b""), &data[..]].concat(), 1, "it is encrypted"),
        (
            "a wrong checksum",
            [&zip_entry(name, 0, 1, size, size, b""), &data[..]].concat(),
            1,
            "the checksum of a file is wrong",
        ),
        ("a name that commands", end(&escape, &zip_record(name, crc, size, 0), 1), 0, "etc/passwd' from the zip"),
        ("a long name", end(&long, &zip_record(&[b'n'; 0xffff], crc, size, 0), 1), 0, "nnnnnn"),
    ];
    for (name, data, status, reason) in cases {
        println!("{name}");
        let zip = victim.file("zip", &[&data]);
        let outcome = victim.copy(&zip).exits(status, &[reason]);
        assert!(outcome.memory() < MEMORY, "{name}: {} MiB", outcome.memory() / MIB);
        assert!(!outcome.stderr.contains(['\x1b', '\u{9b}']), "{:?}", outcome.stderr);
    }
    // A directory of more entries than it keeps, of which one is the image.
    let zip = victim.repeated(
        "zip",
        &entry,
        &zip_record(name, crc, size, 0),
        300_000,
        &zip_end(0xffff, 16_200_000, entry.len() as u32),
    );
    bounded(victim.copy(&zip), 0, &[]);
}

/// A header of tar.
fn tar_header(name: &[u8], kind: u8, size: &[u8]) -> Vec<u8> {
    let mut block = vec![0; 512];
    block[..name.len()].copy_from_slice(name);
    block[124..124 + size.len()].copy_from_slice(size);
    block[156] = kind;
    block[257..265].copy_from_slice(b"ustar\x0000");
    tar_sealed(block)
}

fn tar_sealed(mut block: Vec<u8>) -> Vec<u8> {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

fn octal(size: usize) -> Vec<u8> {
    format!("{size:011o}").into_bytes()
}

/// A pax header with these records.
fn pax(records: &[u8]) -> Vec<u8> {
    let padding = vec![0; records.len().next_multiple_of(512) - records.len()];
    [&tar_header(b"pax", b'x', &octal(records.len())), records, &padding].concat()
}

/// A record of a pax header: its length counts itself.
fn record(key: &str, value: &str) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let length = (rest + 1..).find(|length| length.to_string().len() + rest == *length).unwrap();
    format!("{length} {key}={value}\n").into_bytes()
}

fn tars_that_lie() {
    let victim = Victim::new();
    let data = [0; SIZE];
    let image = [&tar_header(b"disk.img", b'0', &octal(SIZE)), data.as_slice()].concat();
    let end = [0; 1024];
    let base_256 = |first: u8, rest: &[u8; 8]| [&[first, 0, 0, 0], rest.as_slice()].concat();
    let sized = |size: &[u8]| tar_header(b"disk.img", b'0', size);
    let others =
        b"1234567".map(|kind| tar_header(b"../../dev/sda", kind, if kind == b'7' { b"0" } else { b"77777777777" }));
    let cases: [(&str, Vec<u8>, i32, &str); 16] = [
        ("as it should be", image.clone(), 0, ""),
        ("links, devices and FIFOs", [others.concat(), image.clone()].concat(), 0, "reading 'disk.img'"),
        (
            "dots",
            [&tar_header(b"../../../etc/passwd", b'0', &octal(SIZE)), &data[..]].concat(),
            0,
            "from the tar archive",
        ),
        ("escapes", [&tar_header(b"\x1b[2J\x07", b'0', &octal(SIZE)), &data[..]].concat(), 0, "from the tar archive"),
        (
            "a size for behind a note",
            [
                pax(&record("size", "8192")),
                tar_header(b"note", b'K', b"0"),
                tar_header(b"disk.img", b'0', b"0"),
                data.to_vec(),
            ]
            .concat(),
            0,
            "",
        ),
        ("a negative size", sized(&base_256(0xff, &[0xff; 8])), 1, "a size is not a number"),
        ("2^64", sized(&[&[0x80, 0, 0, 1][..], &[0; 8]].concat()), 1, "a size is not a number"),
        ("2^64 - 1", [sized(&base_256(0x80, &[0xff; 8])), image.clone()].concat(), 1, "a file is too large"),
        (
            "2^63",
            [sized(&base_256(0x80, &[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff])), image.clone()].concat(),
            1,
            "the tar data",
        ),
        (
            "pax 2^64",
            [pax(&record("size", "18446744073709551616")), image.clone()].concat(),
            1,
            "the record size of a pax header is invalid",
        ),
        (
            "pax negative",
            [pax(&record("size", "-1")), image.clone()].concat(),
            1,
            "the record size of a pax header is invalid",
        ),
        ("pax empty", [pax(b"0 size=1\n"), image.clone()].concat(), 1, "a pax header is invalid"),
        ("pax too long", [pax(b"99 size=1\n"), image.clone()].concat(), 1, "a pax header is invalid"),
        ("pax 1 GiB", tar_header(b"pax", b'x', &octal(1 << 30)), 1, "an extended header has 1073741824 bytes"),
        (
            "a sparse map beyond the file",
            [pax(&[record("GNU.sparse.size", "8192"), record("GNU.sparse.map", "8191,2")].concat()), image.clone()]
                .concat(),
            1,
            "the map of a sparse file is invalid",
        ),
        (
            "a sparse map of more than is stored",
            [pax(&[record("GNU.sparse.size", "99999"), record("GNU.sparse.map", "0,99999")].concat()), image.clone()]
                .concat(),
            1,
            "the map of a sparse file is invalid",
        ),
    ];
    for (name, data, status, reason) in cases {
        println!("{name}");
        let tar = victim.file("tar", &[&data, &end]);
        let outcome = victim.copy(&tar).exits(status, &[reason]);
        assert!(outcome.memory() < MEMORY, "{name}: {} MiB", outcome.memory() / MIB);
        assert!(!outcome.stderr.contains('\x1b'), "{:?}", outcome.stderr);
    }
}

/// As many records, and as many extents, as there can be.
fn tars_with_maps_beyond_measure() {
    let victim = Victim::new();
    let image = [&tar_header(b"disk.img", b'0', &octal(SIZE)), [0; SIZE].as_slice(), &[0; 1024]].concat();
    let records = b"5 a=\n".repeat((8 << 20) / 5);
    bounded(victim.copy(&victim.file("tar", &[&pax(&records), &image])), 0, &[]);
    // The long notes before the image are not held against its many records.
    let notes = tar_header(b"note", b'K', b"0").repeat(20_000);
    bounded(victim.copy(&victim.file("tar", &[&pax(&records), &notes, &image])), 0, &[]);

    let sparse = |map: &str| pax(&[record("GNU.sparse.size", "8192"), record("GNU.sparse.map", map)].concat());
    let most = format!("{}0,0", "0,0,".repeat((1 << 18) - 1));
    bounded(victim.copy(&victim.file("tar", &[&sparse(&most), &image])), 0, &[]);
    let more = format!("{most},0,0");
    bounded(victim.copy(&victim.file("tar", &[&sparse(&more), &image])), 1, &["the map of a sparse file is too long"]);

    let version_1 = [record("GNU.sparse.major", "1"), record("GNU.sparse.realsize", "8192")].concat();
    let header = |map: &[u8]| [&pax(&version_1), &tar_header(b"disk.img", b'0', &octal(map.len())), map].concat();
    for (count, status, reason) in
        [(1 << 18, 0, ""), ((1 << 18) + 1, 1, "is too long"), (1_u64 << 62, 1, "is too long")]
    {
        let mut map = format!("{count}\n").into_bytes();
        map.extend(b"0\n0\n".repeat(1 << 18));
        map.resize(map.len().next_multiple_of(512), 0);
        bounded(victim.copy(&victim.file("tar", &[&header(&map), &[0; 1024]])), status, &[reason]);
    }
}
