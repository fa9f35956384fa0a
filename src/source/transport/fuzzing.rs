//! What only the fuzz targets use.

use super::netrc;

/// The user and password that the netrc file `text` has for `host`, and for `user` if one is given.
pub fn netrc(text: &str, host: &str, user: Option<&str>) -> Option<(String, String)> {
    netrc::look_up(text, host, user).map(|found| (found.user, found.password))
}
