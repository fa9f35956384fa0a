//! All advice: what the user can do about an error.

use std::io::{self, ErrorKind};
use std::path::Path;

use bmaptool::device::{Conflict, Usage};
use bmaptool::source::{self, FetchError, NotAnImage};
use bmaptool::trust::{self, Refusal, VerifierError};
use bmaptool::{copy, create, filemap, load, sink, verify};
use nix::unistd::geteuid;

use super::error::Error;

/// What to do about `error`, to follow its message.
pub fn hint(error: &Error) -> Option<String> {
    let hint = match error {
        Error::OpenImage { path, source } => of_image(path, source)?,
        Error::Compressed { .. } => "create maps a raw image: decompress it first",
        Error::NoImage { .. } => "usage: bmaptool create -o OUTPUT IMAGE",
        Error::OutputIsImage { .. } => "choose another output",
        Error::Create(error) => of_create(error)?,
        Error::Source(error) => of_source(error)?,
        Error::Copy { source, .. } => of_copy(source)?,
        Error::NoBmap { .. } => "name it with '--bmap BMAP', or use '--nobmap' to copy without one",
        Error::NothingToCompare { .. } => "name it with '--bmap BMAP'",
        Error::Verify { source, .. } => match source {
            verify::Error::NoChecksums => "make one with 'bmaptool create', without '--no-checksum'",
            verify::Error::Source(error) => of_source(error)?,
            verify::Error::Read { source, .. } => of_fetch(source)?,
            _ => return None,
        },
        Error::NoBmapOfDevice { target, .. } => {
            let target = target.display();
            return Some(format!(
                "the image comes first, then the target; to copy it all to '{target}', use '--nobmap'"
            ));
        }
        Error::NotCompressed { .. } => {
            "it may be damaged, or a web page; if it is the raw image, use its bmap or rename it"
        }
        Error::Bmap(load::Error::Trust(error)) => of_signature(error)?,
        Error::Target(error) => return of_target(error),
        _ => return None,
    };
    Some(hint.to_owned())
}

/// Whether a path that leads nowhere looks like a URL.
fn is_like_url(path: Option<&Path>, error: &io::Error) -> bool {
    error.kind() == ErrorKind::NotFound && path.is_some_and(|path| path.to_string_lossy().contains("://"))
}

/// An image that `create` cannot open.
fn of_image(path: &Path, error: &io::Error) -> Option<&'static str> {
    match error.kind() {
        ErrorKind::NotFound if path.as_os_str() == "-" => {
            Some("standard input cannot be mapped: only a file has holes")
        }
        _ if is_like_url(Some(path), error) => Some("create maps a file of this machine, not an address"),
        _ => None,
    }
}

fn of_create(error: &create::Error) -> Option<&'static str> {
    match error {
        create::Error::NotAFile { .. } => Some("only a regular file can be mapped"),
        create::Error::Changed { .. } => Some("map it when nothing writes to it"),
        create::Error::Map(filemap::Error::Unsupported { .. }) => {
            Some("map a copy made by 'cp --sparse=always' on ext4, XFS, btrfs or tmpfs")
        }
        _ => None,
    }
}

fn of_signature(error: &trust::Error) -> Option<&'static str> {
    match error {
        trust::Error::BadSignature { source: Refusal::UnknownKey { .. }, .. } => {
            Some("get it from a trusted source, then use '--keyring FILE', or 'gpg --import FILE' and name no keyring")
        }
        trust::Error::BadSignature { source: Refusal::FromTheFuture { .. }, .. } => Some("set the clock"),
        trust::Error::Unverifiable { source: VerifierError::NoProc { .. }, .. } => {
            Some("mount it (mount -t proc proc /proc), or trust the bmap with '--no-sig-verify'")
        }
        trust::Error::Unverifiable { source: VerifierError::NoVerifier { .. }, .. } => {
            Some("install GnuPG, or trust the bmap with '--no-sig-verify' and no other option about signatures")
        }
        _ => None,
    }
}

fn of_source(error: &source::Error) -> Option<&'static str> {
    match error {
        source::Error::Open { location, source } if is_like_url(location.as_path(), source) => {
            Some("the protocols of addresses are http, https, ftp, ssh and file")
        }
        source::Error::Open { source, .. } | source::Error::Read { source, .. } => of_fetch(source),
        source::Error::CompressedTwice { .. } => Some("decompress it once first"),
        source::Error::NotAnImage { what, .. } => Some(match what {
            NotAnImage::Compressed(_) => "decompress it first, or use its bmap if it is the raw image",
            NotAnImage::Image(_) => "convert it to a raw image first, or use its bmap if it is the raw image",
            NotAnImage::Page | NotAnImage::Xml | NotAnImage::Signed => "if it is the raw image, use its bmap",
        }),
        _ => None,
    }
}

fn of_copy(error: &copy::Error) -> Option<&'static str> {
    match error {
        copy::Error::Read { source, .. } => of_fetch(source),
        copy::Error::Mismatch { .. } => Some("the image is damaged, or not the one of this bmap"),
        copy::Error::EndedEarly { .. } => Some("it is cut off, or not the image of this bmap"),
        copy::Error::GoesOn { .. } => Some("it is not the image of this bmap"),
        copy::Error::Shrank { .. } | copy::Error::Grew { .. } | copy::Error::Changed { .. } => {
            Some("copy it when nothing writes to it")
        }
        copy::Error::Capacity { .. } => Some("it is counterfeit or broken: use another"),
        copy::Error::Medium(_) | copy::Error::ReadBack { .. } => {
            Some("it is worn out, or holds less than it says: use another")
        }
        _ => None,
    }
}

/// What a transport reports through an error of input.
fn of_fetch(error: &io::Error) -> Option<&'static str> {
    match FetchError::of(error)? {
        FetchError::Status { status, .. } => match status.as_u16() {
            401 => Some("give the right user and password in the URL or in ~/.netrc"),
            407 => Some("give a user and a password in the proxy's URL"),
            _ => None,
        },
        FetchError::Changed { .. } => Some("start again"),
        FetchError::Program { source, .. } if source.kind() == ErrorKind::NotFound => Some("please install it"),
        _ => None,
    }
}

fn of_target(error: &sink::Error) -> Option<String> {
    use sink::Error::{
        Access, Busy, Denied, FileAmongDevices, Forbidden, Locked, NoDevice, NoMedium, NoSysfs, ReadOnly, Replaced,
        Swapped, UnknownDevice, WrongKind,
    };

    let hint = match error {
        Access { path, source, .. } if is_like_url(Some(path), source) => {
            "the target is a device or a file of this machine, not an address"
        }
        WrongKind { .. } => "the target must be a block device or a regular file",
        Denied { .. } => AS_ROOT,
        Forbidden { path, .. } => {
            return Some(format!("in a container, use 'docker run --device {}' or the like", path.display()));
        }
        Replaced { .. } => "try again",
        NoSysfs { .. } => "mount it with: mount -t sysfs sysfs /sys",
        UnknownDevice { .. } | NoDevice { .. } => "is the device plugged in? 'lsblk' lists the devices",
        FileAmongDevices { .. } => "is the device plugged in? Remove the file and plug the device in again",
        Swapped { .. } => "the image comes first, then the target; to save the device to this file, remove it first",
        sink::Error::Conflict(conflict) => return of_conflict(conflict),
        Locked { path } => return Some(fuser(path)),
        Busy { path } => return Some(users_of(path)),
        ReadOnly { path } => {
            return Some(format!("it may have a write-protect switch, or try 'blockdev --setrw {}'", path.display()));
        }
        NoMedium { .. } => "insert one and try again",
        _ => return None,
    };
    Some(hint.to_owned())
}

const AS_ROOT: &str = "run this as root, with sudo for example";

fn of_conflict(conflict: &Conflict) -> Option<String> {
    match conflict {
        Conflict::InUse { usage, .. } | Conflict::SharedInUse { usage, .. } | Conflict::PartInUse { usage, .. } => {
            let commands = usage.release()?;
            let action = match usage {
                Usage::Mounted(_) => "unmount it",
                Usage::Swap(_) => "turn that off",
                Usage::Held(_) => "release it",
            };
            Some(format!("{action} with: {commands}"))
        }
        Conflict::SharedUnclear { source, .. } if source.kind() == ErrorKind::PermissionDenied => {
            let hint = if geteuid().is_root() { "give that device to the container too" } else { AS_ROOT };
            Some(hint.to_owned())
        }
        Conflict::SharedBusy { device, .. } => Some(users_of(device)),
        Conflict::FileLocked { file, .. } => Some(fuser(file)),
        _ => None,
    }
}

/// How to find which program uses a file.
fn fuser(file: &Path) -> String {
    format!("'fuser -v {}' shows which", file.display())
}

/// How to find which program or mount uses a device.
fn users_of(device: &Path) -> String {
    let device = device.display();
    format!("'fuser -v {device}' and 'grep -l {device} /proc/*/mountinfo' show which")
}
