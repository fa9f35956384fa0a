//! Words of commands that users are advised to run: they are copied, and often run as root.

use std::fmt::Display;

/// `word` as a POSIX shell takes it for one word, whatever it has in it. It is in quotes only where it must be.
pub fn quoted(word: impl Display) -> String {
    let word = word.to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "%+,-./:=@_".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) { word } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_shell_does_not_take_as_it_is_is_quoted() {
        for word in ["/dev/mapper/vg-root", "/dev/disk/by-id/usb-a_b:0%1,2+3@4=5.6"] {
            assert_eq!(quoted(word), word);
        }
        let cases = [
            ("", "''"),
            ("a b", "'a b'"),
            ("it's", r"'it'\''s'"),
            ("'; x #", r"''\''; x #'"),
            ("a\\b\"`$x`*~\n", "'a\\b\"`$x`*~\n'"),
            ("é", "'é'"),
        ];
        for (word, expected) in cases {
            assert_eq!(quoted(word), expected);
        }
    }
}
