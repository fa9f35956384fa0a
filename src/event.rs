//! What happens, told as it happens.
//!
//! The library prints nothing. It tells an [`Observer`] what a person or a program may want to know, as data; human text and
//! the psplash protocol are two readers of the same events.

use std::error::Error;
use std::fmt::Display;
use std::io;
use std::path::Path;
use std::time::Duration;

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
pub enum Event<'a> {
    /// A target enters a phase.
    Phase(TargetId, Phase),
    /// A target has `done` bytes of `total`, where that is known, in the phase that it is in.
    Progress {
        /// The target.
        target: TargetId,
        /// Bytes done, those that are held back for the boot region included.
        done: u64,
        /// Bytes to do.
        total: Option<u64>,
    },
    /// The work on a target has ended.
    Target(TargetId, Outcome),
    /// Something worth telling, which stops nothing.
    Notice(Notice<'a>),
}

/// Is told what happens, from several threads, and must not block them for long.
pub trait Observer: Send + Sync {
    /// Takes note of `event`.
    fn event(&self, event: Event<'_>);

    /// Takes note of `notice`.
    fn notice(&self, notice: Notice<'_>) {
        self.event(Event::Notice(notice));
    }
}

/// Takes no note of anything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    fn event(&self, _event: Event<'_>) {}
}

/// Something worth telling. Paths, addresses and names are as they came from outside: whoever shows them must mask control
/// characters and passwords.
#[derive(Clone, Copy, Debug)]
pub enum Notice<'a> {
    // Sources.
    /// The image is a member of an archive.
    ReadsMember {
        /// The archive's location.
        archive: &'a dyn Printable,
        /// The archive's format.
        format: &'a dyn Printable,
        /// The member's name.
        member: &'a str,
    },
    /// A download broke, or a server was not ready; it is tried again after `pause`.
    Retries {
        /// What went wrong.
        error: &'a dyn Error,
        /// How long is waited first; `None` where a new connection is made at once.
        pause: Option<Duration>,
    },
    /// The server names no validator (ETag, date) for a URL: if the file changes during the copy, that is not noticed.
    NoValidator {
        /// The URL, without a password.
        url: &'a dyn Printable,
    },
    /// The variable names a file or directory of certificates in which none can be read: no server is trusted.
    NoCertificates {
        /// The environment variable.
        variable: &'a str,
    },
    /// `~/.netrc` exists and cannot be read; the copy goes on without it.
    NetrcUnreadable {
        /// Its path.
        path: &'a Path,
        /// Why.
        error: &'a io::Error,
    },

    // Bmaps and their signatures.
    /// A bmap was found beside the image.
    BmapFound {
        /// The bmap's location.
        bmap: &'a dyn Printable,
    },
    /// A server denies access to one of the names that a bmap may have, be there such a file or not; the search goes on.
    BmapAccessDenied {
        /// What the server says, with the location.
        error: &'a dyn Error,
    },
    /// A detached signature was found beside the bmap.
    SignatureFound {
        /// The signature's location.
        signature: &'a dyn Printable,
    },
    /// A server sent a web page for the name of a signature; it is passed over.
    WebPageForSignature {
        /// The signature's location.
        signature: &'a dyn Printable,
    },
    /// The bmap has a good signature of an accepted key. Told once for each signer.
    BmapSignedBy {
        /// The bmap's location.
        bmap: &'a dyn Printable,
        /// Name, address and fingerprint.
        signer: &'a dyn Printable,
    },
    /// The bmap has no signature, and needs none.
    BmapNotSigned {
        /// The bmap's location.
        bmap: &'a dyn Printable,
    },
    /// The bmap is signed, and its signature is not verified because the caller asked for that.
    SignatureNotVerified {
        /// The bmap's location.
        bmap: &'a dyn Printable,
    },

    // Devices and sinks.
    /// A device that shares bytes with the target is free, but may show old data from its cache until it is detached.
    SharesData {
        /// The device.
        device: &'a Path,
        /// The target.
        target: &'a Path,
    },
    /// A setting of the disk is left as it is, for it cannot be written.
    SettingKept {
        /// The setting's file in sysfs.
        setting: &'a Path,
        /// Its value.
        value: &'a str,
        /// Why.
        error: &'a io::Error,
    },
    /// A setting that was changed could not be put back.
    SettingNotRestored {
        /// The setting's file in sysfs.
        setting: &'a Path,
        /// The value that it had.
        value: &'a str,
        /// Why.
        error: &'a io::Error,
    },
    /// The kernel still has the old partition table of a device.
    PartitionTableNotReread {
        /// The device.
        device: &'a Path,
        /// Why.
        error: &'a io::Error,
    },
    /// The boot region could not be read beforehand: where the image has nothing for it, it becomes zero.
    BootRegionUnreadable {
        /// Whose it is.
        target: TargetId,
        /// The length of the region in bytes.
        length: u64,
        /// Why.
        error: &'a io::Error,
    },
    /// What was written to a loop device over the image may not have reached the image.
    LoopDeviceNotFlushed {
        /// The loop device.
        device: &'a Path,
        /// The image.
        image: &'a Path,
        /// Why.
        error: &'a io::Error,
    },
    /// The image is in use through a loop device: what is written there may be missing from its map.
    ImageInUse {
        /// The image.
        image: &'a Path,
        /// What it is used for.
        usage: &'a dyn Printable,
    },
}

/// What can be shown to people.
pub trait Printable: Display + std::fmt::Debug {}

impl<T: Display + std::fmt::Debug> Printable for T {}
