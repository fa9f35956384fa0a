//! How far the targets are: counted as events come, and shown by a thread, in lines that are drawn again and again on a
//! terminal, and elsewhere in a message now and then.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bmaptool::event::{Event, Phase};
use bmaptool::size::{human, percent, rate};
use bmaptool::threads;
use indicatif::ProgressBar;

use super::console;
use super::printer::Pending;
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

    fn views(&self) -> Vec<View> {
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

/// Shows the progress until it is dropped.
pub struct Display {
    stop: Option<Sender<()>>,
    ended: Pending,
}

impl Display {
    /// Starts the thread. Where the machine has none left for it, nothing is shown.
    pub fn start(progress: &Arc<Progress>) -> Self {
        let (stop, stopped) = channel();
        let (ends, ended) = channel::<()>();
        let progress = Arc::clone(progress);
        let _ = threads::start("progress", move || {
            let _ends = ends;
            if console::is_terminal() {
                draw_lines(&progress, &stopped);
            } else {
                print_messages(&progress, &stopped);
            }
        });
        Self { stop: Some(stop), ended }
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        drop(self.stop.take());
        console::wait_for(&self.ended);
    }
}

/// Waits for `interval`, or until the display is dropped; returns whether it goes on.
fn goes_on(stopped: &Receiver<()>, interval: Duration) -> bool {
    stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout)
}

fn draw_lines(progress: &Progress, stopped: &Receiver<()>) {
    const INTERVAL: Duration = Duration::from_millis(100);

    while goes_on(stopped, INTERVAL) {
        let columns = console::columns();
        console::draw(progress.views().iter().map(|view| view.line(columns)).collect());
    }
    console::draw(Vec::new());
}

fn print_messages(progress: &Progress, stopped: &Receiver<()>) {
    const INTERVAL: Duration = Duration::from_secs(10);

    while goes_on(stopped, INTERVAL) {
        for View { phase, done, total, elapsed, .. } in progress.views() {
            let speed = rate(done, elapsed);
            match (phase, total) {
                (Phase::Synchronizing, _) => log::info!("still synchronizing"),
                (Phase::Copying, Some(total)) => {
                    let share = percent(done, total);
                    log::info!("copied {} of {} ({share}), {speed}/sec", human(done), human(total));
                }
                (Phase::Copying, None) => log::info!("copied {}, {speed}/sec", human(done)),
            }
        }
    }
}
