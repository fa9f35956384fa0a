//! What programs read: the events as JSON objects.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bmaptool::bmap;
use bmaptool::copy::{self, Place, Summary};
use bmaptool::digest::ChecksumKind;
use bmaptool::event::{self, Notice, Observer, TargetId};
use bmaptool::sink::TargetState;
use bmaptool::source::TransferStats;
use bmaptool::verify::{self, BackupState, Difference, Fault};

use super::ended::Ended;
use super::human;
use super::start::Start;
use crate::cli::error::{Error, in_one_line};
use crate::cli::json::{self, Bmap, Contents, Event, Map, Of, Phase, Target, Verified, Warning, stream};

/// How often the progress of a target is told at most.
const INTERVAL: Duration = Duration::from_millis(500);

pub struct Json {
    /// As the user gave them.
    targets: Vec<PathBuf>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    targets: BTreeMap<usize, Course>,
    /// How much of the source has been read, and how much there is; known where the size of the image is not.
    source: Option<(u64, u64)>,
}

/// What a target was last said to be at.
struct Course {
    phase: Phase,
    /// When its progress was told last.
    told: Option<Instant>,
}

impl Json {
    /// Prints what is done to `targets`.
    pub fn new(targets: Vec<PathBuf>) -> Self {
        Self { targets, state: Mutex::default() }
    }

    /// Prints what is about to be done.
    pub fn started(&self, start: &Start<'_>) {
        let targets = start.targets.iter().enumerate();
        let targets = targets.map(|(index, info)| Target::new(self.of(TargetId(index)), info.as_ref())).collect();
        print(&Event::Start {
            version: env!("CARGO_PKG_VERSION"),
            command: start.command,
            image: json::text(&start.image.to_string()),
            image_size: start.image_size,
            bmap: start.bmap.as_ref().map(|bmap| Bmap::new(bmap.file, Some(bmap.map), Some(bmap.signatures))),
            targets,
        });
    }

    /// Prints how the copy to each target ended, and before that what it holds wrong.
    pub fn ended(&self, ended: &Ended<'_>) {
        for (index, result) in ended.results.iter().enumerate() {
            self.target_ended(TargetId(index), result, ended.stats);
        }
    }

    fn target_ended(&self, target: TargetId, result: &Result<Summary, Error>, stats: Option<&TransferStats>) {
        let done = result.as_ref().ok();
        let mut state = TargetState::Complete;
        if let Err(Error::Copy { state: left, source, .. }) = result {
            state = *left;
            if let copy::Error::Medium(damage) = &**source {
                damage.places.iter().for_each(|place| self.damaged(target, place));
            }
        }
        print(&Event::Target {
            of: self.of(target),
            ok: done.is_some(),
            error: result.as_ref().err().map(Error::object),
            state: state.into(),
            bytes: done.map(|done| done.bytes),
            written: done.map(|done| done.written),
            unchanged: done.map(|done| done.bytes - done.written),
            left_out: done.map(|done| done.left_out),
            zeroed: done.map(|done| done.zeroed),
            discarded: done.map(|done| done.discarded),
            read_from: done.and_then(|done| done.read_back).map(Into::into),
            fetched: stats.map(TransferStats::fetched),
            seconds: done.map(|done| done.time.as_secs_f64()),
        });
    }

    /// Prints a place on a target that does not hold what was written to it.
    fn damaged(&self, target: TargetId, Place { bytes, digests, looks, .. }: &Place) {
        print(&Event::Mismatch {
            of: self.of(target),
            start: bytes.start,
            end: bytes.end,
            ranges: None,
            checksum: digests.as_ref().map(|digests| digests.kind.name()),
            expected: digests.as_ref().map(|digests| digests.expected.to_string()),
            found: digests.as_ref().map(|digests| digests.found.to_string()),
            contents: Some((*looks).into()),
            unreadable_at: None,
            message: None,
        });
    }

    /// Prints what `verify` found wrong.
    pub fn differs(&self, kind: ChecksumKind, differences: &[Difference]) {
        for Difference { bytes, ranges, fault, .. } in differences {
            let (digests, error) = match fault {
                Fault::Differs(digests) => (digests.as_deref(), None),
                Fault::Unreadable(error) => (None, Some(error)),
            };
            print(&Event::Mismatch {
                of: self.of(TargetId(0)),
                start: bytes.start,
                end: bytes.end,
                ranges: Some(*ranges),
                checksum: Some(kind.name()),
                expected: digests.map(|(expected, _)| expected.to_string()),
                found: digests.map(|(_, found)| found.to_string()),
                contents: error.map(|_| Contents::Unreadable),
                unreadable_at: error.map(|error| error.offset),
                message: error.map(|error| json::text(&error.source.to_string())),
            });
        }
    }

    /// Has the last event say how much differs.
    pub fn verified(&self, outcome: &verify::Report) {
        let verified = Verified {
            bytes: outcome.bytes,
            ranges: outcome.ranges,
            wrong_ranges: outcome.wrong() + outcome.unreadable(),
            unreadable_ranges: outcome.unreadable(),
            read_from: outcome.path.map(Into::into),
            backup_gpt_right: outcome.relocated.map(|backup| backup == BackupState::Right),
            seconds: outcome.time.as_secs_f64(),
        };
        json::summarize(|summary| summary.verified = Some(verified));
    }

    /// Has the last event say what is in a bmap that has been made.
    pub fn mapped(&self, map: &bmap::Bmap) {
        json::summarize(|summary| summary.map = Some(Map::of(map)));
    }

    fn of(&self, TargetId(index): TargetId) -> Of {
        Of::target(index, &self.targets[index])
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn notice(&self, notice: &Notice<'_>) {
        let of = self.target_of(notice).map(|target| self.of(target)).unwrap_or_default();
        if let Notice::Retries { url, error, pause } = notice {
            print(&Event::Retry {
                of: Of::default(),
                bytes: None,
                url: Some(json::text(&url.to_string())),
                message: Some(json::text(&in_one_line(*error))),
                pause: Some(pause.unwrap_or_default().as_secs_f64()),
            });
        }
        if let Some(code) = Warning::of(notice) {
            print(&Event::Warning { of, code, message: json::text(&human::words(*notice, &self.targets)) });
        }
    }

    /// The target that a warning is about, if it is about one.
    fn target_of(&self, notice: &Notice<'_>) -> Option<TargetId> {
        let named = |name: &dyn Display| {
            let name = Some(json::text(&name.to_string()));
            (0..self.targets.len()).map(TargetId).find(|&target| self.of(target).target == name)
        };
        match *notice {
            Notice::BootRegionUnreadable { target, .. }
            | Notice::MarksLeft { target, .. }
            | Notice::MediumNotRead { target, .. }
            | Notice::GptSectorSize { target, .. }
            | Notice::DiscardedNotZero { target, .. } => Some(target),
            Notice::SharesData { target, .. } | Notice::SettingNotRestored { target, .. } => named(&target.display()),
            // Those of the file that `verify` reads; of `copy`, the image is no target.
            Notice::TrailingData { file: name, .. } | Notice::NoValidator { url: name } => named(name),
            // They come of `create` and `verify` only, which have one.
            Notice::DeviceInUse { .. }
            | Notice::ImageInUse { .. }
            | Notice::LoopDeviceNotFlushed { .. }
            | Notice::VerityInHoles { .. }
            | Notice::NoHoles { .. }
            | Notice::ImageCompressed { .. } => Some(TargetId(0)),
            _ => None,
        }
    }

    fn progress(&self, target: TargetId, done: u64, total: Option<u64>) {
        let mut state = self.state();
        let source = state.source.filter(|_| total.is_none());
        let Some(course) = state.targets.get_mut(&target.0) else { return };
        if course.told.is_some_and(|told| told.elapsed() < INTERVAL) {
            return;
        }
        course.told = Some(Instant::now());
        stream::print_progress(json::line(&Event::Progress {
            of: self.of(target),
            phase: course.phase,
            done,
            total,
            source_done: source.map(|(done, _)| done),
            source_total: source.map(|(_, total)| total),
        }));
    }
}

impl Observer for Json {
    fn event(&self, event: event::Event<'_>) {
        match event {
            event::Event::Phase(target, phase) => {
                let phase = Phase::from(phase);
                let mut state = self.state();
                let course = state.targets.entry(target.0).or_insert(Course { phase, told: None });
                course.phase = phase;
                drop(state);
                print(&Event::Phase { of: self.of(target), phase });
            }
            event::Event::Progress { target, done, total } => self.progress(target, done, total),
            event::Event::SourceRead { done, total } => self.state().source = Some((done, total)),
            event::Event::Retry { target, bytes } => {
                print(&Event::Retry { of: self.of(target), bytes: Some(bytes), url: None, message: None, pause: None })
            }
            event::Event::Notice(notice) => self.notice(&notice),
            // Who has run the copy tells how it ended, how it was read back, and why not.
            event::Event::ReadBack { .. } | event::Event::Target(..) => {}
        }
    }
}

fn print(event: &Event) {
    stream::print(json::line(event));
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::Path;

    use super::*;

    #[test]
    fn a_warning_names_its_target() {
        let json = Json::new(vec!["/dev/x".into(), "/dev/y".into()]);
        let (device, target, setting, image) =
            (Path::new("/dev/z"), Path::new("/dev/y"), Path::new("/sys/s"), Path::new("disk.img"));
        let error = &io::Error::other("why");
        let cases = [
            (Notice::DiscardedNotZero { target: TargetId(1), offset: 0 }, Some(1)),
            (Notice::SharesData { device, target }, Some(1)),
            (Notice::SettingNotRestored { target, setting, value: "7", error }, Some(1)),
            (Notice::TrailingData { file: &"/dev/x", format: &"gzip" }, Some(0)),
            (Notice::TrailingData { file: &"disk.img.gz", format: &"gzip" }, None),
            (Notice::NoHoles { image, size: 1 }, Some(0)),
            (Notice::EmptyChecksums { bmap: &"disk.bmap" }, None),
        ];
        for (notice, expected) in cases {
            assert!(Warning::of(&notice).is_some());
            assert_eq!(json.target_of(&notice).map(|target| target.0), expected, "{notice:?}");
        }
    }
}
