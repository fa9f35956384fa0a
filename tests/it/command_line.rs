//! The command line itself: usage, versions, messages, exit statuses.

use std::os::unix::ffi::OsStrExt;

use crate::common::image::{assert_same, disk_like};
use crate::common::tool::{Tool, binary, bmaptool, copy, create, interrupt, wait_until};
use crate::common::{sha256, temp_dir};
use nix::sys::signal::Signal;

#[test]
fn help_and_version_go_to_standard_output() {
    for arguments in [&["--version"][..], &["-V"], &["copy", "--version"], &["create", "-V", "image"]] {
        let version = bmaptool(arguments).ok();
        assert_eq!(version.stdout, format!("bmaptool {}\n", env!("BMAPTOOL_VERSION")).as_bytes());
    }
    for arguments in [vec!["--help"], vec!["-h"], vec!["copy", "--help"], vec!["create", "-h"]] {
        let help = bmaptool(arguments).ok();
        assert!(help.stderr.is_empty());
        assert!(String::from_utf8(help.stdout).unwrap().contains("Usage: bmaptool"));
    }
}

#[test]
fn an_answer_that_cannot_be_written_is_no_success() {
    for answer in ["--help", "--version", "copy --help"] {
        for (output, why) in [("/dev/full", "No space left on device"), ("&-", "it is closed")] {
            let script = format!("exec \"$0\" {answer} >{output}");
            let shell = std::process::Command::new("sh").args(["-c", &script, binary()]).output().unwrap();
            let expected = format!("bmaptool: ERROR: cannot write to standard output: {why}\n");
            assert_eq!((shell.status.code(), String::from_utf8(shell.stderr).unwrap()), (Some(1), expected));
        }
    }
}

#[test]
fn what_is_wrong_with_a_header_is_told_without_its_value() {
    let cases = [
        ("Authorization s3cret", "not of the form 'NAME: VALUE'"),
        ("s3 cret: x", "its name is not valid"),
        ("X-Token: s3cret\nX: y", "its value is not valid"),
        ("", "not of the form"),
    ];
    for (header, message) in cases {
        let outcome = bmaptool(["copy", "--header", header, "a", "b"]).exits(2, &["--header", message, "--help"]);
        assert!(!outcome.stderr.contains("cret"), "{}", outcome.stderr);
    }
}

#[test]
fn wrong_usage_exits_with_2() {
    let cases: [&[&str]; 22] = [
        &[],
        &["help"],
        &["frobnicate"],
        &["copy"],
        &["copy", "image"],
        &["create"],
        &["create", "a", "b"],
        &["--quiet", "--debug", "create", "a"],
        &["--quiet", "create", "--debug", "a"],
        &["copy", "--bmap", "x", "--nobmap", "a", "b"],
        &["copy", "--unmapped", "zero", "--nobmap", "a", "b"],
        &["copy", "--unmapped", "forget", "a", "b"],
        &["copy", "--no-sig-verify", "--bmap-sig", "x", "a", "b"],
        &["copy", "--no-sig-verify", "--keyring", "x", "a", "b"],
        &["copy", "--no-sig-verify", "--fingerprint", "0123456789012345678901234567890123456789", "a", "b"],
        &["copy", "--fingerprint", "", "a", "b"],
        &["copy", "--fingerprint", "0123456789ABCDEF", "a", "b"],
        &["copy", "--bmap", "", "a", "b"],
        &["copy", "--bmap-sig", "", "a", "b"],
        &["copy", "-", "target"],
        &["copy", "--bmap", "x", "--bmap-sig", "-", "-", "target"],
        &["copy", "--bmap", "-", "--bmap-sig", "-", "a", "target"],
    ];
    for arguments in cases {
        let outcome = bmaptool(arguments).run();
        assert_eq!(outcome.status, Some(2), "{arguments:?}");
        assert!(outcome.stdout.is_empty());
        assert!(outcome.stderr.contains("--help"), "{}", outcome.stderr);
        let takes_stdin = arguments.contains(&"-");
        assert!(!takes_stdin || outcome.stderr.contains("Usage: bmaptool copy"), "{}", outcome.stderr);
        // Whose error it is must be plain where many programs write to one log.
        let is_help = arguments.is_empty();
        assert!(is_help || outcome.stderr.starts_with("bmaptool: error: "), "{}", outcome.stderr);
    }
}

#[test]
fn global_flags_stand_anywhere() {
    let directory = temp_dir();
    let image = directory.path().join("disk.img");
    disk_like(&image, 1);
    create(&image);
    let (image, target) = (image.to_str().unwrap(), directory.path().join("target"));
    let target = target.to_str().unwrap();
    for arguments in [vec!["-q", "copy", image, target], vec!["copy", image, target, "--quiet"]] {
        let outcome = bmaptool(arguments).ok();
        assert!(outcome.stderr.is_empty(), "{}", outcome.stderr);
    }
    for arguments in [vec!["-d", "copy", image, target], vec!["copy", image, "--debug", target]] {
        let outcome = bmaptool(arguments).ok();
        assert!(outcome.stderr.lines().all(|line| line.starts_with('[')), "{}", outcome.stderr);
    }
}

#[test]
fn messages_are_lines_on_standard_error() {
    let directory = temp_dir();
    let image = directory.path().join("disk.img");
    disk_like(&image, 2);
    let bmap = create(&image);
    let target = directory.path().join("target");
    let outcome = copy([&image, &target]).ok();
    let (bmap, target) = (bmap.display(), target.display());
    let expected = [
        format!("bmaptool: info: discovered bmap file '{bmap}'"),
        format!("bmaptool: info: bmap file '{bmap}' is not signed"),
        "bmaptool: info: block map format version 2.0".to_owned(),
        "bmaptool: info: 4097 blocks of size 4096 (16.0 MiB), mapped 452 blocks (1.8 MiB or 11.0%)".to_owned(),
        "bmaptool: info: copying image 'disk.img' to file 'target' using bmap file 'disk.img.bmap'".to_owned(),
        format!("bmaptool: info: synchronizing '{target}'"),
        format!(
            "bmaptool: info: done: 1.8 MiB written to '{target}' and synchronized, all ranges of the image verified (sha256)"
        ),
    ];
    let lines: Vec<&str> = outcome.stderr.lines().collect();
    assert_eq!(lines[..expected.len()], expected, "{}", outcome.stderr);
    assert!(lines[expected.len()].starts_with("bmaptool: info: copying time: "), "{}", outcome.stderr);
    assert!(lines[expected.len()].ends_with(" MiB/sec"));
    assert_eq!(lines.len(), expected.len() + 1);
    assert!(outcome.stdout.is_empty());

    let odd = directory.path().join("two\nlines\x1b[31m");
    let outcome = copy([&odd, &odd]).fails(&["cannot open '"]);
    assert_eq!(outcome.stderr.lines().count(), 1);
    assert!(!outcome.stderr.contains('\x1b'));
}

/// Also where an address is taken for something else.
#[test]
fn passwords_are_never_shown() {
    const URL: &str = "http://me:secret@127.0.0.1:1/x";
    let directory = temp_dir();
    let image = directory.path().join("disk.img");
    disk_like(&image, 8);
    let (bmap, image) = (create(&image), image.to_str().unwrap().to_owned());
    let bmap = bmap.to_str().unwrap();
    let cases: [&[&str]; 10] = [
        &["create", URL],
        &["create", "-o", URL, &image],
        &["copy", "--nobmap", &image, URL],
        &["copy", "--nobmap", "--psplash-pipe", URL, &image, "target"],
        &["copy", "--bmap", bmap, "--keyring", URL, &image, "target"],
        &["copy", "--fingerprint", URL, &image, "target"],
        &["copy", URL, "target", URL],
        &["copy", &format!("--{URL}")],
        &["copy", "--debug", "--nobmap", URL, "target"],
        &[URL],
    ];
    for arguments in cases {
        let outcome = bmaptool(arguments).current_dir(directory.path()).env("BMAPTOOL_TIMEOUT_SCALE", "0.01").run();
        assert!(!outcome.stderr.contains("secret"), "{}", outcome.stderr);
        assert!(outcome.stderr.contains("127.0.0.1"), "{}", outcome.stderr);
    }
}

#[test]
fn standard_input_is_an_image() {
    let directory = temp_dir();
    let image = directory.path().join("disk.img");
    disk_like(&image, 3);
    let bmap = create(&image);
    let target = directory.path().join("target");
    let bytes = std::fs::read(&image).unwrap();
    copy(["--nobmap".as_ref(), "-".as_ref(), target.as_os_str()]).stdin(bytes.clone()).ok();
    assert_same(&image, &target);
    let with_map = || copy(["--bmap".as_ref(), bmap.as_os_str(), "-".as_ref(), target.as_os_str()]);
    with_map().stdin(bytes.clone()).ok().says(&["copying image 'standard input' to file"]);
    assert_same(&image, &target);
    with_map().stdin(&bytes[..bytes.len() / 2]).fails(&["the image ended at byte", "the bmap says it has 16777993"]);
    // Where checksums do not tell, the size does.
    let unverified =
        || copy(["--no-verify".as_ref(), "--bmap".as_ref(), bmap.as_os_str(), "-".as_ref(), target.as_os_str()]);
    unverified().stdin(bytes.clone()).ok();
    unverified()
        .stdin([&bytes[..], b"more"].concat())
        .fails(&["the image goes on after the 16777993 bytes that the bmap says it has"]);
    // What is endless is not read to its end.
    let endless = std::iter::repeat_n(0, 200 << 20).collect::<Vec<u8>>();
    unverified().stdin(endless).fails(&["goes on after"]);
    // The bmap may come from standard input instead.
    let map = std::fs::read(&bmap).unwrap();
    copy(["--bmap".as_ref(), "-".as_ref(), image.as_os_str(), target.as_os_str()]).stdin(map).ok();
    copy(["--bmap", "-", "-", "x"]).fails(&["the image and the bmap are the same file, 'standard input'"]);
}

/// A raw image may begin with anything.
#[test]
fn an_image_of_the_size_in_the_bmap_is_raw() {
    let directory = temp_dir();
    let (image, target) = (directory.path().join("disk.img"), directory.path().join("target"));
    let magics: [&[u8]; 5] = [b"\x1f\x8b\x08\0", b"PK\x03\x04", b"BZh9", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"];
    for magic in magics {
        let mut bytes = vec![0; 8192];
        bytes[..magic.len()].copy_from_slice(magic);
        // Its map is made before it has a magic, for `create` refuses what is compressed.
        std::fs::write(&image, vec![0; 8192]).unwrap();
        let map = bmaptool(["create".as_ref(), "--no-checksum".as_ref(), image.as_os_str()]).ok().stdout;
        std::fs::write(directory.path().join("disk.bmap"), map).unwrap();
        std::fs::write(&image, &bytes).unwrap();
        copy([&image, &target]).ok();
        assert_eq!(std::fs::read(&target).unwrap(), bytes);
        std::fs::remove_file(&target).unwrap();
    }
}

#[test]
fn a_stream_without_a_byte_is_no_image_by_any_name() {
    let directory = temp_dir();
    let target = directory.path().join("target");
    for (image, name) in [("-", "standard input"), ("/dev/stdin", "'/dev/stdin'"), ("/dev/null", "'/dev/null'")] {
        std::fs::write(&target, "precious").unwrap();
        let nothing = format!("nothing came from {name}: there is no image on it");
        copy(["--nobmap".as_ref(), image.as_ref(), target.as_os_str()]).fails(&[&nothing]);
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "precious");
    }
}

#[test]
fn a_closed_stream_is_closed_by_any_name() {
    let directory = temp_dir();
    let image = directory.path().join("disk.img");
    disk_like(&image, 3);
    create(&image);
    std::os::unix::fs::symlink("/dev/stdout", directory.path().join("link")).unwrap();
    for output in ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "/proc/thread-self/fd/1", "link"] {
        let closed = |tool: Tool| tool.current_dir(directory.path()).under(&["sh", "-c", "exec \"$@\" >&-", "sh"]);
        closed(bmaptool(["create", "-o", output, "disk.img"])).fails(&[output, "it is closed"]);
        closed(copy(["disk.img", output])).fails(&[output, "it is closed"]);
    }
    bmaptool(["create", "-o", "/dev/stdout", "disk.img"]).current_dir(directory.path()).ok();
}

#[test]
fn a_whole_image_is_copied_without_a_bmap() {
    let directory = temp_dir();
    let image = directory.path().join("disk.img");
    disk_like(&image, 4);
    create(&image);
    let target = directory.path().join("target");
    std::fs::write(&target, vec![9; 20 << 20]).unwrap();
    let outcome = copy(["--nobmap".as_ref(), image.as_os_str(), target.as_os_str()]).ok();
    outcome.says(&[&format!("no bmap given, copy entire image to '{}'", target.display())]);
    assert_same(&image, &target);
    let empty = directory.path().join("empty");
    std::fs::write(&empty, "").unwrap();
    copy(["--nobmap".as_ref(), empty.as_os_str(), target.as_os_str()])
        .ok()
        .says(&["copying speed 0.0 MiB/sec", "without a bmap to verify it"]);
    assert_same(&empty, &target);
}

#[test]
fn a_target_that_is_the_source_is_refused() {
    let directory = temp_dir();
    let image = directory.path().join("disk.img");
    disk_like(&image, 5);
    let bmap = create(&image);
    let (before, map_before) = (sha256(&image), sha256(&bmap));
    let link = directory.path().join("link");
    let hard = directory.path().join("hard");
    std::os::unix::fs::symlink("disk.img", &link).unwrap();
    std::fs::hard_link(&image, &hard).unwrap();
    for target in [&image, &link, &hard] {
        copy([&image, target]).fails(&["is the image itself and cannot be the target"]);
    }
    copy([&image, &bmap]).fails(&["is the bmap file itself and cannot be the target"]);
    assert_eq!((sha256(&image), sha256(&bmap)), (before, map_before));
}

#[test]
fn file_names_need_not_be_text() {
    let directory = temp_dir();
    let image = directory.path().join(std::ffi::OsStr::from_bytes(b"disk-\xff.img"));
    let target = directory.path().join(std::ffi::OsStr::from_bytes(b"target-\xfe"));
    disk_like(&image, 6);
    let bmap = directory.path().join(std::ffi::OsStr::from_bytes(b"disk-\xff.bmap"));
    bmaptool(["create".as_ref(), "-o".as_ref(), bmap.as_os_str(), image.as_os_str()]).ok();
    copy([&image, &target]).ok().says(&["discovered bmap file"]);
    assert_same(&image, &target);
}

#[test]
fn a_signal_ends_it_at_once() {
    let directory = temp_dir();
    let image = directory.path().join("disk.img");
    disk_like(&image, 7);
    let bmap = create(&image);
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let target = directory.path().join("target");
        let mut tool = copy(["--bmap".as_ref(), bmap.as_os_str(), "-".as_ref(), target.as_os_str()]);
        let mut child = tool.spawn();
        // The source delivers a little and then stalls, so that the copy is under way for as long as it takes.
        let mut stdin = child.stdin.take().unwrap();
        std::io::Write::write_all(&mut stdin, &std::fs::read(&image).unwrap()[..1 << 20]).unwrap();
        wait_until(&mut child, "a file", || target.exists());
        std::thread::sleep(std::time::Duration::from_millis(50));
        interrupt(child, signal).says(&["has been removed"]);
        assert!(!target.exists());
    }
}
