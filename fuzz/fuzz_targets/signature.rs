//! Signatures, as far as they are ours: clearsigned texts are taken apart into what was put together, armour is taken
//! off, and status lines are never read more favourably than they are.
#![no_main]

use bmaptool::trust::fuzzing::{Clearsigned, armored, signers};
use bmaptool_fuzz::{MIB, bounded};
use libfuzzer_sys::fuzz_target;

const BEGIN: &[u8] = b"-----BEGIN PGP SIGNED MESSAGE-----";

fuzz_target!(|data: &[u8]| {
    bounded(MIB, || {
        clearsigned(data);
        armor(data);
        status(&String::from_utf8_lossy(data));
    });
});

fn clearsigned(data: &[u8]) {
    let begins = data.split(|&byte| byte == b'\n').filter(|line| line.trim_ascii_end() == BEGIN).count();
    match Clearsigned::find(data) {
        Ok(None) => assert_eq!(begins, 0),
        Err(_) => assert!(begins > 0),
        Ok(Some(found)) => {
            assert_eq!(begins, 1);
            assert!(data.trim_ascii_start().starts_with(BEGIN));
            assert!(data.trim_ascii_end().ends_with(b"-----END PGP SIGNATURE-----"));
            assert!(found.unverified_text().len() < data.len());
        }
    }

    // Any text, as the framework would have it.
    let text = [data, b"\n"].concat();
    let escaped = text.split_inclusive(|&byte| byte == b'\n').flat_map(|line| match line.starts_with(b"-") {
        true => [b"- ", line],
        false => [b"".as_slice(), line],
    });
    let escaped = escaped.collect::<Vec<_>>().concat();
    let message = [
        BEGIN,
        b"\nHash: SHA256\n\n",
        &escaped,
        b"-----BEGIN PGP SIGNATURE-----\n\niHUE\n-----END PGP SIGNATURE-----\n",
    ]
    .concat();
    let found = Clearsigned::find(&message).expect("nothing stands outside").expect("there is one");
    assert!(found.unverified_text() == text);
}

fn armor(data: &[u8]) {
    if let Some(bytes) = armored(data) {
        assert!(bytes.len() <= data.len() / 4 * 3);
    }
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut lines = String::new();
    for (place, three) in data.chunks(3).enumerate() {
        let bits = three.iter().fold(0, |bits, &byte| bits << 8 | u32::from(byte)) << (8 * (3 - three.len()));
        let digit = |place: usize| match place <= three.len() {
            true => char::from(DIGITS[(bits >> (18 - 6 * place) & 63) as usize]),
            false => '=',
        };
        lines.extend((0..4).map(digit));
        if place % 16 == 15 {
            lines.push('\n');
        }
    }
    let block = format!("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n{lines}\n=njUN\n-----END PGP PUBLIC KEY BLOCK-----\n");
    assert_eq!(armored(block.as_bytes()).as_deref(), Some(data));
}

fn status(text: &str) {
    let Ok(signers) = signers(text) else { return };
    let count = |keyword: &str| {
        let line = format!("[GNUPG:] {keyword}");
        text.lines().filter(|text| *text == line || text.starts_with(&format!("{line} "))).count()
    };
    assert!(!signers.is_empty() && signers.len() == count("GOODSIG") && signers.len() <= count("VALIDSIG"));
    assert_eq!(count("BADSIG") + count("EXPSIG") + count("EXPKEYSIG") + count("REVKEYSIG"), 0);
    assert!(signers.iter().all(|signer| text.contains(&signer.fingerprint) && text.contains(&signer.primary)));
}
