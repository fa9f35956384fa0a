//! User names and passwords: from a URL, or from the user's netrc file.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::netrc;
use crate::event::{Notice, Observer};
use crate::source::Url;

/// A user name and a password. There is no `Debug`: a password is never shown.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    pub(super) user: String,
    pub(super) password: String,
}

impl Credentials {
    /// The credentials for the file at `url`: those in it, or those that `~/.netrc` has for its host. A user without a
    /// password has the password that is there for that user.
    pub(super) fn of(url: &Url, observer: &dyn Observer) -> Option<Self> {
        match (url.user(), url.password()) {
            (user, Some(password)) => Some(Self { user: user.unwrap_or_default(), password }),
            (Some(user), None) => {
                Some(from_netrc(url, Some(&user), observer).unwrap_or(Self { user, password: String::new() }))
            }
            (None, None) => from_netrc(url, None, observer),
        }
    }
}

/// The largest netrc file that is read, in bytes.
const NETRC_MAX: u64 = 1 << 20;

fn from_netrc(url: &Url, user: Option<&str>, observer: &dyn Observer) -> Option<Credentials> {
    let path = PathBuf::from(std::env::var_os("HOME")?).join(".netrc");
    match read(&path) {
        Ok(text) => netrc::look_up(&text, &url.host(), user),
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                observer.notice(Notice::NetrcUnreadable { path: &path, error: &error });
            }
            None
        }
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    match File::open(path)?.take(NETRC_MAX.saturating_add(1)).read_to_string(&mut text)? as u64 {
        0..=NETRC_MAX => Ok(text),
        _ => Err(io::Error::other(format!("it has over {NETRC_MAX} bytes"))),
    }
}
