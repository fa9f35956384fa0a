//! Signatures that this program verifies itself: the verdicts are those of `gpgv`, or refusals.
//!
//! GnuPG makes the keys and the signatures, or the crate `pgp` what GnuPG would not make; then both judge. What is asked
//! of users' commands is in `signatures` and `verifiers`.

mod forged;
mod judges;
mod keys;
mod version_6;

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::registry::Need;
use judges::{Case, Verdict};
use keys::{Home, LONG_AGO};

const GPG: Need = Need::Program("gpg");
const GPGV: Need = Need::Program("gpgv");

const DETACHED: &[&str] = &["--detach-sign"];
const ARMORED: &[&str] = &["--detach-sign", "--armor"];
const TEXT: &[&str] = &["--detach-sign", "--textmode"];
const CLEAR: &[&str] = &["--clearsign"];

/// Texts whose lines end in every way.
const TEXTS: [&[u8]; 5] = [
    b"<bmap>\n  <Range> 0-1 </Range>\n</bmap>\n",
    b"one\r\ntwo \r\n\r\nthree\t\r\n",
    b"- dash\n-\n--- \n-----BEGIN PGP SIGNATURE-----\nFrom here\n \t\nend  \n",
    b"no end",
    b"\n\n a\rb\n\xff\n\n",
];

/// What some threads make of each of `items`, in their order.
fn in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let mut done: Vec<(usize, R)> = thread::scope(|scope| {
        let worker = || {
            let mut done = Vec::new();
            loop {
                let place = next.fetch_add(1, Ordering::Relaxed);
                let Some(item) = items.get(place) else { break };
                done.push((place, work(item)));
            }
            done
        };
        let workers: Vec<_> = (0..4).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    });
    done.sort_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, result)| result).collect()
}

/// Both verdicts about each case: ours, and that of `gpgv`.
fn judge(cases: &[Case]) -> Vec<(Verdict, Verdict)> {
    in_parallel(cases, |case| {
        let files = case.files();
        (files.ours(), files.of_gpgv())
    })
}

/// Expects the same verdict about each case.
fn assert_agreed(cases: &[Case]) -> Vec<Verdict> {
    let verdicts = judge(cases);
    for (case, (ours, of_gpgv)) in cases.iter().zip(&verdicts) {
        assert_eq!(ours, of_gpgv, "{}: ours, and that of gpgv", case.name);
    }
    verdicts.into_iter().map(|(ours, _)| ours).collect()
}

impl Case {
    /// `data` signed by `key` of `home`, as `options` say, for who has the certificates `ring`.
    fn signed(name: &str, home: &Home, ring: &[u8], key: &str, options: &[&str], data: &[u8]) -> Self {
        let signed = home.sign(key, options, data);
        let is_clear = options.contains(&"--clearsign");
        let (file, signature) = if is_clear { (signed, None) } else { (data.to_vec(), Some(signed)) };
        Self { name: name.to_owned(), ring: ring.to_vec(), file, signature }
    }
}

#[test(GPG, GPGV)]
fn every_algorithm_form_and_text_is_judged_as_by_gpgv() {
    const PRIMARIES: [&str; 8] =
        ["rsa2048", "rsa3072", "dsa2048", "ed25519", "nistp256", "nistp384", "nistp521", "rsa4096"];
    const SUBKEYS: [&str; 5] = ["rsa2048", "ed25519", "nistp256", "nistp384", "nistp521"];
    const FORMS: [(&str, &[&str]); 4] =
        [("binary", DETACHED), ("armored", ARMORED), ("text", TEXT), ("clearsigned", CLEAR)];
    let home = Home::new();
    let mut keys: Vec<(&str, String)> =
        PRIMARIES.iter().map(|algorithm| (*algorithm, home.key(algorithm, algorithm, "sign", &[]))).collect();
    let with_subkeys = home.key("Subkeys Müller <subkeys@example.org>", "ed25519", "cert", &[]);
    keys.extend(
        SUBKEYS
            .iter()
            .map(|algorithm| (*algorithm, home.subkey(&with_subkeys, &for_signing(algorithm), "sign", "never", &[]))),
    );
    home.subkey(&with_subkeys, "cv25519", "encr", "never", &[]);
    let ring = home.export_all();

    let mut wanted = Vec::new();
    for (number, (algorithm, key)) in keys.iter().enumerate() {
        for (form, options) in FORMS {
            for place in 0..3 {
                // Each text and digest comes to each form, though not to each key.
                let text = TEXTS[(number + place) % TEXTS.len()];
                // GnuPG signs with no digest that is shorter than the group.
                let digest = match (*algorithm, place) {
                    ("nistp521", _) | (_, 0) => "SHA512",
                    ("nistp384", _) | (_, 1) => "SHA384",
                    _ => "SHA256",
                };
                wanted.push((format!("{algorithm} {form} {digest} {text:?}"), key, options, digest, text));
            }
        }
    }
    let cases = in_parallel(&wanted, |(name, key, options, digest, text)| {
        let digest = format!("--digest-algo={digest}");
        Case::signed(name, &home, &ring, key, &[&[digest.as_str()][..], options].concat(), text)
    });
    assert!(cases.len() >= 150);
    for (case, verdict) in cases.iter().zip(assert_agreed(&cases)) {
        assert!(matches!(verdict, Verdict::Good(..)), "{}: {verdict:?}", case.name);
    }
}

/// Keys in every state, at this time.
#[test(GPG, GPGV)]
fn keys_in_every_state_are_judged_as_by_gpgv() {
    const TEXT: &[u8] = b"<bmap>\n</bmap>\n";
    let home = Home::new();
    let sign = |key: &str, options: &[&str]| home.sign(key, &[options, DETACHED].concat(), TEXT);
    let mut cases = Vec::new();
    let mut expect = |name: &str, ring: Vec<u8>, signature: Vec<u8>, verdict: &'static str| {
        let case = Case { name: name.to_owned(), ring, file: TEXT.to_vec(), signature: Some(signature) };
        cases.push((case, verdict));
    };
    const GOOD: &str = "good";

    // Primary keys.
    let key = home.key_until("expired", "ed25519", "sign", "1d", &[LONG_AGO]);
    let old = sign(&key, &[LONG_AGO]);
    expect("an expired key", home.export(&key), old.clone(), "key expired");
    home.gpg(&["--quick-set-expire", &key, "0"], b"");
    expect("a prolonged key", home.export(&key), old, GOOD);
    let key = home.key("shortened", "nistp256", "sign", &[LONG_AGO]);
    let old = sign(&key, &[LONG_AGO]);
    home.gpg(&["--faked-system-time=20200201T000000", "--quick-set-expire", &key, "1d"], b"");
    expect("a shortened key", home.export(&key), old, "key expired");
    let key = home.key("revoked", "rsa2048", "sign", &[]);
    let (before, signature) = (home.export(&key), sign(&key, &[]));
    home.revoke(&key);
    expect("a key before it is revoked", before, signature.clone(), GOOD);
    expect("a revoked key", home.export(&key), signature.clone(), "key revoked");
    let key = home.key("future", "ed25519", "sign", &["--faked-system-time=20400101T000000"]);
    expect("a key from the future", home.export(&key), sign(&key, &["--faked-system-time=20400101T000000"]), "time");
    let stranger = home.key("stranger", "ed25519", "sign", &[]);
    let other = sign(&stranger, &[]);
    expect("an unknown key", home.export(&key), other.clone(), "unknown key");
    let both = [other.clone(), sign(&key, &["--faked-system-time=20400101T000000"])].concat();
    expect("an unknown key and one from the future", home.export(&key), both, "time");
    let key = home.key("older", "ed25519", "sign", &[]);
    let older = ["--ignore-time-conflict", "--ignore-valid-from", LONG_AGO];
    expect("a signature older than its key", home.export(&key), sign(&key, &older), "time");
    let key = home.key("expiring", "ed25519", "sign", &[LONG_AGO]);
    let expired = sign(&key, &[LONG_AGO, "--default-sig-expire=1d"]);
    expect("an expired signature", home.export(&key), expired.clone(), "signature expired");
    expect("one that expires in the future", home.export(&key), sign(&key, &["--default-sig-expire=1d"]), GOOD);
    let good = sign(&key, &[]);
    expect("a good and an expired signature", home.export(&key), [good.clone(), expired].concat(), "signature expired");
    expect("two good ones", home.export(&key), [good.clone(), good.clone()].concat(), GOOD);
    let text = sign(&key, &["--textmode"]);
    expect("a text and a binary one", home.export(&key), [text.clone(), good.clone()].concat(), GOOD);
    expect("an unknown and a good one", home.export(&key), [other.clone(), good.clone()].concat(), GOOD);
    expect("a good and an unknown one", home.export(&key), [good.clone(), other.clone()].concat(), GOOD);
    let bad = home.sign(&key, DETACHED, b"another text");
    expect("a bad one", home.export(&key), bad.clone(), "bad");
    expect("a good and a bad one", home.export(&key), [good.clone(), bad.clone()].concat(), "bad");
    expect("a bad and a good one", home.export(&key), [bad.clone(), good.clone()].concat(), "bad");
    // Only the first of several kinds is looked at.
    expect("a good one, and a bad one of another kind", home.export(&key), [text, bad].concat(), GOOD);
    let unknown_text = sign(&stranger, &["--textmode"]);
    expect(
        "an unknown one, and a good one of another kind",
        home.export(&key),
        [unknown_text, good].concat(),
        "unknown key",
    );
    let weak = ["--digest-algo=MD5", "--allow-weak-digest-algos"];
    let key = home.key("weak", "rsa2048", "sign", &[]);
    expect("a signature with MD5", home.export(&key), sign(&key, &weak), "digest");
    let weak = ["--cert-digest-algo=MD5", "--allow-weak-digest-algos"];
    let key = home.key("md5", "rsa2048", "sign", &weak);
    expect("a certificate with MD5", home.export(&key), sign(&key, &weak), "unbound key");
    let key = home.key("sha1", "rsa2048", "sign", &["--cert-digest-algo=SHA1"]);
    expect("a certificate with SHA-1", home.export(&key), sign(&key, &[]), GOOD);

    // User ids.
    let key = home.key("First <first@example.org>", "ed25519", "sign", &[LONG_AGO]);
    home.gpg(&["--quick-add-uid", &key, "Second <second@example.org>"], b"");
    expect("two user ids", home.export(&key), sign(&key, &[]), GOOD);
    home.gpg(&["--quick-set-primary-uid", &key, "First <first@example.org>"], b"");
    expect("a marked user id", home.export(&key), sign(&key, &[]), GOOD);
    home.gpg(&["--quick-revoke-uid", &key, "First <first@example.org>"], b"");
    expect("a revoked user id", home.export(&key), sign(&key, &[]), GOOD);
    let user_id = "100% [odd] \u{202e}<x@example.org>";
    let key = home.key(user_id, "ed25519", "sign", &[]);
    expect("an odd user id", home.export(&key), sign(&key, &[]), GOOD);

    // Subkeys.
    let key = home.key("Subkeys", "ed25519", "cert", &[LONG_AGO]);
    let expired = home.subkey(&key, "ed25519", "sign", "1d", &[LONG_AGO]);
    let old = sign(&expired, &[LONG_AGO]);
    expect("an expired subkey", home.export(&key), old.clone(), "key expired");
    home.gpg(&["--quick-set-expire", &key, "0", &expired], b"");
    expect("a prolonged subkey", home.export(&key), old, GOOD);
    let revoked = home.subkey(&key, &for_signing("nistp256"), "sign", "never", &[]);
    let signature = sign(&revoked, &[]);
    expect("a subkey before it is revoked", home.export(&key), signature.clone(), GOOD);
    home.edit(&key, &["key 2", "revkey", "y", "0", "", "y", "save"]);
    expect("a revoked subkey", home.export(&key), signature, "key revoked");
    let usable = home.subkey(&key, "rsa2048", "sign", "never", &[]);
    let signature = sign(&usable, &[]);
    expect("a subkey beside a revoked one", home.export(&key), signature.clone(), GOOD);
    let changed = home.subkey(&key, "rsa2048", "sign,encr", "never", &[]);
    let by_changed = sign(&changed, &[]);
    expect("a subkey for several uses", home.export(&key), by_changed.clone(), GOOD);
    home.edit(&key, &["key 4", "change-usage", "s", "q", "save"]);
    expect("a subkey that may no longer sign", home.export(&key), by_changed, "not for signing");
    home.gpg(&["--faked-system-time=20200601T000000", "--quick-set-expire", &key, "1d"], b"");
    expect("a subkey of an expired key", home.export(&key), signature.clone(), "key expired");
    home.gpg(&["--quick-set-expire", &key, "0"], b"");
    home.revoke(&key);
    expect("a subkey of a revoked key", home.export(&key), signature, "key revoked");

    let (cases, expected): (Vec<_>, Vec<_>) = cases.into_iter().unzip();
    for ((case, verdict), expected) in cases.iter().zip(assert_agreed(&cases)).zip(expected) {
        match verdict {
            Verdict::Good(..) => assert_eq!(expected, GOOD, "{}", case.name),
            Verdict::Refused(reason) => assert_eq!(reason, expected, "{}", case.name),
        }
    }
}

/// What docs/security.md lists.
#[test(GPG, GPGV)]
fn where_gpgv_accepts_more_the_reason_is_told() {
    let home = Home::new();
    let (rsa, ed) = (home.key("rsa", "rsa2048", "sign", &[]), home.key("ed", "ed25519", "sign", &[]));
    let brainpool = home.key("brainpool", "brainpoolP256r1", "sign", &[]);
    let secp = home.key("secp", "secp256k1", "sign", &[]);
    let ring = home.export_all();
    let text = b"<bmap>\n</bmap>\n";
    let future = "--faked-system-time=20400101T000000";
    let mut cases: Vec<(Case, &str)> = [
        ("SHA-1", &rsa, ["--digest-algo=SHA1", "--detach-sign"], "digest"),
        ("RIPEMD-160", &rsa, ["--digest-algo=RIPEMD160", "--detach-sign"], "digest"),
        ("SHA-1 within a text", &rsa, ["--digest-algo=SHA1", "--clearsign"], "digest"),
        ("the future", &ed, [future, "--detach-sign"], "time"),
        ("the future within a text", &ed, [future, "--clearsign"], "time"),
        ("another curve", &brainpool, ["--no-textmode", "--detach-sign"], "unreadable key"),
        ("the curve of currencies", &secp, ["--no-textmode", "--detach-sign"], "unreadable key"),
    ]
    .map(|(name, key, options, reason)| (Case::signed(name, &home, &ring, key, &options, text), reason))
    .into();
    // The first two bytes of the digest, which a signature repeats after both areas of its subpackets.
    let mut repeated = Case::signed("the repeated bytes", &home, &ring, &ed, DETACHED, text);
    let signature = repeated.signature.as_mut().unwrap();
    let length_at = |signature: &[u8], at: usize| usize::from(u16::from_be_bytes([signature[at], signature[at + 1]]));
    // A header of two bytes, then version, type, algorithm and digest.
    assert_eq!(signature[0], 0x88);
    let unhashed = 2 + 4 + 2 + length_at(signature, 2 + 4);
    let place = unhashed + 2 + length_at(signature, unhashed);
    signature[place] ^= 1;
    cases.push((repeated, "bad"));
    let (cases, reasons): (Vec<_>, Vec<_>) = cases.into_iter().unzip();
    for ((case, (ours, of_gpgv)), reason) in cases.iter().zip(judge(&cases)).zip(reasons) {
        assert!(matches!(of_gpgv, Verdict::Good(..)), "{}: {of_gpgv:?}", case.name);
        assert_eq!(ours, Verdict::Refused(reason), "{}", case.name);
    }
}

/// A bit is another one, or a byte is missing or too many, anywhere.
#[test(GPG, GPGV)]
fn what_is_damaged_is_accepted_only_where_gpgv_accepts_it() {
    const MUTATIONS: u32 = 40;
    let home = Home::new();
    let primary = home.key("Ed <ed@example.org>", "ed25519", "cert", &[]);
    let (subkey, rsa) = (
        home.subkey(&primary, &for_signing("nistp256"), "sign", "never", &[]),
        home.key("Rsa", "rsa2048", "sign", &[]),
    );
    let ring = [home.export(&primary), home.export(&rsa)].concat();
    let mut cases = Vec::new();
    for (key, options) in [(&subkey, DETACHED), (&rsa, TEXT), (&subkey, CLEAR), (&rsa, ARMORED)] {
        let whole = Case::signed("whole", &home, &ring, key, options, TEXTS[1]);
        for number in 0..MUTATIONS {
            let mut case = Case { name: format!("{options:?} {number}"), ..whole.clone() };
            let place = [0, 1, 2][number as usize % if whole.signature.is_some() { 3 } else { 2 }];
            match (place, &mut case.signature) {
                (2, Some(signature)) => mutate(signature, number),
                (1, _) => mutate(&mut case.file, number),
                _ => mutate(&mut case.ring, number),
            }
            cases.push(case);
        }
        cases.push(whole);
    }
    let verdicts = judge(&cases);
    let count = |is: fn(&(Verdict, Verdict)) -> bool| verdicts.iter().filter(|verdicts| is(verdicts)).count();
    let is_good = |verdict: &Verdict| matches!(verdict, Verdict::Good(..));
    for (case, (ours, of_gpgv)) in cases.iter().zip(&verdicts) {
        assert!(!is_good(ours) || ours == of_gpgv, "{}: {ours:?}, and gpgv: {of_gpgv:?}", case.name);
        assert!(case.name != "whole" || is_good(ours), "{ours:?}");
    }
    println!(
        "{} cases: accepted by both {}, by gpgv alone {}",
        verdicts.len(),
        count(|(ours, _)| matches!(ours, Verdict::Good(..))),
        count(|(ours, of_gpgv)| matches!((ours, of_gpgv), (Verdict::Refused(_), Verdict::Good(..))))
    );
}

/// GnuPG reads the keys before the wanted one, and the one after its certificate.
#[test(GPG, GPGV)]
fn a_damaged_key_costs_what_it_costs_with_gpgv() {
    let home = Home::new();
    let key = home.key("Ed <ed@example.org>", "ed25519", "sign", &[]);
    let (wanted, other) = (home.export(&key), home.key("Rsa", "rsa2048", "sign", &[]));
    let (other, third) = (home.export(&other), home.export(&home.key("Third", "ed25519", "sign", &[])));
    let signature = home.sign(&key, DETACHED, TEXTS[0]);
    // After a header of three bytes there are the version, the time, the algorithm and the bits of the first number.
    assert_eq!(other[3..4], [4]);
    assert_eq!(other[8..11], [1, 8, 0]);
    let with = |place: usize, byte: u8| {
        let mut damaged = other.clone();
        damaged[place] = byte;
        damaged
    };
    let mut cases = Vec::new();
    for (name, other, is_good) in [
        ("whole", other.clone(), true),
        ("an old version", with(3, 3), true),
        ("an unknown version", with(3, 5), false),
        ("an unknown algorithm", with(8, 99), true),
        ("a long number", with(9, 9), false),
    ] {
        for (place, ring, is_good) in [
            ("before", [&other[..], &wanted].concat(), is_good),
            ("after", [&wanted[..], &other].concat(), is_good),
            ("far behind", [&wanted[..], &third, &other].concat(), true),
        ] {
            let (file, signature) = (TEXTS[0].to_vec(), Some(signature.clone()));
            cases.push((Case { name: format!("{name}, {place}"), ring, file, signature }, is_good));
        }
    }
    let (cases, expected): (Vec<_>, Vec<_>) = cases.into_iter().unzip();
    for ((case, (ours, of_gpgv)), expected) in cases.iter().zip(judge(&cases)).zip(expected) {
        assert_eq!(matches!(of_gpgv, Verdict::Good(..)), expected, "{}: gpgv: {of_gpgv:?}", case.name);
        assert_eq!(matches!(ours, Verdict::Good(..)), expected, "{}: ours: {ours:?}", case.name);
    }
}

/// A subkey's algorithm, for GnuPG, which would use its curve for encryption.
fn for_signing(algorithm: &str) -> String {
    format!("{algorithm}{}", if algorithm.starts_with("nistp") { "/ecdsa" } else { "" })
}

/// A change that `seed` chooses.
fn mutate(bytes: &mut Vec<u8>, seed: u32) {
    // The finaliser of MurmurHash3: neighbouring seeds lead to places far apart.
    let mut hash = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9);
    hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
    let place = hash as usize % bytes.len();
    match seed % 8 {
        0 => {
            bytes.remove(place);
        }
        1 => bytes.insert(place, hash as u8),
        _ => bytes[place] ^= 1 << (hash >> 28 & 7),
    }
}
