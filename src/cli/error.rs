//! Errors in words, and their exit statuses. Advice is in [`hint`].

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bmaptool::bmap::ParseError;
use bmaptool::copy::{self, Damage, Digests, Extent, Place};
use bmaptool::create;
use bmaptool::device::ListError;
use bmaptool::info::Problem;
use bmaptool::load;
use bmaptool::partition;
use bmaptool::sink::{self, TargetState};
use bmaptool::size::human;
use bmaptool::source::{self, CertificatesError, Format, Location, NotAnImage};
use bmaptool::trust::{self, Fingerprint, KeyringError, RequiredBy};
use bmaptool::verify;

use super::hint::{COPY_AGAIN, hint};
use super::json;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot open image '{path}'")]
    OpenImage { path: PathBuf, source: io::Error },
    #[error("'{path}' is {what}, not a disk image")]
    NoImage { path: PathBuf, what: NotAnImage },
    #[error("{output} is the image itself")]
    OutputIsImage { output: String },
    #[error("'{path}' is standard output, where the events of --json go")]
    OutputIsStdout { path: PathBuf },
    #[error(transparent)]
    Create(#[from] create::Error),
    #[error("cannot write the bmap to {output}")]
    Output { output: String, signal: Option<i32>, source: io::Error },
    #[error(transparent)]
    Location(#[from] source::InvalidUrl),
    #[error(transparent)]
    Source(#[from] source::Error),
    #[error("bmap file not found for '{image}'")]
    NoBmap { image: Location },
    #[error("bmap file not found for '{device}', which is a device")]
    NoBmapOfDevice { device: Location, target: PathBuf },
    #[error("the name of '{image}' says {named}, but it is not compressed")]
    NotCompressed { image: Location, named: Format },
    #[error("cannot read the image: standard input is closed")]
    StdinClosed,
    #[error("nothing came from {}: there is no image on it", in_quotes(.image))]
    NothingCame { image: Location },
    #[error(transparent)]
    Certificates(#[from] CertificatesError),
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    #[error("no signature found but {flag} given: bmap file '{bmap}' is not signed")]
    NotSigned { bmap: Location, flag: &'static str },
    #[error("discovered a BAD GPG signature of '{bmap}': it is by {found}, not by {expected}")]
    WrongSigner { bmap: Location, found: String, expected: Fingerprint },
    #[error(transparent)]
    Bmap(load::Error),
    #[error(transparent)]
    Target(#[from] sink::Error),
    #[error("cannot copy '{image}' to '{target}'")]
    Copy { image: Location, target: PathBuf, state: TargetState, signal: Option<i32>, source: Arc<copy::Error> },
    /// Each of them has been reported.
    #[error("{} of {of} targets failed", .failed.len())]
    Targets { failed: Vec<Self>, of: usize },
    #[error("bmap file not found for '{file}'")]
    NothingToCompare { file: Location },
    #[error("cannot verify {}", in_quotes(.file))]
    Verify { file: Location, source: verify::Error },
    #[error("{} is not what its bmap says: {wrong} of {ranges} ranges differ{}", in_quotes(.file), and_unreadable(*.unreadable))]
    Differs { file: Location, wrong: usize, unreadable: usize, ranges: usize },
    #[error("the backup of the GPT at the end of {} is not right", in_quotes(.device))]
    BackupGpt { device: Location },
    #[error("cannot tell all partitions of {}", in_quotes(.file))]
    Partitions { file: Location, source: partition::Error },
    #[error("cannot tell what '{device}' is used for")]
    Unclear { device: PathBuf, source: io::Error },
    #[error("cannot tell what devices there are")]
    Devices(#[source] ListError),
    #[error("cannot write to standard output")]
    Stdout(#[source] io::Error),
    #[error("cannot handle signals")]
    Signals(#[source] io::Error),
}

/// Requirements are named by the options that make them.
impl From<load::Error> for Error {
    fn from(error: load::Error) -> Self {
        match error {
            load::Error::Source(error) | load::Error::Trust(trust::Error::Source(error)) => Self::Source(error),
            load::Error::Trust(trust::Error::NotSigned { bmap, required_by }) => {
                let flag = match required_by {
                    RequiredBy::Fingerprint => "--fingerprint",
                    RequiredBy::Keyring => "--keyring",
                };
                Self::NotSigned { bmap, flag }
            }
            load::Error::Trust(trust::Error::WrongSigner { bmap, found, expected }) => {
                let found = found.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
                Self::WrongSigner { bmap, found, expected }
            }
            error => Self::Bmap(error),
        }
    }
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        match problem {
            Problem::Source(error) => Self::Source(error),
            Problem::Bmap(error) => error.into(),
            Problem::Partitions { location, source } => Self::Partitions { file: location, source },
            Problem::Device { device, source } => Self::Unclear { device, source },
        }
    }
}

impl Error {
    /// The error, its causes, and what to do about it.
    fn words(&self) -> String {
        let fact = in_one_line(self);
        hint(self).map_or_else(|| fact.clone(), |hint| format!("{fact}; {hint}"))
    }

    /// The error for programs.
    pub fn object(&self) -> json::Error {
        json::Error { code: self.into(), message: json::text(&in_one_line(self)) }
    }

    /// Whether a signal is the cause.
    pub fn is_interruption(&self) -> bool {
        self.status() > super::WRONG_USAGE
    }

    /// Prints the error, and the state of the target.
    pub fn report(&self) {
        if let Self::Targets { .. } = self {
            return;
        }
        log::error!("{}", self.words());
        if let Self::Bmap(load::Error::Invalid { source: ParseError::Damaged { found, computed, .. }, .. }) = self {
            log::debug!("the bmap's checksum is {computed}, the bmap says {found}");
        }
        let Self::Copy { target, state, source, .. } = self else { return };
        if let copy::Error::Mismatch { kind, expected, computed, .. } = &**source {
            log::debug!("the image's {kind} is {computed}, the bmap says {expected}");
        }
        if let copy::Error::Medium(damage) = &**source {
            report_damage(damage);
        }
        let target = target.display();
        match state {
            TargetState::Removed => log::info!("the incomplete file '{target}' has been removed"),
            TargetState::Incomplete => log::error!("'{target}' is incomplete"),
            TargetState::Moved => {
                log::error!("the incomplete file is no longer at '{target}': it was moved, removed or replaced");
            }
            TargetState::BootRegionZero => {
                log::error!("'{target}' holds no valid image now; {COPY_AGAIN}");
            }
            TargetState::BootRegionCleared => {
                log::error!("the start of '{target}' has been zeroed again: it holds no valid image now; {COPY_AGAIN}");
            }
            TargetState::MaybeBootable => log::error!(
                "the start of '{target}' may not be zero: it may look valid, but holds no valid image; {COPY_AGAIN}"
            ),
            TargetState::Untouched => log::info!("'{target}' is as it was: nothing has been written"),
            TargetState::Complete | TargetState::NotApplicable => {}
        }
    }

    /// The exit status.
    pub fn status(&self) -> i32 {
        match self {
            Self::Copy { source, signal: Some(signal), .. }
                if matches!(**source, copy::Error::Cancelled | copy::Error::HeldUp { .. }) =>
            {
                128 + signal
            }
            Self::Targets { failed, .. } => failed.iter().map(Self::status).max().unwrap_or(super::FAILED),
            Self::Output { source, signal: Some(signal), .. } if source.kind() == io::ErrorKind::Interrupted => {
                128 + signal
            }
            // What is wrong with these arguments is only known once the image is.
            Self::Create(create::Error::RangeSize { .. } | create::Error::PastTheEnd { .. }) => super::WRONG_USAGE,
            _ => super::FAILED,
        }
    }
}

/// Prints what a target holds instead of what was written.
fn report_damage(Damage { places, count, bytes, extent }: &Damage) {
    for Place { bytes, blocks, digests, looks } in places {
        let blocks = blocks.map(|blocks| format!(" (in blocks {blocks})")).unwrap_or_default();
        let digests = digests.as_ref().map(|Digests { bytes: hashed, kind, expected, found }| {
            let hashed = match (blocks.is_empty(), hashed == bytes) {
                (false, _) => "these blocks".to_owned(),
                (true, true) => "these bytes".to_owned(),
                (true, false) => format!("bytes {}-{}", hashed.start, hashed.end - 1),
            };
            format!("; the {kind} of {hashed} is {found}, not {expected}")
        });
        let digests = digests.unwrap_or_default();
        log::error!("bytes {}-{}{blocks}: {looks}{digests}", bytes.start, bytes.end - 1);
    }
    if *count > places.len() {
        log::error!("and {} more places, {} in all", count - places.len(), human(*bytes));
    }
    if *extent == Extent::Part {
        log::error!("so much is wrong that the rest was not read");
    }
}

/// An error and its causes.
pub fn in_one_line(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Some errors end in the words of their cause.
        let words = error.to_string();
        if !text.ends_with(&words) {
            text = format!("{text}: {words}");
        }
        cause = error.source();
    }
    text
}

/// So many ranges that cannot be read, in words, if there are any.
fn and_unreadable(ranges: usize) -> String {
    if ranges == 0 { String::new() } else { format!(", {ranges} cannot be read") }
}

/// A location, in quotes if it is a name.
pub fn in_quotes(location: &Location) -> String {
    if *location == Location::Stdin { location.to_string() } else { format!("'{location}'") }
}

#[cfg(test)]
mod tests;
