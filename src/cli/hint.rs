//! What the user can do about an error. All advice is here; errors themselves say what happened.

use std::borrow::Cow;
use std::io::{self, ErrorKind};
use std::path::Path;

use bmaptool::device::{Conflict, Usage};
use bmaptool::source::transport::FetchError;
use bmaptool::source::{self, NotAnImage};
use bmaptool::trust::{self, Refusal, VerifierError};
use bmaptool::{copy, create, filemap, load, sink};
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
        Error::Source(error) => of_source(error),
        Error::Copy { source, .. } => of_copy(source),
        Error::NoBmap { .. } => fixed("name it with '--bmap BMAP', or use '--nobmap' to copy without one"),
        Error::NoBmapOfDevice { target, .. } => {
            let target = target.display();
            told(format!("the image comes first, then the target; to copy all of it to '{target}', use '--nobmap'"))
        }
        Error::NotPacked { .. } => {
            fixed("it may be damaged, or a server's page; if it is the raw image, rename it, or use its bmap")
        }
        Error::Bmap(load::Error::Trust(error)) => of_signature(error),
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
            "copy it to ext4, XFS, btrfs or tmpfs with 'cp --sparse=always' and map the copy; 'blkdiscard' a device before that \
             is written to it, for its holes were zeroes",
        ),
        _ => None,
    }
}

fn of_signature(error: &trust::Error) -> Hint {
    match error {
        trust::Error::BadSignature { source: Refusal::UnknownKey { .. }, .. } => fixed(
            "get it from someone you trust, then use '--keyring FILE', or 'gpg --import FILE' and name no keyring",
        ),
        trust::Error::BadSignature { source: Refusal::FromTheFuture { .. }, .. } => fixed("set the clock"),
        trust::Error::Unverifiable { source: VerifierError::NoProc { .. }, .. } => {
            fixed("mount it, or trust the bmap with '--no-sig-verify'")
        }
        trust::Error::Unverifiable { source: VerifierError::NoVerifier { .. }, .. } => {
            fixed("install GnuPG, or trust the bmap with '--no-sig-verify' and no other option about signatures")
        }
        _ => None,
    }
}

fn of_source(error: &source::Error) -> Hint {
    match error {
        source::Error::Open { location, source } if is_like_url(location.as_path(), source) => {
            fixed("if it is meant for an address: http, https, ftp, ssh and file are the protocols")
        }
        source::Error::Open { source, .. } | source::Error::Read { source, .. } => of_fetch(source),
        source::Error::CompressedTwice { .. } => fixed("decompress it once first"),
        source::Error::NotAnImage { what, .. } => fixed(match what {
            NotAnImage::Compressed(_) => "decompress it first, or use its bmap if it is the raw image",
            NotAnImage::Image(_) => "convert it to a raw image first, or use its bmap if it is the raw image",
            NotAnImage::Page | NotAnImage::Xml | NotAnImage::Signed => "if it is the raw image, use its bmap",
        }),
        _ => None,
    }
}

fn of_copy(error: &copy::Error) -> Hint {
    match error {
        copy::Error::Read { source, .. } => of_fetch(source),
        copy::Error::Mismatch { .. } => fixed("the image is damaged, or not the one of this bmap"),
        copy::Error::EndedEarly { .. } => fixed("it is cut off, or not the image of this bmap"),
        copy::Error::GoesOn { .. } => fixed("it is not the image of this bmap"),
        copy::Error::Shrank { .. } | copy::Error::Grew { .. } => fixed("copy it when nothing writes to it"),
        _ => None,
    }
}

/// What a transport reports through an error of input.
fn of_fetch(error: &io::Error) -> Hint {
    match FetchError::of(error)? {
        FetchError::Status { status, .. } => match status.as_u16() {
            401 => fixed("give the right user and password in the URL or in ~/.netrc"),
            407 => fixed("give a user and a password in the proxy's URL"),
            _ => None,
        },
        FetchError::Changed { .. } => fixed("start again"),
        FetchError::Program { source, .. } if source.kind() == ErrorKind::NotFound => fixed("please install it"),
        _ => None,
    }
}

fn of_target(error: &sink::Error) -> Hint {
    use sink::Error::{
        Access, Busy, Denied, FileAmongDevices, Forbidden, Locked, NoDevice, NoMedium, NoSysfs, ReadOnly, Replaced,
        Swapped, UnknownDevice, WrongKind,
    };

    match error {
        Access { path, source, .. } if is_like_url(Some(path), source) => {
            fixed("the target is a device or a file of this machine, not an address")
        }
        WrongKind { .. } => fixed("the target must be a block device or a regular file"),
        Denied { .. } => fixed(AS_ROOT),
        Forbidden { path, .. } => {
            told(format!("a container must be given it, as with 'docker run --device {}'", path.display()))
        }
        Replaced { .. } => fixed("try again"),
        NoSysfs { .. } => fixed("mount it with: mount -t sysfs sysfs /sys"),
        UnknownDevice { .. } | NoDevice { .. } => fixed("is the device plugged in? 'lsblk' lists the devices"),
        FileAmongDevices { .. } => fixed("is the device plugged in? Remove the file and plug the device in again"),
        Swapped { .. } => fixed(
            "the image comes first, then the target; to keep the contents of the device in this file, remove the file first",
        ),
        sink::Error::Conflict(conflict) => of_conflict(conflict),
        Locked { path } => told(format!("'fuser -v {}' shows which", path.display())),
        Busy { path } => users_of(path),
        ReadOnly { path } => {
            told(format!("it may have a switch against writing, or try 'blockdev --setrw {}'", path.display()))
        }
        NoMedium { .. } => fixed("insert one and try again"),
        _ => None,
    }
}

const AS_ROOT: &str = "run this as root, with sudo for example";

fn of_conflict(conflict: &Conflict) -> Hint {
    match conflict {
        Conflict::InUse { usage, .. } | Conflict::SharedInUse { usage, .. } | Conflict::PartInUse { usage, .. } => {
            let commands = usage.release()?;
            told(match usage {
                Usage::Mounted(_) => format!("unmount it with: {commands}"),
                Usage::Swap(_) => format!("turn that off with: {commands}"),
                Usage::Held(_) => format!("release it with: {commands}"),
            })
        }
        Conflict::SharedUnclear { source, .. } if source.kind() == ErrorKind::PermissionDenied => {
            fixed(if geteuid().is_root() { "a container must be given that device as well" } else { AS_ROOT })
        }
        Conflict::SharedBusy { device, .. } => users_of(device),
        Conflict::FileLocked { file, .. } => told(format!("'fuser -v {}' shows which", file.display())),
        _ => None,
    }
}

/// How to find who has opened or mounted a device.
fn users_of(device: &Path) -> Hint {
    let device = device.display();
    told(format!("'fuser -v {device}' and 'grep -l {device} /proc/*/mountinfo' show which"))
}
