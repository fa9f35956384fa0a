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
    use std::process::Command;

    use super::*;

    #[test]
    fn a_shell_takes_it_for_one_word() {
        for word in ["/dev/sdb1", "", " ", "it's a card", "'; echo $HOME #", "a\\b\"`id`\n*", "~", "é"] {
            let command = format!("printf '%s|' {}", quoted(word));
            let printed = Command::new("sh").args(["-c", &command]).output().unwrap().stdout;
            assert_eq!(String::from_utf8(printed).unwrap(), format!("{word}|"));
        }
        assert_eq!(quoted("/dev/mapper/vg-root"), "/dev/mapper/vg-root");
    }
}
