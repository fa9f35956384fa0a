//! How far the targets are, as a line each for a terminal or a sentence each for elsewhere.

mod several;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bmaptool::event::{Event, Outcome, Phase, TargetId};
use bmaptool::size::{human, human_part, percent, rate, short_time, whole_percent};
use indicatif::ProgressBar;
use several::Names;

/// How far a command is.
#[derive(Default)]
pub struct Progress {
    /// What the targets are called where there are several, in the order of their numbers.
    names: Names,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The targets that are being written, by number.
    targets: BTreeMap<usize, Target>,
    source: Option<Share>,
}

struct Target {
    phase: Phase,
    /// Bytes.
    done: u64,
    /// Bytes, if known.
    total: Option<u64>,
    /// How much of the source has been read, which is shown where no total is known.
    source: Option<Share>,
    /// Once it has ended.
    outcome: Option<Outcome>,
    started: Instant,
    /// Measures the current rate, once that is shown: it wants random numbers, and panics where there are none. It is
    /// hidden: indicatif fills its lines up to the last column.
    meter: Option<ProgressBar>,
}

/// Bytes, and how many there are.
#[derive(Clone, Copy)]
struct Share {
    done: u64,
    total: u64,
}

/// The columns that are left free: some terminals wrap a line at the last one, and then it cannot be erased.
const MARGIN: u16 = 3;

/// A bar with fewer columns shows nothing that the percents do not.
const SHORTEST_BAR: usize = 10;

impl Default for Target {
    fn default() -> Self {
        let started = Instant::now();
        Self { phase: Phase::Copying, done: 0, total: None, source: None, outcome: None, started, meter: None }
    }
}

impl Progress {
    /// That of a copy to these targets.
    pub fn of(targets: &[PathBuf]) -> Self {
        Self { names: Names::of(targets), ..Self::default() }
    }

    /// Updates the progress.
    pub fn note(&self, event: &Event<'_>) {
        let mut state = self.state();
        match *event {
            Event::Phase(target, phase) => {
                let target = state.target(target);
                // What is read back is another amount, at another rate.
                if phase != Phase::Synchronizing && phase != target.phase {
                    *target = Target { source: target.source, ..Target::default() };
                }
                target.phase = phase;
            }
            Event::Progress { target, done, total } => {
                let target = state.target(target);
                (target.done, target.total) = (done, total);
            }
            Event::SourceRead { done, total } => {
                let source = Some(Share { done, total });
                state.source = source;
                state.targets.values_mut().for_each(|target| target.source = source);
            }
            Event::Target(target, _) if self.names.0.is_empty() => drop(state.targets.remove(&target.0)),
            Event::Target(target, outcome) => state.target(target).outcome = Some(outcome),
            Event::Retry { .. } | Event::ReadBack { .. } | Event::Notice(_) => {}
        }
    }

    /// Lines for a terminal of that many columns and rows, one for each target.
    pub fn lines(&self, columns: u16, rows: u16) -> Vec<String> {
        let mut state = self.state();
        if !self.names.0.is_empty() {
            return several::lines(&self.names, &mut state.targets, columns, rows);
        }
        let draw = |target: &mut Target| {
            let rate = target.rate();
            target.line(rate, columns)
        };
        state.targets.values_mut().map(draw).collect()
    }

    /// A sentence on the target, or on the slowest one of several.
    pub fn sentence(&self) -> Option<String> {
        let state = self.state();
        match self.names.0.is_empty() {
            true => state.targets.values().next().map(Target::sentence),
            false => several::sentence(&self.names, &state.targets),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn target(&mut self, id: TargetId) -> &mut Target {
        let source = self.source;
        self.targets.entry(id.0).or_insert_with(|| Target { source, ..Target::default() })
    }
}

impl Target {
    /// The current rate, in bytes per second; the first time, the mean since the start.
    fn rate(&mut self) -> u64 {
        let is_first = self.meter.is_none();
        let meter = self.meter.get_or_insert_with(ProgressBar::hidden);
        meter.set_position(self.done);
        meter.tick();
        let seconds = self.started.elapsed().as_secs_f64();
        if is_first { (self.done as f64 / seconds) as u64 } else { meter.per_sec() as u64 }
    }

    /// The line for a terminal, in ASCII. Figures have a fixed width, so that the line does not jump.
    fn line(&self, rate: u64, columns: u16) -> String {
        let room = usize::from(columns.saturating_sub(MARGIN));
        let phase = self.phase();
        let start = match self.share() {
            Some(_) => phase.to_owned(),
            None => format!("{} {phase}", self.frame()),
        };
        fitted(start, self.share(), self.figures(rate), room)
    }

    fn phase(&self) -> &'static str {
        match self.phase {
            Phase::Copying => "copying",
            Phase::Synchronizing => "synchronizing",
            Phase::Hashing => "hashing",
            Phase::Verifying => "verifying",
            Phase::Comparing => "comparing",
        }
    }

    /// Something that moves.
    fn frame(&self) -> &'static str {
        ["|", "/", "-", "\\"][(self.started.elapsed().as_millis() / 100 % 4) as usize]
    }

    /// How much is done: of what is to be written, or where that is not known, of the source.
    fn share(&self) -> Option<Share> {
        self.total.map(|total| Share { done: self.done, total }).or(self.source)
    }

    fn figures(&self, rate: u64) -> Vec<String> {
        let is_moving = self.phase != Phase::Synchronizing;
        let speed = is_moving.then(|| format!("{:>12}", human(rate) + "/s"));
        let amount = match self.total {
            Some(total) => format!(" {:>width$}", human_part(self.done, total), width = human_part(total, total).len()),
            None => format!("{:>10}", human(self.done)),
        };
        let Some(share) = self.share() else {
            let elapsed = short_time(self.started.elapsed());
            return [amount].into_iter().chain(speed).chain([elapsed]).collect();
        };
        let left = self.seconds_left(share, rate);
        let left = left.map(|seconds| short_time(Duration::from_secs(seconds)) + " left").unwrap_or_default();
        let left = is_moving.then(|| format!("{left:>11}"));
        let percent = format!("{:>3}%", whole_percent(share.done, share.total));
        [percent, amount].into_iter().chain(speed).chain(left).collect()
    }

    /// How many seconds are left: at the current `rate` of writing, or at the mean rate at which the source is read.
    fn seconds_left(&self, share: Share, rate: u64) -> Option<u64> {
        let left = share.total.saturating_sub(share.done);
        match self.total {
            Some(_) => left.checked_div(rate),
            None => {
                let seconds = u128::from(self.started.elapsed().as_secs()) * u128::from(left);
                u64::try_from(seconds.checked_div(u128::from(share.done))?).ok()
            }
        }
    }

    /// What is printed elsewhere, with the mean rate.
    fn sentence(&self) -> String {
        let (done, speed) = (human(self.done), rate(self.done, self.started.elapsed()));
        let verb = match self.phase {
            Phase::Synchronizing => return "still synchronizing".to_owned(),
            Phase::Copying => "copied",
            Phase::Hashing => "hashed",
            Phase::Verifying => "verified",
            Phase::Comparing => "compared",
        };
        match (self.total, self.source) {
            (Some(total), _) => {
                format!("{verb} {done} of {} ({}), {speed}/sec", human(total), percent(self.done, total))
            }
            (None, Some(Share { done: read, total })) => {
                format!("{verb} {done} ({} of the source read), {speed}/sec", percent(read, total))
            }
            (None, None) => format!("{verb} {done}, {speed}/sec"),
        }
    }
}

/// A line that begins with `start`, with a bar and as many figures as there is room for.
fn fitted(start: String, share: Option<Share>, mut figures: Vec<String>, room: usize) -> String {
    let mut line = start;
    let width = |figures: &[String]| figures.iter().map(|figure| 1 + figure.len()).sum::<usize>();
    let bar = room.saturating_sub(line.len() + " []".len() + width(&figures));
    if let Some(share) = share
        && bar >= SHORTEST_BAR
    {
        line = format!("{line} [{}]", share.bar(bar));
    }
    // The first figure says most, and the last comes next.
    while figures.len() > 1 && line.len() + width(&figures) > room {
        figures.remove(1);
    }
    for figure in figures {
        line = line + " " + &figure;
    }
    line.truncate(room);
    line
}

impl Share {
    fn bar(&self, width: usize) -> String {
        let done = whole_percent(self.done, self.total) as usize * width / 100;
        let head = if done < width { ">" } else { "" };
        format!("{:<width$}", "=".repeat(done) + head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;
    const RATE: u64 = 12 << 20;

    /// A target that was started a little over an hour ago.
    fn target(phase: Phase, done: u64, total: Option<u64>) -> Target {
        let started = Instant::now() - Duration::from_secs(3725);
        Target { phase, done, total, started, ..Target::default() }
    }

    #[test]
    fn a_line_has_what_there_is_room_for() {
        let cases = [
            (80, "copying [======>         ]  39%  1.6 of 4.0 GiB   12.0 MiB/s  3m27s left"),
            (60, "copying  39%  1.6 of 4.0 GiB   12.0 MiB/s  3m27s left"),
            (40, "copying  39%   12.0 MiB/s  3m27s left"),
            (30, "copying  39%  3m27s left"),
            (20, "copying  39%"),
            (9, "copyin"),
            (2, ""),
        ];
        for (columns, expected) in cases {
            let line = target(Phase::Copying, GIB / 100 * 157, Some(4 * GIB)).line(RATE, columns);
            let words = |line: &str| line.replace(['=', '>'], "").split_whitespace().collect::<Vec<_>>().join(" ");
            assert_eq!(words(&line), words(expected), "{columns}");
            assert_eq!(line.contains("[===="), columns == 80, "{line}");
        }
    }

    #[test]
    fn no_line_is_too_long() {
        for columns in 0..=250 {
            for phase in [Phase::Copying, Phase::Synchronizing, Phase::Hashing, Phase::Verifying, Phase::Comparing] {
                for total in [None, Some(0), Some(1), Some(4 * GIB), Some(u64::MAX)] {
                    for written in [0, 1, 3 * GIB, u64::MAX] {
                        let line = target(phase, written, total).line(RATE, columns);
                        assert!(line.len() <= usize::from(columns.saturating_sub(MARGIN)), "{columns}: {line}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_sentence_says_the_mean_rate() {
        let sentence = |phase, total| target(phase, GIB, total).sentence();
        assert_eq!(sentence(Phase::Copying, Some(4 * GIB)), "copied 1.0 GiB of 4.0 GiB (25.0%), 281.5 KiB/sec");
        assert_eq!(sentence(Phase::Copying, None), "copied 1.0 GiB, 281.5 KiB/sec");
        assert_eq!(sentence(Phase::Verifying, Some(4 * GIB)), "verified 1.0 GiB of 4.0 GiB (25.0%), 281.5 KiB/sec");
        assert_eq!(sentence(Phase::Synchronizing, None), "still synchronizing");
    }

    #[test]
    fn without_a_total_the_share_of_the_source_is_shown() {
        let source = Some(Share { done: GIB, total: 4 * GIB });
        let target = Target { source, ..target(Phase::Copying, 2 * GIB, None) };
        let line = target.line(RATE, 80);
        assert!(line.starts_with("copying [====") && line.contains("]  25%    2.0 GiB   12.0 MiB/s"), "{line}");
        assert!(line.ends_with("  3h06m left"), "{line}");
        assert_eq!(target.sentence(), "copied 2.0 GiB (25.0% of the source read), 563.0 KiB/sec");
    }

    #[test]
    fn a_source_that_was_read_before_the_first_write_counts() {
        let progress = Progress::default();
        progress.note(&Event::SourceRead { done: 1, total: 4 });
        progress.note(&Event::Phase(TargetId(0), Phase::Copying));
        assert!(progress.lines(80, 24)[0].contains(" 25% "), "{:?}", progress.lines(80, 24));
        progress.note(&Event::SourceRead { done: 2, total: 4 });
        assert!(progress.lines(80, 24)[0].contains(" 50% "), "{:?}", progress.lines(80, 24));
    }

    #[test]
    fn the_first_rate_is_one_since_the_start() {
        let mut target = Target { done: GIB, ..Target::default() };
        std::thread::sleep(Duration::from_millis(20));
        assert!(target.rate() <= 50 * GIB, "{}", target.rate());
    }

    #[test]
    fn a_line_does_not_jump() {
        let line = |written| target(Phase::Copying, written, Some(4 * GIB)).line(RATE, 100);
        assert!((0..400).all(|step| line(step * GIB / 100).len() == line(0).len()));
    }

    #[test]
    fn unknown_figures_are_left_out() {
        assert!(!target(Phase::Copying, 0, Some(4 * GIB)).line(0, 100).contains("left"));
        let last = target(Phase::Synchronizing, 4 * GIB, Some(4 * GIB)).line(RATE, 80);
        assert!(last.starts_with("synchronizing [====") && last.ends_with("=] 100%  4.0 of 4.0 GiB"), "{last}");
        // Without the frame of the spinner.
        let piped = |phase| target(phase, 300 << 20, None).line(RATE, 60)[1..].to_owned();
        assert_eq!(piped(Phase::Copying), " copying  300.0 MiB   12.0 MiB/s 1h02m");
        assert_eq!(piped(Phase::Synchronizing), " synchronizing  300.0 MiB 1h02m");
    }
}
