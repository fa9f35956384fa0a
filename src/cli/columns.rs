//! Text that fits 80 columns.

use super::report::console;

/// How many columns a line may have.
pub const WIDTH: usize = 80;

/// Where the values of rows begin.
const INDENT: usize = 14;

/// Lines about one thing: a title, and rows with a label and a value each.
#[derive(Default)]
pub struct Page {
    text: String,
}

impl Page {
    /// Begins a section. What of the title has no room in its line goes on in the next.
    pub fn title(&mut self, title: &str) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.lines("", WIDTH, title);
    }

    /// A row; what has no room in its line goes on in the next.
    pub fn row(&mut self, label: &str, value: &str) {
        let label = format!("  {label:<width$}", width = INDENT - 2);
        self.lines(&label, WIDTH - INDENT, value);
    }

    /// Lines of `width` characters of `text`, the first one after `label` and the others below it.
    fn lines(&mut self, label: &str, width: usize, text: &str) {
        let characters: Vec<char> = console::shown(text, &[]).chars().collect();
        for (index, part) in characters.chunks(width).enumerate() {
            let label = if index == 0 { label } else { &" ".repeat(label.len()) };
            self.line(&format!("{label}{}", part.iter().collect::<String>()));
        }
    }

    /// A line as it is, without spaces at its end.
    pub fn line(&mut self, line: &str) {
        self.text.push_str(console::shown(line, &[]).trim_end());
        self.text.push('\n');
    }

    /// Rows of cells, each column as wide as its widest cell; numbers stand at the right. The last column is cut where
    /// it has no room.
    pub fn table<const N: usize>(&mut self, alignments: [Align; N], rows: &[[String; N]]) {
        let widths: [usize; N] =
            std::array::from_fn(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0));
        for row in rows {
            let cells = row.iter().zip(widths).zip(alignments).filter(|((_, width), _)| *width > 0);
            let cells = cells.map(|((cell, width), align)| match align {
                Align::Left => format!("{cell:<width$}"),
                Align::Right => format!("{cell:>width$}"),
            });
            let line = cells.collect::<Vec<_>>().join("  ");
            self.line(&cut(line.trim_end(), WIDTH));
        }
    }

    /// All lines.
    pub fn into_text(self) -> String {
        self.text
    }
}

/// Where a cell stands in its column.
#[derive(Clone, Copy)]
pub enum Align {
    Left,
    Right,
}

/// `text`, or as much of it as fits `width` columns, with an ellipsis for the rest.
pub fn cut(text: &str, width: usize) -> String {
    match text.char_indices().nth(width) {
        Some(_) => text.chars().take(width - 1).chain(['…']).collect(),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_titles_and_values_go_on_in_the_next_line_and_long_cells_are_cut() {
        let mut page = Page::default();
        page.title(&"t".repeat(85));
        page.row("label", &"x".repeat(70));
        page.table([Align::Right, Align::Left], &[["1".into(), "é".repeat(90)], ["10".into(), "b".into()]]);
        let (title, value, cell) = ("t".repeat(80), "x".repeat(66), "é".repeat(75));
        let expected = format!("{title}\nttttt\n  label       {value}\n              xxxx\n 1  {cell}…\n10  b\n");
        assert_eq!(page.into_text(), expected);
    }

    #[test]
    fn nothing_commands_the_terminal() {
        let mut page = Page::default();
        page.row("model", "a\u{1b}[2J\u{9b}b");
        assert_eq!(page.into_text(), "  model       a\u{fffd}[2J\u{fffd}b\n");
    }
}
