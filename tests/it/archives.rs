//! Images in archives that the real tools made.

use std::fs;
use std::path::Path;

use crate::common::device::{Disk, Loop};
use crate::common::image::{self, Random, assert_same, disk_like, sparse};
use crate::common::server::{File, Server};
use crate::common::sha256;
use crate::common::tool::copy;
use crate::common::work::{Work, copy_whole, never_wrong};
use crate::registry::{Need, Test};

/// How an image is put into an archive: by a shell command that writes it to standard output. `disk.img` is the image,
/// `small` a file of another size, `directory` a directory, `link` a link to the image.
struct Archive {
    name: &'static str,
    needs: &'static [Need],
    command: &'static str,
    images: Images,
}

/// What is in the archive.
#[derive(PartialEq, Eq)]
enum Images {
    /// The image is the first file.
    First,
    /// A text comes before it.
    AfterText,
}

macro_rules! archive {
    ($name:literal, $program:literal, $images:ident, $command:expr) => {
        Archive {
            name: $name,
            needs: &[Need::Root, Need::Program($program)],
            command: $command,
            images: Images::$images,
        }
    };
}

/// A name of 180 characters, which no ustar header can hold in one part.
const LONG: &str = "mkdir long; n=long/$(printf 'x%.0s' $(seq 175)); ln disk.img $n; ";

const ARCHIVES: &[Archive] = &[
    archive!("tar_ustar", "tar", First, "tar -c --format=ustar directory disk.img small"),
    archive!("tar_gnu", "tar", AfterText, "tar -c --format=gnu directory link small disk.img"),
    archive!("tar_pax", "tar", AfterText, "tar -c --format=pax small disk.img"),
    archive!("tar_sparse_gnu", "tar", First, "tar -cS --format=gnu disk.img small"),
    archive!("tar_sparse_gnu_by_size", "tar", AfterText, "tar -cS --format=gnu small disk.img"),
    archive!("tar_sparse_pax_1_0", "tar", AfterText, "tar -cS --format=pax --sparse-version=1.0 small disk.img"),
    archive!("tar_bsdtar_sparse", "bsdtar", AfterText, "bsdtar -c --format=pax -f - small disk.img"),
    archive!("tar_bsdtar_ustar", "bsdtar", First, "bsdtar -c --format=ustar -f - directory link disk.img"),
    archive!("tar_in_gzip", "tar", AfterText, "tar -cS small disk.img | gzip"),
    archive!("tar_in_bzip2", "tar", First, "tar -c disk.img | bzip2"),
    archive!("tar_in_xz", "tar", AfterText, "tar -c --format=pax -S small disk.img | xz -0 -T2 --block-size=256KiB"),
    archive!("tar_in_zstd", "zstd", First, "tar -cS disk.img | zstd"),
    archive!("tar_in_lz4", "lz4", First, "tar -c disk.img | lz4"),
    archive!("tar_in_lzop", "lzop", AfterText, "tar -c small disk.img | lzop"),
    archive!("zip_deflated", "zip", AfterText, "zip -qr a.zip directory small disk.img; cat a.zip"),
    archive!("zip_stored", "zip", AfterText, "zip -q0 a.zip small disk.img; cat a.zip"),
    archive!("zip_from_pipe_to_pipe", "zip", First, "cat disk.img | zip -q - - | cat"),
    archive!("zip64", "zip", AfterText, "zip -q -fz a.zip small disk.img; cat a.zip"),
    archive!("zip_to_pipe", "zip", First, "zip -q - disk.img small | cat"),
    archive!("zip_with_comment", "zip", First, "zip -q a.zip disk.img; echo hello | zip -qz a.zip; cat a.zip"),
    archive!("zip_bsdtar", "bsdtar", First, "bsdtar -c --format=zip -f - directory disk.img small"),
    archive!(
        "zip_bsdtar_stored",
        "bsdtar",
        First,
        "bsdtar -c --format=zip --options zip:compression=store -f a.zip disk.img; cat a.zip"
    ),
];

#[test_cases]
fn archives() -> Vec<Test> {
    let both = |archive: &'static Archive| {
        let name = archive.name;
        [
            Test::new(format!("{name}_reaches_file_and_device"), archive.needs, move || reaches(archive)),
            Test::new(format!("{name}_damage_is_noticed"), archive.needs, move || damage_is_noticed(archive)),
        ]
    };
    ARCHIVES.iter().flat_map(both).collect()
}

/// A directory with an image, its bmap, and some other files.
fn with_others(make: impl FnOnce(&Path)) -> Work {
    let work = Work::new(make);
    fs::write(work.path("small"), "not the image\n".repeat(3000)).unwrap();
    fs::create_dir(work.path("directory")).unwrap();
    std::os::unix::fs::symlink("disk.img", work.path("link")).unwrap();
    work
}

impl Work {
    /// Makes an archive by `command`; expects the image to be found in it: in a file, on standard input and over HTTP.
    fn finds_image(&self, command: &str) {
        let archive = self.output_of(command);
        let out = self.path("out");
        self.copy(&archive, &out).ok();
        assert_same(&self.image, &out);
        self.copy(Path::new("-"), &out).stdin(fs::read(&archive).unwrap()).ok();
        assert_same(&self.image, &out);
        let mut file = File::new(fs::read(&archive).unwrap());
        for ranges in [true, false] {
            file.ranges = ranges;
            let server = Server::of(file.clone());
            self.copy(server.url("download?id=1").as_ref(), &out).ok();
            assert_same(&self.image, &out);
        }
    }
}

fn reaches(archive: &Archive) {
    let work = with_others(|image| disk_like(image, 1));
    work.finds_image(archive.command);
    let (archived, out) = (work.path("output"), work.path("out"));
    image::create(&work.path("disk"), 18 << 20);
    let device = Loop::attach(&work.path("disk"));
    work.copy(&archived, &device.path).ok().says(&["reading '", "' from the ", " archive "]);
    assert_same(&work.image, &device.path);
    copy_whole(&archived, &out).ok();
    assert_same(&work.image, &out);
    copy_whole(Path::new("-"), &out).stdin(fs::read(&archived).unwrap()).ok();
    assert_same(&work.image, &out);
    // Everything is read to its clean end where no checksum tells that it is whole.
    fs::remove_file(&out).unwrap();
    copy(["--no-verify", "--bmap"].map(AsRef::as_ref).into_iter().chain([
        work.bmap.as_os_str(),
        archived.as_os_str(),
        out.as_os_str(),
    ]))
    .ok();
    assert_same(&work.image, &out);
}

/// How many places are tried.
const PLACES: usize = 10;

fn damage_is_noticed(archive: &Archive) {
    let work =
        with_others(|image| sparse(image, 1_200_000, &[(0, 40_000), (400_000, 100_000), (1_000_000, 200_000)], 7));
    let archived = work.output_of(archive.command);
    let sound = fs::read(&archived).unwrap();
    let out = work.path("out");
    let is_plain_tar = archive.name.starts_with("tar_") && !archive.name.contains("_in_");
    for place in (1..=PLACES).map(|n| sound.len() * n / (PLACES + 1)) {
        let cut = &sound[..place];
        copy_whole(Path::new("-"), &out).stdin(cut).fails(&["data ends too early: the file is cut off"]);
        fs::write(&archived, cut).unwrap();
        copy_whole(&archived, &out).fails(&["data ends too early: the file is cut off"]);
        never_wrong(work.copy(Path::new("-"), &out).stdin(cut), &work.image, &out);
        never_wrong(work.copy(&archived, &out), &work.image, &out);

        let mut corrupt = sound.clone();
        corrupt[place] ^= 0x55;
        fs::write(&archived, &corrupt).unwrap();
        never_wrong(work.copy(&archived, &out), &work.image, &out);
        // The data in a tar has no checksum, and without a bmap any file may be the image.
        if !is_plain_tar && archive.images == Images::First {
            never_wrong(copy_whole(&archived, &out), &work.image, &out);
        }
    }
    // An archive says where it ends, and so do most formats that it is compressed with.
    let appended = copy_whole(Path::new("-"), &out).stdin([&sound[..], b"garbage that belongs to nothing"].concat());
    if ["xz", "zstd", "lz4"].iter().any(|format| archive.name.ends_with(format)) {
        appended.fails(&["is corrupt"]);
    } else {
        appended.ok().says(&["WARNING: 'standard input' goes on after its "]);
        assert_same(&work.image, &out);
    }
}

fn small() -> Work {
    with_others(|image| sparse(image, 1 << 20, &[(0, 100_000), (900_000, 50_000)], 3))
}

#[test(Program("tar"))]
fn a_long_name_of_gnu_tar_is_read() {
    let work = small();
    work.finds_image(&format!("{LONG} tar -c --format=gnu $n"));
    copy_whole(&work.path("output"), &work.path("out")).ok().says(&["xxxx' from the tar archive"]);
}

#[test(Program("tar"))]
fn a_long_name_of_pax_is_read() {
    small().finds_image(&format!("{LONG} tar -c --format=pax -S $n"));
}

#[test(Program("tar"))]
fn a_long_name_of_ustar_is_read() {
    let work = small();
    work.finds_image("d=$(printf 'y%.0s' $(seq 90)); mkdir $d; ln disk.img $d/disk; tar -c --format=ustar $d/disk");
    let name = format!("'{}/disk'", "y".repeat(90));
    copy_whole(&work.path("output"), &work.path("out")).ok().says(&[&name]);
}

/// More extents than the header and the first blocks of a map hold.
#[test(Program("tar"))]
fn a_tar_with_a_map_of_many_extents_is_read() {
    let work = with_others(|image| {
        let data: Vec<(u64, usize)> = (0..200).map(|n| (n * 16384, 4096)).collect();
        sparse(image, 4 << 20, &data, 5);
    });
    for version in ["--format=gnu", "--format=pax"] {
        work.finds_image(&format!("tar -cS {version} disk.img | gzip"));
    }
    for version in ["0.0", "0.1"] {
        let old = work.output_of(&format!("tar -cS --format=pax --sparse-version={version} disk.img"));
        work.copy(&old, &work.path("out")).fails(&["the tar data cannot be decoded", "only version 1.0 is supported"]);
    }
}

#[test(Program("tar"))]
fn a_tar_without_the_image_is_refused() {
    let work = small();
    let archive = work.output_of("tar -c directory link small");
    work.copy(&archive, &work.path("out")).fails(&["the tar archive", "holds no file of 1048576 bytes"]);
    copy_whole(&work.output_of("tar -c directory link"), &work.path("out")).fails(&["holds no file"]);
    assert!(!work.path("out").exists());
}

/// Files that follow one another without the mark at the end are a tar that is cut off.
#[test(Program("tar"))]
fn a_tar_without_end_is_cut_off() {
    let work = small();
    let archive = work.output_of("tar -c disk.img | head -c 1049088");
    work.copy(&archive, &work.path("out")).ok();
    copy_whole(&archive, &work.path("out")).fails(&["the tar data ends too early"]);
}

/// Files beside an image: texts by any name, signatures, empty files, what macOS leaves.
const BESIDE: &str = "printf 'a text\\n' | tee README SHA256SUMS disk.manifest >disk.json; : >empty.img; \
    printf 'R\\0' >notes.txt; printf '\\211\\0' | tee disk.img.sig ._disk.img >.hidden.bin; \
    mkdir -p __MACOSX .git; cp disk.img __MACOSX/; cp disk.img .git/object; ";
/// Their names, the image's among them.
const NAMES: &str = "README SHA256SUMS ._disk.img __MACOSX/disk.img .git/object ./disk.img disk.manifest disk.json empty.img \
    notes.txt disk.img.sig .hidden.bin";

#[test(Program("tar"), Program("zip"))]
fn the_only_file_that_can_be_an_image_is_taken_without_a_bmap() {
    let work = small();
    let out = work.path("out");
    for command in [
        format!("tar -c {NAMES}"),
        format!("tar -cS --format=pax {NAMES} | gzip"),
        format!("rm -f a.zip; zip -q a.zip {NAMES}; cat a.zip"),
        // In a stream, a file that is stored needs its size.
        format!("zip -q - {} | cat", NAMES.replace("empty.img", "")),
    ] {
        let archive = work.output_of(&format!("{BESIDE} {command}"));
        copy_whole(&archive, &out).ok().says(&["disk.img' from the "]);
        assert_same(&work.image, &out);
        copy_whole(Path::new("-"), &out).stdin(fs::read(&archive).unwrap()).ok();
        assert_same(&work.image, &out);
    }
}

#[test(Root, Program("tar"), Program("zip"))]
fn several_files_that_can_be_the_image_are_refused_without_a_bmap() {
    let work = small();
    let (out, disk) = (work.path("out"), Disk::new(4 << 20));
    let make = format!("{BESIDE} cp disk.img boot.vfat;");
    let message = ["holds several files that can be the image: 'disk.img', 'boot.vfat'; unpack the archive"];
    for archiver in ["tar -c $n", "tar -c $n | gzip", "rm -f a.zip; zip -q a.zip $n; cat a.zip", "zip -q - $n | cat"] {
        let archive = work.output_of(&format!("{make} n='README disk.img disk.json boot.vfat'; {archiver}"));
        copy_whole(&archive, &out).fails(&message);
        assert!(!out.exists());
        copy_whole(Path::new("-"), disk.path()).stdin(fs::read(&archive).unwrap()).fails(&message);
        assert!(fs::read(disk.path()).unwrap()[..1 << 20].iter().all(|&byte| byte == 0), "it does not boot");
        // With its bmap, it is the one of the right size.
        work.copy(&archive, &out).ok();
        assert_same(&work.image, &out);
    }
    // The directory of a zip tells beforehand.
    disk.refill();
    let before = sha256(disk.path());
    let archive = work.output_of("zip -q b.zip boot.vfat disk.img; cat b.zip");
    copy_whole(&archive, disk.path()).fails(&["the zip archive holds several"]);
    assert_eq!(sha256(disk.path()), before);
}

#[test(Program("tar"), Program("zip"))]
fn an_archive_without_an_image_lists_what_it_holds() {
    let work = small();
    let others = "'README', 'disk.json', 'notes.txt' and 2 more";
    for archiver in ["tar -c $n", "rm -f a.zip; zip -q a.zip $n; cat a.zip", "zip -q - $n | cat"] {
        let names = "n='README disk.json notes.txt empty.img disk.img.sig'";
        let archive = work.output_of(&format!("{BESIDE} {names}; {archiver}"));
        copy_whole(&archive, &work.path("out")).fails(&[&format!("holds no file that can be the image, but {others}")]);
        let message = format!("holds no file of 1048576 bytes, the size in the bmap, but {others}");
        if !archiver.contains('|') {
            work.copy(&archive, &work.path("out")).fails(&[&message]);
        }
    }
    let pointer = "printf 'version https://git-lfs.github.com/spec/v1\\noid sha256:12\\nsize 5\\n' >disk.img";
    let archive = work.output_of(&format!("mkdir a; cd a; {pointer}; tar -c disk.img"));
    copy_whole(&archive, &work.path("out")).fails(&["not a disk image but a pointer of Git LFS", "'git lfs pull'"]);
    assert!(!work.path("out").exists());
}

/// In a stream, a zip's sizes are unknown until its data has passed.
#[test(Program("zip"))]
fn a_text_before_the_image_in_a_zip_is_passed_over_with_a_bmap() {
    let work = small();
    let archive = work.output_of(&format!("{BESIDE} zip -q - README disk.img.sig disk.img | cat"));
    work.copy(Path::new("-"), &work.path("out")).stdin(fs::read(&archive).unwrap()).ok();
    assert_same(&work.image, &work.path("out"));
}

#[test(Program("tar"), Program("zip"))]
fn the_first_part_of_a_split_archive_is_refused() {
    let work = Work::new(|image| fs::write(image, Random::new(1).bytes(300_000)).unwrap());
    let out = work.path("out");
    let part = work.output_of("zip -q -s 100k a.zip disk.img; cat a.z01");
    copy_whole(&part, &out).fails(&["not a disk image but the first part of a split zip; join the parts"]);
    work.copy(&part, &out).fails(&["the first part of a split zip"]);
    for part in ["zip -q b.zip disk.img; head -c 100000 b.zip", "tar -c disk.img | head -c 102400"] {
        copy_whole(&work.output_of(part), &out).fails(&["data ends too early: the file is cut off"]);
    }
    let volumes = "printf 'n 2.tar\\n' | tar -c -M -L 100 -f 1.tar disk.img >/dev/null 2>&1 || true; cat 1.tar";
    copy_whole(&work.output_of(volumes), &out).fails(&["data ends too early: the file is cut off"]);
}

#[test(Program("zip"))]
fn a_link_in_a_zip_is_no_image() {
    let work = small();
    copy_whole(&work.output_of("zip -qy a.zip link disk.img; cat a.zip"), &work.path("out")).ok();
    assert_same(&work.image, &work.path("out"));
}

/// The sizes stand after the data, but a file can be read in any order.
#[test(Program("zip"))]
fn the_directory_of_a_zip_tells_the_sizes() {
    let work = small();
    let archive = work.output_of("bsdtar -c --format=zip -f - small disk.img | cat");
    work.copy(&archive, &work.path("out")).ok();
    assert_same(&work.image, &work.path("out"));
}

#[test(Program("bsdtar"))]
fn a_wrong_size_in_the_directory_of_a_zip_is_noticed() {
    let work = small();
    let archive = work.output_of("bsdtar -c --format=zip -f - disk.img | cat");
    let mut bytes = fs::read(&archive).unwrap();
    let central = bytes.windows(4).position(|bytes| bytes == b"PK\x01\x02").unwrap();
    // The lowest byte of the size, which before the data only the directory tells.
    bytes[central + 24] ^= 1;
    fs::write(&archive, &bytes).unwrap();
    let out = work.path("out");
    copy_whole(&archive, &out).fails(&["the size of a file is wrong"]);
    copy_whole(Path::new("-"), &out).stdin(bytes).ok();
}

#[test(Program("zip"))]
fn a_stored_zip_without_sizes_is_read_from_a_file_only() {
    let work = small();
    // The sizes in the local header, which a program that writes to a pipe does not know.
    let archive = work.output_of("zip -q0 a.zip disk.img; cat a.zip");
    let mut bytes = fs::read(&archive).unwrap();
    let central = bytes.windows(4).position(|bytes| bytes == b"PK\x01\x02").unwrap();
    let descriptor = [b"PK\x07\x08", &bytes[14..26]].concat();
    bytes[6] |= 8;
    bytes[14..26].fill(0);
    bytes.splice(central..central, descriptor);
    let end = bytes.len() - 22;
    let moved = u32::try_from(central + 16).unwrap().to_le_bytes();
    bytes[end + 16..end + 20].copy_from_slice(&moved);
    fs::write(&archive, &bytes).unwrap();
    let out = work.path("out");
    work.copy(&archive, &out).ok();
    assert_same(&work.image, &out);
    copy_whole(&archive, &out).ok();
    copy_whole(Path::new("-"), &out).stdin(bytes).fails(&[
        "cannot be decoded",
        "only its end says how long the image is",
        "a stream",
    ]);
}

#[test(Program("zip"))]
fn an_encrypted_zip_is_refused() {
    let work = small();
    let archive = work.output_of("zip -q -P secret a.zip disk.img; cat a.zip");
    copy_whole(&archive, &work.path("out")).fails(&["the zip data cannot be decoded", "it is encrypted"]);
    work.copy(&archive, &work.path("out")).fails(&["it is encrypted"]);
}

#[test(Program("zip"))]
fn a_zip_of_another_method_is_refused() {
    let work = small();
    let archive = work.output_of("zip -q -Z bzip2 a.zip disk.img; cat a.zip");
    copy_whole(&archive, &work.path("out")).fails(&["compression method 12"]);
}

#[test(Program("zip"))]
fn a_zip_without_the_image_is_refused() {
    let work = small();
    let archive = work.output_of("zip -qr a.zip directory small; cat a.zip");
    work.copy(&archive, &work.path("out")).fails(&["the zip archive", "holds no file of 1048576 bytes"]);
    // An empty one.
    fs::write(&archive, [&b"PK\x05\x06"[..], &[0; 18]].concat()).unwrap();
    copy_whole(&archive, &work.path("out")).fails(&["holds no file"]);
}

#[test(Program("tar"), Program("zip"))]
fn a_tar_in_a_zip_is_unpacked() {
    let work = small();
    let out = work.path("out");
    let tar = "tar -cS small disk.img >disk.tar; tar -c small >other.tar; rm -f a.zip;";
    let archive = work.output_of(&format!("{tar} zip -q a.zip small disk.tar; cat a.zip"));
    work.copy(&archive, &out)
        .ok()
        .says(&["reading 'disk.tar' from the zip archive", "reading 'disk.img' from the tar"]);
    assert_same(&work.image, &out);
    // From a pipe to a pipe, so that only what is unpacked tells.
    let bytes = fs::read(work.output_of(&format!("{tar} zip -q - disk.tar | cat"))).unwrap();
    work.copy(Path::new("-"), &out).stdin(bytes.clone()).ok();
    assert_same(&work.image, &out);
    copy_whole(Path::new("-"), &out).stdin(bytes).ok().says(&["reading 'disk.img' from the tar"]);
    // Where nothing tells what follows it, the image may.
    let bytes = fs::read(work.output_of(&format!("{tar} zip -q a.zip other.tar disk.img; cat a.zip"))).unwrap();
    work.copy(Path::new("-"), &out).stdin(bytes).ok();
    assert_same(&work.image, &out);

    let archive = work.output_of(&format!("{tar} zip -q a.zip other.tar disk.img; cat a.zip"));
    work.copy(&archive, &out).ok();
    assert_same(&work.image, &out);
    let archive = work.output_of(&format!("{tar} zip -q a.zip other.tar; cat a.zip"));
    work.copy(&archive, &out).fails(&["the tar archive", "holds no file of 1048576 bytes"]);
}
