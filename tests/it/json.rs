//! What programs are told with `--json` while a command runs, and in the end.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::common::device::Disk;
use crate::common::gnupg::{Who, keys};
use crate::common::image;
use crate::common::json::{ends_with, fails_with, succeeds};
use crate::common::lying::{Lie, LyingDisk};
use crate::common::server::{self, Server};
use crate::common::signed::Bench;
use crate::common::text;
use crate::common::tool::{bmaptool, copy};
use crate::common::work::Work;
use crate::registry::JSON;

pub const MIB: u64 = 1 << 20;

/// An image of 16 MiB, of which a quarter is mapped, in two ranges.
pub fn work() -> Work {
    Work::new(|path| image::sparse(path, 16 * MIB, &[(0, 2 << 20), (8 * MIB, 2 << 20)], 7))
}

pub fn of<'a>(events: &'a [Value], kind: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["type"] == kind).collect()
}

/// The phases of a target, in order.
pub fn phases(events: &[Value], index: u64) -> Vec<&str> {
    let own = of(events, "phase").into_iter().filter(|event| event["index"] == index);
    own.map(|event| event["phase"].as_str().unwrap()).collect()
}

#[test(JSON)]
fn a_copy_is_told_from_start_to_end() {
    let work = work();
    let (out, image) = (work.path("out"), text(&work.image).to_owned());
    let told = succeeds(copy(["--json", &image, text(&out)]));
    let start = &told[0];
    assert_eq!((&start["type"], &start["command"], &start["image"]), (&json!("start"), &json!("copy"), &json!(image)));
    assert_eq!((&start["image_size"], &start["bmap"]["map"]["mapped_bytes"]), (&json!(16 * MIB), &json!(4 * MIB)));
    assert_eq!((&start["bmap"]["file"], &start["bmap"]["signature"]), (&json!(text(&work.bmap)), &json!("none")));
    let target = json!({
        "index": 0, "target": text(&out), "kind": "file", "size": null, "model": null, "serial": null
    });
    assert_eq!(start["targets"], json!([target]));
    assert_eq!(phases(&told, 0), ["copying", "synchronizing"]);
    let target = &told[told.len() - 2];
    assert_eq!(
        (&target["type"], &target["ok"], &target["state"]),
        (&json!("target"), &json!(true), &json!("complete"))
    );
    assert_eq!(
        (&target["bytes"], &target["written"], &target["unchanged"]),
        (&json!(4 * MIB), &json!(4 * MIB), &json!(0))
    );

    let again = succeeds(copy(["--json", "--only-changed", "--read-back", &image, text(&out)]));
    let target = of(&again, "target")[0];
    assert_eq!(
        (&target["written"], &target["unchanged"], &target["left_out"]),
        (&json!(0), &json!(4 * MIB), &json!(4 * MIB))
    );
}

#[test(JSON)]
fn several_targets_have_events_of_their_own() {
    let work = work();
    let [one, two] = ["one", "two"].map(|name| work.path(name));
    let told = succeeds(copy(["--json", text(&work.image), text(&one), text(&two), "/dev/null"]));
    assert_eq!(told[0]["targets"].as_array().unwrap().len(), 3);
    assert_eq!(told[0]["targets"][2]["kind"], "character-device");
    for index in 0..3 {
        assert_eq!(phases(&told, index), ["copying", "synchronizing"]);
    }
    let paths: Vec<_> = of(&told, "target").iter().map(|event| event["target"].as_str().unwrap().to_owned()).collect();
    assert_eq!(paths, [text(&one), text(&two), "/dev/null"]);

    let same = copy(["--json", text(&work.image), text(&one), text(&one)]);
    fails_with(same, "targets-overlap");
    let again = copy(["--json", text(&work.image), text(&one), text(&two)]);
    fails_with(again, "target-has-data");
    for file in [&one, &two] {
        fs::remove_file(file).unwrap();
    }
    let damaged = work.path("damaged.img");
    let mut bytes = fs::read(&work.image).unwrap();
    bytes[9 * MIB as usize] ^= 1;
    fs::write(&damaged, bytes).unwrap();
    let both = copy(["--json", "--bmap", text(&work.bmap), text(&damaged), text(&one), text(&two)]);
    let told = fails_with(both, "targets-failed");
    let codes: Vec<_> = of(&told, "target").iter().map(|event| &event["error"]["code"]).collect();
    assert_eq!(codes, ["checksum-mismatch"; 2]);
}

#[test(Root, JSON)]
fn a_device_is_told_with_its_size() {
    let (work, disk) = (work(), Disk::new(20 * MIB));
    let told = succeeds(copy(["--json", "--read-back", text(&work.image), text(disk.path())]));
    let target = &told[0]["targets"][0];
    assert_eq!((&target["kind"], &target["size"]), (&json!("block-device"), &json!(20 * MIB)));
    assert_eq!(phases(&told, 0), ["copying", "synchronizing", "verifying"]);
    assert_eq!(of(&told, "target")[0]["read_from"], "medium");
    let told = succeeds(bmaptool(["verify", "--json", "--bmap", text(&work.bmap), text(disk.path())]));
    assert_eq!(&told[0]["targets"][0], target);
    assert_eq!(told.last().unwrap()["verified"]["read_from"], "medium");
    let told = succeeds(copy(["--json", "--unmapped", "discard", text(&work.image), text(disk.path())]));
    assert_eq!(told.last().unwrap()["error"], Value::Null);
    let target = of(&told, "target")[0];
    assert_eq!((&target["discarded"], &target["zeroed"]), (&json!(16 * MIB), &json!(0)));
    assert_eq!(target["read_from"], Value::Null);
    let told = succeeds(copy(["--json", "--unmapped", "zero", text(&work.image), text(disk.path())]));
    let target = of(&told, "target")[0];
    // The boot region has no hole.
    assert_eq!((&target["discarded"], &target["zeroed"]), (&json!(0), &json!(12 * MIB)));
}

#[test(Program("gpg"), JSON)]
fn a_signer_is_told() {
    let bench = Bench::new();
    bench.sign(Who::Sub);
    let told = succeeds(bench.copy(&["--json"]));
    let (fingerprint, primary) = keys().fingerprints(Who::Sub);
    let signer = json!({"user_id": Who::Sub.user_id(), "fingerprint": fingerprint, "primary": primary});
    assert_eq!((&told[0]["bmap"]["signature"], &told[0]["bmap"]["signers"]), (&json!("good"), &json!([signer])));
    let told = succeeds(bench.copy(&["--json", "--no-sig-verify"]));
    assert_eq!(told[0]["bmap"]["signature"], "not-sought");
}

#[test(JSON)]
fn what_is_warned_of_has_a_code() {
    let work = work();
    let packed = work.output_of("gzip -c");
    fs::rename(&packed, work.path("disk.img.xz")).unwrap();
    let pipe = work.path("no-pipe");
    let tool = copy(["--json", "--no-verify", "--psplash-pipe", text(&pipe), "disk.img.xz", "out"]);
    let told = succeeds(tool.current_dir(work.directory.path()));
    let warnings: Vec<_> = of(&told, "warning").iter().map(|event| &event["code"]).collect();
    assert_eq!(warnings, ["name-differs", "not-verified", "psplash-unusable"]);
    let message = of(&told, "warning")[0]["message"].as_str().unwrap();
    assert_eq!(message, "the name of 'disk.img.xz' says xz, but it is gzip");
    assert!(of(&told, "warning").iter().all(|event| event["index"].is_null() && event["target"].is_null()));
}

#[test(Root, JSON)]
fn a_warning_names_the_target_that_it_is_about() {
    let (work, disk) = (work(), Disk::new(20 * MIB));
    let told = succeeds(copy(["--json", text(&work.image), text(&disk.backing)]));
    let warning = of(&told, "warning")[0];
    assert_eq!(
        (&warning["code"], &warning["index"], &warning["target"]),
        (&json!("shares-data"), &json!(0), &json!(text(&disk.backing)))
    );
}

#[test(JSON)]
fn a_server_that_is_not_ready_is_told_before_the_start() {
    let work = work();
    let image = server::File::new(fs::read(&work.image).unwrap());
    let is_ready = AtomicBool::new(false);
    let server = Server::start(move |request, reply| match is_ready.swap(true, Ordering::Relaxed) {
        false => reply.status("503 Service Unavailable", &[]),
        true => reply.file(request, &image),
    });
    let tool = copy(["--json", "--nobmap", &server.url("disk.img"), text(&work.path("out"))]);
    let told = succeeds(tool.env("BMAPTOOL_TIMEOUT_SCALE", "0.03"));
    assert_eq!(
        (&told[0]["type"], &told[0]["index"], &told[1]["type"]),
        (&json!("retry"), &Value::Null, &json!("start"))
    );
}

#[test(JSON)]
fn what_create_has_made_is_told_last() {
    let work = work();
    let create = |image: &str| {
        let tool = bmaptool(["create", "--json", "-o", "out.bmap", image]).current_dir(work.directory.path());
        succeeds(tool)
    };
    let told = create("disk.img");
    assert_eq!((&told[0]["command"], &told[0]["targets"][0]["target"]), (&json!("create"), &json!("disk.img")));
    assert_eq!(phases(&told, 0), ["hashing"]);
    let map = &told.last().unwrap()["map"];
    assert_eq!(
        (&map["ranges"], &map["mapped_bytes"], &map["checksum"]),
        (&json!(2), &json!(4 * MIB), &json!("sha256"))
    );
    assert_eq!((&told[0]["targets"][0]["kind"], &told[0]["image_size"]), (&json!("file"), &json!(16 * MIB)));
    // All checks come before the start.
    for option in [["--range-size", "1000"], ["--map", "5G-6G"]] {
        let arguments = [&["create", "--json", "-o", "out.bmap"], &option[..], &["disk.img"]].concat();
        let told = ends_with(bmaptool(arguments).current_dir(work.directory.path()), 2, "usage");
        assert_eq!(told.len(), 1, "{told:?}");
    }
    fs::write(work.path("full.img"), [7; 5000]).unwrap();
    let told = create("full.img");
    let warning = of(&told, "warning")[0];
    assert_eq!((&warning["code"], &warning["index"]), (&json!("no-holes"), &json!(0)));
}

#[test(JSON)]
fn what_differs_is_told_by_verify() {
    let work = work();
    let verify = || bmaptool(["verify", "--json", text(&work.image)]);
    let told = succeeds(verify());
    let verified = &told.last().unwrap()["verified"];
    assert_eq!(
        (&verified["bytes"], &verified["ranges"], &verified["wrong_ranges"]),
        (&json!(4 * MIB), &json!(2), &json!(0))
    );
    assert_eq!(phases(&told, 0), ["verifying"]);
    let mut bytes = fs::read(&work.image).unwrap();
    bytes[9 * MIB as usize] ^= 1;
    fs::write(&work.image, bytes).unwrap();
    let told = fails_with(verify(), "checksum-mismatch");
    let wrong = of(&told, "mismatch");
    assert_eq!((wrong.len(), &wrong[0]["start"], &wrong[0]["end"]), (1, &json!(8 * MIB), &json!(10 * MIB)));
    assert_eq!((&wrong[0]["checksum"], wrong[0]["found"].as_str().unwrap().len()), (&json!("sha256"), 64));
    assert_ne!(wrong[0]["found"], wrong[0]["expected"]);
    assert_eq!(told.last().unwrap()["verified"]["wrong_ranges"], 1);
    assert_eq!(told[0]["targets"][0]["kind"], "file");
}

#[test(Root, FileSystem("fuse"), JSON)]
fn what_cannot_be_read_is_told_by_verify() {
    let (work, disk) = (work(), LyingDisk::new(20 * MIB));
    copy([text(&work.image), text(disk.path())]).ok();
    let disk = disk.lies(Lie::Unreadable(9 * MIB + 5000..9 * MIB + 5001));
    let tool = bmaptool(["verify", "--json", "--bmap", text(&work.bmap), text(disk.path())]);
    let told = fails_with(tool, "cannot-read");
    let expected = json!({
        "type": "mismatch", "index": 0, "target": text(disk.path()), "start": 8 * MIB, "end": 10 * MIB, "ranges": 1,
        "checksum": "sha256", "expected": null, "found": null, "contents": "unreadable",
        "unreadable_at": 9 * MIB + 4096, "message": "Input/output error"
    });
    assert_eq!(of(&told, "mismatch"), [&expected]);
    let verified = &told.last().unwrap()["verified"];
    assert_eq!((&verified["wrong_ranges"], &verified["unreadable_ranges"]), (&json!(1), &json!(1)));
}
