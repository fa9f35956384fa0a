//! What is said of a target's progress: a line for a terminal, in as many columns as there are, and a sentence for elsewhere.

use std::time::Duration;

use bmaptool::event::Phase;
use bmaptool::size::{human, human_part, percent, rate, short_time, whole_percent};

/// How far a target is.
pub struct View {
    pub phase: Phase,
    /// Bytes.
    pub done: u64,
    /// Bytes to do, where that is known.
    pub total: Option<u64>,
    /// Since the target's first event.
    pub elapsed: Duration,
}

/// The columns that are left free: a terminal adds `^C` to the line, which must stay on one row to be erased.
const MARGIN: u16 = 3;

/// A bar with fewer columns shows nothing that the percents do not.
const SHORTEST_BAR: usize = 10;

impl View {
    /// The line for a terminal with this many columns, where `rate` is how many bytes are done in a second of late. The less important figures are left out where they have no room.
    /// Figures have a fixed width, so that the line does not jump.
    pub fn line(&self, rate: u64, columns: u16) -> String {
        let room = usize::from(columns.saturating_sub(MARGIN));
        let phase = match self.phase {
            Phase::Copying => "copying",
            Phase::Synchronizing => "synchronizing",
        };
        let mut line = match self.total {
            Some(total) => self.towards(total, rate, phase, room),
            None => self.without_end(rate, phase, room),
        };
        line.truncate(room);
        line
    }

    /// The same for what is no terminal.
    pub fn sentence(&self) -> String {
        let (done, speed) = (human(self.done), rate(self.done, self.elapsed));
        match (self.phase, self.total) {
            (Phase::Synchronizing, _) => "still synchronizing".to_owned(),
            (Phase::Copying, Some(total)) => {
                format!("copied {done} of {} ({}), {speed}/sec", human(total), percent(self.done, total))
            }
            (Phase::Copying, None) => format!("copied {done}, {speed}/sec"),
        }
    }

    fn towards(&self, total: u64, rate: u64, phase: &str, room: usize) -> String {
        let percent = format!("{:>3}%", whole_percent(self.done, total));
        let width = human_part(total, total).len();
        let amount = format!("{:>width$}", human_part(self.done, total));
        let (rate, time, left) = match self.phase {
            Phase::Copying => {
                let time = self.left(total, rate).map(short_time).unwrap_or_default();
                let left = if time.is_empty() { String::new() } else { format!("{time} left") };
                (shown_rate(rate), format!("{time:>6}"), format!("{left:>11}"))
            }
            Phase::Synchronizing => Default::default(),
        };
        let figures = joined(&[&percent, &amount, &rate, &left]);
        let bar = room.saturating_sub(phase.len() + figures.len() + "  []".len());
        if bar >= SHORTEST_BAR {
            return format!("{phase} [{}] {figures}", self.bar(total, bar));
        }
        let shorter = [joined(&[&percent, &rate, &time]), joined(&[&percent, &left])];
        let mut lines = [figures].into_iter().chain(shorter).map(|figures| format!("{phase} {figures}"));
        lines.find(|line| line.len() <= room).unwrap_or_else(|| format!("{phase} {percent}"))
    }

    fn without_end(&self, rate: u64, phase: &str, room: usize) -> String {
        let frame = ["|", "/", "-", "\\"][(self.elapsed.as_millis() / 100 % 4) as usize];
        let start = format!("{frame} {phase}");
        let amount = format!("{:>10}", human(self.done));
        let rate = if self.phase == Phase::Copying { shown_rate(rate) } else { String::new() };
        let elapsed = short_time(self.elapsed);
        let lines = [
            joined(&[&start, &amount, &rate, &elapsed]),
            joined(&[&start, &amount, &elapsed]),
            joined(&[&start, &amount]),
        ];
        lines.into_iter().find(|line| line.len() <= room).unwrap_or(start)
    }

    /// How long the rest takes, once there is a rate to tell it from.
    fn left(&self, total: u64, rate: u64) -> Option<Duration> {
        total.saturating_sub(self.done).checked_div(rate).map(Duration::from_secs)
    }

    fn bar(&self, total: u64, width: usize) -> String {
        let done = (u128::from(self.done.min(total)) * width as u128).checked_div(total.into());
        let done = done.map_or(width, |done| done as usize);
        let head = if done < width { ">" } else { "" };
        format!("{:<width$}", "=".repeat(done) + head)
    }
}

fn shown_rate(rate: u64) -> String {
    format!("{:>12}", format!("{}/s", human(rate)))
}

/// The figures that there are.
fn joined(figures: &[&str]) -> String {
    let present: Vec<&str> = figures.iter().copied().filter(|figure| !figure.is_empty()).collect();
    present.join("  ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;
    const RATE: u64 = 12 << 20;

    fn view(phase: Phase, done: u64, total: Option<u64>) -> View {
        View { phase, done, total, elapsed: Duration::from_millis(3_725_100) }
    }

    #[test]
    fn a_line_has_what_there_is_room_for() {
        let cases = [
            (80, "copying [=======>          ]  39%  1.6 of 4.0 GiB    12.0 MiB/s  3m27s left"),
            (60, "copying  39%  1.6 of 4.0 GiB    12.0 MiB/s  3m27s left"),
            (40, "copying  39%    12.0 MiB/s  3m27s"),
            (30, "copying  39%  3m27s left"),
            (20, "copying  39%"),
            (9, "copyin"),
            (2, ""),
        ];
        for (columns, expected) in cases {
            let line = view(Phase::Copying, GIB / 100 * 157, Some(4 * GIB)).line(RATE, columns);
            let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            assert_eq!(words(&line), words(expected), "{columns}");
        }
    }

    #[test]
    fn no_line_is_too_long() {
        for columns in 0..=250 {
            for phase in [Phase::Copying, Phase::Synchronizing] {
                for total in [None, Some(0), Some(1), Some(4 * GIB), Some(u64::MAX)] {
                    for written in [0, 1, 3 * GIB, u64::MAX] {
                        let line = view(phase, written, total).line(RATE, columns);
                        assert!(line.len() <= usize::from(columns.saturating_sub(MARGIN)), "{columns}: {line}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_sentence_says_the_mean_rate() {
        let sentence = |phase, total| view(phase, GIB, total).sentence();
        assert_eq!(sentence(Phase::Copying, Some(4 * GIB)), "copied 1.0 GiB of 4.0 GiB (25.0%), 281.5 KiB/sec");
        assert_eq!(sentence(Phase::Copying, None), "copied 1.0 GiB, 281.5 KiB/sec");
        assert_eq!(sentence(Phase::Synchronizing, None), "still synchronizing");
    }

    #[test]
    fn a_line_does_not_jump() {
        let line = |written| view(Phase::Copying, written, Some(4 * GIB)).line(RATE, 100);
        assert!((0..400).all(|step| line(step * GIB / 100).len() == line(0).len()));
    }

    #[test]
    fn nothing_is_said_of_what_nobody_knows() {
        assert!(!view(Phase::Copying, 0, Some(4 * GIB)).line(0, 100).contains("left"));
        let last = view(Phase::Synchronizing, 4 * GIB, Some(4 * GIB)).line(RATE, 80);
        assert!(last.starts_with("synchronizing [====") && last.trim().ends_with("=] 100%  4.0 of 4.0 GiB"), "{last}");
        let piped = |phase| view(phase, 300 << 20, None).line(RATE, 60);
        assert_eq!(piped(Phase::Copying), "\\ copying   300.0 MiB    12.0 MiB/s  1h02m");
        assert_eq!(piped(Phase::Synchronizing), "\\ synchronizing   300.0 MiB  1h02m");
    }
}
