//! `copy --unmapped`: what becomes of the bytes that the image leaves out.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::common::device::{Disk, Loop, Mount};
use crate::common::image::{self, UNTOUCHED, assert_same};
use crate::common::lying::{Lie, LyingDisk};
use crate::common::tool::{Tool, copy};
use crate::common::work::Work;

const MIB: u64 = 1 << 20;
const SIZE: u64 = 20 * MIB;

/// The size of the image, whose last block is a partial one.
const IMAGE: usize = (16 << 20) + 777;

/// Where the image has a hole, after the boot region.
const HOLE: u64 = 7 * MIB;

fn work() -> Work {
    Work::new(|path| image::disk_like(path, 17))
}

fn flash(work: &Work, unmapped: &str, target: &Path) -> Tool {
    copy(["--unmapped".as_ref(), unmapped.as_ref(), work.image.as_os_str(), target.as_os_str()])
}

#[test(Root)]
fn the_holes_are_kept_on_a_device_or_become_zeroes() {
    let work = work();
    for sector in ["512", "4096"] {
        let disk = Disk::with(SIZE, &["--sector-size", sector]);
        flash(&work, "keep", disk.path()).ok();
        disk.assert_flashed(&work.image, &work.bmap);
        disk.refill();
        flash(&work, "zero", disk.path()).ok();
        assert_same(&work.image, disk.path());
        let after = &fs::read(&disk.backing).unwrap()[IMAGE..];
        assert!(after.iter().all(|&byte| byte == UNTOUCHED));
    }
}

#[test(Root)]
fn what_is_discarded_includes_the_rest_of_the_device() {
    let work = work();
    let disk = Disk::new(SIZE);
    let outcome = flash(&work, "discard", disk.path()).ok();
    outcome.says(&["info: what was discarded on '", "reads as zeroes (64 places looked at)"]);
    assert_same(&work.image, disk.path());
    // But not the rest of a sector that the image reaches into.
    let after = &fs::read(&disk.backing).unwrap()[IMAGE.next_multiple_of(512)..];
    assert!(after.iter().all(|&byte| byte == 0));
    assert!(fs::metadata(&disk.backing).unwrap().blocks() * 512 < 4 * MIB);
}

#[test(Root)]
fn nothing_is_discarded_outside_of_a_partition() {
    let work = work();
    let disk = Disk::new(24 * MIB);
    let partition = disk.partition(1, 2 * MIB, SIZE);
    flash(&work, "discard", &partition).ok();
    let bytes = fs::read(&disk.backing).unwrap();
    let (inside, outside) = (2 << 20..22 << 20, [0..2 << 20, 22 << 20..24 << 20]);
    assert!(bytes[inside][IMAGE.next_multiple_of(512)..].iter().all(|&byte| byte == 0));
    for outside in outside {
        assert!(bytes[outside].iter().all(|&byte| byte == UNTOUCHED));
    }
}

/// A ramfs cannot make holes in a file.
#[test(Root, FileSystem("ramfs"))]
fn a_device_that_cannot_discard_is_refused_and_left_as_it_is() {
    let work = work();
    let memory = Mount::in_memory("ramfs");
    let backing = memory.path().join("disk");
    fs::write(&backing, vec![UNTOUCHED; SIZE as usize]).unwrap();
    let disk = Loop::attach(&backing);
    for flag in ["--read-back", "--quiet"] {
        let arguments = [flag.as_ref(), "--unmapped=discard".as_ref(), work.image.as_os_str(), disk.path.as_os_str()];
        copy(arguments).fails(&["block device '/dev/loop", "' cannot discard; use '--unmapped zero'"]);
        assert!(fs::read(&backing).unwrap().iter().all(|&byte| byte == UNTOUCHED));
    }
    flash(&work, "zero", &disk.path).ok();
    assert_same(&work.image, &disk.path);
}

/// The loop device says that it can, and its file cannot. What it has taken of the command before it says so is not known.
#[test(Root, FileSystem("fuse"))]
fn a_device_that_fails_to_discard_does_not_boot() {
    let work = work();
    let disk = LyingDisk::new(SIZE);
    let outcome = flash(&work, "discard", disk.path()).fails(&["cannot discard from byte", "use '--unmapped zero'"]);
    outcome.says(&["it holds no valid image now"]);
    assert!(disk.medium().contents(0..MIB).iter().all(|&byte| byte == 0));
    flash(&work, "zero", disk.path()).ok();
    assert!(disk.medium().contents(0..IMAGE as u64) == fs::read(&work.image).unwrap());
}

#[test(Root, FileSystem("fuse"))]
fn zeroes_are_read_back_too() {
    let work = work();
    for (lie, at_fault) in [(Lie::Drop(HOLE..HOLE + 4096), true), (Lie::Drop(SIZE - 4096..SIZE), false)] {
        let disk = LyingDisk::new(SIZE).lies(lie);
        let arguments = ["--read-back", "--unmapped", "zero"].map(AsRef::as_ref);
        let tool = copy(arguments.into_iter().chain([work.image.as_os_str(), disk.path().as_os_str()]));
        match at_fault {
            true => drop(tool.fails(&["the medium is at fault", &format!("bytes {HOLE}")])),
            false => drop(tool.ok()),
        }
    }
}

#[test]
fn the_holes_of_a_file_are_holes_whatever_becomes_of_those_of_a_device() {
    let work = work();
    let target = work.path("target");
    let allocated = |path: &Path| fs::metadata(path).unwrap().blocks();
    for unmapped in ["keep", "zero", "discard"] {
        for what_was_there in [None, Some(vec![7; 3 << 20]), Some(vec![7; 18 << 20])] {
            match what_was_there {
                Some(bytes) => fs::write(&target, bytes).unwrap(),
                None => drop(fs::remove_file(&target)),
            }
            flash(&work, unmapped, &target).ok();
            assert_same(&work.image, &target);
            assert_eq!(allocated(&target), allocated(&work.image), "{unmapped}");
        }
        flash(&work, unmapped, "/dev/null".as_ref()).ok();
    }
}

#[test(Root, Program("sfdisk"))]
fn no_old_backup_of_a_partition_table_survives_discarding() {
    let work = work();
    let directory = crate::common::temp_dir();
    let backing = directory.path().join("disk");
    image::create(&backing, SIZE);
    let script = "echo 'label: gpt\nstart=1MiB, size=1MiB' | sfdisk -q \"$0\"";
    crate::common::sh("sh", &["-c", script, crate::common::text(&backing)]);
    let has_backup = || fs::read(&backing).unwrap()[SIZE as usize - 512..].starts_with(b"EFI PART");
    let device = Loop::attach(&backing);
    assert!(has_backup());
    flash(&work, "keep", &device.path).ok();
    assert!(has_backup());
    flash(&work, "discard", &device.path).ok();
    assert!(!has_backup());
}
