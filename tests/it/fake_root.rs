//! `create` under pseudo, as all image tasks of OpenEmbedded run, and under fakeroot: both tell programs about owners
//! that files do not have, and know files by their names and inodes.

use std::fs;
use std::process::Command;

use crate::common::image::disk_like;
use crate::common::tool::{Tool, binary, create};
use crate::common::{temp_dir, text};
use crate::registry::{Need, Test};

/// Where `create` runs, which writes over an old map or to a new name.
#[derive(Clone, Copy)]
enum Surroundings {
    Plain,
    /// On file systems such as vfat.
    NoUnnamedFiles,
    NoProc,
    /// The output is a mount point, as in containers.
    Mounted,
}

#[test_cases]
fn surroundings() -> Vec<Test> {
    let mut tests = Vec::new();
    for (name, surroundings, needs) in [
        ("", Surroundings::Plain, &[][..]),
        ("_without_unnamed_files", Surroundings::NoUnnamedFiles, &[Need::Program("strace")]),
        ("_without_proc", Surroundings::NoProc, &[Need::Root]),
        ("_over_a_mounted_file", Surroundings::Mounted, &[Need::Root]),
    ] {
        for program in ["pseudo", "fakeroot"] {
            let needs = [&[Need::Program(program)], needs].concat();
            let test = move || keeps_owner_and_permissions(program, surroundings);
            tests.push(Test::new(format!("{program}_sees_a_map_with_the_owner_of_the_old_one{name}"), &needs, test));
        }
    }
    tests
}

fn keeps_owner_and_permissions(program: &str, surroundings: Surroundings) {
    let (directory, state) = (temp_dir(), temp_dir());
    let image = directory.path().join("disk.img");
    disk_like(&image, 1);
    let expected = fs::read(create(&image)).unwrap();
    let before = match surroundings {
        Surroundings::Mounted => "mount --bind out/old out/old",
        Surroundings::NoProc => "umount --lazy /proc",
        Surroundings::Plain | Surroundings::NoUnnamedFiles => "true",
    };
    let strace = match surroundings {
        Surroundings::NoUnnamedFiles => "strace -f -o /dev/null -P out -e inject=openat:error=EOPNOTSUPP",
        _ => "",
    };
    // The last files that are made show whether what was noted of earlier ones confuses the program.
    let script = format!(
        "set -e
        chown 5:6 out/old; chmod 640 out/old
        {strace} \"$0\" create -o out/old disk.img
        {strace} \"$0\" create -o out/new disk.img
        cd out; touch last; chown 7:8 last
        stat -c '%n %u:%g %a' old new last"
    );
    let out = directory.path().join("out");
    fs::create_dir(&out).unwrap();
    fs::write(out.join("old"), "what was there").unwrap();
    // The server of pseudo would stay for a while.
    let end = if program == "pseudo" { "status=$?; pseudo -S; exit $status" } else { "" };
    let run = format!("{before} && {program} sh -c \"$1\" \"$0\"; {end}");
    let mut command = match surroundings {
        Surroundings::NoProc | Surroundings::Mounted => vec!["unshare", "--mount"],
        Surroundings::Plain | Surroundings::NoUnnamedFiles => Vec::new(),
    };
    command.extend(["sh", "-c", &run, binary(), &script]);
    let mut tool = Tool::of(Command::new(command[0])).current_dir(directory.path());
    tool.command.args(&command[1..]);
    let told = tool.env("PSEUDO_PREFIX", "/usr").env("PSEUDO_LOCALSTATEDIR", text(state.path())).ok();
    assert_eq!(String::from_utf8_lossy(&told.stdout), "old 5:6 640\nnew 0:0 644\nlast 7:8 644\n", "{}", told.stderr);
    for name in ["old", "new"] {
        assert!(fs::read(out.join(name)).unwrap() == expected, "{name}");
    }
    assert_eq!(fs::read_dir(out).unwrap().count(), 3, "a temporary file was left");
}
