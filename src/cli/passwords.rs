//! Passwords in URLs that stand in other text, and in the arguments of this process.

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// Overwrites the passwords in the arguments of this process, which every user of this machine can list. The arguments
/// must have been parsed.
pub fn hide_from_process_list() {
    if let Err(error) = overwrite_arguments() {
        log::debug!("cannot hide passwords from the list of processes: {error}");
    }
}

/// The kernel shows the memory in which it once put the arguments; no call lets a process show others.
fn overwrite_arguments() -> io::Result<()> {
    let arguments = fs::read("/proc/self/cmdline")?;
    let passwords = find(&arguments);
    if passwords.is_empty() {
        return Ok(());
    }
    let start = arguments_address().ok_or(io::ErrorKind::Unsupported)?;
    let memory = File::options().write(true).open("/proc/self/mem")?;
    for password in passwords {
        // SAFETY: this is as unsafe as a write through a pointer, though the compiler does not see it. The arguments
        // are at this address according to the kernel and are writable, no reference to them exists (`args_os` copies
        // them), and the zeroes that end them are kept.
        memory.write_all_at(&vec![b'x'; password.len()], start + password.start as u64)?;
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

/// `text` with an ellipsis in place of each password.
pub fn masked(text: &str) -> String {
    let mut masked = text.to_owned();
    find(text.as_bytes()).into_iter().rev().for_each(|password| masked.replace_range(password, "…"));
    masked
}

/// Finds the passwords of URLs, in order: they are between the first colon of the authority and its last `@` (RFC 3986,
/// 3.2). A zero byte ends a URL.
fn find(text: &[u8]) -> Vec<Range<usize>> {
    const MARK: &[u8] = b"://";
    let marks = text.windows(MARK.len()).enumerate().filter(|&(_, window)| window == MARK);
    let password = |start: usize| {
        let authority = text[start..].split(|byte| b"/?#\0".contains(byte)).next()?;
        let end = authority.iter().rposition(|&byte| byte == b'@')?;
        let colon = authority[..end].iter().position(|&byte| byte == b':')?;
        Some(start + colon + 1..start + end)
    };
    marks.filter_map(|(mark, _)| password(mark + MARK.len())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_found() {
        let arguments = b"copy\0http://me:se:c@ret@h:80/a:b@c\0-\0ssh://me@h/x:y@z\0ftp://:pw@h\0a:b@c\0".as_slice();
        let found: Vec<_> = find(arguments).into_iter().map(|password| &arguments[password]).collect();
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
