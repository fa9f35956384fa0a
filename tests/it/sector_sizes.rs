//! An image whose GPT was made for sectors of another size than the device's.

use std::fs;
use std::path::Path;

use crate::common::device::{Disk, Loop};
use crate::common::image;
use crate::common::server::{File, Server};
use crate::common::text;
use crate::common::tool::{Outcome, bmaptool, copy};
use crate::common::work::Work;
use crate::partitions::{GPT, make, partition};

const SIZE: u64 = 16 << 20;
const WARNING: &str = "WARNING: the GPT of the image is for sectors of";

/// An image with a GPT for sectors of `size` bytes.
fn image(size: &str) -> Work {
    Work::new(|path| match size {
        "512" => make(path, GPT),
        _ => {
            image::create(path, SIZE);
            partition(&Loop::attach_with(path, &["--sector-size", size]).path, GPT);
        }
    })
}

fn disk(sector_size: &str) -> Disk {
    Disk::with(SIZE, &["--sector-size", sector_size])
}

fn is_warned(outcome: &Outcome, image: &str, device: &str) -> bool {
    let hint = format!("it will not boot; build it for sectors of {device}");
    outcome.stderr.contains(&format!("{WARNING} {image} bytes")) && outcome.stderr.contains(&hint)
}

#[test(Root, Program("sfdisk"))]
fn a_gpt_for_sectors_of_another_size_is_warned_about() {
    for of_image in ["512", "4096"] {
        let work = image(of_image);
        for of_device in ["512", "4096"] {
            let disk = disk(of_device);
            let outcome = copy([work.image.as_path(), disk.path()]).ok();
            assert_eq!(is_warned(&outcome, of_image, of_device), of_image != of_device, "{}", outcome.stderr);
            disk.assert_flashed(&work.image, &work.bmap);
        }
        let outcome = copy([&work.image, &work.path("copy")]).ok();
        assert!(!outcome.stderr.contains(WARNING), "{}", outcome.stderr);
    }
}

#[test(Root, Program("sfdisk"), Program("xz"), Program("zstd"))]
fn it_is_seen_in_every_source() {
    let work = image("512");
    // Not even the first MiB is one range.
    bmaptool(["create", "--range-size", "4096", "-o", text(&work.bmap), text(&work.image)]).ok();
    for command in ["gzip -c", "xz -c", "zstd -c", "tar -c disk.img"] {
        let source = work.output_of(command);
        let disk = disk("4096");
        for map in [["--bmap", text(&work.bmap)].as_slice(), &["--nobmap"]] {
            let outcome = copy(map.iter().copied().chain([text(&source), text(disk.path())])).ok();
            assert!(is_warned(&outcome, "512", "4096"), "{command}: {}", outcome.stderr);
        }
        image::assert_same(&work.image, disk.path());
    }
    let server = Server::of(File::new(fs::read(&work.image).unwrap()));
    let disk = disk("4096");
    let flash = |source: &str| copy(["--bmap", text(&work.bmap), source, text(disk.path())]);
    let fetched = flash(&server.url("disk.img")).ok();
    let piped = flash("-").stdin(fs::read(&work.image).unwrap()).ok();
    assert!([fetched, piped].iter().all(|outcome| is_warned(outcome, "512", "4096")));
}

#[test(Root, Program("sfdisk"))]
fn what_is_no_gpt_is_not_warned_about() {
    let work = image("512");
    let spoil = |path: &Path, at: usize| {
        let mut bytes = fs::read(path).unwrap();
        bytes[at] ^= 1;
        fs::write(path, bytes).unwrap();
    };
    // The signature, the checksum of the header, the type of the protective entry.
    for at in [512, 512 + 56, 446 + 4] {
        let spoilt = work.path("spoilt.img");
        fs::copy(&work.image, &spoilt).unwrap();
        spoil(&spoilt, at);
        let disk = disk("4096");
        let outcome = copy(["--nobmap", text(&spoilt), text(disk.path())]).ok();
        assert!(!outcome.stderr.contains(WARNING), "{at}: {}", outcome.stderr);
    }
}
