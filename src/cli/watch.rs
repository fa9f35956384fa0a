//! Shows how far a copy is: a bar on a terminal, now and then a line elsewhere.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bmaptool::copy::{Phase, Progress};
use bmaptool::size::{human, percent};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::console;

/// Whether progress is shown at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Display {
    On,
    Off,
}

/// Watches a copy until it is dropped.
pub struct Watch {
    stop: Option<Sender<()>>,
    watcher: Option<JoinHandle<()>>,
}

impl Watch {
    /// Shows `progress` towards `total` bytes, or how far it is where that is not known.
    pub fn start(display: Display, progress: &Arc<Progress>, total: Option<u64>) -> Self {
        if display == Display::Off {
            return Self { stop: None, watcher: None };
        }
        let (stop, stopped) = channel();
        let progress = Arc::clone(progress);
        let watcher = thread::Builder::new().spawn(move || {
            if console::is_terminal() {
                draw_bar(&progress, total, &stopped);
            } else {
                print_lines(&progress, total, &stopped);
            }
        });
        // Where there is no thread left for it, nothing is shown.
        Self { stop: Some(stop), watcher: watcher.ok() }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.stop.take());
        // The watcher only displays; should it have panicked, the copy is none the worse for it.
        let _ = self.watcher.take().map(JoinHandle::join);
    }
}

/// Waits for `interval`, or until the copy has ended; returns whether it goes on.
fn goes_on(stopped: &Receiver<()>, interval: Duration) -> bool {
    stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout)
}

const REFRESH: Duration = Duration::from_millis(100);

fn draw_bar(progress: &Progress, total: Option<u64>, stopped: &Receiver<()>) {
    let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr_with_hz(10));
    bar.set_message("copying");
    let mut shown = None;
    while goes_on(stopped, REFRESH) {
        let wanted = template(total, console::width());
        if shown != Some(wanted)
            && let Ok(style) = ProgressStyle::with_template(wanted)
        {
            bar.set_style(style.progress_chars("=> "));
            // Messages know of the bar from here on, and not before it has its form.
            console::set_bar(Some(bar.clone()));
            shown = Some(wanted);
        }
        if progress.phase() == Phase::Synchronizing {
            bar.set_message("synchronizing");
        }
        bar.set_position(progress.written());
        bar.tick();
    }
    bar.finish_and_clear();
    console::set_bar(None);
}

/// What the bar shows in a terminal of so many columns: a bar that goes over two lines cannot be redrawn.
fn template(total: Option<u64>, columns: u16) -> &'static str {
    match (total, columns) {
        (Some(_), 75..) => {
            "{msg} {wide_bar} {percent:>3}%  {binary_bytes} of {binary_total_bytes}  {binary_bytes_per_sec}  {eta}"
        }
        (Some(_), 45..) => "{msg} {percent:>3}%  {binary_bytes}  {binary_bytes_per_sec}  {eta}",
        (Some(_), _) => "{msg} {percent:>3}%",
        (None, 55..) => "{spinner} {msg}  {binary_bytes}  {binary_bytes_per_sec}  {elapsed}",
        (None, _) => "{msg} {binary_bytes}",
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
