//! What a file is taken for, by its size, its contents and its name.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::image::{Random, assert_same, sparse};
use crate::common::server::{File, Server};
use crate::common::tool::copy;
use crate::common::work::{Work, gzip};

/// An image, and commands that compress or archive it, with the ending that belongs to each.
const STORED: [(&str, &str); 11] = [
    ("gz", "gzip"),
    ("bz2", "bzip2"),
    ("xz", "xz"),
    ("lzma", "xz --format=lzma"),
    ("zst", "zstd"),
    ("lz4", "lz4"),
    ("lzo", "lzop"),
    ("zip", "zip -q - disk.img"),
    ("tar", "tar -c disk.img"),
    ("tar.gz", "tar -c disk.img | gzip"),
    ("tgz", "tar -c disk.img | gzip"),
];

fn small() -> Work {
    Work::new(|image| sparse(image, 1 << 20, &[(0, 100_000), (900_000, 50_000)], 3))
}

/// A bmap without checksums, of an image of `size` bytes that is mapped throughout.
fn map_of(size: u64) -> String {
    let blocks = size.div_ceil(4096);
    format!(
        "<bmap version=\"2.0\"><ImageSize>{size}</ImageSize><BlockSize>4096</BlockSize><BlocksCount>{blocks}</BlocksCount>\
         <MappedBlocksCount>{blocks}</MappedBlocksCount><BlockMap><Range>0-{}</Range></BlockMap></bmap>",
        blocks - 1
    )
}

/// The bmap of a file that is mapped as it is stored.
fn map_as_stored(file: &Path) -> PathBuf {
    let map = file.with_file_name("stored.bmap");
    fs::write(&map, map_of(fs::metadata(file).unwrap().len())).unwrap();
    map
}

fn copy_by(map: &Path, image: &Path, out: &Path) -> crate::common::tool::Tool {
    copy(["--bmap".as_ref(), map.as_os_str(), image.as_os_str(), out.as_os_str()])
}

#[test(Program("bzip2"), Program("xz"), Program("zstd"), Program("lz4"), Program("lzop"), Program("zip"), Loopback)]
fn a_bmap_of_the_compressed_file_is_refused() {
    let work = small();
    let out = work.path("out");
    let refused = |image: &Path, name: &str| {
        let message = format!("the bmap was made of '{name}' as it is, not of the image in it; map the image itself");
        copy_by(&work.path("stored.bmap"), image, &out).fails(&[&message]);
        assert!(!out.exists());
    };
    for (ending, command) in STORED {
        let name = format!("disk.{ending}");
        let image = work.path(&name);
        fs::rename(work.output_of(command), &image).unwrap();
        map_as_stored(&image);
        refused(&image, &name);
        let server = Server::of(File::new(fs::read(&image).unwrap()));
        refused(server.url(&format!("{name}?id=1")).as_ref(), &name);

        // The same as a member of archives.
        fs::rename(work.output_of(&format!("tar -c {name}")), work.path("archive")).unwrap();
        refused(&work.path("archive"), &name);
        fs::rename(work.output_of(&format!("zip -q -0 - {name}")), work.path("archive")).unwrap();
        refused(&work.path("archive"), &name);
    }
    for (name, content) in [("disk.img.7z", &b"7z\xbc\xaf\x27\x1c\0\x04"[..]), ("disk.qcow2", b"QFI\xfb\0\0\0\x03")] {
        fs::write(work.path(name), content).unwrap();
        map_as_stored(&work.path(name));
        refused(&work.path(name), name);
    }
}

/// As build systems map partitions, whatever they hold.
#[test(Program("bzip2"), Program("xz"), Program("zstd"), Program("lz4"), Program("lzop"), Program("zip"))]
fn compressed_data_that_is_the_image_itself_is_copied_as_it_is() {
    let work = small();
    let out = work.path("out");
    for (ending, command) in STORED {
        let blob = work.path("vmlinuz");
        fs::rename(work.output_of(command), &blob).unwrap();
        let map = map_as_stored(&blob);
        let copied = |image: &Path| {
            copy_by(&map, image, &out).ok();
            assert_same(&blob, &out);
            fs::remove_file(&out).unwrap();
        };
        copied(&blob);
        copy_by(&map, Path::new("-"), &out).stdin_from(&blob).ok();
        assert_same(&blob, &out);
        fs::remove_file(&out).unwrap();
        // A name that says something else is wrong, or says that the blob is compressed once more.
        fs::copy(&blob, work.path("disk.rar")).unwrap();
        copied(&work.path("disk.rar"));
        for command in ["tar -c vmlinuz", "gzip -c vmlinuz", "xz -c vmlinuz", "zip -q -0 - vmlinuz"] {
            if ending.contains('t') && command.starts_with("gzip") {
                continue; // What is in a tar is looked for there, where the size does not tell.
            }
            copied(&work.output_of(command));
        }
    }
}

#[test]
fn what_is_no_image_is_named_with_a_bmap_too() {
    let work = small();
    let out = work.path("out");
    let contents: [(&[u8], &str); 9] = [
        (b"LZIP\x01\x0cxxxx", "compressed with lzip, which is not supported"),
        (b"7z\xbc\xaf\x27\x1c\0\x04", "compressed with 7-Zip"),
        (b"Rar!\x1a\x07\x01\0", "compressed with RAR"),
        (b"\x1f\x9d\x90", "compressed with compress"),
        (b"QFI\xfb\0\0\0\x03", "an image in the format QCOW"),
        (b"KDMV\x01\0\0\0", "an image in the format VMDK"),
        (b"\x3a\xff\x26\xed\x01\0\0\0", "an image in the format Android sparse"),
        (b"<!DOCTYPE html>\n<title>404", "an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "a pointer of Git LFS"),
    ];
    for (content, what) in contents {
        let is_named = |content: &[u8]| {
            fs::write(work.path("download"), content).unwrap();
            let message = format!("holds is not a disk image but {what}");
            work.copy(&work.path("download"), &out).fails(&[&message]);
            work.copy(Path::new("-"), &out).stdin(content).fails(&[&message]);
            assert!(!out.exists());
        };
        is_named(content);
        is_named(&[content, &Random::new(1).bytes(10_000)].concat());
        is_named(&gzip(content));
    }
}

#[test(Root, Loopback)]
fn an_image_of_another_size_than_the_bmap_says_is_refused() {
    let work = small();
    let image = fs::read(&work.image).unwrap();
    let out = work.path("out");
    fs::write(work.path("map"), map_of((1 << 20) - 1)).unwrap();
    let map = work.path("map");
    let message = ["has 1048576 bytes, but the bmap is for an image of 1048575 bytes"];
    copy_by(&map, &work.image, &out).fails(&message);
    copy_by(&map, Path::new("-"), &out).stdin_from(&work.image).fails(&message);
    let server = Server::of(File::new(image.clone()));
    copy_by(&map, server.url("disk.img").as_ref(), &out).fails(&message);
    copy_by(&map, &work.output_of("xz"), &out).fails(&message);
    for archiver in ["tar -c disk.img", "tar -c disk.img | gzip", "zip -q a.zip disk.img; cat a.zip"] {
        copy_by(&map, &work.output_of(archiver), &out).fails(&["holds no file of 1048575 bytes", "but 'disk.img'"]);
    }
    assert!(!out.exists());
    // Where the size is not known before, it is once all has been read.
    copy_by(&map, Path::new("-"), &out).stdin(image).fails(&["goes on after the 1048575 bytes"]);
    copy_by(&map, &work.output_of("gzip"), &out).fails(&["goes on after the 1048575 bytes"]);
}
