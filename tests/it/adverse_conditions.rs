//! What goes wrong around a copy.

use std::fs;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command};
use std::time::Duration;

use crate::common::device::{Disk, Loop, Mount};
use crate::common::image::{assert_same, disk_like, sparse};
use crate::common::tool::{Outcome, Tool, binary, binary_in, bmaptool, copy, create, finish, wait_until};
use crate::common::{sh, sha256, temp_dir};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A copy of an image from standard input, which has received this much of it.
fn fed(arguments: &[&Path], data: &[u8]) -> (Child, ChildStdin) {
    let mut tool = copy(arguments);
    let mut child = tool.spawn();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(data).unwrap();
    (child, stdin)
}

/// Waits until a copy to this file has begun.
fn wait_for(child: &mut Child, path: &Path) {
    wait_until(child, "a file", || path.exists());
}

/// The size of an image that is longer than what is read before the first write.
const LONG: u64 = 40 << 20;

/// Copies an image of [`LONG`] bytes, to which `change` is made before it is read to its end: strace stops the copy
/// before it writes.
fn copy_with(change: impl FnOnce(&fs::File)) -> Outcome {
    let directory = temp_dir();
    let (image, out) = (directory.path().join("image"), directory.path().join("out"));
    sparse(&image, LONG, &[(0, 1 << 20)], 1);
    // With -D the program is our child, and strace is not in the way of signals.
    let strace = ["strace", "-D", "-f", "-o", "/dev/null", "-e", "inject=ftruncate:signal=SIGSTOP:when=1"];
    let mut child = copy(["--nobmap".as_ref(), image.as_os_str(), out.as_os_str()]).under(&strace).spawn();
    wait_for(&mut child, &out);
    change(&fs::File::options().write(true).open(&image).unwrap());
    // It may be yet to stop.
    for _ in 0..1000 {
        if child.try_wait().unwrap().is_some() {
            break;
        }
        kill(Pid::from_raw(child.id() as i32), Signal::SIGCONT).unwrap();
        std::thread::sleep(Duration::from_millis(10));
    }
    finish(child)
}

#[test(Program("strace"))]
fn an_image_that_is_cut_during_the_copy_is_an_error() {
    let outcome = copy_with(|image| image.set_len(LONG - 100).unwrap());
    assert_eq!(outcome.status, Some(1), "{}", outcome.stderr);
    outcome.says(&["the image ended at byte 41942940, but had 41943040 bytes at the start"]);
}

#[test(Program("strace"))]
fn an_image_that_grows_during_the_copy_is_an_error() {
    let outcome = copy_with(|image| image.set_len(1 << 40).unwrap());
    assert_eq!(outcome.status, Some(1), "{}", outcome.stderr);
    outcome.says(&["the image goes on after the 41943040 bytes that it had at the start"]);
}

#[test(Program("strace"))]
fn an_image_that_is_rewritten_during_the_copy_is_an_error() {
    let outcome = copy_with(|image| image.write_all_at(b"another image", LONG / 2).unwrap());
    assert_eq!(outcome.status, Some(1), "{}", outcome.stderr);
    outcome.says(&["at byte 41943040", "it may have been written to", "has been removed"]);
}

#[test(Root, FileSystem("ext4"))]
fn a_size_that_the_file_system_does_not_take_costs_no_file() {
    // Others take any size.
    let (directory, mount) = (temp_dir(), Mount::on_file("ext4", 8 << 20, &["-q"]));
    let (map, target) = (directory.path().join("map"), mount.path().join("target"));
    // The second is no offset at all.
    for size in [1_u64 << 60, 1 << 63] {
        let text = format!(
            "<bmap version='2.0'><ImageSize>{size}</ImageSize><BlockSize>4096</BlockSize><BlocksCount>{}</BlocksCount>\
             <MappedBlocksCount>0</MappedBlocksCount><BlockMap/></bmap>",
            size / 4096
        );
        fs::write(&map, text).unwrap();
        fs::write(&target, "precious").unwrap();
        let tool = copy(["--bmap".as_ref(), map.as_os_str(), "-".as_ref(), target.as_os_str()]).stdin(vec![1; 1024]);
        tool.fails(&["cannot prepare the target: File too large", "is as it was"]);
        assert_eq!(fs::read(&target).unwrap(), b"precious");
    }
}

#[test]
fn a_file_that_took_the_place_of_ours_is_left_alone() {
    let directory = temp_dir();
    let out = directory.path().join("out");
    let (mut child, stdin) = fed(&["--nobmap".as_ref(), "-".as_ref(), &out], &[1; 1 << 20]);
    wait_for(&mut child, &out);
    fs::rename(&out, directory.path().join("moved")).unwrap();
    fs::write(&out, "mine").unwrap();
    kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
    let outcome = finish(child);
    assert_eq!(outcome.status, Some(143));
    outcome.says(&["no longer at", out.to_str().unwrap()]);
    drop(stdin);
    assert_eq!(fs::read(&out).unwrap(), b"mine");
}

#[test(Program("sh"))]
fn signals_that_are_ignored_stay_ignored() {
    let directory = temp_dir();
    let out = directory.path().join("out");
    let script = format!("trap '' HUP; exec '{}' copy --nobmap - '{}'", binary(), out.display());
    let mut command = Command::new("sh");
    command.args(["-c", &script]);
    let mut child = Tool::of(command).spawn();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&[1; 1 << 20]).unwrap();
    wait_for(&mut child, &out);
    kill(Pid::from_raw(child.id() as i32), Signal::SIGHUP).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    stdin.write_all(&[2; 1000]).unwrap();
    drop(stdin);
    let outcome = finish(child);
    assert_eq!(outcome.status, Some(0), "{}", outcome.stderr);
    assert_eq!(fs::metadata(&out).unwrap().len(), (1 << 20) + 1000);
}

#[test]
fn other_deadly_signals_are_cleaned_up_after() {
    let directory = temp_dir();
    // All that end a program and are no fault of its own (signal(7)), but for those that other tests send.
    let ordinary =
        [libc::SIGQUIT, libc::SIGABRT, libc::SIGUSR1, libc::SIGUSR2, libc::SIGALRM, libc::SIGVTALRM, libc::SIGPROF];
    let rare = [libc::SIGXCPU, libc::SIGIO, libc::SIGPWR, libc::SIGSTKFLT];
    for signal in [&ordinary[..], &rare, &[libc::SIGRTMIN(), libc::SIGRTMAX()]].concat() {
        let out = directory.path().join("out");
        let (mut child, stdin) = fed(&["--nobmap".as_ref(), "-".as_ref(), &out], &[1; 1 << 20]);
        wait_for(&mut child, &out);
        // SAFETY: it only sends a signal, to a child that has not been waited for.
        assert_eq!(unsafe { libc::kill(child.id() as i32, signal) }, 0);
        let outcome = finish(child);
        drop(stdin);
        assert_eq!(outcome.status, Some(128 + signal), "{}", outcome.stderr);
        assert!(!out.exists());
    }
}

#[test(Root, Program("setpriv"), Program("bash"), Program("bzip2"), Program("xz"))]
fn a_thread_that_cannot_be_started_is_an_error() {
    let directory = temp_dir();
    fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let (binary, out) = (binary_in(directory.path()), directory.path().join("out"));
    for (compress, words) in [
        ("cat", &["to 'out': cannot start a thread", "has been removed"][..]),
        ("bzip2", &["the bzip2 data cannot be decoded: cannot start a thread"]),
        ("xz -T2", &["the xz data cannot be decoded: the machine has not enough memory left for it, or no thread"]),
    ] {
        let script = format!(
            "cd '{}'; {compress} < /usr/bin/env > image; ulimit -u 1; exec '{}' copy --nobmap image out",
            directory.path().display(),
            binary.display()
        );
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "54399", "--regid", "54399", "--clear-groups", "bash", "-c", &script]);
        Tool::of(command).fails(words);
        assert!(!out.exists());
    }
}

#[test(Root, Program("unshare"))]
fn without_sysfs_no_device_is_touched() {
    let directory = temp_dir();
    let image = directory.path().join("image");
    disk_like(&image, 1);
    let device = Loop::attach(&image);
    let before = sha256(&image);
    for (source, target) in [(image.as_path(), device.path.as_path()), (device.path.as_path(), image.as_path())] {
        let script = format!(
            "umount --lazy /sys && exec '{}' copy --nobmap '{}' '{}'",
            binary(),
            source.display(),
            target.display()
        );
        let output = Command::new("unshare").args(["--mount", "sh", "-c", &script]).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains("sysfs is not mounted"), "{stderr}");
    }
    assert_eq!(sha256(&image), before);
}

#[test(Root)]
fn a_bmap_is_not_written_to_a_device() {
    let directory = temp_dir();
    let image = directory.path().join("image");
    disk_like(&image, 2);
    let disk = Disk::new(1 << 20);
    let before = sha256(&disk.backing);
    let create_to = |output: &Path| bmaptool(["create".as_ref(), "-o".as_ref(), output.as_os_str(), image.as_os_str()]);
    create_to(disk.path()).fails(&["it is a block device"]);
    assert_eq!(sha256(&disk.backing), before);
    let missing = Path::new("/dev/bmaptool-test-missing");
    create_to(missing).fails(&["there is no such device"]);
    assert!(!missing.exists());
}

#[test(Program("tar"), Program("zip"))]
fn tars_without_a_magic_and_tars_in_zips_are_recognized() {
    let directory = temp_dir();
    let (image, out) = (directory.path().join("disk.img"), directory.path().join("out"));
    disk_like(&image, 3);
    create(&image);
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let base = directory.path().to_str().unwrap();
    sh("tar", &["-C", base, "--format=v7", "-czf", &path("old.tar.gz"), "disk.img"]);
    sh("tar", &["-C", base, "-cf", &path("disk.tar"), "disk.img"]);
    sh("zip", &["-q", "-j", &path("disk.zip"), &path("disk.tar")]);
    for archive in ["old.tar.gz", "disk.tar", "disk.zip"] {
        copy(["--nobmap", &path(archive), out.to_str().unwrap()])
            .ok()
            .says(&["reading 'disk.img' from the tar archive"]);
        assert_same(&image, &out);
    }
}
