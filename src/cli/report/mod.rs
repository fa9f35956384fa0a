//! What is told of a command: readers of the same events, each for somebody else.

pub mod console;
mod ended;
mod human;
mod json;
mod printer;
mod progress;
mod psplash;
mod start;
mod summary;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bmaptool::bmap::Bmap;
use bmaptool::digest::ChecksumKind;
use bmaptool::event::{Event, Notice, Observer};
use bmaptool::source::Location;
use bmaptool::verify::{self, Difference};

pub use ended::Ended;
use human::Human;
use json::Json;
use progress::Progress;
use psplash::Psplash;
pub use start::{Start, UsedBmap};
pub use summary::Assurance;

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
        self.human.started(start);
    }

    /// Tells how a copy ended.
    pub fn ended(&self, ended: &Ended<'_>) {
        self.json.iter().for_each(|json| json.ended(ended));
        self.human.ended(ended);
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

    /// Tells what an image was found to have.
    pub fn mapped(&self, map: &Bmap) {
        self.human.mapped(map);
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
