//! Bmaps of every version and size, by hand, wherever they are.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::common::device::Disk;
use crate::common::image::{self, assert_same};
use crate::common::temp_dir;
use crate::common::tool::{Outcome, copy, create, peer};
use bmaptool::bmap::{Bmap, Checksums};
use bmaptool::digest::ChecksumKind;
use bmaptool::range::{BlockRange, BlockSize};

const BLOCK: u64 = 1024;
const SIZE: u64 = 20 * BLOCK + 100;
/// The mapped ranges, first and last block.
const RANGES: [(u64, u64); 3] = [(0, 1), (5, 5), (19, 20)];

/// An image whose data lies in [`RANGES`].
pub fn small_image(directory: &Path) -> PathBuf {
    let path = directory.join("small.img");
    let data: Vec<_> = RANGES
        .iter()
        .map(|&(first, last)| (first * BLOCK, (((last + 1) * BLOCK).min(SIZE) - first * BLOCK) as usize))
        .collect();
    image::sparse(&path, SIZE, &data, 9);
    path
}

pub fn digest(kind: ChecksumKind, bytes: &[u8]) -> String {
    let mut hasher = kind.hasher();
    hasher.update(bytes);
    hasher.finish().to_string()
}

/// Puts the right checksum of `kind` in the place of `@`.
pub fn sealed(text: &str, kind: ChecksumKind) -> String {
    let zeroes = "0".repeat(kind.digest_len() * 2);
    text.replace('@', &digest(kind, text.replace('@', &zeroes).as_bytes()))
}

/// How a version writes its checksums.
pub struct Form {
    version: &'static str,
    kind: Option<ChecksumKind>,
    attribute: &'static str,
    own: &'static str,
}

/// A bmap of `image`, written by hand in the form of a version.
pub fn hand_written(image: &Path, form: &Form) -> String {
    let bytes = std::fs::read(image).unwrap();
    let ranges: String = RANGES
        .iter()
        .map(|&(first, last)| {
            let data = &bytes[(first * BLOCK) as usize..((last + 1) * BLOCK).min(SIZE) as usize];
            let checksum = form.kind.map(|kind| format!(" {}='{}'", form.attribute, digest(kind, data)));
            let blocks = if first == last { first.to_string() } else { format!("{first}-{last}") };
            format!("\n<Range{}> {blocks} </Range>", checksum.unwrap_or_default())
        })
        .collect();
    let text = format!(
        "<?xml version=\"1.0\" ?>\n<bmap version=\"{}\">\n<ImageSize> {SIZE} </ImageSize>\n<BlockSize> {BLOCK} </BlockSize>\n\
         <BlocksCount> 21 </BlocksCount>\n{}<BlockMap>{ranges}\n</BlockMap>\n<MappedBlocksCount> 5 </MappedBlocksCount>\n</bmap>\n",
        form.version, form.own
    );
    form.kind.map_or(text.clone(), |kind| sealed(&text, kind))
}

pub const FORMS: [Form; 10] = [
    Form { version: "1.0", kind: None, attribute: "", own: "" },
    Form { version: "1.1", kind: None, attribute: "", own: "" },
    Form { version: "1.2", kind: Some(ChecksumKind::Sha1), attribute: "sha1", own: "" },
    Form { version: "1.3", kind: Some(ChecksumKind::Sha1), attribute: "sha1", own: "<BmapFileSHA1> @ </BmapFileSHA1>" },
    Form {
        version: "1.4",
        kind: Some(ChecksumKind::Sha1),
        attribute: "chksum",
        own: "<ChecksumType> sha1 </ChecksumType><BmapFileChecksum> @ </BmapFileChecksum>",
    },
    Form {
        version: "2.0",
        kind: Some(ChecksumKind::Sha256),
        attribute: "chksum",
        own: "<ChecksumType> sha256 </ChecksumType><BmapFileChecksum> @ </BmapFileChecksum>",
    },
    Form {
        version: "2.0",
        kind: Some(ChecksumKind::Sha512),
        attribute: "chksum",
        own: "<ChecksumType> sha512 </ChecksumType><BmapFileChecksum> @ </BmapFileChecksum>",
    },
    Form {
        version: "2.0",
        kind: Some(ChecksumKind::Md5),
        attribute: "chksum",
        own: "<ChecksumType> md5 </ChecksumType><BmapFileChecksum> @ </BmapFileChecksum>",
    },
    Form {
        version: "2.1",
        kind: Some(ChecksumKind::Sha256),
        attribute: "chksum",
        own: "<Novelty a='b'>c</Novelty><ChecksumType> sha256 </ChecksumType><BmapFileChecksum> @ </BmapFileChecksum>",
    },
    Form { version: "1.1", kind: Some(ChecksumKind::Sha1), attribute: "sha1", own: "" },
];

/// `text`, in the form of `FORMS[5]`, with a change, and with its own checksum made right again.
pub fn changed(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from}");
    let (_, own) = text.split_once("<BmapFileChecksum> ").unwrap();
    let (own, _) = own.split_once(' ').unwrap();
    sealed(&text.replace(own, "@").replacen(from, to, 1), ChecksumKind::Sha256)
}

/// Copies the image with a bmap of this text to a target that exists.
pub fn copy_with(directory: &Path, image: &Path, bmap: &str, options: &[&str]) -> (Outcome, PathBuf) {
    let (map, target) = (directory.join("map.bmap"), directory.join("target"));
    std::fs::write(&map, bmap).unwrap();
    std::fs::write(&target, "what was there before").unwrap();
    let mut tool = copy(options.iter());
    tool.command.arg("--bmap").args([&map, image, &target]);
    (tool.run(), target)
}

#[test]
fn every_version_is_read() {
    let directory = temp_dir();
    let image = small_image(directory.path());
    for form in FORMS {
        let text = hand_written(&image, &form);
        let (outcome, target) = copy_with(directory.path(), &image, &text, &[]);
        assert_eq!(outcome.status, Some(0), "{}: {}", form.version, outcome.stderr);
        outcome.says(&[&format!("block map format version {}", form.version), "mapped 5 blocks"]);
        assert_same(&image, &target);
        // The checksums are not only read past: a byte of the image changed is noticed.
        if form.kind.is_some() {
            let other = directory.path().join("other.img");
            let mut bytes = std::fs::read(&image).unwrap();
            bytes[(5 * BLOCK) as usize] ^= 1;
            std::fs::write(&other, bytes).unwrap();
            let (outcome, _) = copy_with(directory.path(), &other, &text, &[]);
            assert_eq!(outcome.status, Some(1), "{}", form.version);
            outcome.says(&["checksum mismatch in blocks 5 (bytes 5120 to 6143)"]);
        }
    }
}

/// What may stand for plain text in XML, and does so for the peer.
#[test(Peer)]
fn maps_are_read_in_every_spelling_of_xml() {
    let directory = temp_dir();
    let image = small_image(directory.path());
    let template = hand_written(&image, &FORMS[5]);
    let checksum = template.split("chksum='").nth(1).unwrap().split('\'').next().unwrap();
    let references: String = checksum.bytes().map(|byte| format!("&#{byte};")).collect();
    let theirs = directory.path().join("theirs");
    for (plain, spelling) in [
        ("<?xml", "\u{feff}<?xml"),
        ("\"2.0\"", "\"2&#46;0\""),
        ("> 20580 <", "> 205&#x38;0 <"),
        ("> 1024 <", "><![CDATA[1024 ]]><"),
        ("> 21 <", "> 2<!-- -->1<?x?> <"),
        ("> sha256 <", "><![CDATA[sha]]>256<"),
        ("> 0-1 <", "> 0&#45;<![CDATA[1]]> <"),
        (checksum, &references),
    ] {
        let text = changed(&template, plain, spelling);
        let (outcome, target) = copy_with(directory.path(), &image, &text, &[]);
        assert_eq!(outcome.status, Some(0), "{spelling}: {}", outcome.stderr);
        assert_same(&image, &target);
        let map = directory.path().join("map.bmap");
        peer(["copy".as_ref(), "--bmap".as_ref(), map.as_os_str(), image.as_os_str(), theirs.as_os_str()]);
    }
}

#[test]
fn empty_checksums_are_warned_of_and_taken_as_absent() {
    let directory = temp_dir();
    let image = small_image(directory.path());
    let template = hand_written(&image, &FORMS[5]);
    let warning = "has empty checksums, which are taken as absent";
    let mut emptied = template.clone();
    for checksum in template.split(['\'', ' ']).filter(|word| word.len() == 64) {
        emptied = emptied.replace(checksum, "");
    }
    for text in [&emptied, &emptied.replace("> sha256 <", "><")] {
        let (outcome, target) = copy_with(directory.path(), &image, text, &[]);
        assert_eq!(outcome.status, Some(0), "{}", outcome.stderr);
        outcome.says(&["WARNING: bmap file", warning, "the image is not verified: its bmap has no checksums"]);
        assert_same(&image, &target);
    }

    // An empty one of the file leaves those of the ranges in force.
    let own = template.split("<BmapFileChecksum> ").nth(1).unwrap().split(' ').next().unwrap();
    let text = template.replace(own, "");
    let (outcome, _) = copy_with(directory.path(), &image, &text, &[]);
    assert_eq!(outcome.status, Some(0), "{}", outcome.stderr);
    outcome.says(&[warning]);
    let other = directory.path().join("other.img");
    let mut bytes = std::fs::read(&image).unwrap();
    bytes[(5 * BLOCK) as usize] ^= 1;
    std::fs::write(&other, bytes).unwrap();
    let (outcome, _) = copy_with(directory.path(), &other, &text, &[]);
    assert_eq!(outcome.status, Some(1));
    outcome.says(&["checksum mismatch in blocks 5"]);
}

/// Each map in docs/bmap-format.md is one of the image that is described there.
#[test]
fn the_examples_of_the_specification_are_read() {
    let directory = temp_dir();
    let image = directory.path().join("image");
    let bytes = [&[b'a'; 4096][..], &[0; 4096], &[b'a'; 1808]].concat();
    std::fs::write(&image, bytes).unwrap();
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/bmap-format.md")).unwrap();
    let examples: Vec<&str> = page.split("```xml\n").skip(1).map(|rest| rest.split_once("```").unwrap().0).collect();
    assert_eq!(page.matches("<bmap version=").count(), examples.len());
    let mut versions = Vec::new();
    for example in examples {
        let map = Bmap::parse(example.as_bytes()).unwrap_or_else(|error| panic!("{error}\n{example}"));
        assert_eq!((map.image_size(), map.blocks(), map.mapped_blocks()), (10_000, 3, 2));
        versions.push(map.version().to_string());
        let (outcome, target) = copy_with(directory.path(), &image, example, &[]);
        assert_eq!(outcome.status, Some(0), "{}\n{example}", outcome.stderr);
        assert_eq!(outcome.stderr.contains("WARNING"), !example.contains("chksum=") && !example.contains("sha1="));
        assert_same(&image, &target);
    }
    versions.sort_unstable();
    assert_eq!(versions, ["1.0", "1.2", "1.3", "1.4", "2.0", "2.0", "2.7"]);
}

#[test(Root)]
fn every_block_size_works() {
    let directory = temp_dir();
    let disk = Disk::new(8 << 20);
    for (block_size, size) in
        [(512, 1_000_001_u64), (1024, 3_000_000), (4096, 5_555_555), (65536, 7 << 20), (1000, 99_999)]
    {
        let image = directory.path().join(format!("{block_size}.img"));
        let blocks = size.div_ceil(block_size);
        let ranges = [(1, 3), (5, 5), (blocks - 2, blocks - 1)];
        let data: Vec<_> = ranges
            .iter()
            .map(|&(first, last)| {
                (first * block_size, (((last + 1) * block_size).min(size) - first * block_size) as usize)
            })
            .collect();
        image::sparse(&image, size, &data, block_size);
        let lines: String = ranges.iter().map(|(first, last)| format!("<Range>{first}-{last}</Range>")).collect();
        let text = format!(
            "<bmap version='2.0'><ImageSize>{size}</ImageSize><BlockSize>{block_size}</BlockSize>\
             <BlocksCount>{blocks}</BlocksCount><MappedBlocksCount>6</MappedBlocksCount><BlockMap>{lines}</BlockMap></bmap>"
        );
        let (outcome, target) = copy_with(directory.path(), &image, &text, &[]);
        assert_eq!(outcome.status, Some(0), "{block_size}: {}", outcome.stderr);
        assert_same(&image, &target);
        let map = directory.path().join("map.bmap");
        disk.refill();
        copy(["--bmap".as_ref(), map.as_os_str(), image.as_os_str(), disk.path().as_os_str()]).ok();
        disk.assert_flashed(&image, &map);
        disk.refill();
        copy(["--nobmap".as_ref(), image.as_os_str(), disk.path().as_os_str()]).ok();
        assert_same(&image, disk.path());
    }
}

#[test]
fn a_map_in_compressed_form_is_read() {
    let directory = temp_dir();
    let image = small_image(directory.path());
    let bmap = create(&image);
    crate::common::sh("gzip", &[bmap.to_str().unwrap()]);
    let compressed = directory.path().join("small.img.bmap.gz");
    let target = directory.path().join("target");
    copy(["--bmap".as_ref(), compressed.as_os_str(), image.as_os_str(), target.as_os_str()]).ok();
    assert_same(&image, &target);
}

#[test]
fn a_map_is_found_beside_its_image() {
    let directory = temp_dir();
    let image = small_image(directory.path());
    let bmap = directory.path().join("elsewhere");
    std::fs::rename(create(&image), &bmap).unwrap();
    crate::common::sh("gzip", &["-k", image.to_str().unwrap()]);
    let compressed = directory.path().join("small.img.gz");
    let target = directory.path().join("target");
    for name in ["small.bmap", "small.img.bmap", "small.img.gz.bmap"] {
        let place = directory.path().join(name);
        std::fs::copy(&bmap, &place).unwrap();
        let outcome = copy([&compressed, &target]).ok();
        outcome.says(&[&format!("discovered bmap file '{}'", place.display())]);
        assert_same(&image, &target);
    }
    let alone = temp_dir();
    let copied = alone.path().join("small.img.gz");
    std::fs::copy(&compressed, &copied).unwrap();
    copy([&copied, &target]).fails(&["bmap file not found", "--nobmap"]);
    // What is there but cannot be read is not "not found".
    std::fs::create_dir(alone.path().join("small.img.bmap")).unwrap();
    copy([&copied, &target]).fails(&["small.img.bmap' is a directory"]);
}

/// A million ranges, in more than 64 MiB.
#[test(Program("time"))]
fn a_large_map_is_read_in_time_and_memory() {
    const RANGES: u64 = 1_000_000;
    let directory = temp_dir();
    let map = directory.path().join("large.bmap");
    let mut checksums = Checksums::new(ChecksumKind::Sha256);
    let digest = ChecksumKind::Sha256.hasher().finish();
    let ranges = (0..RANGES).map(|range| BlockRange::from_inclusive(range * 2, range * 2).unwrap()).collect();
    (0..RANGES).for_each(|_| checksums.push(&digest));
    let bmap = Bmap::new(RANGES * 2 * 4096, BlockSize::new(4096).unwrap(), ranges, Some(checksums)).unwrap();
    bmap.emit(&mut BufWriter::new(File::create(&map).unwrap())).unwrap();
    assert!(std::fs::metadata(&map).unwrap().len() > 64 << 20);

    // The image is refused right after the map has been read.
    let image = directory.path().join("image");
    std::fs::write(&image, "short").unwrap();
    let target = directory.path().join("target");
    let tool = copy(["--bmap".as_ref(), map.as_os_str(), image.as_os_str(), target.as_os_str()]);
    let outcome = tool.measured().fails(&["5 bytes, but the bmap is for an image of 8192000000 bytes"]);
    assert!(outcome.memory() < 200 << 20, "{} MiB", outcome.memory() >> 20);
    assert!(outcome.processor_time() < Duration::from_secs(10), "{:?}", outcome.processor_time());
}
