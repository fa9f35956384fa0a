//! Headers that a user adds to HTTP requests.

use std::fmt;
use std::sync::Arc;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use crate::source::Url;

/// A header for HTTP requests, such as one with an access token. Its value is never shown.
#[derive(Clone)]
pub struct Header {
    name: HeaderName,
    value: HeaderValue,
}

/// A text that is not of the form `NAME: VALUE` (RFC 9110, section 5). It is not shown, for it may be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHeader {
    /// There is no colon in it.
    #[error("it is not of the form 'NAME: VALUE'")]
    Form,
    /// What stands before the colon is no name.
    #[error("its name is not valid in HTTP")]
    Name,
    /// What follows the colon has control characters in it.
    #[error("its value is not valid in HTTP")]
    Value,
}

impl Header {
    /// From the form `NAME: VALUE`.
    ///
    /// # Errors
    ///
    /// Where it has another form.
    pub fn parse(text: &[u8]) -> Result<Self, InvalidHeader> {
        let colon = text.iter().position(|&byte| byte == b':').ok_or(InvalidHeader::Form)?;
        let (name, value) = text.split_at_checked(colon).ok_or(InvalidHeader::Form)?;
        let name = HeaderName::from_bytes(name).map_err(|_| InvalidHeader::Name)?;
        let value = value.strip_prefix(b":").unwrap_or_default().trim_ascii();
        let mut value = HeaderValue::from_bytes(value).map_err(|_| InvalidHeader::Value)?;
        value.set_sensitive(true);
        Ok(Self { name, value })
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: …", self.name)
    }
}

/// Headers for the requests to one server. No other gets them, not even by a redirection.
#[derive(Clone, Debug, Default)]
pub struct ServerHeaders(Option<Arc<(url::Origin, HeaderMap)>>);

impl ServerHeaders {
    /// Sends `headers` to the server of `url`: its host, port and scheme.
    pub fn new(url: &Url, headers: &[Header]) -> Self {
        let mut map = HeaderMap::new();
        for Header { name, value } in headers {
            map.append(name, value.clone());
        }
        Self(Some(Arc::new((url.address().origin(), map))))
    }

    /// Those for a request of `url`.
    pub(super) fn of(&self, url: &url::Url) -> HeaderMap {
        match self.0.as_deref() {
            Some((server, headers)) if *server == url.origin() => headers.clone(),
            _ => HeaderMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Location;

    #[test]
    fn a_header_is_a_name_and_a_value() {
        let parse = |text: &str| Header::parse(text.as_bytes()).map(|header| header.value.as_bytes().to_vec());
        assert_eq!(parse("X-Token:  a: b "), Ok(b"a: b".to_vec()));
        assert_eq!(parse("X-Empty:"), Ok(Vec::new()));
        let cases = [
            ("X-Token", InvalidHeader::Form),
            (": a", InvalidHeader::Name),
            ("X Token: a", InvalidHeader::Name),
            ("X-Token: a\r\nX-Other: b", InvalidHeader::Value),
        ];
        for (text, fault) in cases {
            assert_eq!(parse(text), Err(fault), "{text}");
        }
        assert!(!format!("{:?}", Header::parse(b"X-Token: secret")).contains("secret"));
    }

    #[test]
    fn headers_are_for_one_server() {
        let Ok(Location::Url(url)) = Location::parse("http://me:pw@h:80/disk.img?t".as_ref()) else { panic!("no URL") };
        let headers = ServerHeaders::new(&url, &[Header::parse(b"A: 1").unwrap(), Header::parse(b"a: 2").unwrap()]);
        let sent_to = |url: &str| headers.of(&url.parse().unwrap()).len();
        assert_eq!(sent_to("http://h/disk.bmap"), 2);
        for other in ["https://h/disk.img", "http://h:81/disk.img", "http://h.x/disk.img", "http://x.h/"] {
            assert_eq!(sent_to(other), 0, "{other}");
        }
        assert!(ServerHeaders::default().of(&"http://h/".parse().unwrap()).is_empty());
    }
}
