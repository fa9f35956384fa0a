//! Messages on standard error, a line each.

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Instant;

use ::console::Term;
use indicatif::ProgressBar;
use log::{Level, LevelFilter, Log, Metadata, Record};

/// The one place that writes to standard error.
struct Console {
    started: Instant,
    level: LevelFilter,
    style: Style,
    /// The progress bar, while it is on the screen: a line must not be written into it.
    bar: Mutex<Option<ProgressBar>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Plain,
    Coloured,
}

static CONSOLE: OnceLock<Console> = OnceLock::new();

/// Prints messages of `level` and above from now on.
pub fn init(level: LevelFilter) {
    let console =
        CONSOLE.get_or_init(|| Console { started: Instant::now(), level, style: style(), bar: Mutex::new(None) });
    // It fails only where there is a logger already: this one.
    let _ = log::set_logger(console);
    log::set_max_level(level);
}

/// Keeps messages and `bar` apart until another one or none is given.
pub fn set_bar(bar: Option<ProgressBar>) {
    if let Some(console) = CONSOLE.get() {
        *console.bar.lock().unwrap_or_else(PoisonError::into_inner) = bar;
    }
}

/// Whether standard error is a terminal that can move its cursor.
pub fn is_terminal() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// How many columns the terminal at standard error has; 80 where it does not say.
pub fn width() -> u16 {
    let (_rows, columns) = Term::stderr().size();
    columns
}

/// Colours are for terminals, and not for those who do not want them (no-color.org).
fn style() -> Style {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if is_terminal() && !unwanted { Style::Coloured } else { Style::Plain }
}

impl Console {
    fn label(&self, level: Level) -> &'static str {
        match (level, self.style) {
            (Level::Error, Style::Plain) => "ERROR",
            (Level::Error, Style::Coloured) => "\x1b[91mERROR\x1b[0m",
            (Level::Warn, Style::Plain) => "WARNING",
            (Level::Warn, Style::Coloured) => "\x1b[93mWARNING\x1b[0m",
            (Level::Info, _) => "info",
            (Level::Debug | Level::Trace, _) => "debug",
        }
    }
}

impl Log for Console {
    /// Only our own messages: libraries have their own idea of what is worth telling.
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= self.level && metadata.target().starts_with(env!("CARGO_CRATE_NAME"))
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        // A file name may hold control characters, which would make two lines of one, or command the terminal.
        let text: String =
            record.args().to_string().chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
        let mut line = String::new();
        if self.level >= LevelFilter::Debug {
            line = format!("[{:9.3}] ", self.started.elapsed().as_secs_f64());
        }
        line.push_str(&format!("bmaptool: {}: {text}\n", self.label(record.level())));
        // Where standard error is closed there is nobody to tell.
        let print = || drop(std::io::stderr().write_all(line.as_bytes()));
        match &*self.bar.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    fn flush(&self) {}
}
