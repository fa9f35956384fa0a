//! What happens, told as it happens.
//!
//! The library prints nothing. It tells an [`Observer`] what a person or a program may want to know, as data; human
//! text and the psplash protocol are two readers of the same events.

use std::error::Error;
use std::fmt::Display;
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::sys::read_at::ReadPath;

/// Which target of a copy an event is about: its index in the order in which the targets were given, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TargetId(pub usize);

/// What is being done to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Data is being written.
    Copying,
    /// All data is written and is being made durable, the boot region last.
    Synchronizing,
    /// The ranges of an image are hashed for its map; there is one "target", the image.
    Hashing,
    /// What was written is being read back and compared.
    Verifying,
    /// What the target holds is being compared with the checksums of the map.
    Comparing,
}

/// How the work on a target ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The image is there, verified and durable.
    Complete,
    /// It is not.
    Failed,
}

/// Something that happened.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the variants say what their fields are")]
pub enum Event<'a> {
    /// A target enters a phase.
    Phase(TargetId, Phase),
    /// A target has `done` bytes of `total`, where that is known, in its current phase. Those that are held back for
    /// the boot region count as done, and so do those that have been zeroed.
    Progress { target: TargetId, done: u64, total: Option<u64> },
    /// Of the file that the image is read from, `done` bytes of `total` have been read, as they are stored; told where
    /// no map says how large the image is.
    SourceRead { done: u64, total: u64 },
    /// So many bytes of a target came back wrong, and are written again.
    Retry { target: TargetId, bytes: u64 },
    /// So many bytes of a target were read back from its medium in the end, and all were right.
    ReadBack { target: TargetId, bytes: u64, path: ReadPath },
    /// The work on a target has ended.
    Target(TargetId, Outcome),
    /// Something worth telling, which stops nothing.
    Notice(Notice<'a>),
}

/// Receives events, from several threads, which it must not block for long.
pub trait Observer: Send + Sync {
    /// Receives `event`.
    fn event(&self, event: Event<'_>);

    /// Receives `notice`.
    fn notice(&self, notice: Notice<'_>) {
        self.event(Event::Notice(notice));
    }
}

/// Ignores all events.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    fn event(&self, _event: Event<'_>) {}
}

/// Something worth telling. Paths, addresses and names are as they came from outside: an observer that shows them must
/// mask passwords and what [`visible`](crate::visible) masks.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the variants say what their fields are")]
pub enum Notice<'a> {
    // Sources.
    /// The image is a member of an archive.
    ReadsMember { archive: &'a dyn Printable, format: &'a dyn Printable, member: &'a str },
    /// Data follows the end of what `file` holds, and is not part of it.
    TrailingData { file: &'a dyn Printable, format: &'a dyn Printable },
    /// The name of the image says that it is compressed with `named`, but it is `found`, or else not compressed.
    NameDiffers { image: &'a dyn Printable, named: &'a dyn Printable, found: Option<&'a dyn Printable> },
    /// The server did not say where the image ends, and nothing else does: if it is cut off, that cannot be noticed.
    EndUnknown { image: &'a dyn Printable },
    /// A download broke, or a server was not ready; it is tried again after `pause`, at once where that is `None`.
    Retries { url: &'a dyn Printable, error: &'a dyn Error, pause: Option<Duration> },
    /// The server sends whole files only: after a break the download starts again, and what has come is dropped.
    StartsOver { url: &'a dyn Printable },
    /// The server names no validator (ETag, date) for a URL: if the file changes during the copy, that is not noticed.
    NoValidator { url: &'a dyn Printable },
    /// The environment variable names a file or directory in which no certificate can be read: no server is trusted.
    NoCertificates { variable: &'a str },
    /// `~/.netrc` exists and cannot be read; the copy goes on without it.
    NetrcUnreadable { path: &'a Path, error: &'a io::Error },

    // Bmaps and their signatures.
    /// A bmap was found beside the image.
    BmapFound { bmap: &'a dyn Printable },
    /// A server denies access to a name that a bmap may have, as some do for missing files; the search goes on.
    BmapAccessDenied { error: &'a dyn Error },
    /// A detached signature was found beside the bmap.
    SignatureFound { signature: &'a dyn Printable },
    /// A server sent `what` for a name that a bmap or signature may have; it is passed over.
    StandIn { url: &'a dyn Printable, sought: &'a str, what: &'a dyn Printable },
    /// The bmap has a good signature of an accepted key; one notice for each signer (name, address and fingerprint).
    BmapSignedBy { bmap: &'a dyn Printable, signer: &'a dyn Printable },
    /// The bmap has checksum elements or attributes without any digits, which are taken as absent.
    EmptyChecksums { bmap: &'a dyn Printable },
    /// The bmap has no signature, and needs none.
    BmapNotSigned { bmap: &'a dyn Printable },
    /// The bmap is signed, and its signature is not verified because the caller asked for that.
    SignatureNotVerified { bmap: &'a dyn Printable },
    /// The ranges of the image are not verified.
    NotVerified(Unverified),

    /// The work is done, and what the image's pipe still has is read and dropped, so that its writer does not fail. That
    /// may take a while.
    DrainsPipe,

    // Devices and sinks.
    /// A device that shares bytes with the target is free, but may show old data from its cache until it is detached.
    SharesData { device: &'a Path, target: &'a Path },
    /// A loop device is left out of all checks, because the server of its file does not answer, or is gone.
    NoAnswer { device: &'a Path, file: &'a Path },
    /// A setting of the disk, a file in sysfs, keeps its `value`, because it cannot be written.
    SettingKept { setting: &'a Path, value: &'a str, error: &'a io::Error },
    /// A setting of the disk of `target` that was changed could not be put back to `value`.
    SettingNotRestored { target: &'a Path, setting: &'a Path, value: &'a str, error: &'a io::Error },
    /// The kernel still has the old partition table of a device.
    PartitionTableNotReread { device: &'a Path, error: &'a io::Error },
    /// The boot region of `length` bytes could not be read beforehand: it becomes zero where the image has no data.
    BootRegionUnreadable { target: TargetId, length: u64, error: &'a io::Error },
    /// What was at `offsets` of a device, in bytes, could not be put back after its capacity was checked: marks of 4096
    /// bytes may be there.
    MarksLeft { target: TargetId, offsets: &'a [u64], error: &'a dyn Error },
    /// So many bytes of what a target holds have been compared, and they did not come from a medium, or perhaps not.
    MediumNotRead { target: TargetId, bytes: u64, path: ReadPath },
    /// The GPT of the image was made for sectors of `image` bytes, and those of the device have `device`.
    GptSectorSize { target: TargetId, image: u32, device: u32 },
    /// The backup of the image's GPT has been moved to the end of the device: there it begins at `offset`, in bytes.
    GptRelocated { target: TargetId, offset: u64 },
    /// What was discarded reads as zeroes, in so many places as were looked at.
    DiscardedZero { target: TargetId, samples: u64 },
    /// What was discarded does not read as zeroes, or cannot be read, at `offset`, in bytes.
    DiscardedNotZero { target: TargetId, offset: u64 },
    /// What was written to a loop device over the image may not have reached the image.
    LoopDeviceNotFlushed { device: &'a Path, image: &'a Path, error: &'a io::Error },
    /// A device that is only read is used meanwhile, and may change.
    DeviceInUse { device: &'a Path, usage: &'a dyn Printable },
    /// A partition of the image is for dm-verity, which reads all of it, and some of it is in holes.
    VerityInHoles { image: &'a Path, partition: u32 },
    /// The image is in use through a loop device: what is written there may be missing from its map.
    ImageInUse { image: &'a Path, usage: &'a dyn Printable },
    /// All `size` bytes of the image are mapped.
    NoHoles { image: &'a Path, size: u64 },
    /// The image is compressed, and is mapped as it is.
    ImageCompressed { image: &'a Path, format: &'a dyn Printable },

    /// A boot screen is not told the progress.
    PsplashUnusable { pipe: &'a Path, error: &'a io::Error },
}

/// Why the ranges of an image are not verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unverified {
    /// The user does not want that.
    NotWanted,
    /// The bmap has no checksums.
    NoChecksums,
}

/// What can be shown to people.
pub trait Printable: Display + std::fmt::Debug {}

impl<T: Display + std::fmt::Debug> Printable for T {}
