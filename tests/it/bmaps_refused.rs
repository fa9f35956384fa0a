//! Bmaps that must be refused before anything is written, and those that the image contradicts.

use std::path::Path;

use crate::bmaps::{FORMS, changed, copy_with, digest, hand_written, sealed, small_image};
use crate::common::device::Disk;
use crate::common::image::assert_same;
use crate::common::tool::copy;
use crate::common::{sha256, temp_dir};
use bmaptool::digest::ChecksumKind;

#[test]
fn version_3_is_refused() {
    let directory = temp_dir();
    let image = small_image(directory.path());
    let text = hand_written(&image, &FORMS[5]).replace("version=\"2.0\"", "version=\"3.0\"");
    assert_refused(directory.path(), &image, &text, "version 3.0 is not supported, up to 2 is");
}

fn assert_refused(directory: &Path, image: &Path, bmap: &str, reason: &str) {
    let before = digest(ChecksumKind::Sha256, b"what was there before");
    let (outcome, target) = copy_with(directory, image, bmap, &[]);
    assert_eq!(outcome.status, Some(1), "{}", outcome.stderr);
    outcome.says(&["map.bmap", reason]);
    assert_eq!(sha256(target), before, "{reason}: the target has changed");
}

#[test]
fn invalid_maps_are_refused_before_anything_is_written() {
    let directory = temp_dir();
    let image = small_image(directory.path());
    let template = hand_written(&image, &FORMS[5]);
    let changed = |from: &str, to: &str| changed(&template, from, to);
    let huge = "18446744073709551616";
    let first_checksum = template.split("chksum='").nth(1).unwrap().split('\'').next().unwrap().to_owned();
    let cases = [
        ("not XML at all".to_owned(), "not well-formed XML"),
        (String::new(), "the file is empty"),
        ("<!DOCTYPE html><html></html>".to_owned(), "not a bmap but an HTML page"),
        ("<plist version=\"1.0\"></plist>".to_owned(), "the root element is 'plist' instead of 'bmap'"),
        (template[..template.len() / 2].to_owned(), "not well-formed XML"),
        (template.replacen("<Range", "<Range ", 1), "the file is damaged"),
        (changed("<BlockSize> 1024 </BlockSize>", ""), "element 'BlockSize' is missing"),
        (changed("<BlockSize>", "<BlockSize>1</BlockSize><BlockSize>"), "element 'BlockSize' is repeated"),
        (changed("<ChecksumType> sha256 </ChecksumType>", ""), "element 'ChecksumType' is missing"),
        (changed("> 5 </MappedB", "> -5 </MappedB"), "'-5' in element 'MappedBlocksCount' is not a decimal number"),
        (changed("> 5 </MappedB", "> 0x5 </MappedB"), "is not a decimal number"),
        (changed("> 20580 <", &format!("> {huge} <")), "in element 'ImageSize' is not a decimal number below 2^64"),
        (changed("> 1024 <", "> 0 <"), "element 'BlockSize' is zero"),
        (
            changed("> 21 <", "> 22 <"),
            "element 'BlocksCount' says 22, but an image of 20580 bytes has 21 blocks of 1024",
        ),
        (changed("> 0-1 <", "> 1-0 <"), "'1-0' is not a range of blocks"),
        (changed("> 19-20 <", "> 20-21 <"), "range 20-21 lies past the end of the image"),
        (changed("> 0-1 <", "> 7-8 <"), "range 5 is out of order, it comes after 7-8"),
        (changed("> 0-1 <", "> 4-5 <"), "range 5 overlaps range 4-5"),
        (changed("> 5 </MappedB", "> 6 </MappedB"), "element 'MappedBlocksCount' says 6, but the ranges hold 5"),
        (changed(&first_checksum, &first_checksum[1..]), "is not 64 hexadecimal digits, as sha256 has"),
        (
            changed(&first_checksum, &format!("x{}", &first_checksum[1..])),
            "is not 64 hexadecimal digits, as sha256 has",
        ),
        (changed(&format!(" chksum='{first_checksum}'"), ""), "some ranges have a checksum and some have none"),
        (changed("> sha256 <", "> crc32c <"), "checksum type 'crc32c' is not supported"),
        (changed("<bmap", "<!DOCTYPE bmap [<!ENTITY x SYSTEM \"/etc/passwd\">]><bmap"), "no document type declaration"),
        (changed("> 21 <", "> &x; <"), "element 'BlocksCount' must hold text only"),
        (changed("<bmap version=\"2.0\">", "<bmap>"), "the version of the bmap format is missing"),
    ];
    for (text, reason) in cases {
        assert_refused(directory.path(), &image, &text, reason);
    }
}

#[test(Root)]
fn a_wrong_checksum_is_found_and_its_range_named() {
    let directory = temp_dir();
    let image = small_image(directory.path());
    let template = hand_written(&image, &FORMS[5]);
    let own = template.split("<BmapFileChecksum> ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    let third = template.split("chksum='").nth(3).unwrap().split('\'').next().unwrap().to_owned();
    let wrong = digest(ChecksumKind::Sha256, b"something else");
    let text = sealed(&template.replace(&own, "@").replace(&third, &wrong), ChecksumKind::Sha256);
    let words = ["checksum mismatch in blocks 19-20 (bytes 19456 to 20579)"];

    let (outcome, target) = copy_with(directory.path(), &image, &text, &[]);
    assert_eq!(outcome.status, Some(1));
    outcome.says(&words);
    outcome.says(&["is incomplete"]);
    let created = directory.path().join("created");
    let map = directory.path().join("map.bmap");
    let arguments = ["--bmap".as_ref(), map.as_os_str(), image.as_os_str(), created.as_os_str()];
    let outcome = copy(arguments).fails(&words);
    assert!(!created.exists() && target.exists());
    // The digests are for those who look for a defect.
    assert!(!outcome.stderr.contains(&third) && !outcome.stderr.contains(&wrong), "{}", outcome.stderr);
    copy(arguments.iter().chain(&["--debug".as_ref()])).fails(&words).says(&[&third, &wrong]);

    let disk = Disk::new(1 << 20);
    let outcome = copy(["--bmap".as_ref(), map.as_os_str(), image.as_os_str(), disk.path().as_os_str()]).fails(&words);
    outcome.says(&["holds no valid image"]);
}

#[test]
fn a_wrong_checksum_is_not_looked_at_with_no_verify() {
    let directory = temp_dir();
    let image = small_image(directory.path());
    let template = hand_written(&image, &FORMS[2]);
    let first = template.split("sha1='").nth(1).unwrap().split('\'').next().unwrap().to_owned();
    let text = template.replace(&first, &digest(ChecksumKind::Sha1, b""));
    let (outcome, _) = copy_with(directory.path(), &image, &text, &[]);
    assert_eq!(outcome.status, Some(1));
    let (outcome, target) = copy_with(directory.path(), &image, &text, &["--no-verify"]);
    assert_eq!(outcome.status, Some(0), "{}", outcome.stderr);
    outcome.says(&["WARNING: the image is not verified"]);
    assert_same(&image, &target);
}

#[test]
fn a_map_for_another_image_is_refused() {
    let directory = temp_dir();
    let image = small_image(directory.path());
    let text = hand_written(&image, &FORMS[5]);
    let other = directory.path().join("other.img");
    std::fs::write(&other, vec![7; 30_000]).unwrap();
    let before = digest(ChecksumKind::Sha256, b"what was there before");
    let (outcome, target) = copy_with(directory.path(), &other, &text, &[]);
    assert_eq!(outcome.status, Some(1));
    outcome.says(&["other.img' has 30000 bytes, but the bmap is for an image of 20580 bytes"]);
    assert_eq!(sha256(target), before);

    let (outcome, _) = copy_with(directory.path(), &directory.path().join("map.bmap"), &text, &[]);
    assert_eq!(outcome.status, Some(1));
    outcome.says(&["are the same file"]);
}
