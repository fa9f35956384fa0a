//! Where a file is, and the names of the files that lie beside it.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use percent_encoding::percent_decode;

use crate::source::detect::Format;

/// Where an image, a bmap or a signature is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// On a file system of this machine.
    Path(PathBuf),
    /// On standard input: `-`.
    Stdin,
    /// On a server.
    Url(Url),
}

/// The address of a file on a server (RFC 3986). It has a host, and is never shown with its credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    protocol: Protocol,
    /// Shared, for many errors name it.
    url: Arc<url::Url>,
}

/// How the file at a URL is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP, with or without TLS (RFC 9110).
    Http,
    /// FTP (RFC 959).
    Ftp,
    /// The `ssh` program.
    Ssh,
}

/// An argument that looks like a URL but is not valid.
#[derive(Debug, thiserror::Error)]
#[error("'{shown}' is not a valid URL")]
pub struct InvalidUrl {
    /// The argument without its credentials.
    shown: String,
    source: UrlFault,
}

/// What is wrong with a URL.
#[derive(Debug, thiserror::Error)]
enum UrlFault {
    #[error(transparent)]
    Syntax(#[from] url::ParseError),
    #[error("it names no host")]
    NoHost,
    #[error("a file of this machine is named by file:///path, or by its path alone")]
    FileOfAHost,
}

impl Location {
    /// The location that a user's argument means.
    ///
    /// # Errors
    ///
    /// Where it begins like a URL of a known protocol, but is none.
    pub fn parse(argument: &OsStr) -> Result<Self, InvalidUrl> {
        if argument == "-" {
            return Ok(Self::Stdin);
        }
        if let Some(path) = file_url(argument.as_bytes()) {
            let shown = || without_credentials(&String::from_utf8_lossy(argument.as_bytes()));
            let path = path.map_err(|source| InvalidUrl { shown: shown(), source })?;
            return Ok(Self::Path(PathBuf::from(OsString::from_vec(percent_decode(path).collect()))));
        }
        match argument.to_str().and_then(|text| Some((Protocol::of(text)?, text))) {
            Some((protocol, text)) => Url::parse(protocol, text).map(Self::Url),
            None => Ok(Self::Path(PathBuf::from(argument))),
        }
    }

    /// The locations where the bmap of the image at this location may lie, the likeliest first: the image's name and
    /// `.bmap`, then the same with one ending after the other taken off. Standard input has none.
    pub fn bmap_candidates(&self) -> Vec<Self> {
        let Some(name) = self.file_name() else { return Vec::new() };
        stems(name).map(|stem| self.with_file_name(&[stem, b".bmap"].concat())).collect()
    }

    /// This location with `ending` appended to its file's name. A URL keeps its query and fragment. `None` for standard
    /// input and where there is no file name.
    pub fn with_ending(&self, ending: &str) -> Option<Self> {
        let name = self.file_name()?;
        Some(self.with_file_name(&[name, ending.as_bytes()].concat()))
    }

    /// The format that the name's ending stands for.
    pub fn named_format(&self) -> Option<Format> {
        Format::of_name(&String::from_utf8_lossy(self.file_name()?))
    }

    /// The path, where there is one.
    pub fn as_path(&self) -> Option<&Path> {
        match self {
            Self::Path(path) => Some(path),
            Self::Stdin | Self::Url(_) => None,
        }
    }

    /// A path by which it is inspected on this machine; standard input has one too.
    pub(crate) fn local_path(&self) -> Option<&Path> {
        match self {
            Self::Stdin => Some(Path::new("/dev/stdin")),
            _ => self.as_path(),
        }
    }

    /// What it is called where its directory does not matter.
    pub fn short_name(&self) -> String {
        self.file_name().map_or_else(|| self.to_string(), |name| String::from_utf8_lossy(name).into_owned())
    }

    /// The file's name without its directory; that of a URL as it stands there, percent-encoded.
    pub(super) fn file_name(&self) -> Option<&[u8]> {
        let name = match self {
            Self::Path(path) => path.file_name()?.as_bytes(),
            Self::Url(Url { url, .. }) => url.path().rsplit('/').next()?.as_bytes(),
            Self::Stdin => return None,
        };
        Some(name).filter(|name| !name.is_empty())
    }

    fn with_file_name(&self, name: &[u8]) -> Self {
        match self {
            Self::Path(path) => Self::Path(path.with_file_name(OsStr::from_bytes(name))),
            Self::Stdin => Self::Stdin,
            Self::Url(Url { protocol, url }) => {
                let directory = url.path().rsplit_once('/').map_or("", |(directory, _)| directory);
                let mut beside = url::Url::clone(url);
                beside.set_path(&format!("{directory}/{}", String::from_utf8_lossy(name)));
                Self::Url(Url { protocol: *protocol, url: Arc::new(beside) })
            }
        }
    }
}

/// The location as messages name it.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Stdin => f.write_str("standard input"),
            Self::Url(url) => url.fmt(f),
        }
    }
}

impl Url {
    fn parse(protocol: Protocol, text: &str) -> Result<Self, InvalidUrl> {
        let invalid = |source| InvalidUrl { shown: without_credentials(text), source };
        // The parser would take the first part of the path for the host, as browsers do.
        if text.split_once("://").is_some_and(|(_, rest)| rest.starts_with(['/', '\\'])) {
            return Err(invalid(UrlFault::NoHost));
        }
        // Only HTTP has queries and fragments; elsewhere these signs belong to the name.
        let url = match protocol {
            Protocol::Http => url::Url::parse(text),
            Protocol::Ftp | Protocol::Ssh => url::Url::parse(&text.replace('?', "%3F").replace('#', "%23")),
        };
        let url = url.map_err(|error| invalid(error.into()))?;
        match url.host_str() {
            None | Some("") => Err(invalid(UrlFault::NoHost)),
            Some(_) => Ok(Self { protocol, url: Arc::new(url) }),
        }
    }

    /// How the file is reached.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The host, an IPv6 address without its brackets.
    pub fn host(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        decoded(host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host))
    }

    /// The port, where it is not that of the protocol.
    pub fn port(&self) -> Option<u16> {
        self.url.port()
    }

    /// The user's name, where there is one.
    pub fn user(&self) -> Option<String> {
        Some(self.url.username()).filter(|user| !user.is_empty()).map(decoded)
    }

    /// The user's password, where there is one.
    pub fn password(&self) -> Option<String> {
        self.url.password().map(decoded)
    }

    /// The path with its leading slash, percent-decoded.
    pub fn path(&self) -> Vec<u8> {
        percent_decode(self.url.path().as_bytes()).collect()
    }

    /// The address without its credentials.
    pub(super) fn address(&self) -> url::Url {
        public(&self.url)
    }
}

/// The address without its credentials.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address().fmt(f)
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Protocol {
    /// The protocol of a URL; `None` where `text` is none, or of another one.
    fn of(text: &str) -> Option<Self> {
        let (scheme, _) = text.split_once("://")?;
        match scheme.to_ascii_lowercase().as_str() {
            "http" | "https" => Some(Self::Http),
            "ftp" => Some(Self::Ftp),
            "ssh" => Some(Self::Ssh),
            _ => None,
        }
    }
}

/// `url` without user name and password.
pub(super) fn public(url: &url::Url) -> url::Url {
    let mut public = url.clone();
    // It fails only for URLs without a host, which cannot have credentials.
    let _ = public.set_password(None).and_then(|()| public.set_username(""));
    public
}

/// `url` as messages show it where the user has not named it: without user name, password and query, which may be as
/// secret as a password.
pub(super) fn shown(url: &url::Url) -> String {
    let mut shown = public(url);
    shown.set_fragment(None);
    match url.query() {
        Some(_) => {
            shown.set_query(None);
            format!("{shown}?…")
        }
        None => shown.to_string(),
    }
}

/// An invalid URL without what may be credentials in it: all up to the last `@`.
fn without_credentials(text: &str) -> String {
    match (text.split_once("://"), text.rsplit_once('@')) {
        (Some((scheme, rest)), Some((_, host))) if rest.contains('@') => format!("{scheme}://…@{host}"),
        _ => text.to_owned(),
    }
}

/// The path of a `file:` URL (RFC 8089), percent-encoded; `None` where `argument` is none.
fn file_url(argument: &[u8]) -> Option<Result<&[u8], UrlFault>> {
    const SCHEME: &[u8] = b"file:";
    let (scheme, rest) = argument.split_at_checked(SCHEME.len())?;
    if !scheme.eq_ignore_ascii_case(SCHEME) {
        return None;
    }
    let Some(rest) = rest.strip_prefix(b"//") else { return Some(Ok(rest)) };
    let path = rest.strip_prefix(b"localhost").unwrap_or(rest);
    Some(if path.starts_with(b"/") { Ok(path) } else { Err(UrlFault::FileOfAHost) })
}

fn decoded(text: &str) -> String {
    percent_decode(text.as_bytes()).decode_utf8_lossy().into_owned()
}

/// A file's name, then the same with one ending after the other taken off. A dot at its start begins no ending.
fn stems(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(Some(name), |stem| {
        let dot = stem.iter().rposition(|&byte| byte == b'.').filter(|&dot| dot > 0)?;
        stem.get(..dot)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Location {
        Location::Path(PathBuf::from(text))
    }

    fn parse(text: &str) -> Location {
        Location::parse(OsStr::new(text)).unwrap()
    }

    fn bmaps(image: &str) -> Vec<String> {
        parse(image).bmap_candidates().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn arguments_become_locations() {
        let cases = [
            ("disk.img", path("disk.img")),
            ("-", Location::Stdin),
            ("./-", path("./-")),
            ("file:///a/b", path("/a/b")),
            ("file:/a/b", path("/a/b")),
            ("FILE://localhost/a%20b%C3%A4", path("/a bä")),
            ("file:localhost/a", path("localhost/a")),
            ("c:/disk", path("c:/disk")),
            ("http:disk", path("http:disk")),
            ("s3://bucket/disk", path("s3://bucket/disk")),
        ];
        for (argument, location) in cases {
            assert_eq!(parse(argument), location, "{argument}");
        }
        for (argument, protocol) in [("HTTPS://h/p", Protocol::Http), ("ftp://h/p", Protocol::Ftp)] {
            assert!(matches!(parse(argument), Location::Url(url) if url.protocol() == protocol), "{argument}");
        }
    }

    #[test]
    fn what_names_no_host_or_one_too_many_is_refused() {
        let cases = [
            ("http:///disk", "it names no host"),
            (r"http://\disk", "it names no host"),
            ("ssh:///disk", "it names no host"),
            ("https://", "empty host"),
            ("file://disk.img", "file:///path"),
            ("file://server/disk.img", "file:///path"),
            ("file://localhost.lan/disk.img", "file:///path"),
        ];
        for (argument, reason) in cases {
            let source = Location::parse(OsStr::new(argument)).unwrap_err().source.to_string();
            assert!(source.contains(reason), "{argument}: {source}");
        }
    }

    #[test]
    fn a_url_is_taken_apart() {
        let Location::Url(url) = parse("ssh://me%40work:p%3Aw%2F@[::1]:2222/a%20b/c'd?e") else { panic!("not a URL") };
        assert_eq!((url.user().as_deref(), url.password().as_deref()), (Some("me@work"), Some("p:w/")));
        assert_eq!((url.host().as_str(), url.port()), ("::1", Some(2222)));
        assert_eq!(url.path(), b"/a b/c'd?e");
    }

    #[test]
    fn credentials_are_never_shown() {
        let location = parse("https://me:secret@h:8443/p?token=x#f");
        assert_eq!(location.to_string(), "https://h:8443/p?token=x#f");
        assert!(!format!("{location:?}").contains("secret"));
        for wrong in [
            "file://me:secret@h/p",
            "http://me:secret@[h/p",
            "http://me:secret@/p",
            "ssh://me:se/cr@et@:x/",
            "ssh:///p",
            "http://",
        ] {
            let error = Location::parse(OsStr::new(wrong)).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("se"), "{error:?}");
        }
    }

    #[test]
    fn a_bmap_lies_beside_its_image() {
        assert_eq!(bmaps("a.b/disk.img.gz"), ["a.b/disk.img.gz.bmap", "a.b/disk.img.bmap", "a.b/disk.bmap"]);
        assert_eq!(bmaps("a.b/disk"), ["a.b/disk.bmap"]);
        assert_eq!(bmaps(".img"), [".img.bmap"]);
        assert!(bmaps("-").is_empty());
        assert!(bmaps("https://h/p/").is_empty());
        assert!(bmaps("https://h").is_empty());
    }

    #[test]
    fn names_beside_a_url_keep_its_query() {
        assert_eq!(
            bmaps("https://h/p.d/disk%20a.img.gz?token=x.y#f"),
            [
                "https://h/p.d/disk%20a.img.gz.bmap?token=x.y#f",
                "https://h/p.d/disk%20a.img.bmap?token=x.y#f",
                "https://h/p.d/disk%20a.bmap?token=x.y#f",
            ]
        );
        assert_eq!(bmaps("ssh://h/a?b.img"), ["ssh://h/a%3Fb.img.bmap", "ssh://h/a%3Fb.bmap"]);
        let signature = parse("http://me:pw@h/disk.bmap?t").with_ending(".asc").unwrap();
        assert_eq!(signature, parse("http://me:pw@h/disk.bmap.asc?t"));
        assert_eq!(parse("http://h/disk.gz?a=b.xz").named_format(), Some(Format::Gzip));
    }

    #[test]
    fn what_the_user_has_not_named_is_shown_without_its_query() {
        let cases = [
            ("http://me:pw@h/disk.img?sig=secret#f", "http://h/disk.img?…"),
            ("http://h/disk.img", "http://h/disk.img"),
            ("socks5://me:pw@h:1080", "socks5://h:1080"),
        ];
        for (url, text) in cases {
            assert_eq!(shown(&url.parse().unwrap()), text);
        }
    }
}
