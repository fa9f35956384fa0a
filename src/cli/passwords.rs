//! Passwords in URLs that stand in other text, and in the arguments of this process.

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// Overwrites the passwords in the arguments of this process, which everybody on this machine can list. The arguments
/// must have been parsed.
pub fn hide_from_process_list() {
    if let Err(error) = overwrite_arguments() {
        log::debug!("cannot hide passwords from the list of processes: {error}");
    }
}

/// The kernel shows the memory in which it once put the arguments; no call lets a process show others.
fn overwrite_arguments() -> io::Result<()> {
    let arguments = fs::read("/proc/self/cmdline")?;
    let passwords = places(&arguments);
    if passwords.is_empty() {
        return Ok(());
    }
    let start = arguments_address().ok_or(io::ErrorKind::Unsupported)?;
    let memory = File::options().write(true).open("/proc/self/mem")?;
    for place in passwords {
        // SAFETY: this is as unsafe as a write through a pointer, though the compiler does not see it. The kernel has told that
        // the arguments are there; they are writable, nobody holds a reference to them (`args_os` copies them), and no zero that
        // ends one is overwritten.
        memory.write_all_at(&vec![b'x'; place.len()], start + place.start as u64)?;
    }
    Ok(())
}

/// Where the arguments are in memory: `arg_start` in proc_pid_stat(5).
fn arguments_address() -> Option<u64> {
    const ARG_START: usize = 48;
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is a name in brackets, with anything in it.
    let (_, from_third) = stat.rsplit_once(')')?;
    from_third.split_whitespace().nth(ARG_START - 3)?.parse().ok().filter(|&address| address > 0)
}

/// `text` with a sign in the place of each password.
pub fn masked(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut shown: usize = 0;
    for Range { start, end } in places(text.as_bytes()) {
        masked.extend([text.get(shown..start).unwrap_or_default(), "…"]);
        shown = end;
    }
    masked + text.get(shown..).unwrap_or_default()
}

/// Where the passwords of URLs are: between the first colon of the authority and its last `@` (RFC 3986, 3.2). A zero byte ends
/// a URL.
fn places(text: &[u8]) -> Vec<Range<usize>> {
    const MARK: &[u8] = b"://";
    let marks = text.windows(MARK.len()).enumerate().filter(|&(_, window)| window == MARK);
    marks.filter_map(|(mark, _)| password(text, mark.saturating_add(MARK.len()))).collect()
}

/// The password of the authority that begins at `start`.
fn password(text: &[u8], start: usize) -> Option<Range<usize>> {
    let rest = text.get(start..)?;
    let length = rest.iter().position(|byte| b"/?#\0".contains(byte)).unwrap_or(rest.len());
    let end = rest.get(..length)?.iter().rposition(|&byte| byte == b'@')?;
    let colon = rest.get(..end)?.iter().position(|&byte| byte == b':')?;
    Some(start.saturating_add(colon).saturating_add(1)..start.saturating_add(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_found() {
        let arguments = b"copy\0http://me:se:c@ret@h:80/a:b@c\0-\0ssh://me@h/x:y@z\0ftp://:pw@h\0a:b@c\0".as_slice();
        let found: Vec<_> = places(arguments).into_iter().map(|place| &arguments[place]).collect();
        assert_eq!(found, [b"se:c@ret".as_slice(), b"pw"]);
    }

    #[test]
    fn all_else_is_shown() {
        let cases = [
            ("'http://h/a' or 'ftp://mé:sécret@h': not", "'http://h/a' or 'ftp://mé:…@h': not"),
            ("ssh://h:22/x and http://a:b@c/ and http://d:e@f/", "ssh://h:22/x and http://a:…@c/ and http://d:…@f/"),
            ("no URL: a:b@c", "no URL: a:b@c"),
            ("", ""),
        ];
        for (text, shown) in cases {
            assert_eq!(masked(text), shown);
        }
    }
}
