//! `copy --relocate-gpt`: the backup of the image's GPT at the end of a larger device.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::common::device::{Disk, Loop};
use crate::common::image::{self, UNTOUCHED};
use crate::common::lying::{Lie, LyingDisk};
use crate::common::server::{self, Server};
use crate::common::tool::{Outcome, Tool, bmaptool, copy};
use crate::common::work::Work;
use crate::common::{sh, text};
use crate::partitions::{GPT, partition};

const MIB: u64 = 1 << 20;

/// The size of the image.
const IMAGE: u64 = 16 * MIB;

/// The size of the device.
const SIZE: u64 = 24 * MIB;

/// Data in each of the three partitions.
const DATA: [(u64, usize); 3] = [(MIB, 1 << 20), (4 * MIB + 8192, 2 << 20), (8 * MIB, 300_000)];

/// An image with data in its partitions, and a table for sectors of this size.
fn image(sector_size: &str) -> Work {
    Work::new(|path| make(path, sector_size))
}

fn make(path: &Path, sector_size: &str) {
    image::sparse(path, IMAGE, &DATA, 3);
    match sector_size {
        "512" => partition(path, GPT),
        _ => partition(&attach(path, sector_size).path, GPT),
    }
}

fn attach(file: &Path, sector_size: &str) -> Loop {
    Loop::attach_with(file, &["--sector-size", sector_size])
}

/// An image that was changed after its table was made.
fn changed(change: impl FnOnce(&Path)) -> Work {
    Work::new(|path| {
        make(path, "512");
        change(path);
    })
}

fn disk(size: u64, sector_size: &str) -> Disk {
    Disk::with(size, &["--sector-size", sector_size])
}

fn flash(work: &Work, flags: &[&str], disk: &Disk) -> Tool {
    let map = ["--bmap", text(&work.bmap)];
    let map = if flags.contains(&"--nobmap") { &[][..] } else { &map[..] };
    copy([flags, map, &["--relocate-gpt", text(&work.image), text(disk.path())]].concat())
}

fn verify(work: &Work, disk: &Disk) -> Tool {
    bmaptool(["verify", "--bmap", text(&work.bmap), text(disk.path())])
}

const RELOCATED: &str = "its GPT was relocated to the device's end";

/// Expects that a device is what its bmap says, and that its relocation was seen.
fn assert_verified(work: &Work, disk: &Disk) {
    verify(work, disk).ok().says(&[RELOCATED, "is what its bmap says"]);
}

fn write(path: &Path, bytes: &[u8], at: u64) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(bytes, at).unwrap();
    file.sync_all().unwrap();
}

fn flip(path: &Path, at: u64) {
    let mut byte = [0];
    File::open(path).unwrap().read_exact_at(&mut byte, at).unwrap();
    write(path, &[byte[0] ^ 1], at);
}

/// What tells one partition from another: numbers, places, types, names and GUIDs.
fn partitions(device: &Path) -> Vec<String> {
    let dump = sh("sfdisk", &["--dump", text(device)]);
    let lines = dump.lines().filter(|line| line.contains("start=") || line.starts_with("label-id"));
    let after_name = |line: &str| line.replace(text(device), "").trim_start_matches('p').to_owned();
    let partitions: Vec<_> = lines.map(after_name).chain(entries(device)).collect();
    assert_eq!(partitions.len(), 7);
    partitions
}

/// The same as another program tells it, also of an image that has lost its backup.
fn entries(device: &Path) -> [String; 3] {
    ["1", "2", "8"].map(|number| {
        let told = sh("sgdisk", &["-i", number, text(device)]);
        told[told.find("Partition GUID code").unwrap()..].to_owned()
    })
}

/// Expects two programs to find nothing to complain of.
fn assert_right(device: &Path) {
    let found = sh("sgdisk", &["--verify", text(device)]);
    assert!(found.contains("No problems found"), "{found}");
    let found = sh("sfdisk", &["--verify", text(device)]);
    assert!(found.contains("No errors detected"), "{found}");
}

/// What a device has on which there was the pattern, as another program moves the backup.
fn moved_by_sgdisk(work: &Work, size: u64, sector_size: &str) -> Vec<u8> {
    let other = disk(size, sector_size);
    work.copy(&work.image, other.path()).ok();
    // The table is whole, and not only what of it the bmap lists.
    let table = 2 * sector_size.parse::<usize>().unwrap() + 16384;
    write(other.path(), &fs::read(&work.image).unwrap()[..table], 0);
    sh("sgdisk", &["--move-second-header", text(other.path())]);
    let mut bytes = fs::read(&other.backing).unwrap();
    // Cylinder, head and sector of the end of the protective entry: nobody reads them.
    bytes[446 + 5..446 + 8].copy_from_slice(&fs::read(&work.image).unwrap()[446 + 5..446 + 8]);
    bytes
}

#[test(Root, Program("sfdisk"), Program("sgdisk"))]
fn the_table_is_right_and_no_partition_changes() {
    for sector_size in ["512", "4096"] {
        let work = image(sector_size);
        let before = partitions(&attach(&work.image, sector_size).path);
        let disk = disk(SIZE, sector_size);
        for flags in [&[][..], &["--read-back"], &["--no-verify"], &["--unmapped", "zero"], &["--nobmap"]] {
            disk.refill();
            let outcome = flash(&work, flags, &disk).ok();
            outcome.says(&["the backup of the GPT is at the end of '/dev/loop"]);
            assert_right(disk.path());
            assert_eq!(partitions(disk.path()), before, "{flags:?}");
            assert_verified(&work, &disk);
        }
    }
}

#[test(Root, Program("sfdisk"), Program("sgdisk"))]
fn nothing_else_changes() {
    for sector_size in ["512", "4096"] {
        let work = Work::new(|path| {
            image::sparse(path, IMAGE, &DATA, 3);
            let device = attach(path, sector_size);
            sh("sgdisk", &["--new=1:1M:+2M", "--new=5:4M:+3M", text(&device.path)]);
        });
        for size in [IMAGE, IMAGE + 4096, IMAGE + 12288, SIZE] {
            let disk = disk(size, sector_size);
            flash(&work, &[], &disk).ok();
            let expected = moved_by_sgdisk(&work, size, sector_size);
            let found = fs::read(&disk.backing).unwrap();
            let place = size as usize - 16384 - sector_size.parse::<usize>().unwrap();
            assert!(found[place..] == expected[place..], "{sector_size}, {size}");
            let difference = found.iter().zip(&expected).position(|(found, expected)| found != expected);
            assert_eq!(difference, None, "{sector_size}, {size}");
            verify(&work, &disk).ok();
        }
    }
}

#[test(Root, Program("sfdisk"), Program("sgdisk"), Program("xz"), Program("zstd"))]
fn it_is_the_same_from_every_source() {
    let work = image("512");
    // Not even header and table are one range.
    bmaptool(["create", "--range-size", "4096", "-o", text(&work.bmap), text(&work.image)]).ok();
    let disk = disk(SIZE, "512");
    flash(&work, &[], &disk).ok();
    let expected = fs::read(&disk.backing).unwrap();
    let flash = |flags: &[&str], source: &str| {
        disk.refill();
        copy([flags, &["--relocate-gpt", "--bmap", text(&work.bmap), source, text(disk.path())]].concat())
    };
    let assert_same = |what: &str| assert!(fs::read(&disk.backing).unwrap() == expected, "{what}");
    for command in ["gzip -c", "xz -c --block-size=8192", "zstd -c", "bzip2 -c", "lz4 -c", "tar -c disk.img"] {
        let source = work.output_of(command);
        flash(&["--read-back"], text(&source)).ok();
        assert_same(command);
    }
    let server = Server::of(server::File::new(fs::read(&work.image).unwrap()));
    flash(&["--read-back"], &server.url("disk.img")).ok();
    assert_same("http");
    flash(&[], "-").stdin(fs::read(&work.image).unwrap()).ok();
    assert_same("standard input");
    assert_verified(&work, &disk);
}

#[test(Root, Program("sfdisk"), Program("sgdisk"))]
fn the_image_may_have_its_backup_elsewhere_or_none() {
    let cut = |path: &Path, size: u64| OpenOptions::new().write(true).open(path).unwrap().set_len(size).unwrap();
    let missing = changed(|path| write(path, &[0; 33 * 512], IMAGE - 33 * 512));
    let wrong = changed(|path| write(path, &[7; 33 * 512], IMAGE - 33 * 512));
    let longer = changed(|path| cut(path, IMAGE + 4 * MIB));
    let shorter = changed(|path| cut(path, IMAGE - MIB));
    for (work, is_undone) in [(missing, true), (wrong, true), (longer, true), (shorter, false)] {
        let before = entries(&work.image);
        let sizes = [fs::metadata(&work.image).unwrap().len(), SIZE];
        for size in sizes {
            let disk = disk(size, "512");
            flash(&work, &["--read-back"], &disk).ok();
            assert_right(disk.path());
            assert_eq!(entries(disk.path()), before);
            if is_undone && size == SIZE {
                assert_verified(&work, &disk);
            }
        }
    }
    // The header names a place after the end of the image, which nothing on the device tells.
    let work = changed(|path| cut(path, IMAGE - MIB));
    let disk = disk(SIZE, "512");
    flash(&work, &[], &disk).ok();
    verify(&work, &disk).fails(&["1 of "]).says(&[RELOCATED]);
}

#[test(Root, Program("sfdisk"), Program("sgdisk"))]
fn a_hybrid_mbr_stays_as_it_is() {
    let work = changed(|path| drop(sh("sgdisk", &["--hybrid", "1:2", text(path)])));
    let disk = disk(SIZE, "512");
    flash(&work, &[], &disk).ok();
    assert_right(disk.path());
    let [before, after] = [&work.image, &disk.backing].map(|path| fs::read(path).unwrap()[..512].to_vec());
    assert!(before == after);
    assert_verified(&work, &disk);
}

#[test(Root, Program("sfdisk"))]
fn what_cannot_be_relocated_is_refused_with_nothing_written() {
    let header = changed(|path| flip(path, 512 + 56));
    let entries = changed(|path| flip(path, 1024 + 40));
    let none = Work::new(|path| image::disk_like(path, 1));
    let full = changed(|path| {
        let table = format!("label: gpt\nstart=2048, size={}\n", IMAGE / 512 - 34 - 2048 + 1);
        partition(path, &table);
        OpenOptions::new().write(true).open(path).unwrap().set_len(IMAGE - 512).unwrap();
    });
    let cases: [(&Work, &str, u64, &str); 6] = [
        (&header, "512", SIZE, "the GPT of the image is damaged: the checksum of its header is wrong; "),
        (&entries, "512", SIZE, "the GPT of the image is damaged: the checksum of its entries is wrong; "),
        (&none, "512", SIZE, "the image has no GPT; leave out '--relocate-gpt'"),
        (&image("512"), "4096", SIZE, "the GPT of the image is for sectors of 512 bytes, the device has 4096"),
        (&image("4096"), "512", SIZE, "the GPT of the image is for sectors of 4096 bytes, the device has 512"),
        (&full, "512", IMAGE - 512, "the device has no room for the backup of the GPT"),
    ];
    for (work, sector_size, size, message) in cases {
        let disk = disk(size, sector_size);
        for flags in [&[][..], &["--nobmap"], &["--only-changed", "--read-back"], &["--unmapped", "discard"]] {
            let outcome = flash(work, flags, &disk).fails(&[message]);
            outcome.says(&["is as it was: nothing has been written"]);
            assert!(fs::read(&disk.backing).unwrap().iter().all(|&byte| byte == UNTOUCHED), "{message}");
        }
    }
}

#[test(Program("sfdisk"))]
fn only_a_device_has_an_end() {
    let work = changed(|_| {});
    let flash = |target: &Path| copy(["--relocate-gpt", text(&work.image), text(target)]);
    let [new, old] = ["new", "old"].map(|name| work.path(name));
    fs::write(&old, "old").unwrap();
    flash(&new).fails(&["only a block device has an end", "it does not exist; leave out '--relocate-gpt'"]);
    assert!(!new.exists());
    flash(&old).fails(&["only a block device has an end", "it is not a block device"]);
    assert_eq!(fs::read(&old).unwrap(), b"old");
    flash("/dev/null".as_ref()).fails(&["only a block device has an end"]);
}

#[test(Root, Program("sfdisk"), Program("zstd"))]
fn an_equal_device_is_not_written_to() {
    let work = image("512");
    bmaptool(["create", "--range-size", "1M", "-o", text(&work.bmap), text(&work.image)]).ok();
    let packed = work.output_of("zstd -c");
    for size in [IMAGE, SIZE] {
        let disk = disk(size, "512");
        flash(&work, &[], &disk).ok();
        let expected = fs::read(&disk.backing).unwrap();
        for flags in [&["--only-changed"][..], &["--only-changed", "--unmapped", "zero"]] {
            flash(&work, flags, &disk).ok();
            let before = disk.written();
            flash(&work, flags, &disk).ok();
            let arguments = ["--relocate-gpt", "--bmap", text(&work.bmap), text(&packed), text(disk.path())];
            copy([flags, &arguments].concat()).ok();
            assert_eq!(disk.written(), before, "{flags:?}");
        }
        for wrong in [size - 1, size - 33 * 512, 600, 446 + 12, 5 * MIB] {
            flip(disk.path(), wrong);
            flash(&work, &["--only-changed", "--read-back"], &disk).ok();
            let mut expected = expected.clone();
            (9 * MIB..IMAGE - 17 * 1024).for_each(|at| expected[at as usize] = 0); // zeroed above
            let place = size as usize - 33 * 512;
            assert!(fs::read(&disk.backing).unwrap()[place..] == expected[place..], "{wrong}");
            verify(&work, &disk).ok();
        }
    }
}

#[test(Root, Program("sfdisk"), Program("sgdisk"))]
fn the_backup_is_written_after_the_rest_was_discarded() {
    let work = image("512");
    let disk = disk(SIZE, "512");
    let outcome = flash(&work, &["--unmapped", "discard", "--read-back"], &disk).ok();
    outcome.says(&["reads as zeroes (64 places looked at)"]);
    assert_right(disk.path());
    assert_verified(&work, &disk);
    let after = &fs::read(&disk.backing).unwrap()[IMAGE as usize..SIZE as usize - 33 * 512];
    assert!(after.iter().all(|&byte| byte == 0));
}

#[test(Root, Program("sfdisk"))]
fn a_wrong_byte_is_found_where_a_gpt_was_relocated() {
    let work = image("512");
    let disk = disk(SIZE, "512");
    flash(&work, &[], &disk).ok();
    let assert_found = |at: u64, fragments: &[&str]| -> Outcome {
        flip(disk.path(), at);
        let outcome = verify(&work, &disk).fails(fragments);
        flip(disk.path(), at);
        outcome
    };
    let differs = "1 of 5 ranges differ";
    // The size in the MBR, boot code; of the header a field, the checksum, and what follows; an entry; data.
    for at in [446 + 12, 100, 512 + 32, 512 + 48, 512 + 16, 512 + 200, 1024 + 50, 2 * MIB - 1] {
        assert_found(at, &[differs]);
    }
    for at in [SIZE - 33 * 512, SIZE - 512, SIZE - 1] {
        let message = "the backup of the GPT at the end of '/dev/loop";
        assert_found(at, &[message, "is not right; copy again, or repair it with 'sgdisk -e DEVICE'"])
            .says(&[RELOCATED]);
    }
    assert_verified(&work, &disk);
    // What was not relocated is compared as it is.
    let other = self::disk(SIZE, "512");
    work.copy(&work.image, other.path()).ok();
    let outcome = verify(&work, &other).ok();
    assert!(!outcome.stderr.contains("relocated"), "{}", outcome.stderr);
}

#[test(Root, Program("sfdisk"), FileSystem("fuse"))]
fn a_device_that_loses_the_backup_is_found_out() {
    let work = image("512");
    // Before a mark at its end is written, which tells whether a device has that end.
    let end = SIZE - 33 * 512..SIZE - 16 * 512;
    let disk = LyingDisk::new(SIZE).lies(Lie::Drop(end.clone()));
    let arguments = ["--relocate-gpt", "--read-back", text(&work.image), text(disk.path())];
    copy(arguments).fails(&["the medium is at fault", &format!("bytes {} to {}", end.start, SIZE - 1)]);
    assert!(disk.medium().contents(0..MIB).iter().all(|&byte| byte == 0));
}

#[test(Root, Program("sfdisk"))]
fn a_device_that_ends_within_a_sector_has_the_whole_ones() {
    let work = image("4096");
    let disk = disk(IMAGE + 512, "4096");
    flash(&work, &["--nobmap"], &disk).ok();
    verify(&work, &disk).ok();
    write(&work.image, &[7; 512], IMAGE);
    flash(&work, &["--nobmap"], &disk).fails(&["does not fit", "the device 16777216 bytes"]);
    let from_pipe = copy(["--nobmap", "--relocate-gpt", "-", text(disk.path())]);
    from_pipe.stdin(fs::read(&work.image).unwrap()).fails(&["does not fit", "16777216 bytes"]);
}
