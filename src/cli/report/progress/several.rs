//! The progress of several targets: a line for each of them below one for the source.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use bmaptool::event::{Outcome, Phase};
use bmaptool::size::{human, whole_percent};

use super::{MARGIN, Share, Target, fitted};

/// What the targets are called, in ASCII; empty where there is one.
#[derive(Default)]
pub struct Names(pub(super) Vec<String>);

/// The width of the longest phase.
const PHASE: usize = "synchronizing".len();

/// Rows that are left free: for the cursor, and for a message above the lines.
const FREE_ROWS: u16 = 2;

impl Names {
    /// The last part of each path if that tells them apart.
    pub(super) fn of(targets: &[PathBuf]) -> Self {
        if targets.len() < 2 {
            return Self::default();
        }
        let printable = |path: &Path| -> String {
            let text = path.to_string_lossy();
            text.chars().map(|c| if c.is_ascii_graphic() { c } else { '?' }).collect()
        };
        let short = targets.iter().map(|path| printable(path.file_name().map_or(path, Path::new)));
        let short: Vec<_> = short.collect();
        let are_different = short.iter().collect::<BTreeSet<_>>().len() == short.len();
        Self(if are_different { short } else { targets.iter().map(|path| printable(path)).collect() })
    }

    fn get(&self, number: usize) -> &str {
        self.0.get(number).map_or("", String::as_str)
    }

    /// How wide the column of names is on a screen of that many columns.
    fn width(&self, columns: usize) -> usize {
        self.0.iter().map(String::len).max().unwrap_or(0).min(columns / 4)
    }
}

/// The end of `name` in so many columns, which says more than its start.
fn shortened(name: &str, width: usize) -> String {
    match name.len().checked_sub(width) {
        None | Some(0) => format!("{name:<width$}"),
        Some(over) if width > 2 => format!("..{}", &name[over + 2..]),
        Some(over) => name[over..].to_owned(),
    }
}

/// As many lines as there is room for: if that is not enough, those of the slowest, in the order of the targets, and how
/// many more there are.
pub(super) fn lines(names: &Names, targets: &mut BTreeMap<usize, Target>, columns: u16, rows: u16) -> Vec<String> {
    let columns = usize::from(columns.saturating_sub(MARGIN));
    let rows = usize::from(rows.saturating_sub(FREE_ROWS)).max(1);
    let mut lines: Vec<String> = source(targets).map(|source| source.source_line(columns)).into_iter().collect();
    let room = rows.saturating_sub(lines.len());
    let count = if targets.len() <= room { room } else { room.saturating_sub(1) };
    let mut slowest: Vec<_> = targets.iter().map(|(&number, target)| (target.progress(), number)).collect();
    slowest.sort_unstable();
    slowest.truncate(count);
    let shown: BTreeSet<usize> = slowest.into_iter().map(|(_, number)| number).collect();
    let width = names.width(columns);
    let more = targets.len() - shown.len();
    for (number, target) in targets.iter_mut().filter(|(number, _)| shown.contains(number)) {
        lines.push(target.line_of_several(&shortened(names.get(*number), width), columns));
    }
    if more > 0 {
        let mut line = format!("and {more} more");
        line.truncate(columns);
        lines.push(line);
    }
    lines.truncate(rows);
    lines
}

/// The target that has got most of the image, as long as one is being written: so much of it is done.
fn source(targets: &BTreeMap<usize, Target>) -> Option<&Target> {
    let is_read = |target: &&Target| target.outcome.is_none() && target.phase == Phase::Copying;
    targets.values().filter(is_read).max_by_key(|target| target.done)
}

/// What is printed elsewhere: how far the slowest is.
pub(super) fn sentence(names: &Names, targets: &BTreeMap<usize, Target>) -> Option<String> {
    let open = || targets.iter().filter(|(_, target)| target.outcome.is_none());
    let (&number, slowest) = open().min_by_key(|(_, target)| target.progress())?;
    let place = if open().count() > 1 { "slowest" } else { "last" };
    Some(format!("{} on '{}', the {place} of {} targets", slowest.sentence(), names.get(number), names.0.len()))
}

impl Target {
    /// By which the slowest is told: whether it has ended, how far it is in the order of phases, and what share of the
    /// present one is done.
    fn progress(&self) -> (bool, u8, u64) {
        let phase = match self.phase {
            Phase::Comparing => 0,
            Phase::Copying | Phase::Hashing => 1,
            Phase::Synchronizing => 2,
            Phase::Verifying => 3,
        };
        let percent = self.total.map_or(self.done, |total| whole_percent(self.done, total));
        (self.outcome.is_some(), phase, percent)
    }

    fn line_of_several(&mut self, name: &str, room: usize) -> String {
        let phase = match self.outcome {
            None => self.phase(),
            Some(Outcome::Complete) => "done",
            Some(Outcome::Failed) => "FAILED",
        };
        let start = format!("{name} {phase:<PHASE$}");
        if self.outcome.is_some() {
            let mut line = start.trim_end().to_owned();
            line.truncate(room);
            return line;
        }
        let rate = self.rate();
        let figures = self.figures(rate);
        fitted(start, self.share(), figures_of_several(self.share(), figures), room)
    }

    /// How much of the image has been read, or zeroed on a target.
    fn source_line(&self, room: usize) -> String {
        let amount = match self.total {
            Some(total) => format!("image: {} of {} done", human(self.done), human(total)),
            None => format!("image: {} done", human(self.done)),
        };
        // At the mean rate: the meter is for the line of the target. The time that is left is the last figure.
        let rate = (self.done as f64 / self.started.elapsed().as_secs_f64()) as u64;
        let left = self.figures(rate).pop().filter(|left| left.ends_with("left"));
        let left = left.filter(|left| amount.len() + " ".len() + left.len() <= room);
        fitted(amount, self.share(), left.into_iter().collect(), room)
    }
}

/// The percents, where there are any, and the rate: the amount and the time that is left are told of the source.
fn figures_of_several(share: Option<Share>, figures: Vec<String>) -> Vec<String> {
    match (share, figures.as_slice()) {
        (Some(_), [percent, _, speed, ..]) => vec![percent.clone(), speed.clone()],
        (_, figures) => figures.iter().take(2).cloned().collect(),
    }
}

#[cfg(test)]
mod tests {
    use bmaptool::event::{Event, TargetId};

    use super::super::Progress;
    use super::*;

    const MIB: u64 = 1 << 20;

    /// Targets of which each has so much of 100 MiB.
    fn progress(names: &[&str], done: &[u64]) -> Progress {
        let progress = Progress::of(&names.iter().map(PathBuf::from).collect::<Vec<_>>());
        for (number, done) in done.iter().enumerate() {
            let target = TargetId(number);
            progress.note(&Event::Phase(target, Phase::Copying));
            progress.note(&Event::Progress { target, done: done * MIB, total: Some(100 * MIB) });
        }
        progress
    }

    #[test]
    fn each_target_has_a_line_below_that_of_the_source() {
        let progress = progress(&["/dev/sdb", "/dev/mmcblk0"], &[40, 37]);
        let lines = progress.lines(80, 24);
        assert!(lines[0].starts_with("image: 40.0 MiB of 100.0 MiB done [====="), "{lines:#?}");
        assert!(lines[1].starts_with("sdb     copying       [===") && lines[1].contains("] "), "{lines:#?}");
        assert!(lines[1].contains("  40% ") && lines[1].contains("/s"), "{lines:#?}");
        assert!(lines[2].starts_with("mmcblk0 copying       [===") && lines[2].contains("  37% "), "{lines:#?}");
        assert_eq!(lines.len(), 3);
        let lines = progress.lines(40, 10);
        assert!(lines[1].starts_with("sdb     copying") && lines[1].ends_with(" 40%"), "{lines:#?}");
        let lines = self::progress(&["/dev/sdb", "/dev/sdc"], &[40, 37]).lines(40, 10);
        assert!(lines[1].starts_with("sdb copying") && lines[1].contains(" 40% "), "{lines:#?}");
        assert!(lines[1].ends_with("/s"), "{lines:#?}");
    }

    #[test]
    fn no_line_is_too_long_and_there_are_not_too_many() {
        let names: Vec<_> = (0..12).map(|number| format!("/dev/disk/by-id/usb-card-reader-{number:02}")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let progress = progress(&names, &[50; 12]);
        for (columns, rows) in [(80, 24), (40, 10), (20, 5), (7, 3), (3, 1), (0, 0)] {
            let lines = progress.lines(columns, rows);
            assert!(lines.iter().all(|line| line.len() <= usize::from(columns.saturating_sub(MARGIN))), "{lines:#?}");
            assert!(lines.len() <= usize::from(rows.saturating_sub(FREE_ROWS)).max(1), "{rows}: {lines:#?}");
        }
    }

    #[test]
    fn the_slowest_are_shown_in_their_order_and_the_others_are_counted() {
        let names: Vec<_> = (0..12).map(|number| format!("/dev/sd{number:x}")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let progress = progress(&names, &[90, 20, 80, 10, 70, 30, 60, 40, 55, 95, 96, 97]);
        progress.note(&Event::Target(TargetId(3), Outcome::Failed));
        let lines = progress.lines(80, 8);
        let starts: Vec<_> = lines.iter().map(|line| line.split(' ').next().unwrap()).collect();
        assert_eq!(starts, ["image:", "sd1", "sd5", "sd7", "sd8", "and"]);
        assert_eq!(lines[5], "and 8 more");
        let all = progress.lines(80, 24);
        assert_eq!(all.len(), 13);
        assert!(all.contains(&"sd3 FAILED".to_owned()), "{all:#?}");
    }

    #[test]
    fn names_are_as_short_as_tells_them_apart() {
        let names = |targets: &[&str]| Names::of(&targets.iter().map(PathBuf::from).collect::<Vec<_>>()).0;
        assert_eq!(names(&["/dev/sdb", "a/b"]), ["sdb", "b"]);
        assert_eq!(names(&["a/x", "b/x"]), ["a/x", "b/x"]);
        assert_eq!(names(&["/dev/sdb"]), [""; 0]);
        assert_eq!(names(&["a\u{202e}\n", "b"]), ["a??", "b"]);
        assert_eq!([shortened("abcdefgh", 5), shortened("ab", 4), shortened("abc", 2)], ["..fgh", "ab  ", "bc"]);
    }

    #[test]
    fn elsewhere_the_slowest_is_told() {
        let progress = progress(&["/dev/sdb", "/dev/sdc", "/dev/sdd"], &[40, 37, 50]);
        let sentence = progress.sentence().unwrap();
        assert!(sentence.starts_with("copied 37.0 MiB of 100.0 MiB (37.0%), "), "{sentence}");
        assert!(sentence.ends_with("/sec on 'sdc', the slowest of 3 targets"), "{sentence}");
        progress.note(&Event::Target(TargetId(1), Outcome::Failed));
        assert!(progress.sentence().unwrap().contains("on 'sdb', the slowest of 3"));
        progress.note(&Event::Target(TargetId(2), Outcome::Complete));
        assert!(progress.sentence().unwrap().contains("on 'sdb', the last of 3"));
        progress.note(&Event::Target(TargetId(0), Outcome::Complete));
        assert_eq!(progress.sentence(), None);
    }
}
