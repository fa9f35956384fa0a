//! What others see of this process.

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// Overwrites the passwords in the arguments of this process, which everybody on this machine can list. The arguments
/// must have been parsed.
pub fn hide_passwords() {
    if let Err(error) = overwrite_passwords() {
        log::debug!("cannot hide passwords from the list of processes: {error}");
    }
}

/// The kernel shows the memory in which it once put the arguments.
fn overwrite_passwords() -> io::Result<()> {
    let arguments = fs::read("/proc/self/cmdline")?;
    let passwords = passwords(&arguments);
    if passwords.is_empty() {
        return Ok(());
    }
    let start = arguments_address().ok_or(io::ErrorKind::Unsupported)?;
    let memory = File::options().write(true).open("/proc/self/mem")?;
    for place in passwords {
        let address = start.checked_add(place.start as u64).ok_or(io::ErrorKind::Unsupported)?;
        memory.write_all_at(&vec![b'x'; place.len()], address)?;
    }
    Ok(())
}

/// Where the arguments are in memory: `arg_start` in proc_pid_stat(5).
fn arguments_address() -> Option<u64> {
    const ARG_START: usize = 48;
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is a name in brackets, with anything in it.
    let (_, from_third) = stat.rsplit_once(')')?;
    from_third.split_whitespace().nth(ARG_START.saturating_sub(3))?.parse().ok().filter(|&address| address > 0)
}

/// Where the passwords of URLs are in `arguments`, each of which ends with a zero byte.
fn passwords(arguments: &[u8]) -> Vec<Range<usize>> {
    let mut places = Vec::new();
    let mut start: usize = 0;
    for argument in arguments.split_inclusive(|&byte| byte == 0) {
        if let Some(place) = password(argument) {
            places.push(start.saturating_add(place.start)..start.saturating_add(place.end));
        }
        start = start.saturating_add(argument.len());
    }
    places
}

/// Where the password is in a URL: between the first colon behind the scheme and the last `@` of the authority.
fn password(argument: &[u8]) -> Option<Range<usize>> {
    const MARK: &[u8] = b"://";
    let authority = argument.windows(MARK.len()).position(|window| window == MARK)?.saturating_add(MARK.len());
    let rest = argument.get(authority..)?;
    let length = rest.iter().position(|byte| b"/?#".contains(byte)).unwrap_or(rest.len());
    let end = rest.get(..length)?.iter().rposition(|&byte| byte == b'@')?;
    let colon = rest.get(..end)?.iter().position(|&byte| byte == b':')?;
    Some(authority.saturating_add(colon).saturating_add(1)..authority.saturating_add(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_found() {
        let arguments = b"copy\0http://me:se:c@ret@h:80/a:b@c\0-\0ssh://me@h/x:y@z\0ftp://:pw@h\0".as_slice();
        let found: Vec<_> = passwords(arguments).into_iter().map(|place| &arguments[place]).collect();
        assert_eq!(found, [b"se:c@ret".as_slice(), b"pw"]);
    }
}
