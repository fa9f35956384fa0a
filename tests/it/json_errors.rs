//! What programs are told with `--json` of each kind of failure.

use std::fs::{self, OpenOptions};
use std::net::TcpListener;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use serde_json::{Value, json};

use crate::common::device::{Disk, Loop, Swap};
use crate::common::gnupg::{Who, keys};
use crate::common::image;
use crate::common::json::{ends_with, events, fails_with, object};
use crate::common::lying::{Lie, LyingDisk};
use crate::common::server::{File, Server};
use crate::common::signed::Bench;
use crate::common::tool::{Tool, bmaptool};
use crate::common::work::{Work, gzip};
use crate::common::{sh, text};
use crate::registry::JSON;

const MIB: u64 = 1 << 20;

/// An image of 16 MiB with little data, and files beside it that go wrong.
fn work() -> Work {
    Work::new(|path| image::sparse(path, 16 * MIB, &[(0, 20_000), (5 * MIB, 100_000)], 7))
}

/// A command with `--json` in the directory of `work`; its arguments are words.
fn run(work: &Work, command: &str) -> Tool {
    let mut words = command.split_whitespace();
    let first = words.next().unwrap();
    bmaptool([first, "--json"].into_iter().chain(words)).current_dir(work.directory.path())
}

fn write(work: &Work, name: &str, bytes: impl AsRef<[u8]>) {
    fs::write(work.path(name), bytes).unwrap();
}

#[test(Program("tar"), JSON)]
fn images_and_bmaps() {
    let work = work();
    let (image, map) = (fs::read(&work.image).unwrap(), fs::read_to_string(&work.bmap).unwrap());
    let changed = |at: usize| {
        let mut image = image.clone();
        image[at] ^= 1;
        image
    };
    let packed = gzip(&image);
    write(&work, "damaged.img", changed(3));
    write(&work, "short.img", &image[..15 * MIB as usize]);
    write(&work, "lone.img", &image);
    write(&work, "empty.img", "");
    write(&work, "odd.bmap", map.replace(" 4096 ", " 512 "));
    write(&work, "cut.gz", &packed[..packed.len() / 2]);
    write(&work, "trailer.gz", [&packed[..packed.len() - 8], &[7; 8]].concat());
    write(&work, "twice.gz", gzip(&packed));
    write(&work, "packed.gz", &packed);
    bmaptool(["create", "-o", text(&work.path("packed.bmap")), text(&work.path("packed.gz"))]).ok();
    write(&work, "raw.gz", &image);
    write(&work, "page.img", "<!DOCTYPE html><html><body>no</body></html>");
    for command in ["tar -cf text.tar odd.bmap", "tar -cf two.tar disk.img lone.img", "mkdir directory"] {
        sh("sh", &["-c", &format!("cd '{}' && {command}", work.directory.path().display())]);
    }
    let cases = [
        ("copy missing.img out", "no-such-file"),
        ("copy directory out", "is-directory"),
        ("copy lone.img out", "bmap-not-found"),
        ("copy --bmap disk.img disk.img out", "bmap-is-image"),
        ("copy --bmap odd.bmap disk.img out", "bmap-invalid"),
        ("copy --bmap disk.img.bmap short.img out", "size-mismatch"),
        ("copy --bmap disk.img.bmap damaged.img out", "checksum-mismatch"),
        ("copy --nobmap cut.gz out", "data-cut-off"),
        ("copy --nobmap trailer.gz out", "data-corrupt"),
        ("copy --nobmap twice.gz out", "compressed-twice"),
        ("copy --bmap packed.bmap packed.gz out", "bmap-of-compressed-file"),
        ("copy --nobmap raw.gz out", "not-compressed"),
        ("copy --nobmap page.img out", "not-an-image"),
        ("copy --nobmap text.tar out", "no-image-in-archive"),
        ("copy --nobmap two.tar out", "several-images"),
        ("copy --nobmap - out", "empty"),
        ("copy --nobmap http:///disk.img out", "invalid-url"),
        ("copy --keyring missing.gpg disk.img out", "keyring-unusable"),
        ("copy --cacert missing.pem disk.img out", "certificates-unusable"),
        ("copy --keyring odd.bmap disk.img out", "keyring-unusable"),
    ];
    for (command, code) in cases {
        let told = fails_with(run(&work, command), code);
        // A refusal comes before the start, but some damage is found only on the way.
        let target = told.iter().find(|event| event["type"] == "target");
        assert_eq!(target.is_some(), told[0]["type"] == "start", "{told:?}");
        if let Some(target) = target {
            assert_eq!((&target["ok"], &target["error"]["code"]), (&json!(false), &json!(code)));
            assert_eq!((&target["target"], &target["state"]), (&json!("out"), &json!("removed")));
        }
    }
    let half = &image[..4 * MIB as usize];
    fails_with(run(&work, "copy --bmap disk.img.bmap - out").stdin(half), "image-cut-off");
    let long = [&image[..], &[1; 4096]].concat();
    fails_with(run(&work, "copy --no-verify --bmap disk.img.bmap - out").stdin(long), "image-too-long");
    let closed = run(&work, "copy --nobmap - out").under(&["sh", "-c", "exec \"$0\" \"$@\" <&-"]);
    fails_with(closed, "stdin-closed");
}

#[test(JSON)]
fn wrong_usage() {
    let work = work();
    let cases = [
        "copy",
        "copy disk.img",
        "copy disk.img out --frobnicate",
        "copy --nobmap --bmap disk.img.bmap disk.img out",
        "copy - out",
        "copy -q -d disk.img out",
        "copy --fingerprint 1234 disk.img out",
        "create disk.img",
        "create -o out --range-size 1000 disk.img",
        "create -o out --map 1M-1T disk.img",
        "verify -",
        "info",
        "list /dev/sda",
    ];
    for command in cases {
        ends_with(run(&work, command), 2, "usage");
    }
    // An abbreviation counts; what follows two dashes is no option, and help is what it always is.
    let usage = bmaptool(["copy", "--js", "disk.img"]).exits(2, &["<TARGET>"]);
    let message = events(&usage)[0]["error"]["message"].clone();
    assert_eq!(message, "the following required arguments were not provided: <TARGET>...");
    assert_eq!(bmaptool(["copy", "--", "--json"]).exits(2, &["<TARGET>"]).stdout, b"");
    assert!(bmaptool(["copy", "--json", "--help"]).ok().stdout.starts_with(b"Write an image"));
}

#[test(JSON)]
fn targets_that_are_no_devices() {
    let work = work();
    let cases = [
        ("copy disk.img .", "target-wrong-kind"),
        ("copy disk.img disk.img", "target-is-input"),
        ("copy disk.img disk.img.bmap", "target-is-input"),
        ("copy disk.img missing/out", "target-unusable"),
        ("copy --removable-device disk.img out", "target-not-removable"),
        ("copy --read-back disk.img /dev/null", "target-cannot-be-read-back"),
        ("copy disk.img /dev/bmaptool-missing", "target-no-device"),
    ];
    for (command, code) in cases {
        let told = fails_with(run(&work, command), code);
        assert!(told.iter().all(|event| event["type"] != "start"), "{told:?}");
    }
    // Its events would be written into the target.
    for target in ["/dev/stdout", "events"] {
        let script = "\"$0\" \"$@\" >>events; status=$?; cat events; exit $status";
        let tool = run(&work, &format!("copy disk.img {target}")).under(&["sh", "-c", script]);
        fails_with(tool, "output-is-stdout");
        fs::remove_file(work.path("events")).unwrap();
    }
    fails_with(run(&work, "create -o /dev/stdout disk.img"), "output-is-stdout");
}

#[test(Root, Program("flock"), JSON)]
fn devices_in_use() {
    let work = work();
    let refused = |device: &Path, code| {
        fails_with(run(&work, &format!("copy disk.img {}", device.display())), code);
    };
    // What another test is just starting may use them for a moment longer.
    let [mounted, swap, below, held] = [(); 4].map(|()| Disk::new(20 * MIB));
    let _mount = mounted.mount(mounted.path());
    refused(mounted.path(), "target-mounted");
    let _swap = Swap::on(swap.path());
    refused(swap.path(), "target-swap");
    let _upper = Loop::attach(below.path());
    refused(below.path(), "target-held");
    let _held = OpenOptions::new().read(true).custom_flags(libc::O_EXCL).open(held.path()).unwrap();
    refused(held.path(), "target-busy");
    refused(Disk::with(20 * MIB, &["--read-only"]).path(), "target-read-only");
    let small = Disk::new(MIB);
    refused(small.path(), "target-too-small");
    let file = work.path("file");
    fs::write(&file, "").unwrap();
    refused(&Loop::attach(&file).path, "target-no-medium");
    fs::write(&file, "precious").unwrap();
    fails_with(run(&work, &format!("copy --nobmap {} file", small.path().display())), "arguments-swapped");
    let locked = run(&work, "copy disk.img file").under(&["flock", text(&file)]);
    fails_with(locked, "target-locked");
}

#[test(Root, FileSystem("fuse"), JSON)]
fn devices_that_lie() {
    let work = work();
    let copy =
        |option: &str, disk: &LyingDisk| run(&work, &format!("copy {option} disk.img {}", disk.path().display()));
    let disk = LyingDisk::new(20 * MIB).lies(Lie::Flip(5 * MIB + 5000, usize::MAX));
    let told = fails_with(copy("--read-back", &disk), "medium-fault");
    let of = |kind: &str| told.iter().filter(|event| event["type"] == kind).collect::<Vec<_>>();
    assert!(of("retry").iter().all(|retry| retry["bytes"].as_u64() > Some(0)) && !of("retry").is_empty(), "{told:?}");
    assert_eq!(
        (&of("mismatch")[0]["contents"], of("target")[0]["state"].as_str()),
        (&json!("unknown"), Some("invalid"))
    );
    assert_eq!(of("mismatch")[0]["start"], 5 * MIB);

    let disk = LyingDisk::new(128 * MIB).lies(Lie::Wrap(64 * MIB));
    let told = fails_with(copy("--read-back", &disk), "medium-too-small");
    assert_eq!(told[told.len() - 2]["state"], "untouched", "{told:?}");
    let disk = LyingDisk::new(20 * MIB).lies(Lie::ReadOnly(5 * MIB..6 * MIB));
    fails_with(copy("", &disk), "cannot-write");
}

#[test(Program("gpg"), Program("gpgv"), JSON)]
fn signatures() {
    let bench = Bench::new();
    let copy = |options: &[&str]| bench.copy(&[&["--json"], options].concat());
    fails_with(copy(&["--keyring", text(&keys().directory().join("ring.gpg"))]), "signature-missing");
    bench.sign(Who::Stranger);
    fails_with(copy(&[]), "signature-unknown-key");
    bench.sign(Who::Sub);
    let (fingerprint, _) = keys().fingerprints(Who::Rsa);
    fails_with(copy(&["--fingerprint", fingerprint]), "signature-wrong-signer");
    fails_with(copy(&[]).env("PATH", "/nonexistent"), "signature-unverifiable");
    bench.write_bmap([bench.text(), b"\n".to_vec()].concat());
    fails_with(copy(&[]), "signature-bad");
}

#[test(Program("ssh"), Loopback, JSON)]
fn servers() {
    let work = work();
    let image = fs::read(&work.image).unwrap();
    let map = fs::read(&work.bmap).unwrap();
    let file = File::new(image.clone());
    let server = Server::start(move |request, reply| match request.path() {
        "/gone" | "/disk.img.bmap.asc" | "/disk.img.bmap.sig" => reply.status("404 Not Found", &[]),
        "/teapot" => reply.status("418 I'm a teapot", &[]),
        "/page.bmap" => reply.file(request, &File::new(b"<!DOCTYPE html><html></html>".to_vec())),
        "/disk.img.bmap" => reply.file(request, &File::new(map.clone())),
        // It breaks off, and then nothing comes any more.
        _ if request.range(image.len()).is_some_and(|(start, _)| start > 0) => reply.close(),
        _ => reply.file_until(request, &file, 50_000),
    });
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let cases = [
        (format!("copy --nobmap {} out", server.url("gone")), "no-such-file"),
        (format!("copy --nobmap {} out", server.url("teapot")), "server-error"),
        (format!("copy --bmap {} disk.img out", server.url("page.bmap")), "not-a-bmap"),
        (format!("copy --nobmap http://{nobody}/disk.img out"), "server-unreachable"),
        (format!("copy --nobmap ssh://{nobody}/disk.img out"), "program-failed"),
    ];
    for (command, code) in cases {
        fails_with(run(&work, &command).env("BMAPTOOL_TIMEOUT_SCALE", "0.03"), code);
    }
    let url = server.url_as("me:s3cret", "disk.img");
    let told =
        fails_with(run(&work, &format!("copy {url} out")).env("BMAPTOOL_TIMEOUT_SCALE", "0.03"), "connection-lost");
    let retry = told.iter().find(|event| event["type"] == "retry").unwrap();
    assert!(retry["url"].as_str().unwrap().ends_with("/disk.img") && retry["pause"].as_f64().is_some(), "{retry}");
    assert!(!format!("{told:?}").contains("s3cret"), "{told:?}");
    let proxy = run(&work, "copy --nobmap http://host.invalid/disk.img out").env("http_proxy", "ftp://proxy.invalid");
    fails_with(proxy, "proxy-unusable");
}

#[test(Program("sfdisk"), JSON)]
fn create() {
    let work = work();
    crate::partitions::make(&work.path("gpt.img"), crate::partitions::GPT);
    let gpt = OpenOptions::new().write(true).open(work.path("gpt.img")).unwrap();
    write(&work, "empty.img", "");
    let cases = [
        ("create -o out missing.img", "no-such-file"),
        ("create -o out .", "not-mappable"),
        ("create -o out empty.img", "empty"),
        ("create -o disk.img disk.img", "output-is-image"),
        ("create -o out disk.img.bmap", "not-an-image"),
        ("create -o out --map p1 disk.img", "no-such-partition"),
        ("create -o /dev/full disk.img", "cannot-write"),
    ];
    for (command, code) in cases {
        fails_with(run(&work, command), code);
    }
    gpt.write_all_at(&[7], 512 + 56).unwrap();
    fails_with(run(&work, "create -o out --map p1 gpt.img"), "partition-table-damaged");
}

#[test(JSON)]
fn verify() {
    let work = work();
    bmaptool(["create", "--no-checksum", "-o", text(&work.path("plain.bmap")), text(&work.image)]).ok();
    write(&work, "lone.img", fs::read(&work.image).unwrap());
    fails_with(run(&work, "verify --bmap plain.bmap disk.img"), "bmap-has-no-checksums");
    fails_with(run(&work, "verify lone.img"), "bmap-not-found");
    let half = fs::read(&work.image).unwrap()[..4 * MIB as usize].to_vec();
    fails_with(run(&work, "verify --bmap disk.img.bmap -").stdin(half), "image-cut-off");
}

/// Where there is nothing to tell of a file, its object is replaced by how the command ended.
#[test(JSON)]
fn info_without_an_object() {
    let work = work();
    for (command, code) in [
        ("info --keyring missing.gpg disk.img", "keyring-unusable"),
        ("info --cacert missing.pem disk.img", "certificates-unusable"),
        ("info http:///disk.img", "invalid-url"),
    ] {
        let outcome = run(&work, command).run();
        let told: Value = object(&outcome);
        assert_eq!((&told["type"], &told["error"]["code"]), (&json!("result"), &json!(code)));
        assert_eq!((&told["exit_status"], outcome.status), (&json!(1), Some(1)));
    }
}

#[test(Program("setpriv"), Root, JSON)]
fn what_a_user_may_not_do() {
    let work = work();
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    mode(work.directory.path(), 0o755);
    write(&work, "secret.img", "");
    mode(&work.path("secret.img"), 0o600);
    let binary = crate::common::tool::binary_in(work.directory.path());
    for command in ["copy --json --nobmap secret.img /dev/null", "copy --json disk.img secret.img"] {
        let mut tool = std::process::Command::new("setpriv");
        tool.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&binary).args(command.split(' '));
        fails_with(Tool::of(tool).current_dir(work.directory.path()), "no-permission");
    }
}
