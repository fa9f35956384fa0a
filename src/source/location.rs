//! Where a file is, and the names of the files that lie beside it.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

use crate::magic::Format;

/// Where an image, a bmap or a signature is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// On a file system of this machine.
    Path(PathBuf),
    /// On standard input: `-`.
    Stdin,
    /// Somewhere that is reached by a protocol.
    Url(Url),
}

/// An address of the form `scheme://rest`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// In lower case.
    pub scheme: String,
    /// The whole address, its credentials included.
    pub address: String,
}

impl Location {
    /// The location that a user's argument means.
    pub fn parse(argument: &OsStr) -> Self {
        if argument == "-" {
            return Self::Stdin;
        }
        match argument.to_str().and_then(split_scheme) {
            Some(("file", rest)) => Self::Path(PathBuf::from(local_path(rest))),
            Some((scheme, _)) => {
                let address = argument.to_string_lossy().into_owned();
                Self::Url(Url { scheme: scheme.to_owned(), address })
            }
            None => Self::Path(PathBuf::from(argument)),
        }
    }

    /// The locations where the bmap of the image at this location may lie, the likeliest first: the image's name and
    /// `.bmap`, then the same with one ending after the other taken off. Standard input has none.
    pub fn bmap_candidates(&self) -> Vec<Self> {
        let Self::Path(path) = self else { return Vec::new() };
        let mut candidates = Vec::new();
        let mut stem = path.clone();
        loop {
            candidates.push(Self::Path(appended(&stem, ".bmap")));
            if stem.extension().is_none() {
                return candidates;
            }
            stem.set_extension("");
        }
    }

    /// This location with `ending` appended to its file's name; standard input has none.
    pub fn with_ending(&self, ending: &str) -> Option<Self> {
        match self {
            Self::Path(path) => Some(Self::Path(appended(path, ending))),
            Self::Stdin | Self::Url(_) => None,
        }
    }

    /// The way of packing that the name says.
    pub fn named_format(&self) -> Option<Format> {
        match self {
            Self::Path(path) => Format::of_name(&path.file_name()?.to_string_lossy()),
            Self::Stdin | Self::Url(_) => None,
        }
    }

    /// The path, where there is one.
    pub fn as_path(&self) -> Option<&Path> {
        match self {
            Self::Path(path) => Some(path),
            Self::Stdin | Self::Url(_) => None,
        }
    }
}

/// The location as messages name it.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Stdin => f.write_str("standard input"),
            Self::Url(url) => f.write_str(&url.address),
        }
    }
}

/// The scheme and what follows its colon, if `argument` is an address.
fn split_scheme(argument: &str) -> Option<(&'static str, &str)> {
    const SCHEMES: [&str; 5] = ["file", "http", "https", "ftp", "ssh"];
    let (name, rest) = argument.split_once(':')?;
    let scheme = SCHEMES.into_iter().find(|scheme| scheme.eq_ignore_ascii_case(name))?;
    (scheme == "file" || rest.starts_with("//")).then_some((scheme, rest))
}

/// The path of a `file:` address (RFC 8089), of which `rest` is what follows the colon.
fn local_path(rest: &str) -> &str {
    match rest.strip_prefix("//") {
        Some(with_host) => {
            with_host.strip_prefix("localhost").filter(|path| path.starts_with('/')).unwrap_or(with_host)
        }
        None => rest,
    }
}

fn appended(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Location {
        Location::Path(PathBuf::from(text))
    }

    #[test]
    fn arguments_become_locations() {
        let cases = [
            ("disk.img", path("disk.img")),
            ("-", Location::Stdin),
            ("./-", path("./-")),
            ("file:///a/b", path("/a/b")),
            ("file:/a/b", path("/a/b")),
            ("FILE://localhost/a", path("/a")),
            ("c:/disk", path("c:/disk")),
            ("http:disk", path("http:disk")),
        ];
        for (argument, location) in cases {
            assert_eq!(Location::parse(OsStr::new(argument)), location, "{argument}");
        }
        assert!(matches!(Location::parse(OsStr::new("HTTPS://h/p")), Location::Url(url) if url.scheme == "https"));
    }

    #[test]
    fn a_bmap_lies_beside_its_image() {
        let names = |image| path(image).bmap_candidates().iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(names("a.b/disk.img.gz"), ["a.b/disk.img.gz.bmap", "a.b/disk.img.bmap", "a.b/disk.bmap"]);
        assert_eq!(names("a.b/disk"), ["a.b/disk.bmap"]);
        assert_eq!(names(".img"), [".img.bmap"]);
        assert!(Location::Stdin.bmap_candidates().is_empty());
    }
}
