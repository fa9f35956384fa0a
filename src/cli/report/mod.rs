//! What is shown of a copy: observers of the same events, each for another reader.

pub mod console;
mod human;
mod printer;
mod progress;
mod progress_line;
mod psplash;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bmaptool::event::{Event, Observer};

use super::args::Verbosity;
use console::Display;
use human::Human;
use progress::Progress;
use psplash::Psplash;

/// Everybody who is told.
pub struct Report {
    observer: Arc<dyn Observer>,
    progress: Arc<Progress>,
}

impl Report {
    /// Tells people, and psplash through the FIFO at `psplash`, of a copy to `targets`.
    pub fn new(targets: Vec<PathBuf>, psplash: Option<&Path>) -> Self {
        let progress = Arc::new(Progress::default());
        let mut all: Vec<Box<dyn Observer>> = vec![Box::new(Human { targets, progress: Arc::clone(&progress) })];
        if let Some(path) = psplash {
            all.push(Box::new(Psplash::new(path)));
        }
        Self { observer: Arc::new(All(all)), progress }
    }

    /// Passes events to all of them.
    pub fn observer(&self) -> &Arc<dyn Observer> {
        &self.observer
    }

    /// Shows the progress until what it returns is dropped, if the user wants to see it.
    pub fn show_progress(&self, verbosity: &Verbosity) -> Option<Display> {
        (!verbosity.quiet).then(|| Display::of(&self.progress))
    }
}

struct All(Vec<Box<dyn Observer>>);

impl Observer for All {
    fn event(&self, event: Event<'_>) {
        for observer in &self.0 {
            observer.event(event);
        }
    }
}
