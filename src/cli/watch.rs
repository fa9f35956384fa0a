//! Shows how far a copy is: a bar on a terminal, now and then a line elsewhere.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use bmaptool::copy::{Phase, Progress};
use bmaptool::size::{human, percent};
use bmaptool::sys::threads;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::args::Verbosity;
use super::bar::View;
use super::console;
use super::printer::Pending;
use super::screen::Screen;

/// Whether progress is shown at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Display {
    On,
    Off,
}

impl Display {
    /// What the user asked for.
    pub fn of(verbosity: &Verbosity) -> Self {
        if verbosity.quiet { Self::Off } else { Self::On }
    }
}

/// Watches a copy until it is dropped.
pub struct Watch {
    stop: Option<Sender<()>>,
    watching: Pending,
}

impl Watch {
    /// Shows `progress` towards `total` bytes, or how far it is where that is not known.
    pub fn start(display: Display, progress: &Arc<Progress>, total: Option<u64>) -> Self {
        let (stop, stopped) = channel();
        let (ended, watching) = channel::<()>();
        if display == Display::Off {
            return Self { stop: None, watching };
        }
        let progress = Arc::clone(progress);
        // Where there is no thread left for it, nothing is shown.
        let _ = threads::start("watch", move || {
            let _ended = ended;
            if console::is_terminal() {
                draw_bar(&progress, total, &stopped);
            } else {
                print_lines(&progress, total, &stopped);
            }
        });
        Self { stop: Some(stop), watching }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.stop.take());
        console::wait_for(&self.watching);
    }
}

/// Waits for `interval`, or until the copy has ended; returns whether it goes on.
fn goes_on(stopped: &Receiver<()>, interval: Duration) -> bool {
    stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout)
}

const REFRESH: Duration = Duration::from_millis(100);

fn draw_bar(progress: &Progress, total: Option<u64>, stopped: &Receiver<()>) {
    let screen = ProgressDrawTarget::term_like(Box::new(Screen::stderr()));
    let Ok(style) = ProgressStyle::with_template("{msg}") else { return };
    let bar = ProgressBar::with_draw_target(None, screen).with_style(style);
    let started = Instant::now();
    let mut speed = Speed::default();
    while goes_on(stopped, REFRESH) {
        let elapsed = started.elapsed();
        // The phase first: then nothing is missing from what is written when it is synchronized.
        let (phase, written) = (progress.phase(), progress.written());
        let rate = speed.after(elapsed, written);
        bar.set_message(View { phase, written, total, rate, elapsed }.line(console::width()));
        // Messages know of the bar from here on, and not before there is one.
        console::set_bar(Some(bar.clone()));
    }
    bar.finish_and_clear();
    console::set_bar(None);
}

/// How fast a copy is of late. Data is written in large pieces, so that the last moment alone tells nothing.
#[derive(Default)]
struct Speed {
    elapsed: Duration,
    written: u64,
    /// Bytes in a second.
    mean: f64,
}

impl Speed {
    /// The time over which the mean forgets.
    const MEMORY: Duration = Duration::from_secs(5);

    /// The mean in bytes per second, once `written` bytes have been written in all of `elapsed`.
    fn after(&mut self, elapsed: Duration, written: u64) -> u64 {
        let time = elapsed.saturating_sub(self.elapsed).as_secs_f64();
        if time > 0.0 {
            let now = written.saturating_sub(self.written) as f64 / time;
            // All of the past counts the same until there is more of it than is remembered.
            let weight = time / elapsed.min(Self::MEMORY).as_secs_f64().max(time);
            self.mean += (now - self.mean) * weight;
        }
        (self.elapsed, self.written) = (elapsed, written);
        self.mean as u64
    }
}

/// How long it takes until a line is due.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

fn print_lines(progress: &Progress, total: Option<u64>, stopped: &Receiver<()>) {
    let started = Instant::now();
    while goes_on(stopped, LINE_INTERVAL) {
        let written = progress.written();
        let speed = rate(written, started.elapsed());
        match (progress.phase(), total) {
            (Phase::Synchronizing, _) => log::info!("still synchronizing"),
            (Phase::Copying, Some(total)) => {
                let share = percent(written, total);
                log::info!("copied {} of {} ({share}), {speed}/sec", human(written), human(total));
            }
            (Phase::Copying, None) => log::info!("copied {}, {speed}/sec", human(written)),
        }
    }
}

/// How many bytes go by in a second, as in `12.3 MiB`.
pub fn rate(bytes: u64, time: Duration) -> String {
    let seconds = time.as_secs_f64();
    human(if seconds > 0.0 { (bytes as f64 / seconds) as u64 } else { bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_speed_is_a_mean_that_forgets() {
        let mut speed = Speed::default();
        let after = |speed: &mut Speed, tenths: u64, written| speed.after(Duration::from_millis(tenths * 100), written);
        assert_eq!(after(&mut speed, 0, 0), 0);
        // A piece of 1000 bytes every second is 1000 bytes a second from the first one on.
        for tenths in 1..10 {
            assert_eq!(after(&mut speed, tenths, 0), 0);
        }
        assert_eq!(after(&mut speed, 10, 1000), 1000);
        for tenths in 11..600 {
            after(&mut speed, tenths, tenths / 10 * 1000);
        }
        assert!((900..1200).contains(&after(&mut speed, 600, 60_000)));
        // What stalls has no speed after a while.
        for tenths in 601..1000 {
            after(&mut speed, tenths, 60_000);
        }
        assert!(after(&mut speed, 1000, 60_000) < 10);
    }
}
