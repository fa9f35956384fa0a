//! Small readings of the text of a bmap file.

/// A number of decimal digits and nothing else but white space around it; `None` if it has others or is over 64 bits.
pub(super) fn decimal(text: &str) -> Option<u64> {
    let digits = text.trim_ascii();
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// The line of a position in the file, counted from 1.
pub(super) fn line_of(file: &str, position: usize) -> usize {
    file.bytes().take(position).filter(|&byte| byte == b'\n').count().saturating_add(1)
}

/// The start of a text from the file.
pub(super) fn excerpt(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut short: String = text.chars().take(LONGEST).collect();
    if text.chars().nth(LONGEST).is_some() {
        short.push('…');
    }
    short
}
