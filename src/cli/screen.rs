//! The terminal, as the progress bar is drawn on it.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use console::Term;
use indicatif::TermLike;

use super::bar::MARGIN;

/// Standard error, narrower than it is by the margin: a bar is filled up to the last column, and must leave some free.
#[derive(Debug)]
pub struct Screen {
    term: Term,
    /// How many columns are filled of the line with the cursor.
    filled: AtomicUsize,
}

impl Screen {
    /// The terminal at standard error.
    pub fn stderr() -> Self {
        Self { term: Term::buffered_stderr(), filled: AtomicUsize::new(0) }
    }
}

/// What goes above the row of the cursor, where a line was filled that far before the terminal got so many columns: one
/// that has become narrower has folded it.
fn rows_above(filled: usize, columns: u16) -> usize {
    filled.saturating_sub(1).checked_div(columns.into()).unwrap_or(0)
}

impl TermLike for Screen {
    fn width(&self) -> u16 {
        let (_rows, columns) = self.term.size();
        columns.saturating_sub(MARGIN)
    }

    fn height(&self) -> u16 {
        let (rows, _columns) = self.term.size();
        rows
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.term.move_cursor_up(n)
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.term.move_cursor_down(n)
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.term.move_cursor_right(n)
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.term.move_cursor_left(n)
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.filled.store(0, Ordering::Relaxed);
        self.term.write_line(text)
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        // Nothing that is drawn has signs of more than one byte, or of another width than one column.
        self.filled.fetch_add(text.len(), Ordering::Relaxed);
        self.term.write_str(text)
    }

    fn clear_line(&self) -> io::Result<()> {
        let (_rows, columns) = self.term.size();
        for _ in 0..rows_above(self.filled.swap(0, Ordering::Relaxed), columns) {
            self.term.clear_line()?;
            self.term.move_cursor_up(1)?;
        }
        self.term.clear_line()
    }

    fn flush(&self) -> io::Result<()> {
        self.term.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_was_folded_goes_over_several_rows() {
        let cases = [(0, 80, 0), (77, 80, 0), (80, 80, 0), (81, 80, 1), (77, 26, 2), (77, 0, 0)];
        for (filled, columns, above) in cases {
            assert_eq!(rows_above(filled, columns), above, "{filled} of {columns}");
        }
    }
}
