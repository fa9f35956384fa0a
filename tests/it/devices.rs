//! What a copy does to a device: the order of its writes, the settings of the disk, errors, and what is left.

use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use crate::common::device::{Disk, Loop, Mount};
use crate::common::image::{Random, assert_same, flashed, sparse};
use crate::common::tool::{copy, create, finish, interrupt, mapped_disk, wait_until};
use crate::common::trace::{Event, Trace};
use crate::common::{temp_dir, text};
use crate::registry::Need;
use nix::sys::signal::Signal;

const MIB: u64 = 1 << 20;
const STRACE: Need = Need::Program("strace");

/// Whether the boot region has nothing but zeroes.
fn boot_region_is_zero(device: &Path) -> bool {
    let mut region = vec![1; MIB as usize];
    File::open(device).unwrap().read_exact(&mut region).unwrap();
    region.iter().all(|&byte| byte == 0)
}

#[test(Root, STRACE)]
fn the_boot_region_is_zeroed_first_and_written_last() {
    let directory = temp_dir();
    let image = mapped_disk(directory.path());
    let disk = Disk::new(20 * MIB);
    let partition = disk.partition(1, MIB, 18 * MIB);
    for (target, is_disk) in [(disk.path(), true), (&partition, false)] {
        for flag in [None, Some("--nobmap")] {
            let trace = Trace::new();
            let arguments = [image.as_os_str(), target.as_os_str()].into_iter().chain(flag.map(AsRef::as_ref));
            copy(arguments).under(&trace.strace("pwrite64,fsync,ioctl")).ok();
            let events = trace.events(target);
            let data = match events.as_slice() {
                [
                    Event::Write(0, MIB),
                    Event::Sync,
                    data @ ..,
                    Event::Sync,
                    Event::Write(0, 1..=MIB),
                    Event::Sync,
                    Event::RereadPartitions,
                ] if is_disk => data,
                [Event::Write(0, MIB), Event::Sync, data @ .., Event::Sync, Event::Write(0, 1..=MIB), Event::Sync]
                    if !is_disk =>
                {
                    data
                }
                _ => panic!("{events:?}"),
            };
            assert!(data.iter().all(|event| matches!(event, Event::Write(MIB.., 1..=MIB))), "{data:?}");
            assert!(data.len() > 3, "{data:?}");
        }
    }
}

#[test(Root, STRACE)]
fn odd_images_are_written_on_both_sizes_of_sectors() {
    const SIZE: u64 = 6 * MIB;
    for sector in ["512", "4096"] {
        // Smaller than the boot region, just over it, and with last blocks that are partial.
        for size in [1, 4097, MIB - 1, MIB + 511, 3 * MIB + 12_345, SIZE - 1, SIZE] {
            let directory = temp_dir();
            let image = directory.path().join("odd.img");
            let data = [(0, size.min(9000) as usize), (size / 2, (size - size / 2) as usize / 2), (size - 1, 1)];
            sparse(&image, size, &data, size);
            create(&image);
            let disk = Disk::with(SIZE, &["--sector-size", sector]);
            let trace = Trace::new();
            copy([&image, disk.path()]).under(&trace.strace("fcntl,pwrite64")).ok();
            assert!(trace.events(disk.path()).contains(&Event::Direct));
            assert!(fs::read(&disk.backing).unwrap() == flashed(&image, SIZE), "{size} bytes, sectors of {sector}");
            disk.refill();
            copy(["--nobmap".as_ref(), image.as_os_str(), disk.path().as_os_str()]).ok();
            assert_same(&image, disk.path());
        }
    }
}

#[test(Root, STRACE)]
fn devices_that_refuse_direct_writes_are_written_through_the_cache() {
    let directory = temp_dir();
    let image = mapped_disk(directory.path());
    // At once, or not before the first write.
    for inject in ["inject=fcntl:error=EINVAL", "inject=pwrite64:error=EINVAL:when=1"] {
        let disk = Disk::new(20 * MIB);
        let strace = ["strace", "-f", "-o", "/dev/null", "-P", text(disk.path()), "-e", inject];
        copy([&image, disk.path()]).under(&strace).ok();
        assert!(fs::read(&disk.backing).unwrap() == flashed(&image, 20 * MIB), "{inject}");
    }
}

#[test(Root, STRACE)]
fn only_the_device_is_opened_for_writing() {
    let directory = temp_dir();
    let image = mapped_disk(directory.path());
    let disk = Disk::new(20 * MIB);
    let trace = Trace::new();
    copy([&image, disk.path()]).under(&trace.strace("open,openat,openat2,creat,truncate,unlink,rename")).ok();
    let name = disk.path().file_name().unwrap().to_str().unwrap();
    let settings = format!("/{name}/");
    let writes =
        |line: &&String| ["O_WRONLY", "O_RDWR", "O_CREAT", "creat(", "unlink"].iter().any(|w| line.contains(w));
    let lines = trace.lines();
    let written: Vec<_> = lines.iter().filter(writes).collect();
    // The device once, and a setting, which stays open until it is put back.
    assert_eq!(written.len(), 2, "{written:#?}");
    for line in written {
        let is_device = line.contains(&format!("\"{}\"", disk.path().display())) && line.contains("O_EXCL");
        assert!(is_device || (line.contains("\"/sys/devices/") && line.contains(&settings)), "{line}");
    }
}

/// The attribute with the share of the page cache for a disk, which is finer in kernels from 6.3 on.
pub fn share(disk: &Disk) -> PathBuf {
    let fine = disk.attribute("bdi/max_ratio_fine");
    if fine.exists() { fine } else { disk.attribute("bdi/max_ratio") }
}

fn read(attribute: &Path) -> String {
    fs::read_to_string(attribute).unwrap().trim().to_owned()
}

/// A copy of standard input to `target`, which has begun and goes on while its input is open.
fn begin_copy(target: &Path, disk: &Disk) -> Child {
    let mut child = copy(["--nobmap", "-", text(target)]).spawn();
    child.stdin.as_mut().unwrap().write_all(&vec![1; 2 * MIB as usize]).unwrap();
    wait_until(&mut child, "another share", || read(&disk.attribute("bdi/max_ratio")) == "1");
    child
}

#[test(Root)]
fn the_share_of_the_page_cache_is_lowered_for_the_time_of_the_copy() {
    let disk = Disk::new(4 * MIB);
    let share = share(&disk);
    let before = if share.ends_with("max_ratio_fine") { "421234" } else { "42" };
    fs::write(&share, before).unwrap();

    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let child = begin_copy(disk.path(), &disk);
        interrupt(child, signal).says(&["holds no valid image"]);
        assert_eq!(read(&share), before);
        assert!(boot_region_is_zero(disk.path()));
    }

    let mut failing = begin_copy(disk.path(), &disk);
    let _ = failing.stdin.as_mut().unwrap().write_all(&vec![2; 4 * MIB as usize]);
    let outcome = finish(failing);
    assert_eq!(outcome.status, Some(1), "{}", outcome.stderr);
    assert_eq!(read(&share), before);

    let mut complete = begin_copy(disk.path(), &disk);
    drop(complete.stdin.take());
    let outcome = finish(complete);
    assert_eq!(outcome.status, Some(0), "{}", outcome.stderr);
    assert_eq!(read(&share), before);
    assert!(!boot_region_is_zero(disk.path()));
}

#[test(Root)]
fn a_partition_has_the_share_of_its_disk_lowered() {
    let disk = Disk::new(8 * MIB);
    let partition = disk.partition(1, 4 * MIB, 4 * MIB);
    let before = read(&share(&disk));
    let mut child = begin_copy(&partition, &disk);
    drop(child.stdin.take());
    assert_eq!(finish(child).status, Some(0));
    assert_eq!(read(&share(&disk)), before);
}

#[test(Root)]
fn a_share_below_one_per_cent_stays() {
    let disk = Disk::new(20 * MIB);
    let directory = temp_dir();
    let image = mapped_disk(directory.path());
    let bytes = disk.attribute("bdi/max_bytes");
    if !bytes.exists() {
        return;
    }
    // As rules for USB sticks set it; what it reads depends on the memory that is free.
    fs::write(&bytes, "1000000").unwrap();
    let before = read(&share(&disk));
    assert_eq!(read(&disk.attribute("bdi/max_ratio")), "0");
    let outcome = copy([&image, disk.path()]).ok();
    assert!(!outcome.stderr.contains("max_ratio"), "{}", outcome.stderr);
    assert_eq!(read(&share(&disk)), before);
}

/// The files in a directory of sysfs, with what they hold.
fn all_in(directory: &Path) -> Vec<(PathBuf, String)> {
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter_map(|file| Some((file.clone(), fs::read_to_string(file).ok()?))).collect();
    files.sort_unstable();
    files
}

#[test(Root, Scheduler("bfq"))]
fn the_scheduler_and_its_settings_stay() {
    let directory = temp_dir();
    let image = mapped_disk(directory.path());
    let disk = Disk::new(20 * MIB);
    for (setting, value) in [("scheduler", "bfq"), ("nr_requests", "64"), ("iosched/slice_idle", "5")] {
        fs::write(disk.attribute("queue").join(setting), value).unwrap();
    }
    let settings = || [all_in(&disk.attribute("queue")), all_in(&disk.attribute("queue/iosched"))];
    let before = settings();
    copy([&image, disk.path()]).ok();
    assert_eq!(settings(), before);
}

#[test(Root, STRACE)]
fn a_share_that_cannot_be_changed_is_told() {
    let directory = temp_dir();
    let image = mapped_disk(directory.path());
    let disk = Disk::new(20 * MIB);
    let share = share(&disk);
    let (before, name) = (read(&share), share.file_name().unwrap());
    let share = fs::canonicalize(disk.attribute("")).unwrap().join("bdi").join(name);
    let trace = Trace::new();
    let mut strace = trace.strace("pwrite64");
    strace.extend(["-P", text(&share), "-e", "inject=pwrite64:error=EACCES"].map(str::to_owned));
    let outcome = copy([&image, disk.path()]).under(&strace).ok();
    let told: Vec<_> = outcome.stderr.lines().filter(|line| line.contains("is left as it is")).collect();
    let [line] = told[..] else { panic!("{told:?}") };
    assert!(line.contains("info: ") && line.contains(text(&share)) && line.contains("Permission denied"), "{line}");
    assert_eq!(read(&share), before);
    assert!(fs::read(&disk.backing).unwrap() == flashed(&image, 20 * MIB));
}

#[test(Root)]
fn a_device_is_named_before_it_is_written_to() {
    let directory = temp_dir();
    let image = mapped_disk(directory.path());
    let disk = Disk::new(20 * MIB);
    let said = copy([&image, disk.path()]).ok().stderr;
    let place = |words: &str| said.find(words).unwrap_or_else(|| panic!("'{words}' is not in:\n{said}"));
    assert!(place(&format!("info: {}: 20.0 MiB\n", text(disk.path()))) < place("synchronizing"), "{said}");
    assert!(place("synchronizing") < place("info: done: 1.8 MiB written to "), "{said}");
    assert!(said.lines().last().unwrap().contains("copying time: "), "{said}");
}

/// Runs a copy with the `when`-th call of `call` on the device failing with EIO, and those that follow where `when`
/// says so.
fn with_failing(image: &Path, disk: &Disk, call: &str, when: &str, fragments: &[&str]) {
    let inject = format!("inject={call}:error=EIO:when={when}");
    let strace = ["strace", "-f", "-o", "/dev/null", "-P", text(disk.path()), "-e", &inject];
    let outcome = copy([image, disk.path()]).under(&strace).fails(fragments);
    outcome.says(&["Input/output error", "holds no"]);
    assert!(!outcome.stderr.contains("copying time"), "{}", outcome.stderr);
}

#[test(Root, STRACE)]
fn a_failed_write_is_located() {
    let directory = temp_dir();
    let image = mapped_disk(directory.path());
    let disk = Disk::new(20 * MIB);
    // The boot region; 300000 bytes of data at 1 MiB rounded to blocks; a block; a part up to the next MiB.
    with_failing(&image, &disk, "pwrite64", "1", &["cannot write at byte 0", text(disk.path())]);
    with_failing(&image, &disk, "pwrite64", "2", &["cannot write at byte 1048576"]);
    assert!(boot_region_is_zero(disk.path()));
    with_failing(&image, &disk, "pwrite64", "3", &["cannot write at byte 3153920"]);
    assert!(boot_region_is_zero(disk.path()));
    with_failing(&image, &disk, "pwrite64", "5", &["cannot write at byte 6291456"]);
    assert!(boot_region_is_zero(disk.path()));
    copy(["--nobmap".as_ref(), image.as_os_str(), disk.path().as_os_str()]).ok();
    assert_same(&image, disk.path());
}

#[test(Root, STRACE)]
fn a_failed_sync_is_fatal() {
    let directory = temp_dir();
    let image = mapped_disk(directory.path());
    let disk = Disk::new(20 * MIB);
    for when in ["1", "2", "1+", "2+"] {
        with_failing(&image, &disk, "fsync", when, &["cannot synchronize the target"]);
        assert!(boot_region_is_zero(disk.path()), "{when}");
    }
}

#[test(Root, STRACE)]
fn a_boot_region_that_may_not_be_durable_is_zeroed_again() {
    let directory = temp_dir();
    let image = mapped_disk(directory.path());
    let disk = Disk::new(20 * MIB);
    let writes = {
        let trace = Trace::new();
        copy([&image, disk.path()]).under(&trace.strace("pwrite64")).ok();
        trace.events(disk.path()).len()
    };
    assert!(!boot_region_is_zero(disk.path()));
    with_failing(&image, &disk, "fsync", "3", &["cannot synchronize", "has been zeroed again"]);
    assert!(boot_region_is_zero(disk.path()));
    with_failing(&image, &disk, "pwrite64", &writes.to_string(), &["at byte 0", "has been zeroed again"]);
    assert!(boot_region_is_zero(disk.path()));
    with_failing(&image, &disk, "pwrite64", &format!("{writes}+"), &["at byte 0", "may not be zero"]);
    with_failing(&image, &disk, "fsync", "3+", &["cannot synchronize", "may not be zero"]);
}

#[test(Root, STRACE)]
fn a_boot_region_that_cannot_be_read_is_zero_where_the_image_has_nothing() {
    let directory = temp_dir();
    let image = full_image(directory.path(), 10_000);
    let disk = Disk::new(4 * MIB);
    let mut expected = fs::read(&disk.backing).unwrap();
    expected[..MIB as usize].fill(0);
    expected[..10_000].copy_from_slice(&fs::read(&image).unwrap());
    let strace = ["strace", "-f", "-o", "/dev/null", "-P", text(disk.path()), "-e", "inject=pread64:error=EIO"];
    let outcome = copy(["--nobmap", text(&image), text(disk.path())]).under(&strace).ok();
    let warning =
        format!("WARNING: cannot read the first 1048576 bytes of '{}', holes become zero", disk.path().display());
    outcome.says(&[&warning, "Input/output error"]);
    assert!(fs::read(&disk.backing).unwrap() == expected);
}

/// A file of `size` bytes that are not zero.
fn full_image(directory: &Path, size: u64) -> PathBuf {
    let image = directory.join("full.img");
    fs::write(&image, Random::new(3).bytes(size as usize)).unwrap();
    image
}

#[test(Root)]
fn a_full_device_is_noticed_where_it_is_full() {
    const LIMIT: u64 = 4 * MIB;
    let directory = temp_dir();
    let image = full_image(directory.path(), 8 * MIB);
    let store = Mount::small(LIMIT);
    let backing = store.path().join("thin");
    crate::common::image::create(&backing, 16 * MIB);
    let device = Loop::attach(&backing);
    let outcome = copy(["--nobmap", text(&image), text(&device.path)]).fails(&[
        "cannot write at byte ",
        text(&device.path),
        "holds no valid image",
    ]);
    let (_, offset) = outcome.stderr.split_once("cannot write at byte ").unwrap();
    let offset: u64 = offset.split(':').next().unwrap().parse().unwrap();
    assert!((LIMIT - MIB..=LIMIT).contains(&offset), "{}", outcome.stderr);
    assert!(boot_region_is_zero(&device.path));
}

#[test(Root)]
fn a_source_that_goes_on_after_the_end_of_the_device_is_an_error() {
    let disk = Disk::new(3 * MIB + 512);
    let tool = copy(["--nobmap", "-", text(disk.path())]).stdin(vec![3; 4 * MIB as usize]);
    tool.fails(&["does not fit", "3146240 bytes", "holds no valid image"]);
    assert!(boot_region_is_zero(disk.path()));
}

#[test(Root)]
fn a_device_on_standard_input_is_not_read_past_the_image() {
    let directory = temp_dir();
    let image = mapped_disk(directory.path());
    let bmap = directory.path().join("disk.img.bmap");
    let size = image.metadata().unwrap().len();
    let disk = Disk::new(size + 32 * MIB);
    copy([text(&image), text(disk.path())]).ok();
    // What is not verified is read to its end.
    let mut medium = File::open(disk.path()).unwrap();
    let out = directory.path().join("out");
    let mut command = copy(["--no-verify", "--bmap", text(&bmap), "-", text(&out)]).command;
    command.stdin(medium.try_clone().unwrap());
    assert!(command.output().unwrap().status.success());
    assert_same(&image, &out);
    assert_eq!(medium.stream_position().unwrap(), size);
}

#[test(Root)]
fn partitions_are_read_again() {
    let directory = temp_dir();
    let image = mapped_disk(directory.path());
    let disk = Disk::with(20 * MIB, &["--partscan"]);
    let old = disk.partition(1, MIB, MIB);
    assert!(old.exists());
    // The image has no partition table, so that the partitions of the last one go.
    copy([&image, disk.path()]).ok();
    assert!(!old.exists());
}

#[test(Root)]
fn partitions_are_read_again_when_the_disk_is_no_longer_busy() {
    let directory = temp_dir();
    let image = mapped_disk(directory.path());
    let disk = Disk::with(20 * MIB, &["--partscan"]);
    // As udev does when a device has changed.
    let old = disk.partition(1, MIB, MIB);
    let opened = File::open(&old).unwrap();
    let closer = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(700));
        drop(opened);
    });
    let outcome = copy([&image, disk.path()]).ok();
    closer.join().unwrap();
    assert!(!old.exists() && !outcome.stderr.contains("partition table"), "{}", outcome.stderr);

    let old = disk.partition(1, MIB, MIB);
    let _opened = File::open(&old).unwrap();
    let outcome = copy([&image, disk.path()]).ok();
    outcome.says(&["info: the kernel has not read the partition table", "blockdev --rereadpt"]);
    assert!(old.exists());
}

#[test(Root)]
fn links_to_devices_are_followed() {
    let directory = temp_dir();
    let image = mapped_disk(directory.path());
    let disk = Disk::new(20 * MIB);
    let link = directory.path().join("by-id");
    symlink(disk.path(), &link).unwrap();
    copy([&image, &link]).ok().says(&["to block device"]);
    assert!(fs::read(&disk.backing).unwrap() == flashed(&image, 20 * MIB));
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
}
