//! Writes the progress to the FIFO of psplash, the boot splash of embedded systems: `PROGRESS 42` and a newline.
//!
//! It is a decoration. Whatever goes wrong with it is a warning at most, and the copy never waits for it.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use bmaptool::event::{Event, Observer};
use bmaptool::size::whole_percent;

/// Tells psplash how far the slowest target is; nothing where the size of the image is not known.
pub struct Psplash(Mutex<Pipe>);

impl Psplash {
    /// Writes to the FIFO at `path`, which is opened when the copy begins.
    pub fn new(path: &Path) -> Self {
        let path = path.to_owned();
        Self(Mutex::new(Pipe { path, file: None, has_been_tried: false, percents: BTreeMap::new(), told: None }))
    }
}

impl Observer for Psplash {
    fn event(&self, event: Event<'_>) {
        let mut pipe = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Phase(..) => pipe.open(),
            Event::Progress { target, done, total: Some(total) } => {
                pipe.percents.insert(target.0, whole_percent(done, total));
                pipe.tell();
            }
            // One that has failed goes no further, and the others do.
            Event::Target(target, _) => drop(pipe.percents.remove(&target.0)),
            Event::Progress { total: None, .. } | Event::Notice(_) => {}
        }
    }
}

struct Pipe {
    path: PathBuf,
    /// `None` while nobody reads it. A reader may come later.
    file: Option<File>,
    has_been_tried: bool,
    /// How far each target is.
    percents: BTreeMap<usize, u64>,
    /// What was written last.
    told: Option<u64>,
}

impl Pipe {
    /// Writes the least percent, if that is news and there is a reader with room for it.
    fn tell(&mut self) {
        let Some(percent) = self.percents.values().min().copied().filter(|&percent| self.told != Some(percent)) else {
            return;
        };
        self.open();
        // So few bytes are written whole or not at all (pipe(7), PIPE_BUF).
        match self.file.as_mut().map(|file| file.write(format!("PROGRESS {percent}\n").as_bytes())) {
            Some(Ok(_)) => self.told = Some(percent),
            Some(Err(error)) if error.kind() != ErrorKind::WouldBlock => self.file = None,
            // It is full, and the next figure may fit; or nobody reads it.
            _ => {}
        }
    }

    /// Opens the pipe, unless it is open; only the first failure is told.
    fn open(&mut self) {
        if self.file.is_none() {
            match (open(&self.path), self.has_been_tried) {
                (Ok(file), _) => self.file = Some(file),
                (Err(error), false) => {
                    let path = self.path.display();
                    log::warn!("the progress is not written to psplash pipe '{path}': {error}");
                }
                (Err(_), true) => {}
            }
            self.has_been_tried = true;
        }
    }
}

/// Opens a FIFO that somebody reads, without waiting for that (fifo(7)).
fn open(path: &Path) -> io::Result<File> {
    if !fs::metadata(path)?.file_type().is_fifo() {
        return Err(io::Error::other("it is not a pipe (FIFO)"));
    }
    OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(|error| {
        match error.raw_os_error() {
            Some(libc::ENXIO) => io::Error::other("nobody reads it"),
            _ => error,
        }
    })
}
