//! The netrc file, in the form that the manual page of ftp and that of GNU inetutils, netrc(5), describe.

use super::credentials::Credentials;

/// What `text` has for `host`, and for `user` if one is given: the first entry that fits, or the default one.
pub(super) fn look_up(text: &str, host: &str, user: Option<&str>) -> Option<Credentials> {
    entries(text).into_iter().find_map(|entry| {
        let fits_host = entry.host.is_none_or(|name| name.eq_ignore_ascii_case(host));
        let login = entry.login.or_else(|| user.map(str::to_owned))?;
        let fits = fits_host && user.is_none_or(|user| user == login);
        fits.then(|| Credentials { user: login, password: entry.password.unwrap_or_default() })
    })
}

#[derive(Default)]
struct Entry {
    /// `None` in the default entry, which fits every host.
    host: Option<String>,
    login: Option<String>,
    password: Option<String>,
}

/// All entries, in order. What is not understood is passed over.
fn entries(text: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut words = words(text).into_iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "machine" => entries.push(Entry { host: Some(words.next().unwrap_or_default()), ..Entry::default() }),
            "default" => entries.push(Entry::default()),
            "login" => set(&mut entries, |entry| entry.login = words.next()),
            "password" => set(&mut entries, |entry| entry.password = words.next()),
            "account" => drop(words.next()),
            _ => {}
        }
    }
    entries
}

fn set(entries: &mut [Entry], value: impl FnOnce(&mut Entry)) {
    if let Some(entry) = entries.last_mut() {
        value(entry);
    }
}

/// The words of a netrc file, without comments and macros. A macro ends at an empty line.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut in_macro = false;
    for line in text.lines() {
        if in_macro {
            in_macro = !line.trim().is_empty();
            continue;
        }
        let mut rest = line.trim_start();
        while !rest.is_empty() && !rest.starts_with('#') {
            let (word, after) = first_word(rest);
            in_macro |= word == "macdef";
            words.push(word);
            rest = after.trim_start();
        }
    }
    words
}

/// The first word of a line that has one, and what follows. A word in double quotes may hold spaces; in it a backslash
/// protects the sign after it.
fn first_word(line: &str) -> (String, &str) {
    let Some(quoted) = line.strip_prefix('"') else {
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        return (word.to_owned(), rest);
    };
    let mut word = String::new();
    let mut signs = quoted.char_indices();
    while let Some((at, sign)) = signs.next() {
        match sign {
            '"' => return (word, quoted.get(at..).and_then(|rest| rest.strip_prefix('"')).unwrap_or("")),
            '\\' => word.extend(signs.next().map(|(_, sign)| sign)),
            _ => word.push(sign),
        }
    }
    (word, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r##"
# a comment with machine h login wrong
machine one login me password secret
machine two
    login you
    account any
    password "two \"words\" # each"
macdef init
machine three login macro password macro

machine one login other password 2nd
machine four password only
default login anonymous password any@
machine late login never password reached
"##;

    #[test]
    fn entries_are_found() {
        let look_up = |host, user| look_up(FILE, host, user).map(|found| format!("{} {}", found.user, found.password));
        let cases = [
            ("one", None, Some("me secret")),
            ("ONE", None, Some("me secret")),
            ("one", Some("other"), Some("other 2nd")),
            ("one", Some("nobody"), None),
            ("two", None, Some("you two \"words\" # each")),
            ("three", None, Some("anonymous any@")),
            ("four", Some("x"), Some("x only")),
            ("late", None, Some("anonymous any@")),
        ];
        for (host, user, found) in cases {
            assert_eq!(look_up(host, user).as_deref(), found, "{host} {user:?}");
        }
    }

    #[test]
    fn nonsense_is_no_entry() {
        for text in
            ["", "machine", "login x password y", "machine h login", "\"", "machine h \"login", "machine h macdef"]
        {
            assert!(look_up(text, "h", None).is_none(), "{text}");
        }
    }
}
