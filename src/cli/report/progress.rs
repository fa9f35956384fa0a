//! How far the targets are, counted as events come.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bmaptool::event::{Event, Phase};
use indicatif::ProgressBar;

use super::console;
use super::progress_line::View;

/// How far each target is that is being worked on, by its number.
#[derive(Default)]
pub struct Progress(Mutex<BTreeMap<usize, Target>>);

struct Target {
    phase: Phase,
    /// Bytes.
    done: u64,
    /// Bytes, where that is known.
    total: Option<u64>,
    started: Instant,
    /// Tells the rate of late, which only the line on a terminal shows. It is hidden: indicatif fills its lines up to the last
    /// column, where the `^C` that a terminal adds would fold them.
    meter: Option<ProgressBar>,
}

impl Default for Target {
    fn default() -> Self {
        let meter = console::is_terminal().then(ProgressBar::hidden);
        Self { phase: Phase::Copying, done: 0, total: None, started: Instant::now(), meter }
    }
}

impl Progress {
    /// Takes note of an event.
    pub fn note(&self, event: &Event<'_>) {
        let mut targets = self.targets();
        match *event {
            Event::Phase(target, phase) => targets.entry(target.0).or_default().phase = phase,
            Event::Progress { target, done, total } => {
                let target = targets.entry(target.0).or_default();
                (target.done, target.total) = (done, total);
            }
            Event::Target(target, _) => drop(targets.remove(&target.0)),
            Event::Notice(_) => {}
        }
    }

    /// A line for each target on a terminal with so many columns.
    pub fn lines(&self, columns: u16) -> Vec<String> {
        self.targets().values().map(|target| target.view().line(target.rate(), columns)).collect()
    }

    /// A sentence for each target.
    pub fn sentences(&self) -> Vec<String> {
        self.targets().values().map(|target| target.view().sentence()).collect()
    }

    fn targets(&self) -> MutexGuard<'_, BTreeMap<usize, Target>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Target {
    /// Bytes in a second, of late.
    fn rate(&self) -> u64 {
        self.meter.as_ref().map_or(0, |meter| {
            meter.set_position(self.done);
            meter.tick();
            meter.per_sec() as u64
        })
    }

    fn view(&self) -> View {
        View { phase: self.phase, done: self.done, total: self.total, elapsed: self.started.elapsed() }
    }
}
