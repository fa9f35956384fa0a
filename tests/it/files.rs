//! Regular files and character devices as targets, and the pipe of psplash.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::stat::{Mode, SFlag, mknod};

use crate::common::device::{Disk, Mount};
use crate::common::image::{Random, assert_same};
use crate::common::tool::{binary, bmaptool, copy, mapped_disk};
use crate::common::work::Work;
use crate::common::{sh, temp_dir, text};

const MIB: u64 = 1 << 20;

#[test]
fn character_devices_take_everything() {
    let directory = temp_dir();
    let image = mapped_disk(directory.path());
    for device in ["/dev/null", "/dev/zero"] {
        copy([text(&image), device]).ok().says(&["copying time"]);
        copy(["--nobmap", text(&image), device]).ok();
    }
    copy(["--nobmap", text(&image), "/dev/full"]).fails(&["cannot write at byte 0", "No space left on device"]);
}

#[test]
fn a_terminal_is_no_target() {
    let directory = temp_dir();
    let image = mapped_disk(directory.path());
    let outcome = copy([text(&image), "/dev/ptmx"]).fails(&["cannot copy to '/dev/ptmx'", "is a character device"]);
    assert!(!outcome.stderr.contains("copying image"), "{}", outcome.stderr);
}

#[test(Root)]
fn character_devices_that_can_seek_but_keep_or_do_something_are_no_targets() {
    let directory = temp_dir();
    let image = mapped_disk(directory.path());
    // What writes to them would change the state of the machine: memory, ports, random numbers; and flash memory.
    let numbers = [(1, 1), (1, 4), (1, 8), (1, 9), (90, 0), (90, 3)];
    for (major, minor) in numbers {
        let node = directory.path().join(format!("node{major}:{minor}"));
        let (mode, number) = (Mode::from_bits_truncate(0o600), libc::makedev(major, minor));
        mknod(&node, SFlag::S_IFCHR, mode, number).unwrap();
        let words = match major {
            90 => ["is raw flash memory (MTD)", "flashcp"],
            _ => ["is a character device", "the target must be a block device or a regular file"],
        };
        for image in [[text(&image), text(&node)].as_slice(), &["--nobmap", text(&image), text(&node)]] {
            copy(image).fails(&words);
        }
    }
}

#[test(Program("strace"))]
fn a_file_that_cannot_be_emptied_is_as_it_was() {
    let directory = temp_dir();
    let image = mapped_disk(directory.path());
    let target = directory.path().join("copy");
    for (from, call) in [("-", 1), (text(&image), 1), (text(&image), 2)] {
        fs::write(&target, "what was there").unwrap();
        // As for a file that is in use as swap.
        let inject = format!("inject=ftruncate:error=ETXTBSY:when={call}");
        let strace = ["strace", "-f", "-o", "/dev/null", "-e", &inject];
        let tool = copy(["--nobmap", from, text(&target)]).stdin("an image").under(&strace);
        tool.fails(&["cannot prepare the target", "Text file busy", "is as it was"]);
        assert_eq!(fs::read_to_string(&target).unwrap(), "what was there");
    }
}

#[test(Root, FileSystem("overlay"))]
fn a_file_whose_identity_an_overlay_changes_is_written() {
    let (directory, memory) = (temp_dir(), Mount::in_memory("tmpfs"));
    let image = mapped_disk(directory.path());
    let [lower, upper, work] = ["lower", "upper", "work"].map(|name| memory.path().join(name));
    for directory in [&lower, &upper, &work] {
        fs::create_dir(directory).unwrap();
    }
    fs::write(lower.join("copy"), "what was there").unwrap();
    fs::hard_link(lower.join("copy"), lower.join("other")).unwrap();
    let options = format!("lowerdir={},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
    let overlay = Mount::with("overlay", &options);
    let target = overlay.path().join("copy");
    copy([&image, &target]).ok();
    assert_same(&image, &target);
    assert_eq!(fs::read_to_string(overlay.path().join("other")).unwrap(), "what was there");
}

#[test]
fn a_file_of_unknown_size_is_copied() {
    let directory = temp_dir();
    let target = directory.path().join("out");
    copy(["--nobmap", "/proc/version", target.to_str().unwrap()]).ok();
    assert_eq!(fs::read(&target).unwrap(), fs::read("/proc/version").unwrap());
}

#[test]
fn a_file_that_another_program_has_a_lease_on_is_refused() {
    let directory = temp_dir();
    let image = mapped_disk(directory.path());
    let target = directory.path().join("copy");
    // Another process writes it: there is no lease on a file that is open for writing, and what we write to is open in
    // every child that another test starts meanwhile, until that has gone on to its own program.
    sh("sh", &["-c", "printf mine >\"$0\"", text(&target)]);
    let leased = File::open(&target).unwrap();
    // The number is that of fcntl.h; the signal is one that is ignored.
    const F_SETSIG: libc::c_int = 10;
    for (command, value) in [(F_SETSIG, libc::SIGURG), (libc::F_SETLEASE, libc::F_WRLCK)] {
        // SAFETY: both commands take a number.
        assert_eq!(unsafe { libc::fcntl(leased.as_raw_fd(), command, value) }, 0);
    }
    // Somebody who does not give it up is not waited for: the kernel takes it from him after 45 seconds.
    copy([&image, &target]).fails(&["is locked by another program", "fuser -v"]);
    // A program that another test is just starting has it open, too.
    // SAFETY: the command takes a number.
    assert_eq!(unsafe { libc::fcntl(leased.as_raw_fd(), libc::F_SETLEASE, libc::F_UNLCK) }, 0);
    drop(leased);
    assert_eq!(fs::read_to_string(&target).unwrap(), "mine");
    copy([&image, &target]).ok();
    assert_same(&image, &target);
}

#[test]
fn files_have_the_holes_of_the_bmap() {
    let directory = temp_dir();
    let image = mapped_disk(directory.path());
    let target = directory.path().join("copy");
    copy([&image, &target]).ok();
    assert_same(&image, &target);
    let ranges =
        |bmap: &str| bmap.lines().filter(|line| line.contains("<Range")).map(str::to_owned).collect::<Vec<_>>();
    let of_copy = String::from_utf8(bmaptool(["create", text(&target)]).ok().stdout).unwrap();
    let of_image = fs::read_to_string(format!("{}.bmap", image.display())).unwrap();
    assert_eq!(ranges(&of_copy), ranges(&of_image));
    assert!(ranges(&of_copy).len() > 3);
}

#[test]
fn a_file_that_existed_is_emptied_first() {
    let directory = temp_dir();
    let image = mapped_disk(directory.path());
    let target = directory.path().join("copy");
    fs::write(&target, vec![0xa5; 18 * MIB as usize]).unwrap();
    copy([&image, &target]).ok();
    assert_same(&image, &target);
}

#[test]
fn a_failed_copy_leaves_no_file_of_ours() {
    let directory = temp_dir();
    let image = mapped_disk(directory.path());
    // Some byte of data in the middle.
    let mut bytes = fs::read(&image).unwrap();
    bytes[6 * MIB as usize] ^= 1;
    fs::write(&image, bytes).unwrap();
    let created = directory.path().join("created");
    copy([&image, &created]).fails(&["checksum mismatch", "has been removed"]);
    assert!(!created.exists());
    let existing = directory.path().join("existing");
    fs::write(&existing, "mine").unwrap();
    copy([&image, &existing]).fails(&["checksum mismatch", &format!("'{}' is incomplete", existing.display())]);
    assert!(existing.exists());
    // What fails before anything is written leaves a file alone.
    fs::write(&existing, "mine").unwrap();
    copy(["--bmap", text(&existing), text(&image), text(&existing)]).fails(&[]);
    assert_eq!(fs::read_to_string(&existing).unwrap(), "mine");
}

#[test(Program("strace"))]
fn a_write_that_fails_later_is_located() {
    let directory = temp_dir();
    let (image, target) = (directory.path().join("image"), directory.path().join("copy"));
    fs::write(&image, vec![1; 8 * MIB as usize]).unwrap();
    // Two mebibytes are sent on their way at a time; then the two before are waited for.
    for (call, offset) in [(1, 0), (2, 2 * MIB), (3, 0), (4, 4 * MIB), (5, 2 * MIB)] {
        let inject = format!("inject=sync_file_range:error=EIO:when={call}");
        let strace = ["strace", "-f", "-o", "/dev/null", "-e", &inject];
        let words = [&format!("cannot write at byte {offset}: Input/output error"), "has been removed"];
        copy(["--nobmap", text(&image), text(&target)]).under(&strace).fails(&words);
    }
}

#[test]
fn a_dangling_link_is_followed() {
    let directory = temp_dir();
    let image = mapped_disk(directory.path());
    let (link, target) = (directory.path().join("link"), directory.path().join("target"));
    symlink("target", &link).unwrap();
    copy([&image, &link]).ok();
    assert_same(&image, &target);
}

#[test]
fn a_file_that_may_not_grow_so_far_is_removed() {
    let directory = temp_dir();
    let image = mapped_disk(directory.path());
    let target = directory.path().join("copy");
    let mut tool = copy::<&str>([]);
    tool.command = Command::new("sh");
    let script = "ulimit -f 2048; exec \"$0\" copy \"$1\" \"$2\"";
    tool.command.args(["-c", script, binary(), text(&image), text(&target)]);
    tool.fails(&["File too large", "has been removed"]);
    assert!(!target.exists());
}

#[test]
fn shared_memory_is_not_for_devices() {
    let directory = temp_dir();
    let image = mapped_disk(directory.path());
    let shared = tempfile::Builder::new().prefix("bmaptool-test-").tempdir_in("/dev/shm").unwrap();
    let target = shared.path().join("copy");
    copy([&image, &target]).ok();
    assert_same(&image, &target);
}

#[test(Root)]
fn a_file_under_an_idle_loop_device_is_written_with_a_warning() {
    let directory = temp_dir();
    let image = mapped_disk(directory.path());
    let disk = Disk::new(20 * MIB);
    copy([&image, &disk.backing]).ok().says(&["WARNING: ", &format!("'{}' shares data with", disk.path().display())]);
    assert_same(&image, &disk.backing);
}

fn pipe(directory: &Path) -> PathBuf {
    let pipe = directory.join("psplash");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    pipe
}

/// Opens a pipe for reading without waiting for a writer.
fn reader(pipe: &Path) -> File {
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(pipe).unwrap()
}

#[test]
fn psplash_is_told_the_progress() {
    let directory = temp_dir();
    let image = mapped_disk(directory.path());
    let pipe = pipe(directory.path());
    let mut reader = reader(&pipe);
    for flag in ["--quiet", "--debug"] {
        copy([flag, "--psplash-pipe", text(&pipe), text(&image), "/dev/null"]).ok();
        let mut told = String::new();
        reader.read_to_string(&mut told).unwrap();
        let shares: Vec<u64> =
            told.lines().map(|line| line.strip_prefix("PROGRESS ").unwrap().parse().unwrap()).collect();
        assert!(shares.is_sorted() && told.ends_with('\n'), "{told}");
        assert_eq!((shares.first(), shares.last()), (Some(&0), Some(&100)));
    }
}

#[test(Program("gzip"))]
fn psplash_is_told_the_share_of_the_source_where_the_size_is_not_known() {
    // More than twice what the buffers hold: the reader waits for the writer at least twice.
    let work = Work::new(|image| fs::write(image, Random::new(1).bytes(40 << 20)).unwrap());
    let compressed = work.output_of("gzip -1");
    let pipe = pipe(work.directory.path());
    let mut reader = reader(&pipe);
    copy(["--nobmap", "--psplash-pipe", text(&pipe), text(&compressed), "/dev/null"]).ok();
    let mut told = String::new();
    reader.read_to_string(&mut told).unwrap();
    let shares: Vec<u64> = told.lines().map(|line| line.strip_prefix("PROGRESS ").unwrap().parse().unwrap()).collect();
    assert!(shares.is_sorted() && shares.len() > 2 && shares.last() == Some(&100), "{told}");
}

#[test]
fn psplash_may_be_missing_or_stuck() {
    let directory = temp_dir();
    let image = mapped_disk(directory.path());
    let file = directory.path().join("file");
    fs::write(&file, "mine").unwrap();
    let pipe = pipe(directory.path());
    let missing = directory.path().join("missing");
    for (path, why) in [(&missing, "No such file"), (&file, "it is not a pipe"), (&pipe, "no program reads it")] {
        let outcome = copy(["--psplash-pipe", text(path), text(&image), "/dev/null"]).ok();
        outcome.says(&["WARNING: the progress is not written to psplash pipe", text(path), why]);
        assert_eq!(outcome.stderr.matches("WARNING").count(), 1, "{}", outcome.stderr);
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    assert!(!missing.exists());

    let stuck = reader(&pipe);
    let mut filler = OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(&pipe).unwrap();
    while filler.write(&[0]).is_ok() {}
    copy(["--psplash-pipe", text(&pipe), text(&image), "/dev/null"]).ok();
    assert!(stuck.as_raw_fd() > 0);
}
