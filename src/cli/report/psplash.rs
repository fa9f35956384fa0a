//! Writes the progress to the FIFO of psplash, the boot splash of embedded systems: `PROGRESS 42` or `MSG text`, and a newline.
//!
//! The copy never waits for it, and any failure is a warning at most.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::mem;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use bmaptool::event::{Event, Phase};
use bmaptool::size::whole_percent;

/// Writes how far the slowest target is; where the size of the image is not known, how much of the source has been read.
pub struct Psplash(Mutex<Pipe>);

struct Pipe {
    path: PathBuf,
    /// `None` while no program reads it. A reader may come later.
    file: Option<File>,
    has_failed: bool,
    /// Percent done, by target.
    percents: BTreeMap<usize, u64>,
    /// Percent read of the source, where that counts.
    source: Option<u64>,
    /// The percent that was written last.
    written: Option<u64>,
}

impl Psplash {
    /// Writes to the FIFO at `path`, which is opened when there is something to write.
    pub fn new(path: &Path) -> Self {
        let (percents, source) = (BTreeMap::new(), None);
        Self(Mutex::new(Pipe { path: path.to_owned(), file: None, has_failed: false, percents, source, written: None }))
    }

    /// Shows `event`. The first time that this fails, it returns the path and the error.
    pub fn show(&self, event: Event<'_>) -> Option<(PathBuf, io::Error)> {
        let mut pipe = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let error = pipe.note(event).err()?;
        (!mem::replace(&mut pipe.has_failed, true)).then(|| (pipe.path.clone(), error))
    }
}

impl Pipe {
    fn note(&mut self, event: Event<'_>) -> io::Result<()> {
        match event {
            Event::SourceRead { done, total } => {
                self.source = Some(whole_percent(done, total));
                return Ok(());
            }
            Event::Progress { target, done, total } => {
                let percent = total.map(|total| whole_percent(done, total)).or(self.source);
                self.percents.extend(percent.map(|percent| (target.0, percent)));
            }
            // All is written, also where it was not known how much that would be.
            Event::Phase(target, Phase::Synchronizing) => drop(self.percents.insert(target.0, 100)),
            Event::Phase(_, Phase::Comparing) => {
                return self.show("MSG comparing\n").map(drop);
            }
            // The progress begins again.
            Event::Phase(_, Phase::Verifying) => {
                return self.show("MSG verifying\n").map(drop);
            }
            // A target that has failed must not hold up the others.
            Event::Target(target, _) => drop(self.percents.remove(&target.0)),
            _ => return Ok(()),
        }
        self.update()
    }

    /// Writes the least percent if it has changed.
    fn update(&mut self) -> io::Result<()> {
        let Some(&percent) = self.percents.values().min() else { return Ok(()) };
        if self.written != Some(percent) && self.show(&format!("PROGRESS {percent}\n"))? {
            self.written = Some(percent);
        }
        Ok(())
    }

    /// Writes a line; returns whether there was room for it.
    fn show(&mut self, line: &str) -> io::Result<bool> {
        match self.write(line) {
            // The pipe is full; the next line may fit.
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            written => {
                if written.is_err() {
                    self.file = None;
                }
                written.map(|()| true)
            }
        }
    }

    /// Writes a line: so few bytes are written whole or not at all (pipe(7), PIPE_BUF).
    fn write(&mut self, line: &str) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(open(&self.path)?),
        };
        file.write_all(line.as_bytes())
    }
}

/// Opens a FIFO that has a reader, without waiting for one (fifo(7)).
fn open(path: &Path) -> io::Result<File> {
    if !fs::metadata(path)?.file_type().is_fifo() {
        return Err(io::Error::other("it is not a pipe (FIFO)"));
    }
    let opened = OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(path);
    opened.map_err(|error| match error.raw_os_error() {
        Some(libc::ENXIO) => io::Error::other("no program reads it"),
        _ => error,
    })
}
