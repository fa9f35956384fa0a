//! All advice: what the user can do about an error or a notice.

use std::io::{self, ErrorKind};
use std::path::Path;

use bmaptool::bmap::ParseError;
use bmaptool::device::{Conflict, ListError, Sharing, Usage};
use bmaptool::event::Notice;
use bmaptool::partition::RelocateError;
use bmaptool::source::{self, CertificateFault, FetchError, NotAnImage, ProxyFault};
use bmaptool::sys::shell::quoted;
use bmaptool::trust::{self, Refusal, VerifierError};
use bmaptool::{copy, create, filemap, load, sink, verify};
use nix::unistd::geteuid;

use super::error::Error;

/// What to do about the bmap of an image on standard input.
pub const BMAP_OF_STDIN: &str = "use '--bmap BMAP' or '--nobmap'";

/// The same, where it is only verified.
pub const BMAP_OF_VERIFIED_STDIN: &str = "use '--bmap BMAP'";

/// What to do about a target that holds a part of the image.
pub const COPY_AGAIN: &str = "copy again before using it";

/// What to do about a device that cannot discard.
const ZERO_INSTEAD: &str = "use '--unmapped zero'";

/// What to do about something that is not needed, and cannot be done.
const NOT_RELOCATED: &str = "leave out '--relocate-gpt'";

/// What to do where the kernel is not asked what devices there are.
const MOUNT_SYSFS: &str = "use 'mount -t sysfs sysfs /sys'";

/// What to do where no removable device was found.
pub const LIST_ALL: &str = "'bmaptool list --all' lists all disks";

/// What to do about a panic.
pub const DEFECT: &str = "this is a defect of bmaptool, please report it";

/// What to do about `notice`, to follow its words.
pub fn of_notice(notice: &Notice<'_>) -> Option<String> {
    match notice {
        Notice::PartitionTableNotReread { device, .. } => {
            Some(format!("plug it in again, or use 'blockdev --rereadpt {}'", quoted(device.display())))
        }
        Notice::DiscardedNotZero { .. } => Some("if old data may not stay there, use '--unmapped zero'".to_owned()),
        Notice::GptSectorSize { device, .. } => Some(format!("build it for sectors of {device}")),
        Notice::NoHoles { .. } => {
            Some("if it had some, map it where it was built, before it is copied or compressed".to_owned())
        }
        Notice::ImageCompressed { .. } => Some("for the image in it, decompress it first".to_owned()),
        Notice::VerityInHoles { partition, .. } => Some(format!("map it whole with '--map p{partition}'")),
        _ => None,
    }
}

/// What to do about `error`, to follow its message.
pub fn hint(error: &Error) -> Option<String> {
    let hint = match error {
        Error::OpenImage { path, source } => of_image(path, source)?,
        Error::NoImage { .. } => "name the output with '-o': bmaptool create -o OUTPUT IMAGE",
        Error::OutputIsImage { .. } => "choose another output",
        Error::OutputIsStdout { .. } => "choose another, or leave out '--json'",
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
        Error::Differs { file, unreadable: 1.., .. } if file.as_path().is_some_and(Path::is_file) => {
            "the disk that it lies on is worn out"
        }
        Error::Differs { unreadable: 1.., .. } => "it is worn out: use another",
        Error::BackupGpt { .. } => "copy again, or repair it with 'sgdisk -e DEVICE'",
        Error::NoBmapOfDevice { target, .. } => {
            let target = target.display();
            return Some(format!(
                "the image comes first, then the target; to copy it all to '{target}', use '--nobmap'"
            ));
        }
        Error::NotCompressed { .. } => {
            "it may be damaged, or a web page; if it is the image, rename it or name its bmap"
        }
        Error::Bmap(load::Error::Trust(error)) => of_signature(error)?,
        Error::Bmap(load::Error::Invalid { source: ParseError::NotText { .. }, .. }) => SWAPPED_BMAP,
        Error::Bmap(load::Error::StandIn { .. }) => "check the address: some servers send this for a missing file",
        Error::Target(error) => return of_target(error),
        Error::Devices(ListError::NoSysfs(_)) => MOUNT_SYSFS,
        _ => return None,
    };
    Some(hint.to_owned())
}

/// Whether a path that leads nowhere looks like a URL.
fn is_like_url(path: Option<&Path>, error: &io::Error) -> bool {
    error.kind() == ErrorKind::NotFound && path.is_some_and(|path| path.to_string_lossy().contains("://"))
}

/// Whether a path that leads nowhere looks like a file on another machine, as scp and rsync name it: `me@host:/path`.
fn is_like_remote(path: Option<&Path>, error: &io::Error) -> bool {
    let Some(path) = path.filter(|_| error.kind() == ErrorKind::NotFound) else { return false };
    path.to_string_lossy().split_once(':').is_some_and(|(host, _)| !host.is_empty() && !host.contains('/'))
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
        create::Error::RangeSize { .. } => Some("use a multiple of it, such as 4M"),
        create::Error::TooManyRanges { .. } => Some("use a larger '--range-size'"),
        create::Error::PastTheEnd { .. } => Some("the form is START-END in bytes, as in 1M-4M, or pN for partition N"),
        create::Error::NoPartition { .. } => Some("'fdisk -l IMAGE' lists the partitions"),
        create::Error::Map(filemap::Error::Unsupported { .. }) => {
            Some("map a copy made by 'cp --sparse=always' on ext4, XFS, btrfs or tmpfs")
        }
        _ => None,
    }
}

fn of_signature(error: &trust::Error) -> Option<&'static str> {
    match error {
        trust::Error::UnknownKey { .. } => Some("to trust it, use 'gpg --import FILE', or '--keyring FILE'"),
        trust::Error::BadSignature { source: Refusal::FromTheFuture { .. }, .. } => Some("set the clock"),
        trust::Error::Unverifiable { source: VerifierError::NoProc { .. }, .. } => {
            Some("use 'mount -t proc proc /proc' or '--no-sig-verify'")
        }
        trust::Error::Unverifiable { source: VerifierError::NoVerifier, .. } => {
            Some("name its signer's key with '--keyring FILE', or use '--no-sig-verify'")
        }
        trust::Error::Unverifiable { source: VerifierError::NoKeyboxReader, .. } => {
            Some("name what 'gpg --export' gives with '--keyring'")
        }
        _ => None,
    }
}

fn of_source(error: &source::Error) -> Option<&'static str> {
    match error {
        source::Error::Open { location, source } if is_like_url(location.as_path(), source) => {
            Some("the protocols of addresses are http, https, ftp, ssh and file")
        }
        source::Error::Open { location, source } if is_like_remote(location.as_path(), source) => {
            Some("the address of a file over ssh is ssh://USER@HOST/PATH")
        }
        source::Error::Open { source, .. } | source::Error::Read { source, .. } => of_read(source),
        source::Error::MappedAsStored { .. } => Some("map the image itself, as it is before it is compressed"),
        source::Error::CompressedTwice { .. } => Some("decompress it once first"),
        source::Error::NotAnImage { what, .. } => Some(match what {
            NotAnImage::Compressed(_) => "decompress it first, or name its bmap to copy it as it is",
            NotAnImage::Image(_) => "convert it to a raw image first, or name its bmap to copy it as it is",
            NotAnImage::PartOfZip => "join the parts first: zip -s 0 LAST_PART --out WHOLE",
            NotAnImage::Pointer => "fetch it with 'git lfs pull'",
            NotAnImage::Page | NotAnImage::Json | NotAnImage::Xml | NotAnImage::Signed => {
                "to copy it as it is, name its bmap"
            }
        }),
        source::Error::TooLarge { what: "bmap", .. } => Some(SWAPPED_BMAP),
        _ => None,
    }
}

fn of_copy(error: &copy::Error) -> Option<&'static str> {
    match error {
        copy::Error::Read { source, .. } => of_read(source),
        copy::Error::Mismatch { .. } => Some("it is damaged, or not the image of this bmap"),
        copy::Error::EndedEarly { .. } => Some("it is cut off, or not the image of this bmap"),
        copy::Error::GoesOn { .. } => Some("it is not the image of this bmap"),
        copy::Error::Shrank { .. } | copy::Error::Grew { .. } | copy::Error::Changed { .. } => {
            Some("copy it when nothing writes to it")
        }
        copy::Error::Gpt(RelocateError::SectorSize { .. }) => Some("build it for the sectors of the device"),
        copy::Error::Gpt(RelocateError::Missing) | copy::Error::NoDeviceEnd => Some(NOT_RELOCATED),
        copy::Error::Gpt(RelocateError::Damaged { .. }) => Some("'sgdisk --verify IMAGE' tells more"),
        copy::Error::Gpt(RelocateError::FarEntries { .. }) => Some("relocate it later, with 'sgdisk -e DEVICE'"),
        copy::Error::Gpt(RelocateError::NoRoom { .. }) => Some("use a larger one"),
        copy::Error::Discard { source, .. } if source.kind() == ErrorKind::Unsupported => Some(ZERO_INSTEAD),
        copy::Error::Stalled { .. } | copy::Error::HeldUp { .. } => Some("unplug it; this program may not end before"),
        copy::Error::Capacity { .. } => Some("it is counterfeit or broken: use another"),
        copy::Error::Medium(_) => Some("it is worn out, or holds less than it says: use another"),
        copy::Error::ReadBack { .. } => Some("is it still plugged in?"),
        _ => None,
    }
}

/// What an archive or a transport reports through an error of input.
fn of_read(error: &io::Error) -> Option<&'static str> {
    match error.get_ref().is_some_and(|cause| cause.is::<source::SeveralImages>()) {
        true => Some("unpack the archive, and copy the right one"),
        false => of_fetch(error),
    }
}

/// What a transport reports through an error of input.
fn of_fetch(error: &io::Error) -> Option<&'static str> {
    match FetchError::of(error)? {
        error if error.is_unknown_host() => Some("connect with ssh once and check the host's key"),
        FetchError::Status { status, .. } => match status.as_u16() {
            401 => Some("give the right user and password in the URL or in ~/.netrc, or a '--header'"),
            407 => Some("give a user and a password in the proxy's URL"),
            _ => None,
        },
        FetchError::Certificate { source: CertificateFault::Expired | CertificateFault::NotYetValid, .. } => {
            Some("set the clock, or trust another one with '--cacert FILE' or SSL_CERT_FILE")
        }
        FetchError::Certificate { source: CertificateFault::OtherName { names, .. }, .. } if !names.is_empty() => {
            Some("use its name, or trust one for this name with '--cacert FILE' or SSL_CERT_FILE")
        }
        FetchError::Certificate { .. } => {
            Some("if it is the right one, trust it with '--cacert FILE' or SSL_CERT_FILE")
        }
        FetchError::Proxy { source: ProxyFault::Ftp, .. } => {
            Some("name an http proxy in ftp_proxy, or list the host in no_proxy to fetch from it directly")
        }
        FetchError::Changed => Some("start again"),
        FetchError::Program { source, .. } if source.kind() == ErrorKind::NotFound => Some("please install it"),
        _ => None,
    }
}

fn of_target(error: &sink::Error) -> Option<String> {
    use sink::Error::{
        Access, Busy, CannotDiscard, Denied, FileAmongDevices, Forbidden, HasData, Locked, NoDevice, NoMedium, NoSysfs,
        NotBlockDevice, NotRemovable, RawFlash, ReadOnly, Replaced, Source, Swapped, UnknownDevice, WrongKind,
    };

    let hint = match error {
        Access { path, source, .. } if is_like_url(Some(path), source) || is_like_remote(Some(path), source) => {
            "the target is a device or a file of this machine, not an address"
        }
        WrongKind { .. } => "the target must be a block device or a regular file",
        Denied { .. } => AS_ROOT,
        Forbidden { path, .. } => {
            return Some(format!("in a container, use 'docker run --device {}' or the like", quoted(path.display())));
        }
        Replaced { .. } => "try again",
        NoSysfs { .. } => return Some(format!("{MOUNT_SYSFS}, or write to a new file")),
        HasData { .. } => "is it an image that a pattern named? If not, remove it first",
        NotBlockDevice { .. } => NOT_RELOCATED,
        NotRemovable { .. } => "'bmaptool list' lists the removable devices",
        UnknownDevice { .. } | NoDevice { .. } => "is the device plugged in? 'bmaptool list --all' lists the devices",
        FileAmongDevices { .. } => "is the device plugged in? Remove the file and plug the device in again",
        Swapped { .. } => "the image comes first, then the target; to save the device, remove the file",
        sink::Error::Conflict(conflict) => return of_conflict(conflict),
        Locked { path } => return Some(fuser(path)),
        Busy { path } => return Some(users_of(path)),
        ReadOnly { force_ro: Some(setting), .. } => {
            return Some(format!("to allow writes: echo 0 > {}", quoted(setting.display())));
        }
        ReadOnly { path, .. } => {
            let path = quoted(path.display());
            return Some(format!(
                "has it a write-protect switch? What 'blockdev --setro' has set, 'blockdev --setrw {path}' undoes"
            ));
        }
        RawFlash { .. } => "use 'flashcp' for NOR flash, 'flash_erase' and 'nandwrite' for NAND",
        Source { sharing: Sharing::Alias, path, .. } if path.is_file() => {
            return Some(format!("'touch {}' tells them apart if they are two files", quoted(path.display())));
        }
        NoMedium { .. } => "insert one and try again",
        CannotDiscard { .. } => ZERO_INSTEAD,
        _ => return None,
    };
    Some(hint.to_owned())
}

const SWAPPED_BMAP: &str = "are the image and '--bmap' swapped?";

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
    format!("'fuser -v {}' shows which", quoted(file.display()))
}

/// How to find which program or mount uses a device.
fn users_of(device: &Path) -> String {
    let device = quoted(device.display());
    format!("see 'fuser -v {device}' and 'grep -l {device} /proc/*/mountinfo'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_its_driver_protects_is_not_sent_to_blockdev() {
        let read_only = |force_ro: Option<&str>| sink::Error::ReadOnly {
            path: "/dev/mmcblk0boot0".into(),
            force_ro: force_ro.map(Into::into),
        };
        let hint = of_target(&read_only(Some("/sys/x/force_ro"))).unwrap();
        assert_eq!(hint, "to allow writes: echo 0 > /sys/x/force_ro");
        assert!(of_target(&read_only(None)).unwrap().contains("blockdev --setrw /dev/mmcblk0boot0"));
    }

    #[test]
    fn a_command_can_be_copied_whatever_a_file_is_called() {
        let locked = sink::Error::Locked { path: "it's a card".into() };
        assert_eq!(of_target(&locked).unwrap(), r"'fuser -v 'it'\''s a card'' shows which");
    }
}
