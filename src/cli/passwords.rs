//! Passwords in URLs that stand in other text.

use std::ops::Range;

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
pub fn places(text: &[u8]) -> Vec<Range<usize>> {
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
