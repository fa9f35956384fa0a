//! How far the targets are, counted as events come.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bmaptool::event::{Event, Phase};
use indicatif::ProgressBar;

use super::progress_line::View;

/// How far each target is that is being worked on, by its number.
#[derive(Default)]
pub struct Progress(Mutex<BTreeMap<usize, Target>>);

struct Target {
    phase: Phase,
    /// Counts bytes, and tells their rate of late. It is hidden: indicatif fills its lines up to the last column, where the
    /// `^C` that a terminal adds would fold them.
    counter: ProgressBar,
}

impl Default for Target {
    fn default() -> Self {
        Self { phase: Phase::Copying, counter: ProgressBar::hidden() }
    }
}

impl Progress {
    /// Takes note of an event.
    pub fn note(&self, event: &Event<'_>) {
        match *event {
            Event::Phase(target, phase) => self.targets().entry(target.0).or_default().phase = phase,
            Event::Progress { target, done, total } => {
                let mut targets = self.targets();
                let counter = &targets.entry(target.0).or_default().counter;
                if let Some(total) = total.filter(|_| counter.length() != total) {
                    counter.set_length(total);
                }
                counter.set_position(done);
            }
            Event::Target(target, _) => drop(self.targets().remove(&target.0)),
            Event::Notice(_) => {}
        }
    }

    fn targets(&self) -> MutexGuard<'_, BTreeMap<usize, Target>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How far each of them is now.
    pub fn views(&self) -> Vec<View> {
        self.targets().values().map(Target::view).collect()
    }
}

impl Target {
    fn view(&self) -> View {
        let Self { phase, counter } = self;
        counter.tick(); // takes note of the time for the rate
        View {
            phase: *phase,
            done: counter.position(),
            total: counter.length(),
            rate: counter.per_sec() as u64,
            elapsed: counter.elapsed(),
        }
    }
}
