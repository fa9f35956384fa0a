//! All output to standard error: messages, a line each.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::Instant;

use bmaptool::copy::Cancel;
use bmaptool::visible::visible;
use log::{Level, LevelFilter, Log, Metadata, Record};
use terminal_size::{Height, Width, terminal_size_of};

use super::printer::{Printer, Task};
use super::progress::Progress;
use crate::cli::passwords::masked;

/// The logger of the program.
struct Console;

static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Colours are for terminals, unless the user does not want them (no-color.org).
static IS_COLOURED: LazyLock<bool> =
    LazyLock::new(|| is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()));

/// Prints messages in the background, once it has been started.
static PRINTER: OnceLock<Printer> = OnceLock::new();

/// From here on, messages of `level` and above are printed.
pub fn init(level: LevelFilter) {
    LazyLock::force(&STARTED);
    // It fails only where there is a logger already: this one.
    let _ = log::set_logger(&Console);
    log::set_max_level(level);
}

/// From here on, messages are printed by a background thread, so that a paused terminal (Ctrl-S) cannot stall the copy,
/// nor the end of the program once `cancel` is set. Without a thread left for that, messages may block.
pub fn print_in_background(cancel: &Cancel) {
    if PRINTER.get().is_none()
        && let Ok(printer) = Printer::start(cancel)
    {
        let _ = PRINTER.set(printer);
    }
}

/// From here on, shows `progress` if messages are printed in the background.
pub fn show(progress: &Arc<Progress>) {
    if let Some(printer) = PRINTER.get() {
        printer.perform(Task::Show(Arc::clone(progress)));
    }
}

/// Waits until all messages have been printed, and hides the progress.
pub fn finish() {
    if let Some(printer) = PRINTER.get() {
        printer.finish();
    }
}

/// Whether standard error is a terminal that can move its cursor.
pub fn is_terminal() -> bool {
    io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// The columns and rows of the terminal at standard error; 80 and 24 if it does not say.
pub fn size() -> (u16, u16) {
    terminal_size_of(io::stderr()).map_or((80, 24), |(Width(columns), Height(rows))| (columns, rows))
}

/// Writes to standard error as it is. If that fails, there is nowhere to report it.
pub fn print(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// `text` as it is shown: without passwords, and without characters that could deceive who reads it, but for those in
/// `kept`. All text passes through here, as names, URLs and words of servers may stand in any: a URL may have been given
/// where a file is expected.
pub fn shown(text: &str, kept: &[char]) -> String {
    visible(&masked(text), kept)
}

/// `text` as programs get it: without passwords, and without the numbers of errors.
pub fn plain(text: &str) -> String {
    without_error_numbers(masked(text))
}

/// A message as it is printed.
pub fn message(level: Level, text: &str) -> String {
    let (label, text) = (label(level), shown(text, &[]));
    if log::max_level() >= LevelFilter::Debug {
        format!("[{:9.3}] bmaptool: {label}: {text}\n", STARTED.elapsed().as_secs_f64())
    } else {
        format!("bmaptool: {label}: {}\n", without_error_numbers(text))
    }
}

fn label(level: Level) -> &'static str {
    match (level, *IS_COLOURED) {
        (Level::Error, false) => "ERROR",
        (Level::Error, true) => "\x1b[91mERROR\x1b[0m",
        (Level::Warn, false) => "WARNING",
        (Level::Warn, true) => "\x1b[93mWARNING\x1b[0m",
        (Level::Info, _) => "info",
        (Level::Debug | Level::Trace, _) => "debug",
    }
}

/// Removes the numbers that the standard library adds to system errors, as in ` (os error 2)`.
fn without_error_numbers(mut text: String) -> String {
    while let Some(start) = text.find(" (os error ")
        && let Some(length) = text[start..].find(')')
    {
        text.replace_range(start..=start + length, "");
    }
    text
}

impl Log for Console {
    /// Only our own messages, not those of libraries.
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with(env!("CARGO_CRATE_NAME"))
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let line = message(record.level(), &record.args().to_string());
        match PRINTER.get() {
            Some(printer) => printer.perform(Task::Print(line)),
            None => print(&line),
        }
    }

    fn flush(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_errors_are_removed() {
        let cases = [
            ("cannot open 'a': No such file (os error 2)", "cannot open 'a': No such file"),
            ("refused (os error 111); trying again (os error 4)", "refused; trying again"),
            ("a (os error", "a (os error"),
            ("", ""),
        ];
        for (text, words) in cases {
            assert_eq!(without_error_numbers(text.to_owned()), words);
        }
    }
}
