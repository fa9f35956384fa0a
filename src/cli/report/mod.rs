//! What is told of a command: readers of the same events, each for somebody else.

pub mod console;
mod human;
mod json;
mod printer;
mod progress;
mod psplash;
mod start;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bmaptool::bmap::Bmap;
use bmaptool::copy::Summary;
use bmaptool::digest::ChecksumKind;
use bmaptool::event::{Event, Notice, Observer, TargetId};
use bmaptool::source::{Location, TransferStats};
use bmaptool::verify::{self, Difference};

use super::error::Error;
use human::Human;
use json::Json;
use progress::Progress;
use psplash::Psplash;
pub use start::{Start, UsedBmap};

/// Shows events to people, and to programs if that is asked for.
pub struct Report {
    human: Human,
    psplash: Option<Psplash>,
    json: Option<Json>,
}

/// Who reads the events besides people.
#[derive(Clone, Copy, Default)]
pub struct Readers<'a> {
    /// The FIFO of a boot screen.
    pub psplash: Option<&'a Path>,
    /// Whether programs read them from standard output.
    pub json: bool,
}

impl Report {
    /// Reports what is done to `targets`, as the user gave them.
    pub fn new(targets: Vec<PathBuf>, readers: Readers<'_>) -> Arc<Self> {
        let json = readers.json.then(|| Json::new(targets.clone()));
        let progress = Progress::of(&targets);
        let human = Human { targets, progress: Arc::new(progress) };
        Arc::new(Self { human, psplash: readers.psplash.map(Psplash::new), json })
    }

    /// From here on, shows the progress.
    pub fn show_progress(&self) {
        console::show(&self.human.progress);
    }

    /// Tells what is about to be done.
    pub fn started(&self, start: &Start<'_>) {
        self.json.iter().for_each(|json| json.started(start));
    }

    /// Tells programs how the copy to a target ended; `stats` are those of the image, if it came from a server.
    pub fn ended(&self, target: TargetId, result: &Result<Summary, Error>, stats: Option<&TransferStats>) {
        self.json.iter().for_each(|json| json.ended(target, result, stats));
    }

    /// Tells what has come out of comparing `file` with its bmap.
    pub fn verified(&self, file: &Location, kind: ChecksumKind, outcome: &verify::Report) {
        self.differs(kind, &outcome.differences);
        human::verified(file, outcome);
        self.json.iter().for_each(|json| json.verified(outcome));
    }

    /// Tells what was found wrong.
    pub fn differs(&self, kind: ChecksumKind, differences: &[Difference]) {
        human::differs(kind, differences);
        self.json.iter().for_each(|json| json.differs(kind, differences));
    }

    /// Tells programs what an image was found to have. People are told only where that does not get in their way.
    pub fn mapped(&self, map: &Bmap) {
        self.json.iter().for_each(|json| json.mapped(map));
    }
}

impl Observer for Report {
    fn event(&self, event: Event<'_>) {
        self.human.event(event);
        self.json.iter().for_each(|json| json.event(event));
        if let Some((pipe, error)) = self.psplash.as_ref().and_then(|psplash| psplash.show(event)) {
            self.notice(Notice::PsplashUnusable { pipe: &pipe, error: &error });
        }
    }
}
