//! Messages on standard error, a line each.

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Instant;

use ::console::Term;
use bmaptool::copy::Cancel;
use indicatif::ProgressBar;
use log::{Level, LevelFilter, Log, Metadata, Record};

use super::passwords::masked;
use super::printer::{Pending, Printer};

/// The one place that writes to standard error.
struct Console {
    started: Instant,
    level: LevelFilter,
    style: Style,
    /// The progress bar, while it is on the screen: messages go above it.
    bar: Mutex<Option<ProgressBar>>,
    /// Prints once nobody may wait for the terminal.
    printer: OnceLock<Printer>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Plain,
    Coloured,
}

static CONSOLE: OnceLock<Console> = OnceLock::new();

/// Prints messages of `level` and above from now on.
pub fn init(level: LevelFilter) {
    let console = CONSOLE.get_or_init(|| Console {
        started: Instant::now(),
        level,
        style: style(),
        bar: Mutex::default(),
        printer: OnceLock::new(),
    });
    // It fails only where there is a logger already: this one.
    let _ = log::set_logger(console);
    log::set_max_level(level);
}

/// From now on nobody waits for a terminal that stands still: for messages only a moment, and at the end of the program
/// until `cancel` is set.
pub fn wait_for_nobody(cancel: &Cancel) {
    if let Some(console) = CONSOLE.get()
        // Where there is no thread left for it, messages are waited for.
        && let Ok(printer) = Printer::start(|text| console.show(text), cancel)
    {
        let _ = console.printer.set(printer); // there is one already
    }
}

/// Waits until all messages have been printed.
pub fn finish() {
    if let Some(printer) = printer() {
        printer.finish();
    }
}

/// Waits for something else that goes on at the terminal.
pub fn wait_for(pending: &Pending) {
    match printer() {
        Some(printer) => printer.wait_for(pending),
        None => drop(pending.recv()),
    }
}

fn printer() -> Option<&'static Printer> {
    CONSOLE.get()?.printer.get()
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

/// Writes to standard error. Where that is closed there is nobody to tell.
pub fn print(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
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
    /// Writes a message, above the progress bar where there is one.
    fn show(&self, text: &str) {
        match &*self.bar.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(bar) => bar.suspend(|| print(text)),
            None => print(text),
        }
    }

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

/// Leaves out the numbers that the standard library puts behind the words of the system, as in ` (os error 2)`.
fn without_error_numbers(text: &str) -> String {
    let mut parts = text.split(" (os error ");
    let mut words = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once(')') {
            Some((number, rest)) if number.parse::<u32>().is_ok() => words.push_str(rest),
            _ => words.extend([" (os error ", part]),
        }
    }
    words
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
        // What was meant for an address may be named as a file.
        let text = masked(&record.args().to_string());
        // A file name may hold control characters, which would make two lines of one, or command the terminal.
        let text = text.replace(char::is_control, "\u{fffd}");
        let label = self.label(record.level());
        let line = if self.level >= LevelFilter::Debug {
            format!("[{:9.3}] bmaptool: {label}: {text}\n", self.started.elapsed().as_secs_f64())
        } else {
            format!("bmaptool: {label}: {}\n", without_error_numbers(&text))
        };
        match self.printer.get() {
            Some(printer) => printer.print(line),
            None => self.show(&line),
        }
    }

    fn flush(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_of_errors_are_left_out() {
        let cases = [
            ("cannot open 'a': No such file (os error 2)", "cannot open 'a': No such file"),
            ("refused (os error 111); trying again", "refused; trying again"),
            ("a (os error b) (os error", "a (os error b) (os error"),
            ("", ""),
        ];
        for (text, words) in cases {
            assert_eq!(without_error_numbers(text), words);
        }
    }
}
