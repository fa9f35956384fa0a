//! The events, as docs/json.md describes them.

use std::path::Path;

use bmaptool::copy::Looks;
use bmaptool::event;
use bmaptool::sink::{self, ReadPath, SinkInfo, TargetState};
use serde::Serialize;

use super::bmap::{Bmap, Map};
use super::{Code, Warning, path};

/// What happens, a line each.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Event {
    Start {
        version: &'static str,
        command: &'static str,
        image: String,
        image_size: Option<u64>,
        bmap: Option<Bmap>,
        targets: Vec<Target>,
    },
    Phase {
        #[serde(flatten)]
        of: Of,
        phase: Phase,
    },
    Progress {
        #[serde(flatten)]
        of: Of,
        phase: Phase,
        done: u64,
        total: Option<u64>,
        source_done: Option<u64>,
        source_total: Option<u64>,
    },
    Retry {
        #[serde(flatten)]
        of: Of,
        bytes: Option<u64>,
        url: Option<String>,
        message: Option<String>,
        pause: Option<f64>,
    },
    Warning {
        #[serde(flatten)]
        of: Of,
        code: Warning,
        message: String,
    },
    Mismatch {
        #[serde(flatten)]
        of: Of,
        start: u64,
        end: u64,
        ranges: Option<usize>,
        checksum: Option<&'static str>,
        expected: Option<String>,
        found: Option<String>,
        contents: Option<Contents>,
        unreadable_at: Option<u64>,
        message: Option<String>,
    },
    Target {
        #[serde(flatten)]
        of: Of,
        ok: bool,
        error: Option<Error>,
        state: State,
        bytes: Option<u64>,
        written: Option<u64>,
        unchanged: Option<u64>,
        left_out: Option<u64>,
        zeroed: Option<u64>,
        discarded: Option<u64>,
        read_from: Option<ReadFrom>,
        fetched: Option<u64>,
        seconds: Option<f64>,
    },
    Result {
        ok: bool,
        error: Option<Error>,
        exit_status: i32,
        #[serde(flatten)]
        summary: Summary,
    },
}

/// Which target an event is about, if any.
#[derive(Clone, Default, Serialize)]
pub struct Of {
    pub index: Option<usize>,
    pub target: Option<String>,
}

/// A target, before anything is written to it.
#[derive(Serialize)]
pub struct Target {
    #[serde(flatten)]
    of: Of,
    kind: Option<Kind>,
    size: Option<u64>,
    model: Option<String>,
    serial: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    BlockDevice,
    CharacterDevice,
    File,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    Comparing,
    Copying,
    Hashing,
    Synchronizing,
    Verifying,
}

/// What is on a target in the end.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    Complete,
    Incomplete,
    Invalid,
    MaybeBootable,
    Moved,
    NotApplicable,
    Removed,
    Untouched,
}

/// What is found instead of what was written.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Contents {
    Displaced,
    Ones,
    Unknown,
    Unreadable,
    Zeroes,
}

/// Where what is compared with the image comes from.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReadFrom {
    Cache,
    Medium,
    Unsure,
}

/// What went wrong.
#[derive(Serialize)]
pub struct Error {
    pub code: Code,
    pub message: String,
}

/// What has come out, where it is more than success or failure.
#[derive(Clone, Default, Serialize)]
pub struct Summary {
    pub map: Option<Map>,
    pub verified: Option<Verified>,
}

/// How much was compared, and how much of it differs.
#[derive(Clone, Serialize)]
pub struct Verified {
    pub bytes: u64,
    pub ranges: usize,
    pub wrong_ranges: usize,
    /// How many of these cannot be read.
    pub unreadable_ranges: usize,
    /// How a device was read.
    pub read_from: Option<ReadFrom>,
    /// Whether the backup of a relocated GPT is right; `None` where it is not relocated.
    pub backup_gpt_right: Option<bool>,
    pub seconds: f64,
}

impl Of {
    /// The target with this index, as the user gave it.
    pub fn target(index: usize, target: &Path) -> Self {
        Self { index: Some(index), target: Some(path(target)) }
    }
}

impl Target {
    /// A target of which `info` is known once it has been opened.
    pub fn new(of: Of, info: Option<&SinkInfo>) -> Self {
        let kind = info.map(|info| match info.kind {
            sink::Kind::BlockDevice => Kind::BlockDevice,
            sink::Kind::CharacterDevice => Kind::CharacterDevice,
            sink::Kind::RegularFile => Kind::File,
        });
        let identity = info.and_then(|info| info.identity.as_ref());
        Self {
            of,
            kind,
            size: info.and_then(|info| info.capacity),
            model: identity.and_then(|identity| identity.model.clone()),
            serial: identity.and_then(|identity| identity.serial.clone()),
        }
    }
}

impl From<event::Phase> for Phase {
    fn from(phase: event::Phase) -> Self {
        match phase {
            event::Phase::Comparing => Self::Comparing,
            event::Phase::Copying => Self::Copying,
            event::Phase::Hashing => Self::Hashing,
            event::Phase::Synchronizing => Self::Synchronizing,
            event::Phase::Verifying => Self::Verifying,
        }
    }
}

impl From<TargetState> for State {
    fn from(state: TargetState) -> Self {
        match state {
            TargetState::Complete => Self::Complete,
            TargetState::Removed => Self::Removed,
            TargetState::Incomplete => Self::Incomplete,
            TargetState::Moved => Self::Moved,
            TargetState::BootRegionZero | TargetState::BootRegionCleared => Self::Invalid,
            TargetState::MaybeBootable => Self::MaybeBootable,
            TargetState::Untouched => Self::Untouched,
            TargetState::NotApplicable => Self::NotApplicable,
        }
    }
}

impl From<ReadPath> for ReadFrom {
    fn from(path: ReadPath) -> Self {
        match path {
            ReadPath::Direct | ReadPath::AfterDrop => Self::Medium,
            ReadPath::Unsure => Self::Unsure,
            ReadPath::Cache => Self::Cache,
        }
    }
}

impl From<Looks> for Contents {
    fn from(looks: Looks) -> Self {
        match looks {
            Looks::Zeroes => Self::Zeroes,
            Looks::Ones => Self::Ones,
            Looks::Displaced(_) => Self::Displaced,
            Looks::Unreadable => Self::Unreadable,
            Looks::Unknown => Self::Unknown,
        }
    }
}
