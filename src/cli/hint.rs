//! What the user can do about an error. All advice is here; errors themselves say what happened.

use std::borrow::Cow;
use std::io::{self, ErrorKind};
use std::path::Path;

use bmaptool::signature::{self, Refusal};
use bmaptool::{create, filemap, sink, source};
use nix::unistd::geteuid;

use super::error::Error;

type Hint = Option<Cow<'static, str>>;

/// What to do about `error`, as it stands after the error's own words.
pub fn hint(error: &Error) -> Hint {
    match error {
        Error::OpenImage { path, source } => of_image(path, source),
        Error::Packed { .. } => fixed("create maps a raw image: decompress it first"),
        Error::NoImage { .. } => fixed("usage: bmaptool create -o OUTPUT IMAGE"),
        Error::OutputIsImage { .. } => fixed("choose another output"),
        Error::Create(error) => of_create(error),
        Error::Source(source::Error::Open { location, source }) if is_like_url(location.as_path(), source) => {
            fixed("if it is meant for an address: http, https, ftp, ssh and file are the protocols")
        }
        Error::NoBmap { .. } => fixed("name it with '--bmap BMAP', or use '--nobmap' to copy without one"),
        Error::NoBmapOfDevice { target, .. } => {
            let target = target.display();
            told(format!("the image comes first, then the target; to copy all of it to '{target}', use '--nobmap'"))
        }
        Error::NotPacked { .. } => {
            fixed("it may be damaged, or a server's page; if it is the raw image, rename it, or use its bmap")
        }
        Error::BadSignature { source: Refusal::UnknownKey { .. }, .. } => fixed(
            "get it from someone you trust, then use '--keyring FILE', or 'gpg --import FILE' and name no keyring",
        ),
        Error::BadSignature { source: Refusal::FromTheFuture { .. }, .. } => fixed("set the clock"),
        Error::Unverifiable { source, .. } => of_verifier(source),
        Error::Target(error) => of_target(error),
        _ => None,
    }
}

fn fixed(text: &'static str) -> Hint {
    Some(Cow::Borrowed(text))
}

fn told(text: String) -> Hint {
    Some(Cow::Owned(text))
}

/// Whether a path that leads nowhere looks like a URL.
fn is_like_url(path: Option<&Path>, error: &io::Error) -> bool {
    error.kind() == ErrorKind::NotFound && path.is_some_and(|path| path.to_string_lossy().contains("://"))
}

/// An image that `create` cannot open.
fn of_image(path: &Path, error: &io::Error) -> Hint {
    match error.kind() {
        ErrorKind::NotFound if path.as_os_str() == "-" => {
            fixed("standard input cannot be mapped: only a file has holes")
        }
        _ if is_like_url(Some(path), error) => fixed("create maps a file of this machine, not an address"),
        _ => None,
    }
}

fn of_create(error: &create::Error) -> Hint {
    match error {
        create::Error::NotAFile { .. } => fixed("only a regular file can be mapped"),
        create::Error::Changed { .. } => fixed("map it when nothing writes to it"),
        create::Error::Map(filemap::Error::Untold { .. }) => fixed(
            "'cp --sparse=always' it to ext4, XFS, btrfs or tmpfs and map the copy, whose holes are zeroes: 'blkdiscard' the \
             target first",
        ),
        _ => None,
    }
}

fn of_verifier(error: &signature::Error) -> Hint {
    match error {
        signature::Error::NoProc { .. } => {
            fixed("mount it, or use '--no-sig-verify' to copy without knowing who made the bmap")
        }
        signature::Error::NoVerifier { .. } => fixed(
            "install GnuPG, or use '--no-sig-verify' and no other option about signatures to copy without knowing who made \
             the bmap",
        ),
        _ => None,
    }
}

fn of_target(error: &sink::Error) -> Hint {
    match error {
        sink::Error::Access { path, source, .. } if is_like_url(Some(path), source) => {
            fixed("the target is a device or a file of this machine, not an address")
        }
        sink::Error::SharedUnclear { source, .. } if source.kind() == ErrorKind::PermissionDenied => {
            fixed(match geteuid().is_root() {
                true => "a container must be given that device as well",
                false => "run this as root, with sudo for example",
            })
        }
        _ => None,
    }
}
