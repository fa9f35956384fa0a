//! Servers, signatures, arguments and surroundings that mean harm: nothing is believed that can be checked, nothing
//! waits for ever, and nothing that others chose reaches the terminal as more than text.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::common::server::{File, Reply, Server};
use crate::common::tool::{Outcome, Tool, binary, bmaptool, copy, write_program};
use crate::common::work::gzip;
use crate::common::{temp_dir, text};
use crate::registry::Need;

/// Tells how much memory was taken.
const TIME: Need = Need::Program("time");

const MIB: u64 = 1 << 20;

/// A directory with an image and its bmap, and a target that has something in it.
struct Victim {
    directory: tempfile::TempDir,
    image: PathBuf,
}

impl Victim {
    fn new() -> Self {
        let directory = temp_dir();
        let image = crate::common::tool::mapped_disk(directory.path());
        fs::write(directory.path().join("target"), "precious").unwrap();
        Self { directory, image }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A copy with these arguments to the target, with time-outs of about a second.
    fn copy(&self, arguments: &[&str]) -> Tool {
        let mut tool = copy(arguments).env("BMAPTOOL_TIMEOUT_SCALE", "0.03").env("HOME", self.directory.path());
        tool.command.arg(self.path("target"));
        tool.measured()
    }

    /// Expects a copy to be refused before the target is touched.
    #[track_caller]
    fn refuses(&self, arguments: &[&str], fragments: &[&str]) -> Outcome {
        let outcome = self.copy(arguments).fails(fragments);
        assert_eq!(fs::read(self.path("target")).unwrap(), b"precious");
        assert!(!outcome.stderr.contains('\x1b'), "{:?}", outcome.stderr);
        assert!(outcome.memory() < 64 * MIB, "{} MiB", outcome.memory() / MIB);
        outcome
    }
}

/// A server that answers every request so.
fn answering(answer: impl Fn(&mut Reply<'_>) + Send + Sync + 'static) -> Server {
    Server::start(move |_, reply| answer(reply))
}

#[test(TIME)]
fn headers_without_end_are_given_up() {
    let victim = Victim::new();
    let many = answering(|reply| {
        reply.head("200 OK", &["X-More: of this"; 100_000]);
        reply.close();
    });
    victim.refuses(&["--nobmap", &many.url("disk.img")], &["given up after", "broke at byte 0"]);
    let long = answering(|reply| {
        reply.body(b"HTTP/1.1 200 OK\r\nX-Long: ");
        (0..1024).for_each(|_| reply.body(&[b'x'; 16 << 10]));
        reply.close();
    });
    victim.refuses(&["--nobmap", &long.url("disk.img")], &["given up after", "broke at byte 0"]);
    let dripping = answering(|reply| {
        for _ in 0..40 {
            reply.body(b"H");
            std::thread::sleep(Duration::from_millis(100));
        }
        reply.close();
    });
    victim.refuses(&["--nobmap", &dripping.url("disk.img")], &["given up after", "broke at byte 0"]);
    let noise = answering(|reply| {
        reply.body(b"\x1b[2J\0\xff no HTTP at all\r\n\r\n");
        reply.close();
    });
    victim.refuses(&["--nobmap", &noise.url("disk.img")], &["given up after", "broke at byte 0"]);
    let status = answering(|reply| reply.status("404 \x1b[31mNot\x07Found", &[]));
    victim.refuses(&["--nobmap", &status.url("disk.img")], &["disk.img"]);
}

#[test(TIME)]
fn redirections_out_of_http_are_refused() {
    let victim = Victim::new();
    let secret = format!("file://{}", victim.image.display());
    for to in [secret.as_str(), "ftp://127.0.0.1/disk.img", "ssh://127.0.0.1/disk.img", "gopher://127.0.0.1/"] {
        let location = format!("Location: {to}");
        let server = answering(move |reply| reply.status("302 Found", &[&location]));
        victim.refuses(&["--nobmap", &server.url("disk.img")], &["is redirected to '", "which is not HTTP"]);
    }
    let server = answering(|reply| reply.status("302 Found", &["Location: http://[::bad"]));
    victim.refuses(&["--nobmap", &server.url("disk.img")], &["to something that is not a URL"]);
    let server = answering(|reply| reply.status("302 Found", &["Location: disk.img?again"]));
    victim.refuses(&["--nobmap", &server.url("disk.img")], &["is redirected over 10 times"]);
}

#[test(TIME)]
fn compression_that_was_not_asked_for_is_refused() {
    let victim = Victim::new();
    let image = fs::read(&victim.image).unwrap();
    for coding in ["br", "deflate", "compress", "gzip, br", "\t made-up"] {
        let line = format!("Content-Encoding: {coding}");
        let server = answering(move |reply| {
            reply.head("200 OK", &[&line, "Content-Length: 5"]);
            reply.body(b"12345");
        });
        let asked = "although it was asked not to";
        victim.refuses(&["--nobmap", &server.url("disk.img")], &["the server compresses", coding.trim(), asked]);
    }
    // Many servers call a file so that is stored so.
    let compressed = gzip(&image);
    let server = answering(move |reply| {
        let length = format!("Content-Length: {}", compressed.len());
        reply.head("200 OK", &["Content-Encoding: x-gzip", &length]);
        reply.body(&compressed);
    });
    victim.copy(&["--nobmap", &server.url("disk.img.gz")]).ok();
    assert_eq!(fs::read(victim.path("target")).unwrap(), image);
}

#[test(TIME)]
fn bodies_that_lie_about_their_length_are_refused() {
    let victim = Victim::new();
    let garbage = answering(|reply| {
        reply.head("200 OK", &["Transfer-Encoding: chunked"]);
        reply.body(b"fffffffffffffffff\r\nxyz\r\n");
        reply.close();
    });
    victim.refuses(&["--nobmap", &garbage.url("disk.img")], &["given up after", "broke at byte 0"]);
    for length in
        ["Content-Length: -1", "Content-Length: 18446744073709551616", "Content-Length: 5\r\nContent-Length: 6"]
    {
        let server = answering(move |reply| {
            reply.head("200 OK", &[length]);
            reply.body(b"12345");
            reply.close();
        });
        victim.refuses(&["--nobmap", &server.url("disk.img")], &["given up after", "broke at byte 0"]);
    }
    // An exabyte is announced, and the bmap knows better.
    let server = answering(|reply| {
        reply.head("200 OK", &["Content-Length: 1152921504606846976"]);
        reply.body(&vec![0; MIB as usize]);
        reply.close();
    });
    let bmap = format!("{}.bmap", victim.image.display());
    victim.refuses(&["--bmap", &bmap, &server.url("disk.img")], &["has 1152921504606846976 bytes, but the bmap"]);
}

#[test(TIME)]
fn a_bmap_without_end_is_cut_off() {
    let victim = Victim::new();
    let server = answering(|reply| {
        reply.head("200 OK", &[]);
        let chunk = vec![b' '; MIB as usize];
        (0..300).for_each(|_| reply.body(&chunk));
        reply.close();
    });
    let arguments = ["--bmap", &server.url("disk.bmap"), text(&victim.image)];
    let outcome = victim.copy(&arguments).fails(&["over 256.0 MiB, too many for a bmap"]);
    assert!(outcome.memory() < 400 * MIB, "{} MiB", outcome.memory() / MIB);
    assert_eq!(fs::read(victim.path("target")).unwrap(), b"precious");
}

/// An FTP server that says this for a greeting, again and again, with so much time in between.
fn greeting(words: &'static str, pause: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                while stream.write_all(words.as_bytes()).is_ok() {
                    std::thread::sleep(pause);
                }
            });
        }
    });
    format!("ftp://{address}/disk.img")
}

#[test(TIME)]
fn ftp_replies_without_end_are_refused() {
    let victim = Victim::new();
    let now = Duration::ZERO;
    for (words, reason) in [
        ("120 Ready in a minute\r\n", "refuses 'connect': 120 Ready"),
        ("220-And another line\r\n", "a reply has no end"),
        ("220 all in one line ", "a reply has no end"),
        ("220", "a reply has no end"),
        ("\0\x1b[2J\r\n", "the server does not speak FTP"),
        ("\u{ff}\u{ff}\u{ff}\r\n", "the server does not speak FTP"),
        ("550 \x1b[31mGo\x07away\r\n", "refuses 'connect': 550"),
    ] {
        victim.refuses(&["--nobmap", &greeting(words, now)], &[reason]);
    }
}

#[test(TIME)]
fn ftp_replies_that_drip_are_given_up() {
    let victim = Victim::new();
    for words in ["2", "220-\r\n"] {
        let url = greeting(words, Duration::from_millis(200));
        victim.refuses(&["--nobmap", &url], &["given up after", "a reply has no end"]);
    }
}

#[test(TIME)]
fn a_signature_without_end_is_cut_off() {
    let victim = Victim::new();
    let signature = format!("{}.bmap.asc", victim.image.display());
    fs::File::create(&signature).unwrap().set_len(1 << 30).unwrap();
    victim.refuses(&[text(&victim.image)], &["over 1.0 MiB, too many for a signature"]);
    let bmap = format!("{}.bmap", victim.image.display());
    victim.refuses(&["--bmap", &bmap, "--bmap-sig", "/dev/zero", text(&victim.image)], &["too many for a signature"]);
}

#[test(TIME)]
fn clearsigned_bombs_are_refused_in_bounded_memory() {
    let victim = Victim::new();
    let bmap = victim.path("bomb.bmap");
    let head = "-----BEGIN PGP SIGNED MESSAGE-----\n";
    let signature = "-----BEGIN PGP SIGNATURE-----\n";
    let end = "-----END PGP SIGNATURE-----\n";
    let (armor, hashes, dashes) = ("A".repeat(4 << 20), "Hash: SHA256\n".repeat(100_000), "- -\n".repeat(500_000));
    for message in [
        format!("{head}Hash: SHA256\n\n<bmap/>\n{signature}\n{armor}\n{end}"),
        format!("{head}{hashes}\n<bmap/>\n{signature}\n{end}"),
        format!("{head}Hash: SHA256\n\n{dashes}{signature}\n{end}"),
        format!("{head}Hash: SHA256\n\n<bmap/>\n{signature}\n{end}").repeat(10_000),
        format!("<bmap/>\n{head}Hash: SHA256\n\n<bmap/>\n{signature}\n{end}"),
        format!("{head}Hash: SHA256\n\n<bmap/>\n{signature}\n{end}<bmap/>"),
        format!("{head}Hash: SHA256\n\n<bmap/>\n"),
        format!("{head}\x1b[2J: \x07\n\n<bmap/>\n{signature}\n{end}"),
    ] {
        fs::write(&bmap, &message).unwrap();
        let outcome = victim.copy(&["--bmap", text(&bmap), text(&victim.image)]).fails(&["ERROR: "]);
        assert_eq!(fs::read(victim.path("target")).unwrap(), b"precious");
        assert!(!outcome.stderr.contains('\x1b') && outcome.memory() < 128 * MIB, "{:?}", outcome.stderr);
        assert!(outcome.stderr.len() < 2000, "{}", outcome.stderr.len());
    }
}

#[test(TIME)]
fn a_netrc_beyond_measure_is_not_read() {
    let victim = Victim::new();
    let server = Server::of(File::new(fs::read(&victim.image).unwrap()));
    let netrc = victim.path(".netrc");
    fs::File::create(&netrc).unwrap().set_len(1 << 30).unwrap();
    let outcome = victim.copy(&["--nobmap", &server.url("disk.img")]).ok();
    outcome.says(&[".netrc': it has over 1048576 bytes"]);
    assert!(outcome.memory() < 64 * MIB, "{} MiB", outcome.memory() / MIB);
    for netrc_text in
        [&b"machine"[..], b"machine 127.0.0.1 login \x1b[2J password \x07", b"macdef x\n\xff\n", b"\0\0\0"]
    {
        fs::write(&netrc, netrc_text).unwrap();
        let outcome = victim.copy(&["--nobmap", &server.url("disk.img")]).ok();
        assert!(!outcome.stderr.contains('\x1b'), "{:?}", outcome.stderr);
    }
    fs::remove_file(&netrc).unwrap();
    fs::create_dir(&netrc).unwrap();
    victim.copy(&["--nobmap", &server.url("disk.img")]).ok().says(&["cannot read '", ".netrc'"]);
}

#[test(TIME)]
fn odd_environments_change_nothing() {
    let victim = Victim::new();
    let server = Server::of(File::new(fs::read(&victim.image).unwrap()));
    let url = server.url("disk.img");
    for (name, value) in [
        ("COLUMNS", "-1"),
        ("COLUMNS", "99999999999999999999"),
        ("LINES", "\u{ff}"),
        ("TERM", ""),
        ("TERM", "no-such-terminal"),
        ("HOME", ""),
        ("HOME", "/nonexistent"),
        ("TMPDIR", "/nonexistent"),
        ("LANG", "xx_YY.nonsense"),
        ("NO_PROXY", ",,,*.,[::,"),
        ("SSL_CERT_FILE", "/nonexistent"),
        ("RUST_BACKTRACE", "full"),
        ("RUST_LOG", "trace"),
    ] {
        victim.copy(&["--nobmap", &url]).env(name, value).ok();
    }
    let mut bare = victim.copy(&["--nobmap", &url]);
    bare.command.env_clear();
    bare.ok();
    for proxy in ["http://", "::::", "socks9://x", "http://127.0.0.1:0", "http://\u{1b}[2J", "file:///etc/passwd"] {
        let outcome = victim.copy(&["--nobmap", &url]).env("http_proxy", proxy).run();
        assert!(matches!(outcome.status, Some(0 | 1)), "{proxy}: {outcome:?}");
        assert!(!outcome.stderr.contains('\x1b'), "{:?}", outcome.stderr);
    }
}

#[test]
fn odd_arguments_are_refused_in_plain_text() {
    let victim = Victim::new();
    let long = "x".repeat(100_000);
    victim.refuses(&["--nobmap", ""], &["cannot open ''"]);
    victim.refuses(&["--nobmap", &long], &["File name too long"]);
    victim.refuses(&["--nobmap", &format!("http://{long}/")], &["ERROR"]);
    victim.refuses(
        &["--nobmap", &format!("http://127.0.0.1:9/{long}\u{1b}[2J")],
        &["its address is too long or not valid in HTTP"],
    );
    for url in
        ["http://", "http://[", "ftp://", "ssh://", "http://a b/", "http://\0/", "HTTP://%/", "http://1.2.3.4.5.6/"]
    {
        if !url.contains('\0') {
            victim.refuses(&["--nobmap", url], &["ERROR"]);
        }
    }
    for name in
        [&b"\xff\xfe.img"[..], b"\x1b[2J.img", b"a\nbmaptool: info: all is well\n", "\u{202e}gmi.ksid".as_bytes()]
    {
        let mut tool = copy(["--nobmap"]);
        tool.command.arg(OsStr::from_bytes(name)).arg(victim.path("target"));
        let outcome = tool.fails(&["cannot open '"]);
        assert!(!outcome.stderr.contains('\x1b') && outcome.stderr.lines().count() == 1, "{:?}", outcome.stderr);
    }
    for arguments in [
        &[][..],
        &[""],
        &["copy"],
        &["copy", "--nobmap", "--bmap", "x", "a", "b"],
        &["copy", "-", "target"],
        &["--quiet", "--debug", "copy", "--nobmap", "a", "b"],
        &["copy", "--fingerprint", "", "a", "b"],
        &["copy", "--keyring", "", "a", "b"],
        &["copy", "--bmap", "", "a", "b"],
        &["\u{1b}[2Jcopy\u{7}"],
        &["copy", "--\u{1b}[2J=\u{9b}1m", "a", "b"],
    ] {
        let outcome = bmaptool(arguments).run();
        assert_eq!(outcome.status, Some(2), "{arguments:?}: {}", outcome.stderr);
        assert!(!outcome.stderr.contains(['\x1b', '\u{7}', '\u{9b}']), "{:?}", outcome.stderr);
    }
}

/// A name that shows itself in another order, or hides a part, could be taken for another.
#[test]
fn characters_that_reorder_or_hide_text_are_masked() {
    const NAME: &str = "a\u{202e}b\u{2066}c\u{200b}d\u{200d}e\u{feff}f\u{ad}g\u{e0041}h";
    const MASKED: &str = "a\u{fffd}b\u{fffd}c\u{fffd}d\u{fffd}e\u{fffd}f\u{fffd}g\u{fffd}h";
    const GREETING: &str = "550 a\u{202e}b\u{2066}c\u{200b}d\u{200d}e\u{feff}f\u{ad}g\u{e0041}h\r\n";
    let victim = Victim::new();
    let check = |outcome: Outcome| {
        outcome.says(&[MASKED]);
        assert!(!outcome.stderr.contains(NAME), "{:?}", outcome.stderr);
    };
    let command_lines: [&[&str]; 5] = [
        &["copy", "--nobmap", NAME, "target"],
        &["--debug", "copy", "--nobmap", text(&victim.image), &format!("/nowhere/{NAME}")],
        &["create", NAME],
        &["copy", &format!("--{NAME}"), "x", "y"],
        &["copy", "--nobmap", &greeting(GREETING, Duration::ZERO), "target"],
    ];
    for arguments in command_lines {
        check(bmaptool(arguments).current_dir(victim.directory.path()).run());
    }
    // As GnuPG escapes a user id.
    let escaped: String = NAME.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let fpr = "A".repeat(40);
    let status = format!("[GNUPG:] GOODSIG 0 {escaped}\n[GNUPG:] VALIDSIG {fpr} 0 0 0 4 0 22 8 00 {fpr}");
    let bin = temp_dir();
    let script = format!("fd=${{1#--status-fd=}}\necho '{status}' > /proc/self/fd/$fd\n");
    write_program(&bin.path().join("gpg"), &script);
    fs::write(format!("{}.bmap.sig", victim.image.display()), "signature").unwrap();
    check(copy([text(&victim.image), text(&victim.path("target"))]).env("PATH", bin.path()).run());
}

/// On a terminal, colours are the only commands that it gets.
#[test(Program("script"))]
fn names_that_command_the_terminal_are_escaped() {
    let victim = Victim::new();
    let run = |arguments: &str| {
        let command = format!("'{}' {arguments}", binary());
        let mut script = Command::new("script");
        script.args(["--quiet", "--return", "--command", &command, "/dev/null"]);
        script.current_dir(victim.directory.path()).env("SHELL", "/bin/sh");
        let output = script.env("TERM", "xterm").env_remove("NO_COLOR").output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let bad = "$(printf 'x\\033]0;title\\007\\033[2J')";
    for arguments in [
        format!("copy --nobmap \"{bad}\" target"),
        format!("copy \"{bad}.img\" \"{bad}\""),
        format!("copy --nobmap \"http://{bad}/\" target"),
        format!("create \"{bad}\""),
        format!("\"{bad}\""),
        format!("copy \"--{bad}\" a b"),
        format!("copy --fingerprint \"{bad}\" a b"),
    ] {
        let said = run(&arguments);
        assert!(said.contains("title") || said.contains("error: "), "{said:?}");
        assert!(!said.contains("\x1b]") && !said.contains("\x1b[2J") && !said.contains('\x07'), "{said:?}");
    }
    // What a server says, too.
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in server.incoming().flatten() {
            let mut line = String::new();
            let _ = stream.write_all(b"220 \x1b]0;title\x07\r\n");
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            while reader.read_line(&mut line).is_ok_and(|length| length > 0) {
                let _ = stream.write_all(b"550 \x1b]0;title\x07\x1b[2J\r\n");
            }
        }
    });
    let said = run(&format!("--debug copy --nobmap ftp://{address}/x target"));
    assert!(said.contains("550 ") && said.contains("title"), "{said:?}");
    assert!(!said.contains("\x1b]") && !said.contains("\x1b[2J") && !said.contains('\x07'), "{said:?}");
}
