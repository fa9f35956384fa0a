//! User names and passwords: from a URL, or from the user's netrc file.

use std::path::PathBuf;

use super::netrc;
use crate::source::Url;

/// Who is asking. There is no `Debug`: a password is never shown.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    pub(super) user: String,
    pub(super) password: String,
}

impl Credentials {
    /// The credentials for the file at `url`: those in it, or those that `~/.netrc` has for its host. A user without a
    /// password has the password that is there for that user.
    pub(super) fn of(url: &Url) -> Option<Self> {
        match (url.user(), url.password()) {
            (user, Some(password)) => Some(Self { user: user.unwrap_or_default(), password }),
            (Some(user), None) => Some(from_netrc(url, Some(&user)).unwrap_or(Self { user, password: String::new() })),
            (None, None) => from_netrc(url, None),
        }
    }
}

fn from_netrc(url: &Url, user: Option<&str>) -> Option<Credentials> {
    let path = PathBuf::from(std::env::var_os("HOME")?).join(".netrc");
    match std::fs::read_to_string(&path) {
        Ok(text) => netrc::look_up(&text, &url.host(), user),
        Err(error) => {
            if error.kind() != std::io::ErrorKind::NotFound {
                log::warn!("cannot read '{}': {error}", path.display());
            }
            None
        }
    }
}
