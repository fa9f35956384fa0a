use std::io::ErrorKind;
use std::path::Path;

use bmaptool::device::{Conflict, Sharing, Usage};
use bmaptool::digest::ChecksumKind;
use bmaptool::partition::RelocateError;
use bmaptool::range::{BlockRange, BlockSize, ByteRange};
use bmaptool::sink::Error as Refused;
use bmaptool::source::{DecodeError, Names};
use bmaptool::trust::{ArmorError, Key, Refusal, Signer, VerifierError};

use super::*;

/// How many characters a message may have with its advice. The digits of fingerprints, which cannot be shortened, do not
/// count.
const LONGEST: usize = 160;

const KEY: &str = "A29A880A23279E28E1A5C872D11532B09EB6A54D";

/// A file of a build, beside which its bmap lies.
const IMAGE: &str = "images/disk.img.xz";

fn location(name: &str) -> Location {
    Location::parse(name.as_ref()).unwrap()
}

fn bmap() -> Location {
    location("disk.img.bmap")
}

fn path(name: &str) -> PathBuf {
    Path::new(name).to_owned()
}

fn of_copy(error: copy::Error) -> Error {
    let (image, target) = (location("disk.img.xz"), path("/dev/sdb"));
    Error::Copy { image, target, state: TargetState::BootRegionZero, signal: None, source: Arc::new(error) }
}

fn of_signature(source: Refusal) -> Error {
    let signature = location("disk.img.bmap.asc");
    Error::Bmap(trust::Error::BadSignature { bmap: bmap(), signature, source }.into())
}

fn unverifiable(source: VerifierError) -> Error {
    Error::Bmap(trust::Error::Unverifiable { bmap: bmap(), source }.into())
}

fn of_bmap(source: ParseError) -> Error {
    Error::Bmap(load::Error::Invalid { bmap: bmap(), source })
}

fn refused(error: Conflict) -> Error {
    Error::Target(error.into())
}

fn of_image(source: DecodeError) -> Error {
    Error::Source(source::Error::Read { location: location(IMAGE), source: source.into() })
}

/// An error of each kind that users meet, with names of a usual length.
fn errors() -> Vec<Error> {
    let (target, image) = (path("/dev/sdb1"), location(IMAGE));
    let (blocks, block_size) = (BlockRange::new(123_456, 234_567).unwrap(), BlockSize::new(4096).unwrap());
    let bytes = ByteRange { start: blocks.start() * block_size.bytes(), end: blocks.end() * block_size.bytes() };
    let digest = || ChecksumKind::Sha256.hasher().finish();
    let signer = Signer {
        user_id: "Releases <releases@example.org>".to_owned(),
        fingerprint: KEY.to_owned(),
        primary: KEY.to_owned(),
    };
    let by = || Key { user_id: "Releases <releases@example.org>".to_owned(), id: KEY.to_owned() };
    let mounted = || Usage::Mounted(vec![(path("/dev/sdb2"), path("/media/user/rootfs"))]);
    vec![
        Error::OpenImage { path: path("http://example.com/disk.img"), source: io::Error::from(ErrorKind::NotFound) },
        Error::NoImage { path: path("disk.img.bmap"), what: NotAnImage::Xml },
        Error::OutputIsImage { output: format!("'{IMAGE}'") },
        Error::OutputIsStdout { path: path(IMAGE) },
        Error::Create(create::Error::Changed { path: path(IMAGE) }),
        Error::Create(bmaptool::filemap::Error::Unsupported { path: path(IMAGE) }.into()),
        Error::NoBmap { image: location("https://example.com/images/disk.img.xz") },
        Error::NoBmapOfDevice { device: location("/dev/sdb"), target: path(IMAGE) },
        Error::NotCompressed { image: image.clone(), named: Format::Gzip },
        Error::NotSigned { bmap: bmap(), flag: "--fingerprint" },
        Error::WrongSigner { bmap: bmap(), found: signer.to_string(), expected: KEY.parse().unwrap() },
        Error::Source(source::Error::Open {
            location: location("htp://example.com/disk.img"),
            source: io::Error::from(ErrorKind::NotFound),
        }),
        Error::Source(source::Error::NoImage {
            location: image.clone(),
            format: Format::Tar,
            expected: Some(1 << 30),
            others: Names::default(),
        }),
        Error::Source(source::Error::CompressedTwice { location: image.clone(), inner: Format::Gzip }),
        Error::Source(source::Error::NotAnImage { location: image.clone(), what: NotAnImage::Xml }),
        Error::Source(source::Error::NotAnImage { location: image.clone(), what: NotAnImage::Compressed("lzip") }),
        Error::Source(source::Error::NotAnImage { location: image.clone(), what: NotAnImage::Image("QCOW") }),
        Error::Source(source::Error::Size { location: image.clone(), found: 3_000_000_000, expected: 4_000_000_000 }),
        Error::Source(source::Error::TooLarge { location: image, what: "bmap", limit: 256 << 20 }),
        of_image(DecodeError::CutOff(Format::Xz)),
        of_signature(Refusal::Bad { by: by() }),
        of_signature(Refusal::KeyRevoked { by: by() }),
        of_signature(Refusal::WeakDigest { key: KEY.to_owned(), digest: "RIPEMD-160".to_owned() }),
        of_signature(Refusal::UnknownAlgorithm { key: KEY.to_owned(), algorithm: "17".to_owned() }),
        of_signature(Refusal::FromTheFuture { key: KEY.to_owned() }),
        of_signature(Refusal::OlderThanKey { key: KEY.to_owned() }),
        of_signature(Refusal::NotForSigning { key: KEY.to_owned() }),
        of_signature(Refusal::UnboundKey { key: KEY.to_owned() }),
        of_signature(Refusal::NotCrossCertified { key: KEY.to_owned() }),
        of_signature(Refusal::UnreadableKey { key: KEY.to_owned() }),
        of_signature(Refusal::NotAnnounced { key: KEY.to_owned(), digest: "SHA256".to_owned() }),
        of_signature(Refusal::Header { line: 2 }),
        of_signature(Refusal::Dashes { line: 123_456 }),
        of_signature(Refusal::LongLine { line: 123_456 }),
        of_signature(Refusal::Armor(ArmorError::Checksum { line: 12 })),
        of_signature(Refusal::Unchecked { key: KEY.to_owned(), code: "100".to_owned() }),
        Error::Bmap(trust::Error::UnknownKey { bmap: bmap(), key: KEY.to_owned() }.into()),
        unverifiable(VerifierError::NoVerifier),
        unverifiable(VerifierError::NoKeyboxReader),
        unverifiable(VerifierError::NoProc { program: "gpgv" }),
        of_bmap(ParseError::Damaged { element: "BmapFileChecksum", found: digest(), computed: digest() }),
        of_bmap(ParseError::Missing { element: "MappedBlocksCount" }),
        of_copy(copy::Error::Mismatch {
            range: blocks,
            bytes,
            kind: ChecksumKind::Sha256,
            expected: digest(),
            computed: digest(),
        }),
        Error::Partitions {
            file: location(IMAGE),
            source: partition::Error::Damaged { problem: "its entries lie at an impossible place" },
        },
        of_copy(RelocateError::Damaged { problem: "its entries lie at an impossible place" }.into()),
        of_copy(RelocateError::Damaged { problem: "the checksum of its entries is wrong" }.into()),
        of_copy(RelocateError::SectorSize { image: 4096, device: 512 }.into()),
        of_copy(RelocateError::FarEntries { limit: 1 << 20 }.into()),
        of_copy(RelocateError::NoRoom { needed: 4_000_000_000, capacity: 4_000_000_000 }.into()),
        of_copy(RelocateError::Missing.into()),
        of_copy(copy::Error::NoDeviceEnd),
        Error::BackupGpt { device: location("/dev/disk/by-id/usb-Generic_STORAGE_DEVICE-0:0") },
        Error::Target(Refused::NotBlockDevice { path: target.clone(), why: "it is not a block device" }),
        of_copy(copy::Error::EndedEarly { at: 3_000_000_000, expected: 4_000_000_000 }),
        of_copy(copy::Error::Shrank { at: 3_000_000_000, expected: 4_000_000_000 }),
        of_copy(copy::Error::Stalled { limit: copy::STALL }),
        of_copy(copy::Error::HeldUp { limit: copy::STALL }),
        of_copy(copy::Error::Full { capacity: 4_000_000_000 }),
        of_copy(copy::Error::Write { offset: 3_000_000_000, source: io::Error::other("Input/output error") }),
        Error::Target(Refused::Denied { path: target.clone() }),
        Error::Target(Refused::Forbidden {
            path: target.clone(),
            source: io::Error::from(ErrorKind::PermissionDenied),
        }),
        Error::Target(Refused::Unclear { path: target.clone(), source: io::Error::from(ErrorKind::PermissionDenied) }),
        Error::Target(Refused::NoSysfs { path: target.clone() }),
        Error::Target(Refused::UnknownDevice { path: target.clone() }),
        Error::Target(Refused::NoDevice { path: target.clone() }),
        Error::Target(Refused::FileAmongDevices { path: target.clone() }),
        Error::Target(Refused::NotRemovable { path: target.clone(), why: "the kernel does not say what it is" }),
        Error::Target(Refused::Source { path: target.clone(), role: "image", sharing: Sharing::TargetInSource }),
        Error::Target(Refused::Source { path: target.clone(), role: "image", sharing: Sharing::Overlapping }),
        Error::Target(Refused::HasData { path: "/srv/images/disk.img".into() }),
        Error::Target(Refused::SharesTarget {
            path: target.clone(),
            other: path("/dev/disk/by-id/usb-SanDisk_Ultra-0:0"),
            sharing: Sharing::Overlapping,
        }),
        Error::Target(Refused::Swapped { path: path(IMAGE) }),
        Error::Target(Refused::Locked { path: path(IMAGE) }),
        Error::Target(Refused::ReadOnly { path: target.clone(), force_ro: None }),
        Error::Target(Refused::NoMedium { path: target.clone() }),
        Error::Target(Refused::Busy { path: target.clone() }),
        Error::Target(Refused::TooSmall { path: target.clone(), size: 4_000_000_000, capacity: 3_000_000_000 }),
        refused(Conflict::InUse { target: target.clone(), usage: mounted() }),
        refused(Conflict::SharedInUse { target: target.clone(), usage: mounted() }),
        refused(Conflict::PartInUse { target: target.clone(), device: path("/dev/sdb"), usage: mounted() }),
        refused(Conflict::SharedUnclear {
            target: target.clone(),
            device: path("/dev/sdb"),
            source: io::Error::from(ErrorKind::PermissionDenied),
        }),
        refused(Conflict::SharedBusy { target, device: path("/dev/sdb") }),
        refused(Conflict::FileLocked { target: path("/dev/loop0"), file: path("/srv/images/card.img") }),
    ]
}

#[test]
fn a_message_with_its_advice_fits_in_two_lines() {
    let long: Vec<_> = errors().iter().map(Error::words).filter(|words| counted(words) > LONGEST).collect();
    assert!(long.is_empty(), "{long:#?}");
}

/// The characters of a message but those of fingerprints.
fn counted(words: &str) -> usize {
    words.replace(KEY, "").chars().count()
}
