//! Passwords in URLs that stand in other text, and those and headers in the arguments of this process.

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// Overwrites the passwords and the values of headers in the arguments of this process, which every user of this machine can list. The arguments
/// must have been parsed.
pub fn hide_from_process_list() {
    if let Err(error) = overwrite_arguments() {
        log::debug!("cannot hide passwords from the list of processes: {error}");
    }
}

/// The kernel shows the memory in which it once put the arguments; no call lets a process show others.
fn overwrite_arguments() -> io::Result<()> {
    let arguments = fs::read("/proc/self/cmdline")?;
    let secrets = [find(&arguments), header_values(&arguments)].concat();
    if secrets.is_empty() {
        return Ok(());
    }
    let start = arguments_address().ok_or(io::ErrorKind::Unsupported)?;
    let memory = File::options().write(true).open("/proc/self/mem")?;
    for secret in secrets {
        // SAFETY: this is as unsafe as a write through a pointer, though the compiler does not see it. The arguments
        // are at this address according to the kernel and are writable, no reference to them exists (`args_os` copies
        // them), and the zeroes that end them are kept.
        memory.write_all_at(&vec![b'x'; secret.len()], start + secret.start as u64)?;
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

/// Finds the values of the headers among `arguments`, each of which ends with a zero byte.
fn header_values(arguments: &[u8]) -> Vec<Range<usize>> {
    // Options may be abbreviated; what is shorter than this is not clear.
    let is_option = |name: &[u8]| name.starts_with(b"--hea") && b"--header".starts_with(name);
    let mut values = Vec::new();
    let (mut start, mut is_value) = (0, false);
    for argument in arguments.split(|&byte| byte == 0) {
        let equals = argument.iter().position(|&byte| byte == b'=').filter(|&equals| is_option(&argument[..equals]));
        if is_value || equals.is_some() {
            let colon = argument.iter().position(|&byte| byte == b':').map_or(argument.len(), |colon| colon + 1);
            values.push(start + colon..start + argument.len());
        }
        is_value = !is_value && is_option(argument);
        start += argument.len() + 1;
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_headers_are_found() {
        let arguments = b"copy\0--header\0A: b\0--head=C: d\0--help\0E: f\0--header\0--header\0x:y\0".as_slice();
        let found: Vec<_> = header_values(arguments).into_iter().map(|value| &arguments[value]).collect();
        assert_eq!(found, [b" b".as_slice(), b" d", b""]);
    }

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
