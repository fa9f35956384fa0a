//! Keys of version 6 (RFC 9580), which GnuPG 2.2 does not know.

use pgp::composed::CleartextSignedMessage;
use pgp::packet::SignatureType;
use pgp::types::{Fingerprint, KeyDetails, KeyVersion, Password};

use super::forged::{Owner, TEXT, flags};
use super::judges::{Case, Verdict};
use super::mutate;

/// The samples of RFC 9580, sections A.3 and A.6 and A.7: a certificate, and a text that its primary key has signed.
const CERTIFICATE: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----

xioGY4d/4xsAAAAg+U2nu0jWCmHlZ3BqZYfQMxmZu52JGggkLq2EVD34laPCsQYf
GwoAAABCBYJjh3/jAwsJBwUVCg4IDAIWAAKbAwIeCSIhBssYbE8GCaaX5NUt+mxy
KwwfHifBilZwj2Ul7Ce62azJBScJAgcCAAAAAK0oIBA+LX0ifsDm185Ecds2v8lw
gyU2kCcUmKfvBXbAf6rhRYWzuQOwEn7E/aLwIwRaLsdry0+VcallHhSu4RN6HWaE
QsiPlR4zxP/TP7mhfVEe7XWPxtnMUMtf15OyA51YBM4qBmOHf+MZAAAAIIaTJINn
+eUBXbki+PSAld2nhJh/LVmFsS+60WyvXkQ1wpsGGBsKAAAALAWCY4d/4wKbDCIh
BssYbE8GCaaX5NUt+mxyKwwfHifBilZwj2Ul7Ce62azJAAAAAAQBIKbpGG2dWTX8
j+VjFM21J0hqWlEg+bdiojWnKfA5AQpWUWtnNwDEM0g12vYxoWM8Y81W+bHBw805
I8kWVkXU6vFOi+HWvv/ira7ofJu16NnoUkhclkUrk0mXubZvyl4GBg==
-----END PGP PUBLIC KEY BLOCK-----
";

/// Its text has lines that begin with a dash, and none before it that names the digest.
const SIGNED: &str = "-----BEGIN PGP SIGNED MESSAGE-----

What we need from the grocery store:

- - tofu
- - vegetables
- - noodles

-----BEGIN PGP SIGNATURE-----

wpgGARsKAAAAKQWCY5ijYyIhBssYbE8GCaaX5NUt+mxyKwwfHifBilZwj2Ul7Ce6
2azJAAAAAGk2IHZJX1AhiJD39eLuPBgiUU9wUA9VHYblySHkBONKU/usJ9BvuAqo
/FvLFuGWMbKAdA+epq7V4HOtAPlBWmU8QOd6aud+aSunHQaaEJ+iTFjP2OMW0KBr
NK2ay45cX1IVAQ==
-----END PGP SIGNATURE-----
";

fn ours(ring: &[u8], file: &[u8], signature: Option<&[u8]>) -> Verdict {
    let (ring, file, signature) = (ring.to_vec(), file.to_vec(), signature.map(<[u8]>::to_vec));
    Case { name: String::new(), ring, file, signature }.files().ours()
}

#[test]
fn the_samples_of_the_rfc_are_good() {
    let fingerprint = "CB186C4F0609A697E4D52DFA6C722B0C1F1E27C18A56708F6525EC27BAD9ACC9".to_owned();
    let signer = ["[?]".to_owned(), fingerprint.clone(), fingerprint];
    let text = b"What we need from the grocery store:\n\n- tofu\n- vegetables\n- noodles\n\n";
    let good = Verdict::Good(vec![signer], text.to_vec());
    assert_eq!(ours(CERTIFICATE.as_bytes(), SIGNED.as_bytes(), None), good);
    let changed = SIGNED.replace("tofu", "ham");
    assert_eq!(ours(CERTIFICATE.as_bytes(), changed.as_bytes(), None), Verdict::Refused("bad"));
}

#[test]
fn keys_of_version_6_are_judged_like_others() {
    let (owner, other) = (Owner::new(KeyVersion::V6), Owner::new(KeyVersion::V6));
    let (primary, subkey) = (&owner.primary, &owner.subkey);
    let digits = |fingerprint: Fingerprint| fingerprint.to_string().to_ascii_uppercase();
    let signer =
        |key: Fingerprint| ["Forged <forged@example.org>".to_owned(), digits(key), digits(primary.fingerprint())];
    for (key, signature) in
        [(primary.fingerprint(), owner.sign(primary, &[])), (subkey.fingerprint(), owner.sign(subkey, &[]))]
    {
        assert_eq!(ours(&owner.usual(), TEXT, Some(&signature)), Verdict::Good(vec![signer(key)], Vec::new()));
        assert_eq!(ours(&owner.usual(), b"another text", Some(&signature)), Verdict::Refused("bad"));
        assert_eq!(ours(&other.usual(), TEXT, Some(&signature)), Verdict::Refused("unknown key"));
    }
    let text = "<bmap>\n- dash\n</bmap>";
    let clear = CleartextSignedMessage::sign(rand::thread_rng(), text, primary, &Password::empty()).unwrap();
    let clear = clear.to_armored_bytes(Default::default()).unwrap();
    let verdict = ours(&owner.usual(), &clear, None);
    assert!(
        matches!(&verdict, Verdict::Good(signers, _) if *signers == [signer(primary.fingerprint())]),
        "{verdict:?}"
    );

    let certificate = |direct: &[_], bindings: &[_]| owner.certificate(direct, Some(&[]), bindings);
    let certification = owner.certification(SignatureType::CertPositive, &[flags(false)]);
    let by_primary = owner.sign(primary, &[]);
    let for_nothing = owner.certificate(&[], Some(&[certification]), &[]);
    assert_eq!(ours(&for_nothing, TEXT, Some(&by_primary)), Verdict::Refused("not for signing"));
    assert_eq!(ours(&certificate(&[], &[]), TEXT, Some(&by_primary)), Verdict::Refused("unbound key"));
    let binding = owner.binding(SignatureType::SubkeyBinding, &[flags(true)]);
    let without_back =
        owner.certificate(&[], Some(&[owner.certification(SignatureType::CertPositive, &[])]), &[binding]);
    assert_eq!(ours(&without_back, TEXT, Some(&owner.sign(subkey, &[]))), Verdict::Refused("other"));
}

/// As `gpgv` cannot judge them.
#[test]
fn what_is_damaged_names_no_other_signer() {
    for version in [KeyVersion::V4, KeyVersion::V6] {
        let owner = Owner::new(version);
        let (ring, signature) = (owner.usual(), owner.sign(&owner.subkey, &[]));
        let whole = ours(&ring, TEXT, Some(&signature));
        let mut accepted = 0;
        for seed in 0..1000 {
            let (mut ring, mut file, mut signature) = (ring.clone(), TEXT.to_vec(), signature.clone());
            match seed % 5 {
                0 => mutate(&mut file, seed / 5),
                1 | 2 => mutate(&mut signature, seed / 5),
                _ => mutate(&mut ring, seed / 5),
            }
            let verdict = ours(&ring, &file, Some(&signature));
            match (&verdict, &whole) {
                (Verdict::Good(signers, _), Verdict::Good(all, _)) => {
                    assert_eq!(file, TEXT, "{version:?} {seed}");
                    assert_eq!(signers[0][1..], all[0][1..], "{version:?} {seed}");
                    accepted += 1;
                }
                _ => assert!(matches!(verdict, Verdict::Refused(_)), "{version:?} {seed}: {verdict:?}"),
            }
        }
        // Nothing depends on the user id of version 6, nor on the headers of packets.
        assert!(accepted < 300, "{accepted}");
    }
}
