//! `info`: what an image, a bmap or a device is.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::common::device::Disk;
use crate::common::gnupg::{Who, keys};
use crate::common::image::Random;
use crate::common::json::object;
use crate::common::server::{File, Server};
use crate::common::signed::{BAD, Bench};
use crate::common::terminal::Terminal;
use crate::common::tool::{Tool, binary, bmaptool, copy, create};
use crate::common::trace::Trace;
use crate::common::work::Work;
use crate::common::{sh, temp_dir, text};
use crate::partitions::{GPT, MBR, make};
use crate::registry::JSON;

const MIB: u64 = 1 << 20;

/// An image of 16 MiB with a GPT of three partitions: the first is mapped as a whole, the second in part.
fn work() -> Work {
    Work::new(|path| {
        make(path, GPT);
        let image = OpenOptions::new().write(true).open(path).unwrap();
        let mut random = Random::new(3);
        image.write_all_at(&random.bytes(2 * MIB as usize), MIB).unwrap();
        image.write_all_at(&random.bytes(4096), 5 * MIB).unwrap();
    })
}

fn info(arguments: &[&str]) -> Tool {
    bmaptool([&["info"], arguments].concat())
}

fn info_json(file: &str) -> Tool {
    info(&["--json", file])
}

/// The lines that it prints, all of which must fit 80 columns.
fn lines(tool: Tool) -> Vec<String> {
    let text = String::from_utf8(tool.ok().stdout).unwrap();
    let lines: Vec<_> = text.lines().map(str::to_owned).collect();
    assert!(lines.iter().all(|line| line.chars().count() <= 80 && !line.ends_with(' ')), "{text}");
    lines
}

fn code(object: &Value) -> Vec<&str> {
    assert_eq!(object["ok"], object["errors"].as_array().unwrap().is_empty());
    object["errors"].as_array().unwrap().iter().map(|error| error["code"].as_str().unwrap()).collect()
}

#[test]
fn of_what_cannot_be_opened_no_size_is_told() {
    for file in ["/nonexist", "."] {
        let outcome = info(&[file]).fails(&[]);
        assert_eq!(String::from_utf8(outcome.stdout).unwrap(), format!("{file}\n  kind        cannot be told\n"));
    }
}

#[test(JSON)]
fn what_has_no_bytes_is_no_image() {
    assert_eq!(lines(info(&["/dev/null"])), ["/dev/null", "  kind        empty", "  size        0 bytes"]);
    let object = object(&info_json("/dev/null").ok());
    assert_eq!((&object["kind"], &object["other"]), (&json!("other"), &json!("empty")));
}

#[test]
fn a_long_name_goes_on_in_the_next_line() {
    let directory = temp_dir();
    let name = "n".repeat(200);
    fs::write(directory.path().join(&name), "data").unwrap();
    let told = lines(info(&[&name]).current_dir(directory.path()));
    assert_eq!(told[..3].concat(), name);
}

#[test(Program("sfdisk"))]
fn an_image_is_told_with_its_bmap_and_its_partitions() {
    let work = work();
    let outcome = info(&["disk.img"]).current_dir(work.directory.path()).ok();
    assert_eq!(outcome.stderr, "");
    let lines = lines(info(&["disk.img"]).current_dir(work.directory.path()));
    let expected = "\
disk.img
  kind        disk image
  size        16.0 MiB (16777216 bytes)

bmap disk.img.bmap
  version     2.0, blocks of 4.0 KiB
  mapped      2.0 MiB of 16.0 MiB (12.8%)
  ranges      4 ranges, largest 2.0 MiB
  checksums   sha256
  signature   none

GPT partition table, sectors of 512 bytes
   1  2.0 MiB  EFI system         no holes  EFI ⚡
   2  3.0 MiB  dm-verity          holes
   8  1.0 MiB  Linux file system  one hole";
    assert_eq!(lines, expected.lines().collect::<Vec<_>>(), "{}", lines.join("\n"));
}

#[test(Program("sfdisk"), JSON)]
fn a_program_is_told_the_same() {
    let work = work();
    let told = object(&info_json(text(&work.image)).ok());
    assert_eq!(
        (&told["kind"], &told["stored_size"], &told["image_size"]),
        (&json!("image"), &json!(16 * MIB), &json!(16 * MIB))
    );
    let map = &told["bmap"]["map"];
    assert_eq!(
        (&map["version"], &map["block_size"], &map["checksum"]),
        (&json!("2.0"), &json!(4096), &json!("sha256"))
    );
    assert_eq!((&map["ranges"], &map["largest_range"]), (&json!(4), &json!(2 * MIB)));
    assert_eq!((&told["bmap"]["signature"], code(&told)), (&json!("none"), vec![]));
    let table = &told["partition_table"];
    assert_eq!((&table["scheme"], &table["complete"]), (&json!("gpt"), &json!(true)));
    let first = json!({
        "number": 1, "start": MIB, "size": 2 * MIB, "type": "c12a7328-f81f-11d2-ba4b-00a0c93ec93b",
        "type_name": "EFI system", "name": "EFI ⚡", "mapped_bytes": 2 * MIB
    });
    assert_eq!(table["partitions"][0], first);
    assert_eq!(table["partitions"][1]["mapped_bytes"], 4096);
}

/// A command that stores the image, its compression, the archives that it is in, and its size where that is known.
type Case<'a> = (&'a str, Option<&'a str>, &'a [&'a str], Option<u64>);

#[test(Program("sfdisk"), Program("xz"), Program("zstd"), Program("zip"), JSON)]
fn compressed_and_archived_images_are_told() {
    let work = work();
    let cases: [Case<'_>; 7] = [
        ("gzip", Some("gzip"), &[], None),
        ("xz -T2", Some("xz"), &[], Some(16 * MIB)),
        ("zstd", Some("zstd"), &[], None),
        ("bzip2", Some("bzip2"), &[], None),
        ("tar -c disk.img", None, &["tar"], Some(16 * MIB)),
        ("tar -c disk.img | xz", Some("xz"), &["tar"], Some(16 * MIB)),
        ("zip -q - disk.img", None, &["zip"], Some(16 * MIB)),
    ];
    for (command, compression, archives, size) in cases {
        let packed = work.output_of(command);
        // It lies beside no bmap, and on standard input nothing does.
        let stdin = object(&info_json("-").stdin(fs::read(&packed).unwrap()).ok());
        let told = object(&info_json(text(&packed)).ok());
        for told in [&told, &stdin] {
            assert_eq!(told["compression"], json!(compression), "{command}: {told}");
            let members: Vec<_> =
                archives.iter().map(|archive| json!({"archive": archive, "name": "disk.img"})).collect();
            assert_eq!((&told["members"], &told["bmap"]), (&json!(members), &Value::Null), "{command}");
            assert_eq!(told["partition_table"]["partitions"][2]["number"], 8, "{command}");
        }
        assert_eq!(told["image_size"], json!(size), "{command}");
        assert_eq!(told["stored_size"], json!(fs::metadata(&packed).unwrap().len()), "{command}");
    }
    let packed = work.output_of("tar -c disk.img | xz");
    let told = lines(info(&[text(&packed)]));
    assert_eq!(
        told[1..3],
        ["  kind        disk image, in a tar archive, compressed with xz", "  member      disk.img"]
    );
}

#[test(Program("gpg"), JSON)]
fn a_bmap_is_told_with_its_signature() {
    let bench = Bench::new();
    let told = |file: &Path, status| {
        let outcome = info_json(text(file)).env("GNUPGHOME", keys().home()).run();
        assert_eq!(outcome.status, Some(status), "{}", outcome.stderr);
        (object(&outcome), outcome)
    };
    let (plain, _) = told(&bench.bmap, 0);
    assert_eq!((&plain["kind"], &plain["bmap"]["signature"]), (&json!("bmap"), &json!("none")));
    assert_eq!(plain["bmap"]["map"]["image_size"], 256 << 10);
    sh("gzip", &["--keep", text(&bench.bmap)]);
    let (packed, _) = told(&bench.path("disk.img.bmap.gz"), 0);
    assert_eq!((&packed["kind"], &packed["bmap"]["map"]), (&json!("bmap"), &plain["bmap"]["map"]));

    bench.sign(Who::Sub);
    for file in [&bench.bmap, &bench.image] {
        let (signed, _) = told(file, 0);
        let (key, primary) = keys().fingerprints(Who::Sub);
        let signer = json!({"user_id": Who::Sub.user_id(), "fingerprint": key, "primary": primary});
        assert_eq!((&signed["bmap"]["signature"], &signed["bmap"]["signers"]), (&json!("good"), &json!([signer])));
    }
    // What it says is shown nevertheless.
    bench.sign(Who::Stranger);
    for file in [&bench.bmap, &bench.image] {
        let (refused, outcome) = told(file, 1);
        assert_eq!((&refused["bmap"]["signature"], code(&refused)), (&json!("refused"), vec!["signature-unknown-key"]));
        assert_eq!(refused["bmap"]["map"], plain["bmap"]["map"]);
        outcome.says(&[BAD, "gpg --import"]);
    }
    let skipped = object(&info(&["--json", "--no-sig-verify", text(&bench.image)]).ok());
    assert_eq!(skipped["bmap"]["signature"], "not-sought");
    bench.sign(Who::Ed);
    let fingerprint = &keys().fingerprints(Who::Rsa).0;
    let other = info(&["--json", "--fingerprint", fingerprint, text(&bench.image)]).env("GNUPGHOME", keys().home());
    assert_eq!(code(&object(&other.fails(&["not by"]))), ["signature-wrong-signer"]);
}

#[test(Program("sfdisk"), JSON)]
fn the_bmap_may_be_named() {
    let work = work();
    let named = work.path("named.map");
    fs::rename(&work.bmap, &named).unwrap();
    let told = |file: &str| info(&["--json", "--bmap", text(&named), file]);
    assert_eq!(object(&info_json(text(&work.image)).ok())["bmap"], Value::Null);
    let packed = work.output_of("gzip");
    for file in [&work.image, &packed] {
        let told = object(&told(text(file)).ok());
        assert_eq!(told["bmap"]["file"], text(&named));
        assert_eq!(told["partition_table"]["partitions"][1]["mapped_bytes"], 4096);
    }
    let map = fs::read(&named).unwrap();
    let from_stdin = info(&["--json", "--bmap", "-", text(&work.image)]).stdin(map);
    assert_eq!(object(&from_stdin.ok())["bmap"]["map"]["ranges"], 4);
    let image_from_stdin = told("-").stdin(fs::read(&work.image).unwrap());
    assert_eq!(object(&image_from_stdin.ok())["bmap"]["map"]["ranges"], 4);
    // What has a bmap is an image.
    let twice = object(&told(text(&named)).fails(&["the image and the bmap are the same file"]));
    assert_eq!((&twice["kind"], &twice["bmap"]), (&json!("other"), &Value::Null));
    let missing = info(&["--json", "--bmap", "/nonexistent", text(&work.image)]);
    assert_eq!(code(&object(&missing.fails(&["cannot open '/nonexistent'"]))), ["no-such-file"]);
}

#[test(Root, Program("sfdisk"), JSON)]
fn the_bmap_of_a_device_may_be_named() {
    let work = work();
    let disk = Disk::new(16 * MIB);
    copy([text(&work.image), text(disk.path())]).ok();
    let told = |disk: &Disk| info(&["--json", "--bmap", text(&work.bmap), text(disk.path())]);
    let device = object(&told(&disk).ok());
    assert_eq!((&device["kind"], &device["bmap"]["map"]["ranges"]), (&json!("device"), &json!(4)));
    assert_eq!(device["partition_table"]["partitions"][1]["mapped_bytes"], 4096);
    let small = Disk::new(8 * MIB);
    let small = object(&told(&small).fails(&["has 8388608 bytes, but the bmap is for an image of 16777216"]));
    assert_eq!((code(&small), &small["bmap"]["map"]["ranges"]), (vec!["size-mismatch"], &json!(4)));
}

#[test(Program("sfdisk"), JSON)]
fn what_is_wrong_is_told_and_all_else_too() {
    let work = work();
    let wrong = |file: &str, codes: &[&str], fragments: &[&str]| {
        let told = object(&info_json(file).current_dir(work.directory.path()).fails(fragments));
        assert_eq!(code(&told), codes, "{file}: {told}");
        told
    };
    let write = |name: &str, bytes: &[u8]| fs::write(work.path(name), bytes).unwrap();
    let image = fs::read(&work.image).unwrap();

    assert_eq!(wrong("missing", &["no-such-file"], &["cannot open 'missing'"])["kind"], "unknown");
    wrong(".", &["is-directory"], &["is a directory"]);
    // A bmap that was changed, and one of another image.
    let map = fs::read_to_string(&work.bmap).unwrap();
    write("odd.img", &image);
    write("odd.bmap", map.replace(" 4096 ", " 512 ").as_bytes());
    let told = wrong("odd.img", &["bmap-invalid"], &["bmap file 'odd.bmap' cannot be used"]);
    assert_eq!((&told["bmap"]["map"], &told["partition_table"]["scheme"]), (&Value::Null, &json!("gpt")));
    write("short.img", &image[..MIB as usize * 15]);
    write("short.bmap", map.as_bytes());
    let told =
        wrong("short.img", &["size-mismatch"], &["has 15728640 bytes, but the bmap is for an image of 16777216"]);
    assert_eq!((&told["image_size"], &told["partition_table"]["scheme"]), (&json!(15 * MIB), &json!("gpt")));
    // Both wrong.
    let mut damaged = image;
    damaged[512 + 56] ^= 1;
    write("odd.img", &damaged);
    let told = wrong("odd.img", &["bmap-invalid", "partition-table-damaged"], &["the GPT is damaged"]);
    assert_eq!(told["partition_table"], Value::Null);
    let cut = work.output_of("gzip | head -c 100");
    wrong(text(&cut), &["data-cut-off"], &["cannot read"]);
    let twice = work.output_of("gzip | gzip");
    wrong(text(&twice), &["compressed-twice"], &["compressed again"]);
    let several = work.output_of("tar -c short.bmap");
    wrong(text(&several), &["no-image-in-archive"], &["holds no file that can be the image, but 'short.bmap'"]);
}

#[test(JSON)]
fn what_is_no_image_is_told_by_what_it_is() {
    let directory = temp_dir();
    let told = |contents: &[u8]| {
        fs::write(directory.path().join("file"), contents).unwrap();
        object(&info_json("file").current_dir(directory.path()).ok())
    };
    for (contents, what) in [(&b"QFI\xfb\0\0\0\x03"[..], "an image in the format QCOW"), (b"<html>", "an HTML page")] {
        let told = told(contents);
        assert_eq!(told["kind"], "other");
        assert!(told["other"].as_str().unwrap().starts_with(what), "{told}");
    }
    assert_eq!(told(b"")["other"], "empty");
}

#[test(Program("sfdisk"), Program("gzip"), JSON)]
fn logical_partitions_that_are_not_reached_are_not_denied() {
    let work = Work::new(|path| make(path, MBR));
    let table = |told: &Value| {
        let numbers: Vec<_> = told["partition_table"]["partitions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|partition| partition["number"].clone())
            .collect();
        (told["partition_table"]["complete"].clone(), numbers)
    };
    let raw = object(&info_json(text(&work.image)).ok());
    assert_eq!(table(&raw), (json!(true), [1, 2, 5, 6, 7].map(Value::from).to_vec()));
    let packed = work.output_of("gzip");
    let told = object(&info_json(text(&packed)).ok());
    assert_eq!(table(&told), (json!(false), [1, 2, 5].map(Value::from).to_vec()));
    let lines = lines(info(&[text(&packed)]));
    assert_eq!(lines.last().unwrap(), "  and perhaps more logical partitions that were not read");
}

#[test(Root, Program("sfdisk"), Program("strace"), JSON)]
fn a_device_is_told_and_not_written_to() {
    let work = work();
    let disk = Disk::new(20 * MIB);
    copy([text(&work.image), text(disk.path())]).ok();
    let device = text(disk.path());
    let trace = Trace::new();
    let told = object(&info_json(device).under(&trace.strace("open,openat")).ok());
    let opened: Vec<_> = trace.lines().into_iter().filter(|line| line.contains(&format!("\"{device}\""))).collect();
    assert!(
        !opened.is_empty() && opened.iter().all(|line| line.contains("O_RDONLY") && !line.contains("O_EXCL")),
        "{opened:?}"
    );
    assert_eq!((&told["kind"], &told["stored_size"]), (&json!("device"), &json!(20 * MIB)));
    let own = &told["device"];
    assert_eq!((&own["path"], &own["size"], &own["sector_size"]), (&json!(device), &json!(20 * MIB), &json!(512)));
    assert_eq!((&own["usage"], &own["read_only"]), (&json!({"kind": "free"}), &json!(false)));
    assert_eq!(told["partition_table"]["partitions"][0]["type_name"], "EFI system");
    let lines = lines(info(&[device]));
    for line in [
        "  kind        block device",
        "  sectors     512 bytes",
        "  used for    free",
        "  size        20.0 MiB (20971520 bytes)",
    ] {
        assert!(lines.iter().any(|told| told == line), "{lines:?}");
    }
}

#[test(Root, FileSystem("ext4"), JSON)]
fn what_a_device_is_used_for_is_told() {
    let disk = Disk::new(8 * MIB);
    let partition = disk.partition(1, MIB, 4 * MIB);
    let mount = disk.mount(&partition);
    let mounted = json!({"kind": "mounted", "mounts": [{"device": text(&partition), "point": text(mount.path())}]});
    let told = |device: &Path| object(&info_json(text(device)).ok())["device"].clone();
    assert_eq!(told(disk.path())["usage"], mounted);
    let partition = told(&partition);
    assert_eq!((&partition["partition_of"], &partition["size"]), (&json!(text(disk.path())), &json!(4 * MIB)));
    let lines = lines(info(&[text(disk.path())]));
    assert!(lines.contains(&format!("  used for    mounted on {}", text(mount.path()))), "{lines:?}");
}

#[test(Native, Program("sfdisk"), Program("xz"), Loopback, JSON)]
fn of_a_remote_image_only_the_head_is_fetched() {
    let directory = temp_dir();
    let image = directory.path().join("disk.img");
    make(&image, GPT);
    let mut bytes = fs::read(&image).unwrap();
    let noise = Random::new(5).bytes(12 * MIB as usize);
    bytes[4 * MIB as usize..].copy_from_slice(&noise);
    fs::write(&image, &bytes).unwrap();
    let bmap = fs::read(create(&image)).unwrap();
    sh("xz", &["-0", "--keep", "-T1", "--block-size=1MiB", text(&image)]);
    let packed = fs::read(directory.path().join("disk.img.xz")).unwrap();
    let server = Server::start(move |request, reply| match request.path() {
        "/disk.img" => reply.file(request, &File::new(bytes.clone())),
        "/disk.img.xz" => reply.file(request, &File::new(packed.clone())),
        "/disk.img.bmap" => reply.file(request, &File::new(bmap.clone())),
        _ => reply.status("404 Not Found", &[]),
    });
    for name in ["disk.img", "disk.img.xz"] {
        let before = server.sent();
        let told = object(&info_json(&server.url_as("me:secret", name)).ok());
        assert_eq!(
            (&told["image_size"], &told["partition_table"]["scheme"]),
            (&json!(16 * MIB), &json!("gpt")),
            "{name}"
        );
        assert_eq!(told["bmap"]["map"]["image_size"], 16 * MIB, "{name}");
        assert!(server.sent() - before < 12 * MIB, "{name}: {}", server.sent() - before);
        assert!(!told.to_string().contains("secret"), "{told}");
    }
}

#[test(Native, Program("sfdisk"), Program("tmux"))]
fn a_terminal_with_utf_8_shows_where_the_holes_are() {
    let work = work();
    let run = |name: &str, locale: &str| {
        let directory = work.path(name);
        fs::create_dir(&directory).unwrap();
        let command = format!("LC_ALL={locale} {} info {}; sleep 60", binary(), text(&work.image));
        let terminal = Terminal::start(&directory, (80, 40), &["sh", "-c", &command]);
        terminal.wait_for("partitions", |screen| screen.contains("dm-verity"))
    };
    let screen = run("utf8", "C.UTF-8");
    assert!(
        screen.contains("  map         ▒░░░████████░░░░░░░░▒░░░") && screen.contains("█ mapped  ▒ partly  ░ hole"),
        "{screen}"
    );
    assert!(!run("plain", "C").contains("mapped  ▒"));
}

#[test(Program("tar"), JSON)]
fn names_that_deceive_do_no_harm() {
    let work = work();
    let name = "a\u{1b}[2J\u{202e}b.img";
    fs::rename(&work.image, work.path(name)).unwrap();
    sh("tar", &["-C", text(work.directory.path()), "-cf", text(&work.path("x.tar")), name]);
    let told = object(&info_json(text(&work.path("x.tar"))).ok());
    assert_eq!(told["members"][0]["name"], name);
    let shown = String::from_utf8(info(&[text(&work.path("x.tar"))]).ok().stdout).unwrap();
    assert!(shown.contains("  member      a\u{fffd}[2J\u{fffd}b.img\n"), "{shown}");
}

#[test]
fn wrong_usage_is_refused() {
    info(&[]).exits(2, &["FILE"]);
    info(&["--bmap-sig", "-", "-"]).exits(2, &["cannot come from standard input together"]);
    info(&["--bmap", "-", "--bmap-sig", "-", "x"]).exits(2, &["cannot come from standard input together"]);
    for option in ["--nobmap", "--read-back"] {
        info(&[option, "x"]).exits(2, &["unexpected argument"]);
    }
}
