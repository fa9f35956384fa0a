//! The main job: an image is mapped, packed, and flashed from the packed form.

use crate::common::device::Disk;
use crate::common::image::{assert_same, disk_like};
use crate::common::tool::{copy, create};
use crate::common::{sh, temp_dir};

#[test(Root, Program("xz"), Program("zstd"), Program("bzip2"))]
fn packed_images_reach_a_file_and_a_device() {
    let folder = temp_dir();
    let image = folder.path().join("disk.img");
    disk_like(&image, 1);
    let bmap = create(&image);
    let disk = Disk::new(20 << 20);
    for (program, ending) in [("gzip", "gz"), ("bzip2", "bz2"), ("xz", "xz"), ("zstd", "zst")] {
        sh(program, &["-k", image.to_str().unwrap()]);
        let packed = folder.path().join(format!("disk.img.{ending}"));
        let file = folder.path().join(format!("{ending}.out"));
        copy([&packed, &file]).ok().says(&["discovered bmap file", "copying time: "]);
        assert_same(&image, &file);
        disk.refill();
        copy(["--bmap".as_ref(), bmap.as_os_str(), packed.as_os_str(), disk.path().as_os_str()]).ok();
        disk.assert_flashed(&image, &bmap);
        disk.refill();
        copy(["--nobmap".as_ref(), packed.as_os_str(), disk.path().as_os_str()]).ok();
        assert_same(&image, disk.path());
    }
}
