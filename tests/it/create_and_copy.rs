//! The main job: an image is mapped, compressed, and flashed from the compressed form.

use crate::common::device::Disk;
use crate::common::image::{assert_same, disk_like};
use crate::common::tool::{copy, create};
use crate::common::{sh, temp_dir};

#[test(Root, Program("xz"), Program("zstd"), Program("bzip2"))]
fn compressed_images_reach_a_file_and_a_device() {
    let directory = temp_dir();
    let image = directory.path().join("disk.img");
    disk_like(&image, 1);
    let bmap = create(&image);
    let disk = Disk::new(20 << 20);
    for (program, ending) in [("gzip", "gz"), ("bzip2", "bz2"), ("xz", "xz"), ("zstd", "zst")] {
        sh(program, &["-k", image.to_str().unwrap()]);
        let compressed = directory.path().join(format!("disk.img.{ending}"));
        let file = directory.path().join(format!("{ending}.out"));
        copy([&compressed, &file]).ok().says(&["discovered bmap file", "copying time: "]);
        assert_same(&image, &file);
        disk.refill();
        copy(["--bmap".as_ref(), bmap.as_os_str(), compressed.as_os_str(), disk.path().as_os_str()]).ok();
        disk.assert_flashed(&image, &bmap);
        disk.refill();
        copy(["--nobmap".as_ref(), compressed.as_os_str(), disk.path().as_os_str()]).ok();
        assert_same(&image, disk.path());
    }
}
