//! Writes the progress to the FIFO of psplash, the boot splash of embedded systems: `PROGRESS 42` and a newline.
//!
//! It is a decoration. Whatever goes wrong with it is a warning at most, and the copy never waits for it.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use bmaptool::copy::Progress;
use bmaptool::sys::threads;

/// How often it is looked whether there is something to write.
const INTERVAL: Duration = Duration::from_millis(100);

/// Writes the progress of a copy until it is dropped.
pub struct Psplash {
    stop: Option<Sender<()>>,
    writer: Option<JoinHandle<()>>,
}

impl Psplash {
    /// Writes to `pipe` how much of `total` bytes is done; nothing where the total is not known.
    pub fn start(pipe: &Path, progress: &Arc<Progress>, total: Option<u64>) -> Self {
        let mut pipe = Pipe { path: pipe.to_owned(), state: State::New, told: None };
        // At once, so that a warning stands before the copy.
        pipe.open();
        let (stop, stopped) = channel();
        let progress = Arc::clone(progress);
        let writer = threads::start("psplash", move || {
            let Some(total) = total else { return };
            pipe.tell(0);
            while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                pipe.tell(percent(progress.written(), total));
            }
            pipe.tell(percent(progress.written(), total));
        });
        // Where there is no thread left for it, nothing is written.
        Self { stop: Some(stop), writer: writer.ok() }
    }
}

impl Drop for Psplash {
    fn drop(&mut self) {
        drop(self.stop.take());
        // Should it have panicked, the copy is none the worse for it.
        let _ = self.writer.take().map(JoinHandle::join);
    }
}

/// Whole percents, rounded down; nothing of nothing is all of it.
fn percent(written: u64, total: u64) -> u64 {
    let share = u128::from(written).saturating_mul(100).checked_div(u128::from(total)).unwrap_or(100);
    u64::try_from(share.min(100)).unwrap_or(100)
}

struct Pipe {
    path: PathBuf,
    state: State,
    /// What was written last.
    told: Option<u64>,
}

enum State {
    /// It has not been opened yet.
    New,
    /// Nobody reads it, and the user has been told. A reader may come later.
    Closed,
    Open(File),
}

impl Pipe {
    /// Writes `percent`, if that is news and there is a reader with room for it.
    fn tell(&mut self, percent: u64) {
        if self.told == Some(percent) {
            return;
        }
        self.open();
        let State::Open(file) = &mut self.state else { return };
        // So few bytes are written whole or not at all (pipe(7), PIPE_BUF).
        match file.write(format!("PROGRESS {percent}\n").as_bytes()) {
            Ok(_) => self.told = Some(percent),
            // It is full; the next figure may fit.
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => self.state = State::Closed,
        }
    }

    /// Opens the pipe, unless it is open. Without O_NONBLOCK that would wait for a reader (fifo(7)).
    fn open(&mut self) {
        if matches!(self.state, State::Open(_)) {
            return;
        }
        let path = self.path.display();
        let is_pipe = fs::metadata(&self.path).map(|metadata| metadata.file_type().is_fifo());
        let open = || OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(&self.path);
        let why = match is_pipe.and_then(|is_pipe| is_pipe.then(open).transpose()) {
            Ok(Some(file)) => {
                self.state = State::Open(file);
                return;
            }
            Ok(None) => "it is not a pipe (FIFO)".to_owned(),
            Err(error) if error.raw_os_error() == Some(libc::ENXIO) => "nobody reads it".to_owned(),
            Err(error) => error.to_string(),
        };
        if matches!(self.state, State::New) {
            log::warn!("the progress is not written to psplash pipe '{path}': {why}");
        }
        self.state = State::Closed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percents_are_whole_and_end_at_a_hundred() {
        let cases = [(0, 7, 0), (1, 3, 33), (999, 1000, 99), (5, 5, 100), (0, 0, 100), (9, 5, 100)];
        for (written, total, share) in cases {
            assert_eq!(percent(written, total), share);
        }
        assert_eq!(percent(u64::MAX, u64::MAX), 100);
    }
}
