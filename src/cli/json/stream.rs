//! Standard output with `--json`. A thread writes the lines, so that a program that does not read them stalls no copy.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::mem;
use std::os::fd::AsFd;
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bmaptool::sys::durable::check_close;
use bmaptool::sys::threads;

use crate::cli::process;

/// How many bytes of lines may wait for the program that reads them. Then what is printed waits, too: so many events come
/// only of thousands of ranges that differ.
const ROOM: usize = 1 << 20;

/// Lines that may be left out are printed only while fewer bytes than this wait.
const ROOM_FOR_PROGRESS: usize = 4 << 10;

/// How long the end of the program waits for a reader after a signal.
const GRACE: Duration = Duration::from_millis(300);

/// How often a signal is looked for while a reader is waited for.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

static STREAM: OnceLock<Stream> = OnceLock::new();

#[derive(Default)]
struct Stream {
    queue: Mutex<Queue>,
    /// Told of every change of the queue.
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    lines: VecDeque<String>,
    /// How many bytes they have, with the line that is being written.
    waiting: usize,
    end: End,
    /// Why nothing can be written any more.
    error: Option<io::Error>,
    /// Whether the user has been told.
    is_told: bool,
}

/// Whether the last line has come.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum End {
    #[default]
    Open,
    Closed,
}

/// Whether a line was the last one.
#[derive(Debug)]
pub enum Closing {
    /// It was, and this has come of writing it and all before it. An error of which the user has been told is none.
    Written(io::Result<()>),
    /// There had been a last one before.
    TooLate,
}

/// From here on, lines can be printed.
pub fn start() {
    let stream = STREAM.get_or_init(Stream::default);
    let started = process::stdout()
        .and_then(|out| Ok(File::from(out.as_fd().try_clone_to_owned()?)))
        .and_then(|out| threads::start("json", move || stream.serve(out)));
    if let Err(error) = started {
        stream.fail(stream.queue(), error);
    }
}

/// Whether lines can be printed: with `--json`.
pub fn is_open() -> bool {
    STREAM.get().is_some_and(|stream| stream.queue().end == End::Open)
}

/// Prints a line. What comes after the last one is left out.
pub fn print(line: String) {
    let Some(stream) = STREAM.get() else { return };
    let queue = stream.wait_while(stream.queue(), |queue| queue.waiting + line.len() > ROOM, None);
    stream.push(queue, line);
}

/// Prints a line unless others wait, because the program that reads them is slow.
pub fn print_progress(line: String) {
    let Some(stream) = STREAM.get() else { return };
    let queue = stream.queue();
    if queue.waiting < ROOM_FOR_PROGRESS {
        stream.push(queue, line);
    }
}

/// Prints the last line, and waits until all lines have been written; after a signal, not for long.
pub fn close_with(line: String) -> Closing {
    let Some(stream) = STREAM.get() else { return Closing::TooLate };
    let mut queue = stream.queue();
    if mem::replace(&mut queue.end, End::Closed) == End::Closed {
        return Closing::TooLate;
    }
    queue.waiting += line.len();
    queue.lines.push_back(line);
    stream.changed.notify_all();
    let mut queue = stream.wait_while(queue, |queue| queue.waiting > 0, Some(GRACE));
    Closing::Written(match queue.error.take() {
        None => check_close(io::stdout()),
        Some(_) if queue.is_told => Ok(()),
        Some(error) => Err(error),
    })
}

impl Stream {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, mut queue: MutexGuard<'_, Queue>, line: String) {
        match &queue.error {
            None if queue.end == End::Open => {
                queue.waiting += line.len();
                queue.lines.push_back(line);
                self.changed.notify_all();
            }
            Some(error) if !queue.is_told => {
                let words = no_more(error);
                queue.is_told = true;
                drop(queue);
                log::warn!("{words}");
            }
            _ => {}
        }
    }

    /// Waits while `is_full` and lines can be written; after a signal for `grace` at most.
    fn wait_while<'a>(
        &self,
        mut queue: MutexGuard<'a, Queue>,
        is_full: impl Fn(&Queue) -> bool,
        grace: Option<Duration>,
    ) -> MutexGuard<'a, Queue> {
        let mut interrupted = None;
        while is_full(&queue) && queue.error.is_none() {
            if process::signal_received().is_some()
                && interrupted.get_or_insert_with(Instant::now).elapsed() >= grace.unwrap_or_default()
            {
                break;
            }
            let waited = self.changed.wait_timeout(queue, POLL_INTERVAL);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        queue
    }

    /// Writes lines until nothing can be written any more, or to the end of the program.
    fn serve(&self, mut out: File) {
        loop {
            let mut queue = self.queue();
            let line = loop {
                match queue.lines.pop_front() {
                    Some(line) => break line,
                    None => queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner),
                }
            };
            drop(queue);
            let written = out.write_all(line.as_bytes());
            let mut queue = self.queue();
            queue.waiting -= line.len();
            self.changed.notify_all();
            if let Err(error) = written {
                return self.fail(queue, error);
            }
        }
    }

    /// Takes note that nothing can be written any more.
    fn fail(&self, mut queue: MutexGuard<'_, Queue>, error: io::Error) {
        queue.lines.clear();
        queue.waiting = 0;
        queue.error = Some(error);
        self.changed.notify_all();
    }
}

/// That events are lost, which stops nothing.
pub fn no_more(error: &io::Error) -> String {
    format!("standard output takes no more events, the command goes on without: {error}")
}
