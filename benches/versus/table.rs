//! What came out, for people and for Markdown.

use std::time::Duration;

use crate::run::{Cost, Program};

/// A table of programs that do the same, case by case.
pub struct Table {
    title: &'static str,
    rows: Vec<[String; 6]>,
    /// A time in seconds that no program can go below, and what it is.
    floor: Option<(&'static str, f64)>,
}

impl Table {
    pub fn new(title: &'static str) -> Self {
        Self { title, rows: Vec::new(), floor: None }
    }

    /// Compares the cases that follow with a time in `seconds` as well.
    pub fn floor(&mut self, name: &'static str, seconds: f64) {
        self.floor = Some((name, seconds));
    }

    /// Runs the programs in turns, so that what else the machine does meets all of them. The first one is ours.
    pub fn add(&mut self, case: &str, programs: &[Program], runs: usize) {
        let mut costs: Vec<Vec<Cost>> = programs.iter().map(|_| Vec::new()).collect();
        for run in 1..=runs {
            eprintln!("{}: {case}, run {run} of {runs}", self.title);
            programs.iter().zip(&mut costs).for_each(|(program, costs)| costs.push(program.run()));
        }
        let time = |costs: &[Cost]| median(costs.iter().map(|cost| cost.time)).as_secs_f64();
        let ours = time(&costs[0]);
        for (program, costs) in programs.iter().zip(&costs) {
            let cpu = median(costs.iter().map(|cost| cost.cpu)).as_secs_f64();
            let memory = costs.iter().map(|cost| cost.memory).max().unwrap_or(0) >> 20;
            self.row(case, &program.name, time(costs), ours, [format!("{cpu:.2}"), memory.to_string()]);
        }
        if let Some((name, seconds)) = self.floor {
            self.row(case, name, seconds, ours, ["".into(), "".into()]);
        }
    }

    fn row(&mut self, case: &str, program: &str, seconds: f64, ours: f64, [cpu, memory]: [String; 2]) {
        let ratio = format!("{:.2}", seconds / ours);
        let program = program.replace('|', "\\|");
        self.rows.push([case.into(), program, format!("{seconds:.2}"), ratio, cpu, memory]);
    }

    pub fn print(&self) {
        println!("\n## {}\n", self.title);
        println!("| case | program | seconds | ÷ ours | CPU seconds | peak MiB |");
        println!("|---|---|--:|--:|--:|--:|");
        for row in &self.rows {
            println!("| {} |", row.join(" | "));
        }
    }
}

fn median(times: impl Iterator<Item = Duration>) -> Duration {
    let mut times: Vec<_> = times.collect();
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
