//! Numbers, line numbers and excerpts of a bmap file.

use std::borrow::Cow;

use crate::visible::visible;

/// A number of decimal digits and nothing else but white space around it; `None` if it has others or is over 64 bits.
pub(super) fn decimal(text: &str) -> Option<u64> {
    let digits = text.trim_ascii();
    // `parse` alone would accept a plus sign.
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// `text` after `trim`, which takes white space away.
pub(super) fn trimmed<'a>(text: Cow<'a, str>, trim: fn(&str) -> &str) -> Cow<'a, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(trim(text)),
        Cow::Owned(text) => Cow::Owned(trim(&text).to_owned()),
    }
}

/// The line of a byte offset in the file, counted from 1.
pub(super) fn line_of(file: &str, offset: usize) -> usize {
    file.bytes().take(offset).filter(|&byte| byte == b'\n').count().saturating_add(1)
}

/// The first 60 characters of a text from the file, in one line.
pub(super) fn excerpt(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut short = visible(&text.chars().take(LONGEST).collect::<String>(), &[]);
    if text.chars().nth(LONGEST).is_some() {
        short.push('…');
    }
    short
}
