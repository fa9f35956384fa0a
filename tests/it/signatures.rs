//! Whose the bmap is: what is signed well is copied, and nothing else touches the target.

use std::fs;
use std::path::PathBuf;

use crate::common::gnupg::{Who, keys};
use crate::common::server::{File, Server};
use crate::common::signed::{ARMORED, BAD, Bench, CLEAR, DETACHED, GOOD, good};
use crate::common::tool::copy;
use crate::common::work::gzip;
use crate::common::{sha256, temp_dir};
use crate::registry::Need;

const GPG: Need = Need::Program("gpg");
const GPGV: Need = Need::Program("gpgv");

#[test(GPG, GPGV)]
fn good_signatures_of_every_kind_are_accepted() {
    for who in [Who::Ed, Who::Rsa, Who::Sub] {
        let bench = Bench::new();
        for (ending, options) in [(".sig", DETACHED), (".sig", ARMORED), (".asc", ARMORED), (".asc", DETACHED)] {
            bench.write_beside(ending, keys().sign(who, options, &bench.text()));
            bench.accepts(bench.copy(&[]), &[&good(who), "discovered signature file"]);
            fs::rename(format!("{}{ending}", bench.bmap.display()), bench.path("elsewhere")).unwrap();
            let elsewhere = bench.path("elsewhere");
            bench.accepts(bench.copy(&["--bmap-sig", elsewhere.to_str().unwrap()]), &[&good(who)]);
        }
        bench.clearsign(who).accepts(bench.copy(&[]), &[&good(who)]);
    }
    let (subkey, primary) = keys().fingerprints(Who::Sub);
    assert_ne!(subkey, primary);
    let bench = Bench::new();
    bench.sign(Who::Sub).accepts(bench.copy(&[]), &[primary]);
}

#[test(GPG, GPGV)]
fn keyrings_of_every_kind_are_read() {
    let (detached, clear) = (Bench::new(), Bench::new());
    detached.sign(Who::Rsa);
    clear.clearsign(Who::Sub);
    let nowhere = detached.path("nowhere");
    for (bench, who) in [(&detached, Who::Rsa), (&clear, Who::Sub)] {
        for name in ["ring.gpg", "ring.asc", "user/pubring.kbx"] {
            let absolute = keys().directory().join(name);
            for ring in [absolute.to_str().unwrap(), name] {
                let tool = bench.copy(&["--keyring", ring]).current_dir(keys().directory()).env("GNUPGHOME", &nowhere);
                bench.accepts(tool, &[&good(who)]);
            }
        }
        let mut homeless = bench.copy(&["--keyring", "ring.gpg"]).current_dir(keys().directory());
        homeless.command.env_remove("GNUPGHOME").env_remove("HOME");
        bench.accepts(homeless, &[&good(who)]);
    }
    assert!(!nowhere.exists());
}

#[test(GPG, GPGV)]
fn a_keyring_that_is_none_is_refused() {
    let bench = Bench::new();
    bench.sign(Who::Ed);
    let ring = bench.path("ring");
    let armored = fs::read(keys().directory().join("ring.asc")).unwrap();
    let damaged = String::from_utf8(armored.clone()).unwrap().replace("\n\n", "\n\n!");
    let cases: [(&[u8], &str); 5] = [
        (b"", "is not a keyring"),
        (b"hello", "is not a keyring"),
        (&keys().sign(Who::Ed, DETACHED, b""), "is not a keyring"),
        (damaged.as_bytes(), "line 3 of the ASCII armour is damaged"),
        (&armored[..armored.len() / 2], "cut off"),
    ];
    bench.refuses(bench.copy(&["--keyring", ring.to_str().unwrap()]), &["cannot read keyring", "No such file"]);
    for (contents, message) in cases {
        fs::write(&ring, contents).unwrap();
        bench.refuses(bench.copy(&["--keyring", ring.to_str().unwrap()]), &[ring.to_str().unwrap(), message]);
    }
    // One that lacks the key.
    let (_, stranger) = keys().fingerprints(Who::Stranger);
    fs::copy(keys().directory().join("ring.gpg"), &ring).unwrap();
    bench.sign(Who::Stranger);
    bench.refuses(bench.copy(&["--keyring", ring.to_str().unwrap()]), &[BAD, "not in the keyring", stranger]);
}

#[test(GPG, GPGV)]
fn a_fingerprint_picks_the_signer() {
    let bench = Bench::new();
    bench.sign(Who::Sub);
    let (subkey, primary) = keys().fingerprints(Who::Sub);
    let (other, _) = keys().fingerprints(Who::Ed);
    let spaced: Vec<&str> = (0..10).map(|group| &primary[group * 4..group * 4 + 4]).collect();
    let marked = format!("0x{primary}");
    for accepted in [subkey.clone(), primary.clone(), subkey.to_lowercase(), spaced.join(" "), marked] {
        bench.accepts(bench.copy(&["--fingerprint", &accepted]), &[&good(Who::Sub)]);
        let ring = keys().directory().join("ring.asc");
        let options = ["--keyring", ring.to_str().unwrap(), "--fingerprint", &accepted];
        bench.accepts(bench.copy(&options), &[&good(Who::Sub)]);
    }
    bench.refuses(bench.copy(&["--fingerprint", other]), &[BAD, other, subkey]);
    for wrong in ["", "   ", &subkey[24..], &subkey[1..]] {
        bench.copy(&["--fingerprint", wrong]).exits(2, &["40 or 64"]);
        assert_eq!(fs::read(&bench.target).unwrap(), b"precious");
    }
}

#[test(GPG, GPGV)]
fn bad_signatures_are_refused() {
    let bench = Bench::new();
    let text = bench.text();
    let by = Who::Ed.user_id();
    // One byte of the bmap is changed; its own checksum would tell too, but it is not asked any more.
    let mut changed = text.clone();
    changed[20] ^= 1;
    for (bmap, signed) in [(&text, &b"another bmap"[..]), (&changed, &text)] {
        bench.write_bmap(bmap).write_beside(".sig", keys().sign(Who::Ed, DETACHED, signed));
        let outcome = bench.refuses(bench.copy(&[]), &[BAD, "disk.img.bmap.sig", &by, "not of this file"]);
        assert!(!outcome.stderr.contains("cannot be used"));
    }
    bench.write_bmap(&text);
    let signature = keys().sign(Who::Ed, DETACHED, &text);
    let cases: [(&[u8], &str); 5] = [
        (b"", "no OpenPGP signature"),
        (b"this is no signature\n", "no OpenPGP signature"),
        (&text, "no OpenPGP signature"),
        (&signature[..signature.len() / 2], "no OpenPGP signature"),
        (&fs::read(keys().directory().join("ring.gpg")).unwrap(), "no OpenPGP signature"),
    ];
    for (signature, message) in cases {
        bench.write_beside(".sig", signature);
        bench.refuses(bench.copy(&[]), &[BAD, message]);
    }
    bench.write_beside(".sig", vec![0; (1 << 20) + 1]);
    bench.refuses(bench.copy(&[]), &["disk.img.bmap.sig", "too many for a signature"]);

    // The byte in a clearsigned bmap.
    fs::remove_file(format!("{}.sig", bench.bmap.display())).unwrap();
    let clear = String::from_utf8(keys().sign(Who::Rsa, CLEAR, &text)).unwrap();
    bench.write_bmap(clear.replacen("0-1", "0-2", 1)).refuses(bench.copy(&[]), &[BAD, "not of this file"]);
    bench.write_bmap(&clear[..clear.len() - 10]).refuses(bench.copy(&[]), &[BAD, "cut off"]);
}

#[test(GPG, GPGV)]
fn signers_that_are_not_good_are_refused() {
    let bench = Bench::new();
    let text = bench.text();
    let ring = keys().directory().join("ring.gpg");
    let expired = ["--detach-sign", "--faked-system-time=20200102T000000", "--default-sig-expire=1d"];
    let weak = ["--detach-sign", "--digest-algo=MD5", "--allow-weak-digest-algos"];
    let (stranger, _) = keys().fingerprints(Who::Stranger);
    let cases: [(Who, &[&str], &[&str]); 6] = [
        (Who::Stranger, DETACHED, &["not in the keyring", stranger, "--keyring FILE", "gpg --import FILE"]),
        (Who::Ed, &expired, &["Ed Müller", "but has expired"]),
        (Who::Expired, DETACHED, &["Expired Müller", "whose key has expired"]),
        (Who::Revoked, DETACHED, &["Revoked Müller", "whose key has been revoked"]),
        (Who::Future, DETACHED, &["from the future", "set the clock"]),
        (Who::Rsa, &weak, &["digest MD5 is too weak"]),
    ];
    for (who, options, fragments) in cases {
        bench.write_beside(".sig", keys().sign(who, options, &text));
        for options in [&[][..], &["--keyring", ring.to_str().unwrap()]] {
            bench.refuses(bench.copy(options), &[&[BAD], fragments].concat());
        }
    }
    fs::remove_file(format!("{}.sig", bench.bmap.display())).unwrap();
    for who in [Who::Stranger, Who::Expired, Who::Revoked, Who::Future] {
        bench.write_bmap(keys().sign(who, CLEAR, &text)).refuses(bench.copy(&[]), &[BAD]);
    }
}

#[test(GPG, GPGV)]
fn one_good_signature_is_enough_among_unknown_ones() {
    let bench = Bench::new();
    let text = bench.text();
    let by = |who, text: &[u8]| keys().sign(who, DETACHED, text);
    let (ed, stranger, bad) = (by(Who::Ed, &text), by(Who::Stranger, &text), by(Who::Rsa, b"another bmap"));
    for both in [[&ed[..], &stranger], [&stranger, &ed]] {
        bench.write_beside(".sig", both.concat()).accepts(bench.copy(&[]), &[&good(Who::Ed)]);
        let (fingerprint, _) = keys().fingerprints(Who::Stranger);
        bench.refuses(bench.copy(&["--fingerprint", fingerprint]), &[BAD, fingerprint]);
    }
    let rsa = by(Who::Rsa, &text);
    let outcome = bench.write_beside(".sig", [&ed[..], &rsa].concat()).accepts(bench.copy(&[]), &[&good(Who::Ed)]);
    outcome.says(&[&good(Who::Rsa)]);
    for bad in [&bad, &by(Who::Expired, &text), &by(Who::Revoked, &text)] {
        for both in [[&ed[..], bad], [bad, &ed], [&stranger, bad]] {
            bench.write_beside(".sig", both.concat()).refuses(bench.copy(&[]), &[BAD]);
        }
    }
}

#[test(GPG, GPGV)]
fn clearsigned_and_detached_must_both_be_good() {
    let bench = Bench::new();
    let clear = bench.clearsign(Who::Rsa).sign(Who::Ed).text();
    bench.accepts(bench.copy(&[]), &[&good(Who::Rsa), &good(Who::Ed)]);
    for who in [Who::Rsa, Who::Ed] {
        bench.accepts(bench.copy(&["--fingerprint", &keys().fingerprints(who).0]), &[&good(who)]);
    }
    bench.write_beside(".sig", keys().sign(Who::Ed, DETACHED, b"another bmap"));
    bench.refuses(bench.copy(&[]), &[BAD, "disk.img.bmap.sig", "not of this file"]);
    let changed = String::from_utf8(clear).unwrap().replacen("0-1", "0-2", 1);
    bench.write_bmap(changed).sign(Who::Ed).refuses(bench.copy(&[]), &[BAD, "Rsa Müller", "not of this file"]);
}

#[test(GPG, GPGV)]
fn nothing_but_the_signed_part_is_parsed() {
    let bench = Bench::new();
    let plain = String::from_utf8(bench.text()).unwrap();
    let other = plain.replace("0-1", "0-2");
    let clear = |text: &str| String::from_utf8(keys().sign(Who::Ed, CLEAR, text.as_bytes())).unwrap();
    let signed = clear(&plain);
    let (before, after) = signed.split_once("-----BEGIN PGP SIGNATURE").unwrap();
    let outside = "text outside of the signed part";
    let cases = [
        (format!("{other}{signed}"), outside),
        (format!("{signed}{other}"), outside),
        (format!("Dear user,\n{signed}"), outside),
        (format!("{signed}{signed}"), "second signed part"),
        (format!("{signed}{}", clear(&other)), "second signed part"),
        (format!("<!--\n{signed}-->\n{other}"), outside),
        (format!("{before}{other}-----BEGIN PGP SIGNATURE{after}"), "not of this file"),
        (format!("{}{other}", before.replace("Hash:", "Hush:")), "cut off"),
        (signed.replace("Hash: SHA256", "Hash: SHA256\nComment: x"), "not of this file"),
    ];
    for (text, message) in cases {
        bench.write_bmap(text).refuses(bench.copy(&[]), &[BAD, message]);
    }
    bench.write_bmap(format!("\n \r\n{signed}\n\n")).accepts(bench.copy(&[]), &[&good(Who::Ed)]);
}

/// The classic confusion: a file that is well signed, but brings its own text along.
#[test(GPG, GPGV)]
fn messages_are_not_detached_signatures() {
    let bench = Bench::new();
    for options in [&["--sign"][..], &["--sign", "--armor"], CLEAR, &["--store"]] {
        for text in [&b"another bmap"[..], &bench.text()] {
            bench.write_beside(".sig", keys().sign(Who::Ed, options, text));
            let ring = keys().directory().join("ring.gpg");
            for options in [&[][..], &["--keyring", ring.to_str().unwrap()]] {
                bench.refuses(bench.copy(options), &[BAD]);
            }
        }
    }
    // What `gpg --clearsign` leaves beside the bmap.
    bench.clearsign(Who::Ed);
    let clear = bench.text();
    bench.write_beside(".asc", clear).refuses(bench.copy(&[]), &[BAD, "disk.img.bmap.asc", "not a detached signature"]);
    fs::remove_file(format!("{}.asc", bench.bmap.display())).unwrap();
    // Nor is such a message a bmap.
    fs::remove_file(format!("{}.sig", bench.bmap.display())).unwrap();
    bench.write_bmap(keys().sign(Who::Ed, &["--sign", "--armor"], &bench.text())).refuses(bench.copy(&[]), &[]);
}

/// The bmap's own checksum tells that its text comes out of the signed part byte by byte.
#[test(GPG, GPGV)]
fn lines_of_clearsigned_text_are_kept_byte_by_byte() {
    let bench = Bench::new();
    let plain = String::from_utf8(bench.text()).unwrap();
    let note = "<Note>\n- a\n--b\n-----BEGIN PGP SIGNED MESSAGE-----\n-----BEGIN PGP SIGNATURE-----\n-</Note>\n</bmap>";
    let dashed = with_checksum(&plain.replace("</bmap>", note));
    let windows = with_checksum(&plain.replace('\n', "\r\n"));
    for text in [&plain, &dashed, &windows] {
        let clear = String::from_utf8(keys().sign(Who::Ed, CLEAR, text.as_bytes())).unwrap();
        bench.write_bmap(&clear).accepts(bench.copy(&[]), &[&good(Who::Ed)]);
        bench.accepts(bench.copy(&["--no-sig-verify"]), &["is not verified"]);
        if !text.contains('\r') {
            // On its way every line end was converted.
            bench.write_bmap(clear.replace('\n', "\r\n")).accepts(bench.copy(&[]), &[&good(Who::Ed)]);
            bench.accepts(bench.copy(&["--no-sig-verify"]), &["is not verified"]);
        }
    }
}

/// Puts the right checksum of the file into it.
fn with_checksum(text: &str) -> String {
    let (_, after) = text.split_once("<BmapFileChecksum>").unwrap();
    let zeroed = text.replace(after.split_whitespace().next().unwrap(), &"0".repeat(64));
    let file = temp_dir();
    let path = file.path().join("bmap");
    fs::write(&path, &zeroed).unwrap();
    zeroed.replace(&"0".repeat(64), &sha256(&path))
}

/// A detached signature is of the file as it is stored, a clearsigned text may be compressed.
#[test(GPG, GPGV)]
fn compressed_bmaps_are_verified_as_they_are_signed() {
    let bench = Bench::new();
    let text = bench.text();
    let clear = keys().sign(Who::Rsa, CLEAR, &text);
    bench.write_bmap(gzip(&text)).accepts(bench.copy(&[]), &["is not signed"]);
    bench.write_bmap(gzip(&clear)).accepts(bench.copy(&[]), &[&good(Who::Rsa)]);
    bench.sign(Who::Ed).accepts(bench.copy(&[]), &[&good(Who::Rsa), &good(Who::Ed)]);
    bench.write_bmap(gzip(&text)).sign(Who::Ed).accepts(bench.copy(&[]), &[&good(Who::Ed)]);
    bench.write_beside(".sig", keys().sign(Who::Ed, DETACHED, &text));
    bench.refuses(bench.copy(&[]), &[BAD, "not of this file"]);
}

#[test(GPG, GPGV)]
fn a_signature_is_verified_before_anything_else() {
    let bench = Bench::new();
    bench.write_bmap("this is no bmap").sign(Who::Stranger);
    bench.refuses(bench.copy(&[]), &[BAD, "not in the keyring"]);
    fs::remove_file(&bench.target).unwrap();
    bench.copy(&[]).fails(&[BAD]);
    assert!(!bench.target.exists());
    bench.sign(Who::Ed).refuses(bench.copy(&[]), &["disk.img.bmap", "cannot be used"]);
}

#[test(GPG, GPGV)]
fn signature_files_are_no_targets() {
    let bench = Bench::new();
    bench.write_beside(".asc", keys().sign(Who::Ed, ARMORED, &bench.text()));
    let ring = bench.path("ring");
    fs::copy(keys().directory().join("ring.asc"), &ring).unwrap();
    let signature = PathBuf::from(format!("{}.asc", bench.bmap.display()));
    for (target, role) in [(&signature, "signature"), (&ring, "keyring"), (&bench.bmap, "bmap file")] {
        let before = sha256(target);
        let options = ["--keyring".as_ref(), ring.as_os_str(), bench.image.as_os_str(), target.as_os_str()];
        copy(options).fails(&[&format!("is the {role} itself")]);
        assert_eq!(sha256(target), before);
    }
}

#[test(GPG)]
fn no_sig_verify_accepts_any_signature_with_a_warning() {
    let bench = Bench::new();
    let text = bench.text();
    let path = temp_dir();
    // Even a wrong signature, and no verifier.
    let clear = String::from_utf8(keys().sign(Who::Stranger, CLEAR, &text)).unwrap();
    let wrong = clear.replacen("\niH", "\niJ", 1);
    for text in [&clear, &wrong] {
        bench.write_bmap(text);
        let outcome = bench.accepts(bench.copy(&["--no-sig-verify"]).env("PATH", path.path()), &[]);
        outcome.says(&["WARNING: the signature of bmap file", "(--no-sig-verify)"]);
    }
    bench.write_bmap(&text).write_beside(".sig", "garbage").accepts(bench.copy(&["--no-sig-verify"]), &[]);
    for option in [&["--keyring", "x"][..], &["--bmap-sig", "x"], &["--fingerprint", &"A".repeat(40)]] {
        bench.copy(&[&["--no-sig-verify"], option].concat()).exits(2, &["cannot be used with"]);
        bench.copy(&[&["--nobmap"], option].concat()).exits(2, &["cannot be used with"]);
    }
}

#[test(GPG, GPGV)]
fn unsigned_bmaps_are_accepted_unless_a_signature_is_asked_for() {
    let bench = Bench::new();
    bench.accepts(bench.copy(&[]), &["info: bmap file", "is not signed"]);
    let ring = keys().directory().join("ring.gpg");
    let (fingerprint, _) = keys().fingerprints(Who::Ed);
    bench.refuses(bench.copy(&["--fingerprint", fingerprint]), &["no signature found but --fingerprint given"]);
    bench.refuses(bench.copy(&["--keyring", ring.to_str().unwrap()]), &["no signature found but --keyring given"]);
    let missing = bench.path("missing.sig");
    let outcome =
        bench.refuses(bench.copy(&["--bmap-sig", missing.to_str().unwrap()]), &["missing.sig", "No such file"]);
    assert!(!outcome.stderr.contains("--nobmap"), "{}", outcome.stderr);
    // What cannot be read is not taken for absent.
    fs::create_dir(format!("{}.asc", bench.bmap.display())).unwrap();
    bench.refuses(bench.copy(&[]), &["disk.img.bmap.asc", "is a directory"]);
}

/// The signature of a remote bmap lies beside it, and its name keeps the query.
#[test(GPG, GPGV, Loopback)]
fn signatures_are_found_on_a_server() {
    let bench = Bench::new();
    let file = |bytes: Vec<u8>| File::new(bytes);
    let (image, bmap) = (file(fs::read(&bench.image).unwrap()), file(bench.text()));
    let serve = |ending: &'static str, signature: Vec<u8>| {
        let (image, bmap, signature) = (image.clone(), bmap.clone(), file(signature));
        Server::start(move |request, reply| match request.target.strip_prefix("/disk.img") {
            Some("?key=1") => reply.file(request, &image),
            Some(".bmap?key=1") => reply.file(request, &bmap),
            Some(name) if name.strip_suffix("?key=1") == Some(ending) => reply.file(request, &signature),
            _ => reply.status("404 Not Found", &[]),
        })
    };
    let copy_from = |server: &Server, options: &[&str]| {
        let mut tool = copy(options).env("GNUPGHOME", keys().home());
        tool.command.arg(server.url("disk.img?key=1")).arg(&bench.target);
        tool
    };
    for (ending, kind) in [(".bmap.asc", ARMORED), (".bmap.sig", DETACHED)] {
        let server = serve(ending, keys().sign(Who::Ed, kind, &bench.text()));
        let url = server.url(&format!("disk.img{ending}?key=1"));
        bench.accepts(copy_from(&server, &[]), &[GOOD, &format!("discovered signature file '{url}'")]);

        let server = serve(ending, keys().sign(Who::Ed, kind, b"another bmap"));
        bench.refuses(copy_from(&server, &[]), &[BAD]);
    }
    let server = serve(".elsewhere", keys().sign(Who::Rsa, DETACHED, &bench.text()));
    let signature = server.url("disk.img.elsewhere?key=1");
    bench.accepts(copy_from(&server, &["--bmap-sig", &signature]), &[GOOD]);
    bench.refuses(copy_from(&server, &["--bmap-sig", &server.url("none")]), &["cannot open", "404 Not Found"]);
}
