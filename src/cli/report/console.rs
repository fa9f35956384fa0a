//! The one place that writes to standard error: messages, a line each.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use bmaptool::copy::Cancel;
use log::{Level, LevelFilter, Log, Metadata, Record};
use terminal_size::{Width, terminal_size_of};

use super::printer::{Printer, Task};
use super::progress::Progress;
use crate::cli::passwords::masked;

struct Console {
    started: Instant,
    level: LevelFilter,
    style: Style,
    /// Prints messages once nothing may wait for the terminal.
    printer: OnceLock<Printer>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Plain,
    Coloured,
}

static CONSOLE: OnceLock<Console> = OnceLock::new();

/// From here on, messages of `level` and above are printed.
pub fn init(level: LevelFilter) {
    let console =
        CONSOLE.get_or_init(|| Console { started: Instant::now(), level, style: style(), printer: OnceLock::new() });
    // It fails only where there is a logger already: this one.
    let _ = log::set_logger(console);
    log::set_max_level(level);
}

/// From here on, messages are printed by a background thread, so that a paused terminal (Ctrl-S) cannot stall the copy, nor
/// the end of the program once `cancel` is set.
pub fn print_in_background(cancel: &Cancel) {
    if let Some(console) = CONSOLE.get()
        // Where there is no thread left for it, messages are waited for.
        && let Ok(printer) = Printer::start(cancel)
    {
        let _ = console.printer.set(printer); // there is one already
    }
}

fn printer() -> Option<&'static Printer> {
    CONSOLE.get()?.printer.get()
}

/// Waits until all messages have been printed.
pub fn finish() {
    printer().inspect(|printer| printer.finish());
}

/// Shows the progress until it is dropped.
pub struct Display(());

impl Display {
    /// Shows `progress` if messages are printed in the background.
    pub fn of(progress: &Arc<Progress>) -> Self {
        printer().inspect(|printer| printer.perform(Task::Show(Arc::clone(progress))));
        Self(())
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        printer().inspect(|printer| printer.perform(Task::Hide));
    }
}

/// Whether standard error is a terminal that can move its cursor.
pub fn is_terminal() -> bool {
    io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// How many columns the terminal at standard error has; 80 where it does not say.
pub fn columns() -> u16 {
    terminal_size_of(io::stderr()).map_or(80, |(Width(columns), _)| columns)
}

/// Writes to standard error as it is. Where that is closed there is nobody to tell.
pub fn print(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// `text` as it may be shown: names of files may hold control characters, which would command the terminal or break a line
/// where there is to be one, and what was meant for an address may be named as a file. Keeps control characters that are in `kept`.
pub fn shown(text: &str, kept: &[char]) -> String {
    masked(text).replace(|c: char| c.is_control() && !kept.contains(&c), "\u{fffd}")
}

/// Colours are for terminals, and not for those who do not want them (no-color.org).
fn style() -> Style {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if is_terminal() && !unwanted { Style::Coloured } else { Style::Plain }
}

impl Console {
    fn message(&self, level: Level, text: &str) -> String {
        let (label, text) = (self.label(level), shown(text, &[]));
        if self.level >= LevelFilter::Debug {
            format!("[{:9.3}] bmaptool: {label}: {text}\n", self.started.elapsed().as_secs_f64())
        } else {
            format!("bmaptool: {label}: {}\n", without_error_numbers(&text))
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

/// A message as it is printed.
pub fn message(level: Level, text: &str) -> String {
    CONSOLE.get().map(|console| console.message(level, text)).unwrap_or_default()
}

/// Leaves out the numbers that the standard library puts after the words of the system, as in ` (os error 2)`.
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
        let line = self.message(record.level(), &record.args().to_string());
        match self.printer.get() {
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
