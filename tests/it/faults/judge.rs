//! What a run may come to.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;

use nix::libc;
use nix::sys::signal::Signal;

use crate::common::inject::Traced;
use crate::common::tool::{Outcome, Tool};

/// What is done while calls fail.
pub trait Scene {
    /// Makes everything as it is before.
    fn reset(&self);

    fn tool(&self) -> Tool;

    /// What it says when nothing fails.
    fn says(&self) -> &[&str] {
        &[]
    }

    /// What is wrong after a success.
    fn judge_success(&self, outcome: &Outcome) -> Result<(), String>;

    /// What is wrong after a failure.
    fn judge_failure(&self, outcome: &Outcome) -> Result<(), String>;

    /// What is wrong where the program was aborted before its first write.
    fn judge_abort(&self, outcome: &Outcome) -> Result<(), String> {
        self.judge_failure(outcome)
    }
}

/// What a run must come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// The right result.
    Success,
    /// The right result, or a failure that says so.
    Either,
    /// A failure that says so.
    Refusal,
    /// The right result, or the end by this signal.
    EndBy(Signal),
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// With the right result.
    Done,
    /// With a message, or by the signal that was sent.
    Failed,
    /// The use that was to fail did not come, for threads do not always do the same. What came of it was right.
    Missed,
}

/// Judges a run.
pub fn judge(scene: &dyn Scene, traced: &Traced, demand: Demand) -> Result<End, String> {
    let Traced { outcome, signal, faults, .. } = traced;
    let said = &outcome.stderr;
    // The runtime aborts the program where a new thread gets no stack for its signals. All threads start before
    // the first write.
    let is_start_of_thread = faults.iter().all(|call| [libc::SYS_mmap, libc::SYS_mprotect].contains(call));
    let is_aborted = *signal == Some(Signal::SIGABRT) || outcome.status == Some(128 + libc::SIGABRT);
    if is_start_of_thread && is_aborted && said.contains("alternative stack") {
        return scene.judge_abort(outcome).map(|()| End::Failed);
    }
    if outcome.has_panicked() {
        return Err("it panicked".to_owned());
    }
    let or_missed = |end| if faults.is_empty() { End::Missed } else { end };
    match (outcome.status, demand) {
        (Some(0), Demand::Refusal) => Err("it was not refused".to_owned()),
        (Some(0), _) => {
            scene.judge_success(outcome)?;
            Ok(or_missed(End::Done))
        }
        (Some(1), Demand::Either) if faults.is_empty() => Err("it failed without a fault".to_owned()),
        (Some(1), Demand::Either | Demand::Refusal) => {
            let is_told = said.contains("bmaptool: ERROR: ") || faults.contains(&libc::SYS_write);
            expect(is_told, "it failed without a message")?;
            scene.judge_failure(outcome).map(|()| or_missed(End::Failed))
        }
        // By the signal itself before it is handled, and by a status from then on.
        (status, Demand::EndBy(by)) if *signal == Some(by) || status == Some(128 + by as i32) => {
            scene.judge_failure(outcome).map(|()| End::Failed)
        }
        (status, _) => Err(format!("it ended with {status:?}, {signal:?}")),
    }
}

/// What became of the faults of each call.
#[derive(Default)]
pub struct Table {
    /// By call.
    rows: BTreeMap<String, Row>,
    problems: Vec<String>,
}

/// What became of the faults of a call.
#[derive(Default)]
struct Row {
    /// How often the call is made.
    uses: usize,
    /// How often which fault came to which end.
    ends: BTreeMap<(String, End), usize>,
}

impl Table {
    /// Takes down what came of a fault in one of so many uses of a call.
    pub fn note(
        &mut self,
        (call, number, uses): (&str, usize, usize),
        fault: &str,
        judged: Result<End, String>,
        traced: &Traced,
    ) {
        let row = self.rows.entry(call.to_owned()).or_default();
        row.uses = uses;
        match judged {
            Ok(end) => *row.ends.entry((fault.to_owned(), end)).or_default() += 1,
            Err(problem) => {
                let said = &traced.outcome.stderr;
                self.problems.push(format!("{call} {number} of {uses}, {fault}: {problem}; it said:\n{said}"));
            }
        }
    }

    /// Prints it, and expects that there were no problems, and few faults that did not come. Returns how many runs came
    /// to which end.
    pub fn conclude(&self, title: &str) -> BTreeMap<End, usize> {
        let mut text = format!("{title}: calls, how often each is made, and what came of its faults\n");
        let mut totals = BTreeMap::new();
        for (call, Row { uses, ends }) in &self.rows {
            let _ = write!(text, "  {call:18} {uses:4}");
            for ((fault, end), count) in ends {
                let _ = write!(text, "  {fault}: {count} {end:?}");
                *totals.entry(*end).or_insert(0) += count;
            }
            text.push('\n');
        }
        let _ = writeln!(text, "  together: {totals:?}, {} problems", self.problems.len());
        let _ = std::io::stdout().write_all(text.as_bytes());
        assert!(self.problems.is_empty(), "{}", self.problems.join("\n"));
        let missed = totals.get(&End::Missed).copied().unwrap_or_default();
        assert!(missed * 4 < totals.values().sum::<usize>(), "{title}: {totals:?}");
        totals
    }
}

pub fn expect(is_so: bool, problem: &str) -> Result<(), String> {
    if is_so { Ok(()) } else { Err(problem.to_owned()) }
}
