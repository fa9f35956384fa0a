//! The thread that prints messages and draws the progress below them. A terminal may be paused at any time, by Ctrl-S
//! or a connection that stalls, and the copy must not wait for it.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use bmaptool::copy::Cancel;
use bmaptool::sys::threads;
use log::Level;

use super::console::{is_terminal, message, print, size};
use super::progress::Progress;

/// How long a message is waited for, so that it appears in order with the output of other programs.
const GRACE: Duration = Duration::from_millis(100);

/// How often the progress is drawn on a terminal.
const REDRAW_INTERVAL: Duration = Duration::from_millis(100);

/// How often it is printed elsewhere, in a line that stays.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

pub enum Task {
    /// Prints text as it is.
    Print(String),
    /// Shows the progress from here on.
    Show(Arc<Progress>),
    /// Shows it no longer.
    Hide,
}

/// Does tasks in the order in which they come.
pub struct Printer {
    /// The sender that comes with a task is dropped when the task is done.
    tasks: Sender<(Task, Sender<()>)>,
    cancel: Cancel,
}

impl Printer {
    /// Starts the thread; [`Self::finish`] stops waiting for it once `cancel` is set.
    ///
    /// # Errors
    ///
    /// Where the machine has no thread left.
    pub fn start(cancel: &Cancel) -> io::Result<Self> {
        let (tasks, inbox) = channel();
        let screen = Screen { progress: None, since: Instant::now(), lines: Vec::new() };
        threads::start("printer", move || screen.serve(&inbox))?;
        Ok(Self { tasks, cancel: cancel.clone() })
    }

    /// Has a task done, now or as soon as the terminal allows it.
    pub fn perform(&self, task: Task) {
        let _ = self.hand_over(task).recv_timeout(GRACE);
    }

    /// Waits until everything is printed, or a signal has asked to stop and [`GRACE`] is over.
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
    /// The lines of progress at the end of the terminal, in ASCII. Each was shorter than the terminal when it was
    /// drawn.
    lines: Vec<String>,
}

impl Screen {
    fn serve(mut self, inbox: &Receiver<(Task, Sender<()>)>) {
        loop {
            match inbox.recv_timeout(REDRAW_INTERVAL) {
                Ok((Task::Print(text), _done)) => self.draw(&text),
                Ok((Task::Show(progress), _done)) => {
                    self.progress = Some(progress);
                    self.since = Instant::now();
                }
                Ok((Task::Hide, _done)) => {
                    self.progress = None;
                    self.draw("");
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.show_progress();
        }
    }

    fn show_progress(&mut self) {
        let interval = if is_terminal() { REDRAW_INTERVAL } else { LINE_INTERVAL };
        if let Some(progress) = &self.progress
            && self.since.elapsed() >= interval
        {
            self.since = Instant::now();
            if is_terminal() {
                self.draw("");
            } else {
                progress.sentence().iter().for_each(|sentence| print(&message(Level::Info, sentence)));
            }
        }
    }

    /// Prints `text` and the progress as it is now in place of the lines of progress.
    fn draw(&mut self, text: &str) {
        let (columns, rows) = size();
        let erase = erasing(&self.lines, columns);
        let shown = self.progress.as_ref().filter(|_| is_terminal());
        self.lines = shown.map(|progress| progress.lines(columns, rows)).unwrap_or_default();
        let lines: String = self.lines.iter().map(|line| format!("{line}\n")).collect();
        print(&(erase + text + &lines));
    }
}

/// Erases `lines`, with the cursor below the last one: what the terminal itself adds there, a `^C` or the prompt of a
/// shell after a signal, spoils none of them. A terminal that has become narrower since they were drawn has wrapped
/// them.
fn erasing(lines: &[String], columns: u16) -> String {
    let rows: usize = lines.iter().map(|line| line.len().div_ceil(columns.max(1).into()).max(1)).sum();
    match rows {
        0 => String::new(),
        rows => format!("\r\x1b[{rows}A\x1b[J"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_were_wrapped_take_several_rows() {
        let line = |length| "x".repeat(length);
        let cases = [
            (vec![], 80, ""),
            (vec![line(77)], 80, "\r\x1b[1A\x1b[J"),
            (vec![line(80)], 80, "\r\x1b[1A\x1b[J"),
            (vec![line(77)], 26, "\r\x1b[3A\x1b[J"),
            (vec![line(30), line(0), line(31)], 30, "\r\x1b[4A\x1b[J"),
        ];
        for (lines, columns, erasing_them) in cases {
            assert_eq!(erasing(&lines, columns), erasing_them, "{columns}");
        }
    }
}
