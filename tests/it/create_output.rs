//! Where `create` puts the bmap: whole or not at all, and never over the image.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::common::image::{self, disk_like};
use crate::common::tool::{Tool, binary, binary_in, bmaptool, copy, create, finish};
use crate::common::{sha256, temp_dir, text};
use tempfile::TempDir;

/// A directory with an image like that of a small disk.
fn scene() -> (TempDir, PathBuf) {
    let directory = temp_dir();
    let image = directory.path().join("disk.img");
    disk_like(&image, 1);
    (directory, image)
}

/// Maps the image to a file.
fn create_to(output: &Path, image: &Path) -> Tool {
    bmaptool(["create".as_ref(), "-o".as_ref(), output.as_os_str(), image.as_os_str()])
}

#[test]
fn the_output_is_never_the_image() {
    let (directory, image) = scene();
    let before = sha256(&image);
    let link = directory.path().join("link");
    let hard_link = directory.path().join("hard");
    std::os::unix::fs::symlink(&image, &link).unwrap();
    fs::hard_link(&image, &hard_link).unwrap();
    for output in [&image, &link, &hard_link] {
        create_to(output, &image).fails(&["is the image itself"]);
    }
    let mut tool = bmaptool(["create".as_ref(), image.as_os_str()]);
    let append = File::options().append(true).open(&image).unwrap();
    let child = tool.command.stdout(Stdio::from(append)).stderr(Stdio::piped()).spawn().unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("standard output is the image itself"));
    assert_eq!(sha256(&image), before);
}

/// With the arguments the wrong way round.
#[test]
fn an_image_is_not_replaced_by_the_map_of_its_bmap() {
    let (_directory, image) = scene();
    let (bmap, before) = (create(&image), sha256(&image));
    let outcome = create_to(&image, &bmap)
        .fails(&["disk.img.bmap' is an XML file, such as a bmap, not a disk image", "create -o OUTPUT IMAGE"]);
    assert!(!outcome.stderr.contains("mapped"), "{}", outcome.stderr);
    fs::write(&bmap, "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n<bmap>").unwrap();
    create_to(&image, &bmap).fails(&["a signed text"]);
    assert_eq!(sha256(&image), before);
}

#[test]
fn an_output_file_is_replaced_as_a_whole() {
    let (directory, image) = scene();
    let expected = bmaptool(["create".as_ref(), image.as_os_str()]).ok().stdout;
    let write_to =
        |output: &Path| bmaptool(["create".as_ref(), image.as_os_str(), "--output".as_ref(), output.as_os_str()]).ok();

    let output = directory.path().join("new.bmap");
    assert!(write_to(&output).stdout.is_empty());
    assert_eq!(fs::read(&output).unwrap(), expected);

    // A name that exists keeps its permissions, and a link stays a link.
    fs::write(&output, "something long and old".repeat(1000)).unwrap();
    fs::set_permissions(&output, fs::Permissions::from_mode(0o640)).unwrap();
    let link = directory.path().join("link.bmap");
    std::os::unix::fs::symlink("new.bmap", &link).unwrap();
    write_to(&link);
    assert!(link.is_symlink());
    assert_eq!(fs::read(&output).unwrap(), expected);
    assert_eq!(fs::metadata(&output).unwrap().permissions().mode() & 0o777, 0o640);
    // Nor does it become root's.
    if chown(&output, Some(65534), Some(65534)).is_ok() {
        write_to(&output);
        let found = fs::metadata(&output).unwrap();
        assert_eq!((found.uid(), found.gid(), found.mode() & 0o777), (65534, 65534, 0o640));
    }

    bmaptool(["create".as_ref(), image.as_os_str(), "-o".as_ref(), "relative.bmap".as_ref()])
        .current_dir(directory.path())
        .ok();
    assert_eq!(fs::read(directory.path().join("relative.bmap")).unwrap(), expected);
    // Links that lead nowhere yet, one to the other.
    std::os::unix::fs::symlink("later.bmap", directory.path().join("second")).unwrap();
    std::os::unix::fs::symlink("second", directory.path().join("first")).unwrap();
    write_to(&directory.path().join("first"));
    assert!(directory.path().join("first").is_symlink() && directory.path().join("second").is_symlink());
    assert_eq!(fs::read(directory.path().join("later.bmap")).unwrap(), expected);

    write_to(Path::new("/dev/null"));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 7, "a temporary file was left behind");
}

/// The name of a pipe or of a removed file leads nowhere but through the descriptor.
#[test(Program("bash"))]
fn an_output_may_be_a_descriptor() {
    let (directory, image) = scene();
    let expected = fs::read(create(&image)).unwrap();
    let script = "set -e
        \"$0\" create -o /dev/fd/3 disk.img 3>&1 | cat > piped
        ln -s /proc/self/fd/3 link
        \"$0\" create -o link disk.img 3>&1 | cat > linked
        head -c 1000000 /dev/zero > gone
        exec 3<>gone; rm gone
        \"$0\" create -o /dev/fd/3 disk.img
        cat /dev/fd/3 > removed";
    let mut command = Command::new("bash");
    command.args(["-o", "pipefail", "-c", script, binary()]).current_dir(directory.path());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for name in ["piped", "linked", "removed"] {
        assert!(fs::read(directory.path().join(name)).unwrap() == expected, "{name}");
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 6);
}

#[test]
fn an_output_may_have_a_long_name() {
    let (directory, image) = scene();
    let output = directory.path().join("x".repeat(255));
    create_to(&output, &image).ok();
    assert_eq!(fs::read(output).unwrap(), fs::read(create(&image)).unwrap());
}

/// File systems such as vfat have no O_TMPFILE.
#[test(Program("strace"))]
fn an_output_file_needs_no_unnamed_files() {
    let directory = temp_dir();
    let images = temp_dir();
    let image = images.path().join("disk.img");
    disk_like(&image, 1);
    let output = directory.path().join("disk.bmap");
    let inject =
        ["-f", "-o", "/dev/null", "-P", directory.path().to_str().unwrap(), "-e", "inject=openat:error=EOPNOTSUPP"];
    create_to(&output, &image).under(&[&["strace"], &inject[..]].concat()).ok();
    assert_eq!(fs::read(output).unwrap(), fs::read(create(&image)).unwrap());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn an_output_that_cannot_be_written_is_an_error() {
    let (directory, image) = scene();
    let missing = directory.path().join("no/such/directory.bmap");
    create_to(&missing, &image).fails(&["cannot write the bmap to '", "directory.bmap'", "no/such': No such file"]);
    create_to(Path::new("/dev/full"), &image).fails(&["cannot write the bmap to '/dev/full'", "No space left"]);
    let mut tool = bmaptool(["create".as_ref(), image.as_os_str()]);
    let full = File::options().write(true).open("/dev/full").unwrap();
    let child = tool.command.stdout(Stdio::from(full)).stderr(Stdio::piped()).spawn().unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot write the bmap to standard output"));
}

#[test(Root, Program("unshare"), Program("setpriv"))]
fn an_output_file_needs_no_proc() {
    let (directory, image) = scene();
    let output = directory.path().join("disk.bmap");
    let arguments = ["create".as_ref(), "-o".as_ref(), output.as_os_str(), image.as_os_str()];
    let expected = fs::read(create(&image)).unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let program = binary_in(directory.path());
    let nobody = "setpriv --reuid=65534 --regid=65534 --clear-groups";
    for user in ["", nobody] {
        let script = format!("umount --lazy /proc && exec {user} \"$@\"");
        let mut tool = bmaptool::<&str>([]);
        tool.command = Command::new(&program);
        tool.command.args(arguments);
        tool.under(&["unshare", "--mount", "sh", "-c", &script, "sh"]).ok();
        assert_eq!(fs::read(&output).unwrap(), expected);
        fs::remove_file(&output).unwrap();
    }
}

/// As a container sees a file that it is given.
#[test(Root)]
fn an_output_file_that_is_mounted_is_written_as_it_is() {
    let (directory, image) = scene();
    let output = directory.path().join("mounted");
    let expected = fs::read(create(&image)).unwrap();
    for proc in ["", "umount --lazy /proc &&"] {
        fs::write(&output, "x".repeat(1 << 20)).unwrap();
        let script = format!("mount --bind '{0}' '{0}' && {proc} exec \"$@\"", output.display());
        create_to(&output, &image).under(&["unshare", "--mount", "sh", "-c", &script, "sh"]).ok();
        assert_eq!(fs::read(&output).unwrap(), expected);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 3);
    }
}

/// As those of network file systems are.
#[test(Program("strace"))]
fn an_output_that_cannot_be_stored_when_it_is_closed_is_an_error() {
    let (directory, image) = scene();
    let output = directory.path().join("output");
    let inject = ["strace", "-f", "-o", "/dev/null", "-P", text(&output), "-e", "inject=close:error=EDQUOT"];
    for (place, redirection) in [(&[][..], ">\"$0\""), (&["-o", "/dev/fd/3"], "3>\"$0\"; rm \"$0\"")] {
        let script = format!("exec {redirection}; exec \"$@\"");
        let tool = bmaptool([&["create", text(&image)], place].concat()).under(&inject);
        tool.under(&["sh", "-c", &script, text(&output)]).fails(&["cannot write the bmap to ", "Disk quota exceeded"]);
    }
}

/// As the kernel has it in directories such as /tmp (fs.protected_symlinks).
#[test(Root)]
fn a_link_of_another_user_in_a_shared_directory_is_not_followed() {
    let (directory, image) = scene();
    let (shared, precious, free) = (temp_dir(), directory.path().join("precious"), directory.path().join("free"));
    fs::set_permissions(shared.path(), fs::Permissions::from_mode(0o1777)).unwrap();
    fs::write(&precious, "precious").unwrap();
    create(&image);
    let output = shared.path().join("output");
    let link_to = |to: &Path, owner| {
        let new = shared.path().join("new");
        std::os::unix::fs::symlink(to, &new).unwrap();
        lchown(&new, Some(owner), Some(owner)).unwrap();
        fs::rename(&new, &output).unwrap();
    };
    for to in [&precious, &free] {
        link_to(to, 65534);
        create_to(&output, &image).fails(&["cannot write the bmap to '", "Permission denied"]);
    }
    // Where the target exists, the kernel itself decides about the link.
    copy([&image, &output]).fails(&["cannot create '", "Permission denied"]);
    // The name changes again and again between such a link and a file.
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                link_to(&precious, 65534);
                let file = shared.path().join("file");
                fs::write(&file, "a file").unwrap();
                fs::rename(&file, &output).unwrap();
            }
        });
        for _ in 0..20 {
            create_to(&output, &image).run();
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(fs::read(&precious).unwrap(), b"precious");
    assert!(!free.exists());
    // Our own is.
    link_to(&free, 0);
    create_to(&output, &image).ok();
    assert_eq!(fs::read(&free).unwrap(), fs::read(create(&image)).unwrap());
}

#[test(Root, Program("setpriv"))]
fn directories_above_may_be_closed() {
    let closed = temp_dir();
    let open = closed.path().join("open");
    fs::create_dir(&open).unwrap();
    disk_like(&open.join("disk.img"), 1);
    binary_in(&open);
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    fs::set_permissions(closed.path(), fs::Permissions::from_mode(0o700)).unwrap();
    std::os::unix::fs::symlink("disk.bmap", open.join("link")).unwrap();
    // The program has the directory it is started in, and no way into the one above.
    let by_nobody = |arguments: &[&str]| {
        let mut tool = bmaptool::<&str>([]);
        tool.command = Command::new("setpriv");
        tool.command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "./bmaptool"]).args(arguments);
        tool.command.current_dir(&open);
        tool.ok();
    };
    by_nobody(&["create", "-o", "disk.bmap", "disk.img"]);
    by_nobody(&["copy", "disk.img", "copy"]);
    image::assert_same(&open.join("disk.img"), &open.join("copy"));
    // They exist now.
    by_nobody(&["create", "-o", "link", "disk.img"]);
    by_nobody(&["copy", "disk.img", "copy"]);
    assert!(open.join("link").is_symlink());
}

/// Killed where it makes the file appear.
#[test(Program("strace"))]
fn a_killed_run_leaves_the_old_file_or_a_whole_one() {
    let (directory, image) = scene();
    let whole = fs::read(create(&image)).unwrap();
    let output = directory.path().join("output");
    // The image is synchronized first, then the map.
    for (call, number) in [("fsync", 2), ("linkat", 1), ("rename", 1)] {
        for before in [None, Some("what was there")] {
            let _ = fs::remove_file(&output);
            if let Some(before) = before {
                fs::write(&output, before).unwrap();
            }
            let names = || fs::read_dir(directory.path()).unwrap().count();
            let names_before = names();
            let inject = format!("inject={call}:signal=SIGKILL:when={number}");
            let tool = create_to(&output, &image).under(&["strace", "-f", "-o", "/dev/null", "-e", &inject]);
            let outcome = tool.run();
            // Where the name is free, there is nothing to rename.
            let is_killed = (call, before) != ("rename", None);
            assert_eq!(outcome.status != Some(0), is_killed, "{call} {before:?}: {}", outcome.stderr);
            assert_eq!(outcome.stderr, "", "{call} {before:?}");
            let after = fs::read(&output).ok();
            let is_old = after.as_deref() == before.map(str::as_bytes);
            assert!(after.as_deref() == Some(&whole) || is_killed && is_old, "{call} {before:?}");
            if before.is_none() {
                assert_eq!(names(), names_before + usize::from(after.is_some()), "{call}");
            }
        }
    }
}

/// As a container has it: a file that is a mount point cannot be replaced.
#[test(Root, Program("strace"))]
fn a_signal_leaves_no_part_of_a_file_that_is_overwritten() {
    let (directory, image) = scene();
    let output = directory.path().join("output");
    let create = ["create", "--range-size=4K", text(&image)];
    let whole = bmaptool(create).ok().stdout;
    assert!(whole.len() > 30_000);
    fs::write(&output, vec![b'x'; 2 * whole.len()]).unwrap();
    let script = "mount --bind \"$0\" \"$0\" && \
                  exec strace -f -o /dev/null -P \"$0\" -e inject=write:signal=SIGINT:when=1 \"$@\"";
    let tool = bmaptool([&create[..], &["-o", text(&output)]].concat());
    tool.under(&["unshare", "--mount", "sh", "-c", script, text(&output)]).ok();
    assert!(fs::read(&output).unwrap() == whole);
}

#[test(Root, Program("strace"))]
fn a_killed_run_leaves_nothing_without_proc() {
    let (directory, image) = scene();
    let output = directory.path().join("output");
    let script = "umount --lazy /proc && exec strace -f -o /dev/null -e inject=fsync:signal=SIGKILL:when=2 \"$@\"";
    let outcome = create_to(&output, &image).under(&["unshare", "--mount", "sh", "-c", script, "sh"]).run();
    assert_eq!((outcome.status, outcome.stderr.as_str()), (None, ""));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn a_closed_pipe_is_an_error_and_no_panic() {
    let directory = temp_dir();
    let image = directory.path().join("disk.img");
    // More ranges than a pipe can hold, so that the program meets the closed end.
    let data: Vec<_> = (0..3000).map(|block| (block * 8192, 4096)).collect();
    image::sparse(&image, 3000 * 8192, &data, 7);
    let mut tool = bmaptool(["create".as_ref(), image.as_os_str()]);
    let mut child = tool.spawn();
    let mut start = [0; 100];
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut start).unwrap();
    drop(stdout);
    child.stdout = Some(empty_stdout());
    let outcome = finish(child);
    assert_eq!(outcome.status, Some(1));
    outcome.says(&["cannot write the bmap to standard output: Broken pipe"]);
}

/// A standard output with nothing to read, for a child whose own is closed.
fn empty_stdout() -> std::process::ChildStdout {
    let mut child = Command::new("true").stdout(Stdio::piped()).spawn().unwrap();
    child.wait().unwrap();
    child.stdout.take().unwrap()
}
