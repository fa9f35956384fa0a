//! Files on file systems that can do less than those of disks, or report failures late.

use std::fs;

use crate::common::device::Mount;
use crate::common::fuse::Fuse;
use crate::common::image::{self, assert_same};
use crate::common::tool::{bmaptool, copy, create, mapped_disk};
use crate::common::{temp_dir, text};

const MIB: u64 = 1 << 20;

/// As network file systems, where a quota or the server's disk is full.
#[test(Root, Python("fuse"))]
fn a_file_that_cannot_be_stored_when_it_is_closed_is_an_error() {
    let directory = temp_dir();
    let image = mapped_disk(directory.path());
    let mount = Fuse::failing("flush");
    let (target, map) = (mount.path().join("copy"), mount.path().join("map"));
    copy([&image, &target]).fails(&["cannot synchronize the target: Disk quota exceeded", "has been removed"]);
    let tool = bmaptool(["create".as_ref(), "-o".as_ref(), map.as_os_str(), image.as_os_str()]);
    tool.fails(&["cannot write the bmap to '", "Disk quota exceeded"]);
    assert_eq!(fs::read_dir(mount.path()).unwrap().count(), 0);
}

#[test(Program("strace"))]
fn a_name_that_cannot_be_stored_is_an_error() {
    let (images, directory) = (temp_dir(), temp_dir());
    let image = mapped_disk(images.path());
    let (target, map) = (directory.path().join("copy"), directory.path().join("map"));
    let strace = ["strace", "-f", "-o", "/dev/null", "-P", text(directory.path()), "-e", "inject=fsync:error=EIO"];
    let words = ["cannot synchronize the target: Input/output error", "has been removed"];
    copy([&image, &target]).under(&strace).fails(&words);
    for _ in ["new", "in place of another"] {
        let tool = bmaptool(["create".as_ref(), "-o".as_ref(), map.as_os_str(), image.as_os_str()]);
        tool.under(&strace).fails(&["cannot write the bmap to '", "Input/output error"]);
        // It is whole, but may be gone after a power failure.
        assert_eq!(fs::read(&map).unwrap(), fs::read(create(&image)).unwrap());
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    // A file that existed has its name already.
    fs::write(&target, "what was there").unwrap();
    copy([&image, &target]).under(&strace).ok();
}

#[test(Root, Python("fuse"))]
fn a_new_file_is_written_where_files_cannot_be_truncated() {
    let directory = temp_dir();
    let image = directory.path().join("disk.img");
    image::sparse(&image, 4 * MIB, &[(MIB, 100_000), (4 * MIB - 5000, 5000)], 1);
    let map = fs::read(create(&image)).unwrap();
    let mount = Fuse::failing("truncate");
    let (target, output) = (mount.path().join("copy"), mount.path().join("map"));
    copy([&image, &target]).ok();
    assert_same(&image, &target);
    let stream = mount.path().join("stream");
    copy(["--nobmap".as_ref(), "-".as_ref(), stream.as_os_str()]).stdin([7; 100_000]).ok();
    assert_eq!(fs::read(&stream).unwrap(), [7; 100_000]);
    bmaptool(["create".as_ref(), "-o".as_ref(), output.as_os_str(), image.as_os_str()]).ok();
    assert_eq!(fs::read(&output).unwrap(), map);
    // A hole at the end can be made in no other way, nor can a file that exists be emptied.
    image::sparse(&image, 4 * MIB, &[(MIB, 100_000)], 1);
    create(&image);
    let other = mount.path().join("other");
    copy([&image, &other]).fails(&["cannot synchronize the target: Disk quota exceeded", "has been removed"]);
    copy([&image, &target]).fails(&["cannot prepare the target: Disk quota exceeded", "is as it was"]);
}

/// XFS allocates blocks after the end of a file that grows.
#[test(Root, FileSystem("xfs"))]
fn a_new_file_has_the_holes_of_the_bmap_on_xfs() {
    let mount = Mount::on_file("xfs", 400 << 20, &["-q"]);
    let (image, target) = (mount.path().join("image"), mount.path().join("copy"));
    let data: Vec<_> = (0..32).map(|number| (number * 3 * MIB / 2, MIB as usize)).collect();
    image::sparse(&image, 48 * MIB, &data, 1);
    create(&image);
    copy([&image, &target]).ok();
    let [image, copy] = [&image, &target].map(|path| bmaptool(["create".as_ref(), path.as_os_str()]).ok().stdout);
    assert!(image == copy, "{}", String::from_utf8_lossy(&copy));
}
