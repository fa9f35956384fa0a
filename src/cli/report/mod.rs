//! What is shown of a copy: observers of the same events, each for another reader.

pub mod console;
mod human;
mod printer;
mod progress;
mod psplash;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bmaptool::event::{Event, Observer};

use human::Human;
use progress::Progress;
use psplash::Psplash;

/// Shows events to people, and to psplash if that is asked for.
pub struct Report {
    human: Human,
    psplash: Option<Psplash>,
}

impl Report {
    /// Reports a copy to `targets`, as the user gave them, also through the FIFO at `psplash`.
    pub fn new(targets: Vec<PathBuf>, psplash: Option<&Path>) -> Arc<Self> {
        let progress = Progress::of(&targets);
        let human = Human { targets, progress: Arc::new(progress) };
        Arc::new(Self { human, psplash: psplash.map(Psplash::new) })
    }

    /// From here on, shows the progress.
    pub fn show_progress(&self) {
        console::show(&self.human.progress);
    }
}

impl Observer for Report {
    fn event(&self, event: Event<'_>) {
        self.human.event(event);
        if let Some(psplash) = &self.psplash {
            psplash.event(event);
        }
    }
}
