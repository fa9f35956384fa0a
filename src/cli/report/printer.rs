//! The thread that prints messages and draws the progress below them. A terminal may stand still for as long as its user likes,
//! with Ctrl-S or over a connection that stalls, and a copy must not.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use bmaptool::copy::Cancel;
use bmaptool::sys::threads;

use super::console;
use super::progress::Progress;

/// How long a message is waited for, so that messages stand where they belong among all else that is printed.
const GRACE: Duration = Duration::from_millis(100);

/// How often the progress is drawn on a terminal.
const REDRAW_INTERVAL: Duration = Duration::from_millis(100);

/// How often it is told elsewhere, in a line that stays.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

pub enum Task {
    /// Prints text as it is.
    Print(String),
    /// Shows the progress from here on.
    Show(Arc<Progress>),
    /// Shows it no longer.
    Hide,
}

/// Does tasks in the order in which it gets them.
pub struct Printer {
    /// What is sent along with a task is dropped when that is done.
    tasks: Sender<(Task, Sender<()>)>,
    cancel: Cancel,
}

impl Printer {
    /// Starts one whose work is waited for until `cancel` is set.
    ///
    /// # Errors
    ///
    /// Where the machine has no thread left for it.
    pub fn start(cancel: &Cancel) -> io::Result<Self> {
        let (tasks, inbox) = channel();
        threads::start("printer", move || {
            Screen { progress: None, since: Instant::now(), lines: Vec::new() }.serve(&inbox)
        })?;
        Ok(Self { tasks, cancel: cancel.clone() })
    }

    /// Has a task done, now or as soon as the terminal allows it.
    pub fn perform(&self, task: Task) {
        let _ = self.hand_over(task).recv_timeout(GRACE);
    }

    /// Waits until all is printed, or a signal has asked to stop and [`GRACE`] is over.
    pub fn finish(&self) {
        let pending = self.hand_over(Task::Hide);
        while pending.recv_timeout(GRACE) == Err(RecvTimeoutError::Timeout) && self.cancel.reason().is_none() {}
    }

    fn hand_over(&self, task: Task) -> Receiver<()> {
        let (done, pending) = channel();
        // Should the thread have panicked, nothing is pending.
        let _ = self.tasks.send((task, done));
        pending
    }
}

/// What the thread knows of standard error.
struct Screen {
    progress: Option<Arc<Progress>>,
    /// When the progress was shown last.
    since: Instant,
    /// The lines of progress that stand at the end of the terminal. Each was shorter than that is wide when it was drawn, and
    /// has signs of one byte and one column only.
    lines: Vec<String>,
}

impl Screen {
    fn serve(mut self, inbox: &Receiver<(Task, Sender<()>)>) {
        loop {
            match inbox.recv_timeout(REDRAW_INTERVAL) {
                Ok((Task::Print(text), _done)) => console::print(&self.above(&text)),
                Ok((Task::Show(progress), _done)) => {
                    self.progress = Some(progress);
                    self.since = Instant::now();
                }
                Ok((Task::Hide, _done)) => {
                    self.progress = None;
                    self.replace(Vec::new());
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.show_progress();
        }
    }

    fn show_progress(&mut self) {
        let Some(progress) = &self.progress else { return };
        let is_terminal = console::is_terminal();
        if self.since.elapsed() < if is_terminal { REDRAW_INTERVAL } else { LINE_INTERVAL } {
            return;
        }
        self.since = Instant::now();
        if is_terminal {
            self.replace(progress.lines(console::columns()));
        } else {
            progress.sentences().iter().for_each(|text| console::print(&console::message(log::Level::Info, text)));
        }
    }

    /// Draws `lines` in the place of those that were drawn last.
    fn replace(&mut self, lines: Vec<String>) {
        let erase = erasing(&self.lines, console::columns());
        self.lines = lines;
        console::print(&(erase + &self.lines.join("\n")));
    }

    /// What prints `text` above the lines.
    fn above(&self, text: &str) -> String {
        erasing(&self.lines, console::columns()) + text + &self.lines.join("\n")
    }
}

/// What erases `lines`, with the cursor at the end of the last one. A terminal that has become narrower since they were drawn
/// has folded them.
fn erasing(lines: &[String], columns: u16) -> String {
    let rows: usize = lines.iter().map(|line| line.len().div_ceil(columns.max(1).into()).max(1)).sum();
    match rows {
        0 => String::new(),
        1 => "\r\x1b[J".to_owned(),
        rows => format!("\r\x1b[{}A\x1b[J", rows - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_were_folded_go_over_several_rows() {
        let line = |length| "x".repeat(length);
        let cases = [
            (vec![], 80, ""),
            (vec![line(77)], 80, "\r\x1b[J"),
            (vec![line(80)], 80, "\r\x1b[J"),
            (vec![line(77)], 26, "\r\x1b[2A\x1b[J"),
            (vec![line(30), line(0), line(31)], 30, "\r\x1b[3A\x1b[J"),
        ];
        for (lines, columns, erasing_them) in cases {
            assert_eq!(erasing(&lines, columns), erasing_them, "{columns}");
        }
    }
}
