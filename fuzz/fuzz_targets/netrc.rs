//! netrc: whatever the text, what is found in it stands there; and what is written as the manual says is found.
#![no_main]

use bmaptool::source::transport::fuzzing::netrc;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    for (host, user) in [("host", None), ("host", Some("user")), ("", None)] {
        let Some((found, password)) = netrc(&text, host, user) else { continue };
        assert!(user.is_none_or(|user| user == found));
        // A backslash may be gone.
        let plain = text.replace('\\', "");
        assert!(user.is_some() || plain.contains(&found.replace('\\', "")));
        assert!(plain.contains(&password.replace('\\', "")));
    }

    let mut words = text.split('\n').map(|word| word.trim_end_matches('\r'));
    let mut word = || words.next().unwrap_or_default();
    let (host, user, password) = (word(), word(), word());
    let quoted = |word: &str| format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""));
    let entry = format!("machine {} login {} password {}", quoted(host), quoted(user), quoted(password));
    let expected = Some((user.to_owned(), password.to_owned()));
    assert_eq!(netrc(&entry, host, None), expected);
    let other = quoted(&format!("x{host}"));
    assert_eq!(netrc(&format!("# {host}\nmachine {other} login a password b {entry}"), host, Some(user)), expected);
});
