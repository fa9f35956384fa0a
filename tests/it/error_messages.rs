//! The mistakes that people make, and what they are told: what is wrong, with which file or device, and what helps.

use std::fs;
use std::path::Path;

use crate::common::device::Disk;
use crate::common::image::{assert_same, sparse};
use crate::common::tool::{Outcome, bmaptool, create, mapped_disk};
use crate::common::{sh, sha256, temp_dir, text};
use tempfile::TempDir;

/// A directory with an image, `disk.img`, and its bmap.
fn directory() -> TempDir {
    let directory = temp_dir();
    mapped_disk(directory.path());
    directory
}

/// Runs a command line in the directory, and expects its status and that its last error says all of `fragments`.
fn run(directory: &TempDir, arguments: &str, status: i32, fragments: &[&str]) -> Outcome {
    let tool = bmaptool(arguments.split_whitespace()).current_dir(directory.path());
    let outcome = tool.exits(status, fragments);
    assert!(!outcome.stderr.contains("os error"), "{}", outcome.stderr);
    outcome
}

#[test]
fn options_and_commands_that_do_not_exist_get_a_suggestion() {
    let directory = directory();
    let cases = [
        ("cpoy disk.img out", "a similar subcommand exists: 'copy'"),
        ("copy --nomap disk.img out", "a similar argument exists: '--nobmap'"),
        ("copy disk.img", "<TARGET>"),
        ("create", "<IMAGE>"),
        ("create disk.img out.bmap", "unexpected argument 'out.bmap'"),
        ("copy --bmap", "a value is required for '--bmap <BMAP>'"),
    ];
    for (arguments, fragment) in cases {
        let outcome = run(&directory, arguments, 2, &[fragment, "--help"]);
        // In a log of many programs it must be plain whose error it is.
        assert!(outcome.stderr.starts_with("bmaptool: error: "), "{}", outcome.stderr);
        assert!(outcome.stdout.is_empty());
    }
}

#[test]
fn help_shows_how_it_is_done() {
    let directory = directory();
    let alone = run(&directory, "", 2, &["Usage: bmaptool", "bmaptool copy disk.img.xz /dev/sdX"]);
    assert!(alone.stderr.starts_with("Maps sparse disk images"), "{}", alone.stderr);
    let cases = [
        ("--help", "bmaptool create disk.img > disk.bmap"),
        ("create --help", "bmaptool create -o disk.bmap disk.img"),
        ("copy --help", "| bmaptool copy --bmap disk.bmap - /dev/sdX"),
    ];
    for (arguments, example) in cases {
        let help = String::from_utf8(run(&directory, arguments, 0, &[]).stdout).unwrap();
        assert!(help.contains(example), "{help}");
        // What belongs to the command comes first.
        let place = |option: &str| help.find(option).unwrap_or(0);
        assert!(place("--nobmap") < place("--debug") && place("--no-checksum") < place("--debug"), "{help}");
    }
}

#[test]
fn names_that_lead_nowhere_are_named() {
    let directory = directory();
    let cases: [(&str, &[&str]); 12] = [
        ("copy dsik.img out", &["cannot open 'dsik.img': No such file or directory"]),
        ("copy --bmap dsik.bmap disk.img out", &["cannot open 'dsik.bmap': No such file or directory"]),
        ("copy htp://host/disk.img out", &["cannot open 'htp://host/disk.img'", "http, https, ftp, ssh and file"]),
        ("copy disk.img ssh://host/out", &["cannot create 'ssh://host/out'", "not an address"]),
        ("copy disk.img me@host:/out", &["cannot create 'me@host:/out'", "not an address"]),
        ("create http://host/disk.img", &["cannot open image 'http://host/disk.img'", "not an address"]),
        ("copy . out", &["'.' is a directory"]),
        ("copy disk.img .", &["cannot copy to '.': it is a directory"]),
        ("copy disk.img no/such/out", &["cannot create 'no/such/out': No such file or directory"]),
        ("create dsik.img", &["cannot open image 'dsik.img': No such file or directory"]),
        ("create -", &["cannot open image '-'", "standard input cannot be mapped"]),
        (
            "copy disk.img /dev/bmaptool-test-missing",
            &[
                "there is no device '/dev/bmaptool-test-missing'",
                "is the device plugged in?",
                "'bmaptool list --all' lists the devices",
            ],
        ),
    ];
    for (arguments, fragments) in cases {
        let outcome = run(&directory, arguments, 1, fragments);
        assert!(outcome.stdout.is_empty() && !directory.path().join("out").exists(), "{arguments}");
    }
}

#[test]
fn no_bmap_or_a_wrong_one_is_told() {
    let directory = directory();
    let path = |name: &str| directory.path().join(name);
    fs::copy(path("disk.img"), path("lone.img")).unwrap();
    run(&directory, "copy lone.img out", 1, &["bmap file not found for 'lone.img'", "'--nobmap'"]);
    run(&directory, "copy disk.img.bmap out", 1, &["the image and the bmap are the same file, 'disk.img.bmap'"]);
    run(&directory, "copy --bmap ./disk.img disk.img out", 1, &["'disk.img' and './disk.img' are the same file"]);

    run(&directory, "copy --bmap lone.img disk.img.bmap out", 1, &["'lone.img' cannot be used", "swapped?"]);

    // A bmap of another image of the same size.
    let size = fs::metadata(path("disk.img")).unwrap().len();
    sparse(&path("other.img"), size, &[(0, 50_000)], 99);
    create(&path("other.img"));
    let mismatch = "it is damaged, or not the image of this bmap";
    run(&directory, "copy --bmap other.img.bmap disk.img out", 1, &["checksum mismatch in blocks 0-12", mismatch]);
    assert!(!path("out").exists());
}

#[test]
fn what_cannot_be_mapped_is_told_with_the_reason() {
    let directory = directory();
    run(&directory, "create .", 1, &["cannot map '.': it is a directory"]);
    run(&directory, "create /dev/null", 1, &["it is a character device"]);
}

#[test]
fn outputs_that_cannot_be_written_are_told_before_the_work() {
    let directory = directory();
    // An image that is full is warned of once it has been mapped: no warning, no work.
    fs::write(directory.path().join("full.img"), vec![1; 1 << 20]).unwrap();
    for (output, why) in [
        ("no/such/directory.bmap", "the directory 'no/such': No such file or directory"),
        (".", "it is a directory"),
        ("new.bmap/", "no file's name ends with a slash"),
    ] {
        let outcome = run(&directory, &format!("create full.img -o {output}"), 1, &["cannot write the bmap to '", why]);
        assert!(!outcome.stderr.contains("WARNING"), "{}", outcome.stderr);
    }
}

#[test(Root)]
fn the_arguments_in_the_wrong_order_are_told() {
    let directory = directory();
    let disk = Disk::new(1 << 20);
    let device = text(disk.path());
    let image = directory.path().join("disk.img");
    let before = (sha256(&image), sha256(&disk.backing));
    let told = "the image comes first, then the target";
    run(&directory, &format!("copy {device} disk.img"), 1, &["bmap file not found", device, told]);
    run(&directory, &format!("copy --nobmap {device} disk.img"), 1, &["'disk.img' a file that has data", told]);
    assert_eq!((sha256(&image), sha256(&disk.backing)), before);
    // A device can be kept in a new file, or in one that has been made for it.
    fs::write(directory.path().join("made"), "").unwrap();
    for target in ["new", "made"] {
        run(&directory, &format!("copy --nobmap {device} {target}"), 0, &[]);
        assert_same(&disk.backing, &directory.path().join(target));
    }
}

#[test(Root, Program("gzip"))]
fn an_image_without_a_byte_is_an_error() {
    let directory = directory();
    let disk = Disk::new(2 << 20);
    let before = sha256(&disk.backing);
    let device = text(disk.path());
    fs::write(directory.path().join("empty"), "").unwrap();
    sh("gzip", &["-k", text(&directory.path().join("empty"))]);
    for image in ["empty", "empty.gz"] {
        let outcome = run(&directory, &format!("copy --nobmap {image} {device}"), 1, &["the image is empty"]);
        outcome.says(&["nothing has been written"]);
    }
    // Standard input of whatever should have fed us and has failed.
    fs::write(directory.path().join("there"), "before").unwrap();
    for target in [device, "there", "new"] {
        run(&directory, &format!("copy --nobmap - {target}"), 1, &["nothing came from standard input"]);
        run(
            &directory,
            &format!("copy --bmap disk.img.bmap - {target}"),
            1,
            &["has 0 bytes, but the bmap is for an image of"],
        );
    }
    assert_eq!(sha256(&disk.backing), before);
    assert_eq!(fs::read(directory.path().join("there")).unwrap(), b"before");
    assert!(!directory.path().join("new").exists());
}

#[test(Root, Program("tar"))]
fn what_is_no_disk_image_is_refused_by_its_kind() {
    let directory = directory();
    let disk = Disk::new(2 << 20);
    let before = sha256(&disk.backing);
    let cases: [(&str, &[u8], &str); 5] = [
        ("page", b"<!DOCTYPE html>\n<html>Please log in", "an HTML page"),
        ("disk.img.lz", b"LZIP\x01\x0cxxxx", "compressed with lzip, which is not supported; decompress it first"),
        ("disk.img.7z", b"7z\xbc\xaf\x27\x1c\0\x04", "compressed with 7-Zip"),
        ("disk.qcow2", b"QFI\xfb\0\0\0\x03", "the format QCOW; convert it"),
        ("some.bmap", b"<?xml version=\"1.0\" ?>\n<bmap", "an XML file, such as a bmap"),
    ];
    for (name, content, message) in cases {
        let file = directory.path().join(name);
        fs::write(&file, content).unwrap();
        run(
            &directory,
            &format!("copy --nobmap {name} {}", text(disk.path())),
            1,
            &["is not a disk image but", message],
        );
    }
    // A bmap in an archive is not the image.
    sh(
        "tar",
        &["-C", text(directory.path()), "-czf", text(&directory.path().join("two.tar.gz")), "some.bmap", "disk.img"],
    );
    run(&directory, "copy --nobmap two.tar.gz out", 0, &["reading 'disk.img'"]);
    run(&directory, "copy --bmap disk.img.bmap two.tar.gz out", 0, &[]);
    assert_same(&directory.path().join("disk.img"), &directory.path().join("out"));
    assert_eq!(sha256(&disk.backing), before);
}

#[test(Root)]
fn a_device_is_read_back_by_the_bmap_of_its_image() {
    let directory = directory();
    let disk = Disk::new(300 << 20);
    run(&directory, &format!("copy disk.img {}", text(disk.path())), 0, &[]);
    for more in ["", "--no-verify"] {
        let out = format!("out{more}");
        run(&directory, &format!("copy --bmap disk.img.bmap {more} {} {out}", text(disk.path())), 0, &[]);
        assert_same(&directory.path().join("disk.img"), &directory.path().join(out));
    }
    let small = Disk::new(1 << 20);
    run(
        &directory,
        &format!("copy --bmap disk.img.bmap {} out", text(small.path())),
        1,
        &["has 1048576 bytes, but the bmap"],
    );
}

#[test]
fn numbers_of_errors_are_for_debugging() {
    let directory = directory();
    run(&directory, "copy missing out", 1, &["No such file or directory\n"]);
    let tool = bmaptool(["--debug", "copy", "missing", "out"]).current_dir(Path::new(directory.path()));
    tool.fails(&["No such file or directory (os error 2)"]);
}
