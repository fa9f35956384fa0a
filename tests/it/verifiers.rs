//! How the programs that verify signatures are run, and what becomes of them.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::common::gnupg::{Who, keys};
use crate::common::signed::{BAD, Bench, CLEAR, DETACHED, GOOD, good};
use crate::common::tool::{assert_ends, finish, wait_until, write_program};
use crate::common::{sh, temp_dir, text};
use crate::registry::Need;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const GPG: Need = Need::Program("gpg");
const GPGV: Need = Need::Program("gpgv");

/// A message of 400 MB, compressed to 2 kB.
#[test(GPG, GPGV, Program("time"))]
fn a_signature_that_decompresses_to_gigabytes_is_refused_in_bounded_memory() {
    let bench = Bench::new();
    let signature = format!("{}.sig", bench.bmap.display());
    let home = keys().home();
    sh(
        "sh",
        &[
            "-c",
            "head -c 400M /dev/zero | GNUPGHOME=$0 gpg -q --store -z 9 --compress-algo bzip2 -o $1",
            home.to_str().unwrap(),
            &signature,
        ],
    );
    assert!(fs::metadata(&signature).unwrap().len() < 10_000);
    let ring = keys().directory().join("ring.gpg");
    for options in [&[][..], &["--keyring", ring.to_str().unwrap()]] {
        let outcome = bench.copy(options).measured().fails(&[BAD, "not a detached signature"]);
        assert!(outcome.memory() < 100 << 20, "{} MiB", outcome.memory() >> 20);
    }
    assert_eq!(fs::read(&bench.target).unwrap(), b"precious");
}

/// Each of which a verifier would look at.
#[test(GPG, GPGV)]
fn absurdly_many_signatures_are_refused() {
    let bench = Bench::new();
    let ring = keys().directory().join("ring.gpg");
    let ring = ["--keyring", text(&ring)];
    // Some are no offence, and are named once.
    let signature = keys().sign(Who::Ed, DETACHED, &bench.text());
    bench.write_beside(".sig", signature.repeat(20));
    let outcome = bench.accepts(bench.copy(&[]), &[&good(Who::Ed)]);
    assert_eq!(outcome.stderr.matches(GOOD).count(), 1, "{}", outcome.stderr);
    let limit = ["discovered a BAD GPG signature", "over 65536 are not looked at"];
    for signature in [signature.repeat(1 + 65536 / signature.len()), vec![b'x'; 65537]] {
        bench.write_beside(".sig", signature);
        bench.refuses(bench.copy(&ring), &limit);
    }
    fs::remove_file(bench.path("disk.img.bmap.sig")).unwrap();
    let clear = String::from_utf8(keys().sign(Who::Ed, CLEAR, &bench.text())).unwrap();
    let (end, line) = ("-----END PGP SIGNATURE-----", format!("{}\n", "A".repeat(64)));
    bench.write_bmap(clear.replace(end, &format!("{}{end}", line.repeat(1100))));
    bench.refuses(bench.copy(&ring), &limit);
    bench.accepts(bench.copy(&["--no-sig-verify"]), &["is not verified"]);
}

/// But with `--keyring`: that works on its own, except for a keybox.
#[test(GPG)]
fn signed_bmaps_are_refused_without_gnupg() {
    let bench = Bench::new();
    let empty = temp_dir();
    let text = bench.text();
    let without = |options: &[&str]| bench.copy(options).env("PATH", empty.path());
    bench.accepts(without(&[]), &["is not signed"]);
    let refused = ["cannot be verified", "not found on PATH", "'--keyring FILE'", "'--no-sig-verify'"];
    let [ring, armored, keybox] =
        ["ring.gpg", "ring.asc", "user/pubring.kbx"].map(|name| keys().directory().join(name).display().to_string());
    let with_keyrings = || {
        bench.refuses(without(&[]), &refused);
        bench.refuses(without(&["--keyring", &keybox]), &["is a keybox", "gpgv not found on PATH", "gpg --export"]);
        bench.accepts(without(&["--keyring", &ring]), &[&good(Who::Ed)]);
        bench.accepts(without(&["--keyring", &armored]), &[&good(Who::Ed)]);
    };
    bench.sign(Who::Ed);
    with_keyrings();
    fs::remove_file(format!("{}.sig", bench.bmap.display())).unwrap();
    bench.write_bmap(keys().sign(Who::Ed, CLEAR, &text));
    with_keyrings();
    // With gpgv alone its own default keyring counts.
    if let Some(gpgv) = crate::common::find_program("gpgv") {
        std::os::unix::fs::symlink(gpgv, empty.path().join("gpgv")).unwrap();
        bench.refuses(without(&[]), &[BAD, "not in the keyring"]);
        fs::copy(ring, bench.path("trustedkeys.gpg")).unwrap();
        bench.accepts(without(&[]).env("GNUPGHOME", bench.directory.path()), &[&good(Who::Ed)]);
    }
}

#[test(GPG)]
fn every_key_is_unknown_without_a_keyring() {
    let bench = Bench::new();
    bench.sign(Who::Ed);
    let (home, nowhere) = (temp_dir(), bench.path("nowhere"));
    for home in [home.path(), &nowhere] {
        let mut tool = bench.copy(&[]).env("HOME", home);
        tool.command.env_remove("GNUPGHOME");
        bench.refuses(tool, &[BAD, "not in the keyring", "--keyring FILE"]);
        bench.refuses(bench.copy(&[]).env("GNUPGHOME", home.join("gnupg")), &[BAD, "not in the keyring"]);
    }
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0, "something was left in HOME");
}

/// With these settings, `gpg --verify` imports the key that a signature carries.
#[test(GPG, GPGV)]
fn no_setting_of_gnupg_makes_an_unknown_key_known() {
    const WITH_KEY: &[&str] = &["--include-key-block"];
    let bench = Bench::new();
    let text = bench.text();
    let (stranger, _) = keys().fingerprints(Who::Stranger);
    let home = temp_dir();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let settings = "auto-key-import\nauto-key-retrieve\nauto-key-locate local\nkeyserver-options auto-key-retrieve\n";
    fs::write(home.path().join("gpg.conf"), settings).unwrap();
    let ring = home.path().join("pubring.kbx");
    fs::copy(keys().home().join("pubring.kbx"), &ring).unwrap();
    let keys_before = fs::read(&ring).unwrap();

    let copies: [&[&str]; 2] = [&[], &["--keyring", ring.to_str().unwrap()]];
    let refused_with_all_options = || {
        for options in copies {
            let tool = bench.copy(options).env("GNUPGHOME", home.path());
            bench.refuses(tool, &[BAD, "is not in the keyring", stranger]);
        }
    };
    bench.write_beside(".sig", keys().sign(Who::Stranger, &[DETACHED, WITH_KEY].concat(), &text));
    refused_with_all_options();
    fs::remove_file(bench.path("disk.img.bmap.sig")).unwrap();
    bench.write_bmap(keys().sign(Who::Stranger, &[CLEAR, WITH_KEY].concat(), &text));
    refused_with_all_options();

    bench.write_bmap(keys().sign(Who::Ed, &[CLEAR, WITH_KEY].concat(), &text));
    bench.accepts(bench.copy(&[]).env("GNUPGHOME", home.path()), &[&good(Who::Ed)]);
    assert!(fs::read(&ring).unwrap() == keys_before, "the keyring has changed");
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 2, "something was left beside gpg.conf and the keyring");
}

#[test(GPG)]
fn keyrings_and_weak_digests_of_the_users_settings_count() {
    let bench = Bench::new();
    bench.sign(Who::Ed);
    let home = temp_dir();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let ring = keys().directory().join("ring.gpg");
    let copy_with = |settings: &str| {
        fs::write(home.path().join("gpg.conf"), settings).unwrap();
        bench.copy(&[]).env("GNUPGHOME", home.path())
    };
    let keyring = format!("keyring {}\n", ring.display());
    bench.refuses(copy_with(""), &[BAD, "is not in the keyring"]);
    bench.accepts(copy_with(&keyring), &[&good(Who::Ed)]);
    bench.write_beside(".sig", keys().sign(Who::Ed, &["--detach-sign", "--digest-algo=SHA512"], &bench.text()));
    bench.refuses(copy_with(&format!("{keyring}weak-digest SHA512")), &[BAD, "too weak or not supported"]);
}

/// A verifier that lies in words, and one that dies of what it saw.
#[test(GPG)]
fn only_status_lines_and_exit_status_count() {
    let bench = Bench::new();
    bench.sign(Who::Ed);
    let (fingerprint, _) = keys().fingerprints(Who::Ed);
    let good = format!("GOODSIG 0123456789ABCDEF Ed\n[GNUPG:] VALIDSIG {fingerprint} 0 0 0 4 0 22 8 00 {fingerprint}");
    let bin = temp_dir();
    let run = |status: &str, rest: &str| {
        let script = format!(
            "echo 'gpg: Good signature from Ed' >&2\necho '[GNUPG:] {good}'\necho '[GNUPG:] {good}' >&2\n\
             fd=${{1#--status-fd=}}\necho '[GNUPG:] {status}' > /proc/self/fd/$fd\n\
             [ \"$LC_ALL\" = C ] || exit 3\n[ -z \"$SECRET\" ] || exit 4\n{rest}\n"
        );
        write_program(&bin.path().join("gpg"), &script);
        bench.copy(&[]).env("PATH", bin.path()).env("LC_ALL", "de_DE.UTF-8").env("SECRET", "x")
    };
    bench.accepts(run(&good, "exit 0"), &[GOOD]);
    for rest in ["exit 1", "exit 2", "kill -9 $$"] {
        bench.refuses(run(&good, rest), &[BAD, "gpg failed"]);
    }
    bench.refuses(run("NEWSIG", "exit 0"), &[BAD, "gpg failed"]);
    bench.refuses(run("GOODSIG 0123456789ABCDEF Ed", "exit 0"), &[BAD, "not a signature of a file"]);
    bench.refuses(run(&format!("PLAINTEXT 62 0\n[GNUPG:] {good}"), "exit 0"), &[BAD, "not a detached signature"]);
    bench.clearsign(Who::Ed).refuses(run(&good, "exit 0"), &[BAD]);
}

#[test(GPG, GPGV, Root, Program("unshare"))]
fn signed_bmaps_are_refused_without_proc() {
    let bench = Bench::new();
    bench.sign(Who::Ed);
    let ring = keys().directory().join("user/pubring.kbx");
    for options in [&[][..], &["--keyring", text(&ring)]] {
        let script = "mount -t tmpfs none /proc && exec \"$@\"";
        let tool = bench.copy(options).under(&["unshare", "--mount", "sh", "-c", script, "sh"]);
        let outcome = bench.refuses(tool, &["cannot be verified", "/proc is not mounted"]);
        assert!(!outcome.stderr.contains(BAD) && !outcome.stderr.contains("install GnuPG"), "{}", outcome.stderr);
    }
}

/// So that the kernel would keep no exit status of theirs.
#[test(GPG, Program("bash"))]
fn a_signal_that_is_ignored_for_children_changes_nothing() {
    let bench = Bench::new();
    bench.sign(Who::Ed);
    let tool = bench.copy(&[]).under(&["bash", "-c", "trap '' CHLD; exec \"$@\"", "bash"]);
    bench.accepts(tool, &[&good(Who::Ed)]);
}

#[test(GPG)]
fn a_signal_ends_the_verifier_too() {
    let bench = Bench::new();
    bench.sign(Who::Ed);
    let bin = temp_dir();
    let running = bin.path().join("running");
    write_program(&bin.path().join("gpg"), &format!("echo $$ >'{}'\nexec /bin/sleep 60\n", running.display()));
    let mut child = bench.copy(&[]).env("PATH", bin.path()).spawn();
    let verifier = || fs::read_to_string(&running).unwrap_or_default();
    wait_until(&mut child, "the verifier", || verifier().ends_with('\n'));
    kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
    let outcome = finish(child);
    assert_eq!(outcome.status, Some(143), "{}", outcome.stderr);
    // It is ended by the kernel, and then reaped by the process that adopts orphans.
    assert_ends(verifier().trim().parse().unwrap());
}
