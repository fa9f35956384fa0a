//! How much memory decompression takes, and what is said where there is too little.

use std::fs;
use std::io::Write;
use std::process::ChildStdin;

use crate::common::image::{Random, assert_same, disk_like, sparse};
use crate::common::tool::{Tool, copy};
use crate::common::work::{Work, copy_whole};
use crate::common::{temp_dir, text};
use crate::registry::{Need, Test};

#[test_cases]
fn members() -> Vec<Test> {
    let little_memory = |(name, needs, command, count): (_, [Need; 2], _, _)| {
        Test::new(format!("{name}_takes_little_memory"), &needs, move || takes_little_memory(command, count))
    };
    MEMBERS.map(little_memory).into()
}

/// Commands whose repeated output decompresses to the repeated input; and how often it is repeated.
const MEMBERS: [(&str, [Need; 2], &str, u32); 6] = [
    ("gzip", [TIME, Need::Program("gzip")], "gzip -1", 300),
    ("bzip2", [TIME, Need::Program("bzip2")], "bzip2 -1", 100),
    ("xz", [TIME, Need::Program("xz")], "xz -0", 300),
    ("zstd", [TIME, Need::Program("zstd")], "zstd -1", 300),
    ("lz4", [TIME, Need::Program("lz4")], "lz4 -1", 300),
    ("lzop", [TIME, Need::Program("lzop")], "lzop -1", 300),
];

/// Tells how much memory was taken.
const TIME: Need = Need::Program("time");

/// Far more data than memory may be taken, compressed and decompressed.
fn takes_little_memory(command: &str, count: u32) {
    let work = Work::new(|image| fs::write(image, Random::new(1).bytes(1 << 20)).unwrap());
    let member = fs::read(work.output_of(command)).unwrap();
    let feed = move |mut stdin: ChildStdin| (0..count).for_each(|_| stdin.write_all(&member).unwrap());
    let outcome = copy(["--nobmap", "-", "/dev/null"]).measured().run_fed(feed);
    assert_eq!(outcome.status, Some(0), "{}", outcome.stderr);
    assert!(outcome.memory() < 64 << 20, "{} MiB", outcome.memory() >> 20);
}

#[test]
fn a_zstd_window_over_2_gib_is_refused() {
    let directory = temp_dir();
    let compressed = directory.path().join("compressed");
    // A frame with a window of 2^32 bytes and an empty last block.
    fs::write(&compressed, b"\x28\xb5\x2f\xfd\x00\xb0\x01\0\0").unwrap();
    copy_whole(&compressed, &directory.path().join("out")).fails(&[
        "the zstd data cannot be decoded",
        "it needs a window of over ",
        "a quarter of the machine's memory",
    ]);
}

#[test(Native, Program("zstd"), Program("xz"))]
fn too_little_memory_is_no_damage_and_costs_no_target() {
    let work = Work::new(|image| sparse(image, 8 << 20, &[(0, 100_000)], 3));
    let (bmap, out) = (text(&work.bmap), work.path("out"));
    fs::write(&out, "precious").unwrap();
    for (command, kilobytes, format) in [("cat | zstd --long=27", 120_000, "zstd"), ("xz -9", 60_000, "xz")] {
        let compressed = work.output_of(command);
        for arguments in
            [&["--nobmap", text(&compressed), text(&out)][..], &["--bmap", bmap, text(&compressed), text(&out)]]
        {
            let outcome = with_memory(copy(arguments), kilobytes).run();
            let reason = format!("the {format} data cannot be decoded: the machine has not enough memory left for it");
            assert!(outcome.stderr.contains(&reason), "{}", outcome.stderr);
            assert!(!outcome.stderr.contains("corrupt"), "{}", outcome.stderr);
            assert_eq!(fs::read(&out).unwrap(), b"precious");
        }
        let arguments = ["--bmap", bmap, "-", text(&out)];
        let outcome = with_memory(copy(arguments).stdin(fs::read(&compressed).unwrap()), kilobytes).run();
        assert_eq!(outcome.status, Some(1), "{}", outcome.stderr);
        assert_eq!(fs::read(&out).unwrap(), b"precious");
    }
}

/// The same run in so small an address space.
fn with_memory(tool: Tool, kilobytes: u32) -> Tool {
    tool.under(&["sh", "-c", &format!("ulimit -v {kilobytes}; exec \"$@\""), "sh"])
}

#[test(Native, Program("xz"))]
fn the_largest_preset_of_xz_is_decompressed_in_256_mib() {
    let work = Work::new(|image| sparse(image, 8 << 20, &[(0, 100_000), (7 << 20, 5000)], 3));
    for command in ["xz -9 -T1", "xz -9 -T2"] {
        let compressed = work.output_of(command);
        let outcome = with_memory(work.copy(&compressed, &work.path("out")), 256 << 10).run();
        assert_eq!(outcome.status, Some(0), "{}", outcome.stderr);
        assert_same(&work.image, &work.path("out"));
    }
}

#[test(Native, Program("bzip2"), Program("lz4"), Program("lzop"), Program("xz"), Program("zstd"), Program("gzip"))]
fn little_memory_is_named_as_the_cause_whatever_the_format() {
    let work = Work::new(|image| disk_like(image, 1));
    for command in ["gzip -1", "bzip2 -9", "lz4 -B7", "lz4 -l", "lzop", "xz -T2 -6", "zstd"] {
        let compressed = work.output_of(command);
        for kilobytes in (22_000..70_000).step_by(8_000) {
            let outcome = with_memory(work.copy(&compressed, &work.path("out")), kilobytes).run();
            let said = &outcome.stderr;
            match outcome.status {
                Some(0) => assert_same(&work.image, &work.path("out")),
                Some(1) => {
                    assert!(CAUSES.iter().any(|cause| said.contains(cause)), "{command}, {kilobytes} KiB: {said}")
                }
                // The standard library gives up where it has no room for something small.
                _ => assert!(given_up(said).is_some_and(|bytes| bytes < 10_000), "{command}, {kilobytes} KiB: {said}"),
            }
        }
    }
}

/// How many bytes could not be had when the program was given up.
fn given_up(stderr: &str) -> Option<u64> {
    // Several threads may say so at once.
    let sizes = stderr.split("memory allocation of ").filter_map(|rest| rest.split_once(' ')?.0.parse().ok());
    sizes.max()
}

/// How a lack of memory is told.
const CAUSES: [&str; 3] = ["not enough memory left for it", "cannot start a thread", "cannot make the buffers"];
