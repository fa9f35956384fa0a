//! Text from outside, made fit to be shown.

/// `text` with U+FFFD in place of every character that commands a terminal, reorders the text around it or cannot be
/// seen, but for those in `kept`. With them, one name could look like another, or like a message of this program.
pub fn visible(text: &str, kept: &[char]) -> String {
    text.replace(|c| deceives(c) && !kept.contains(&c), "\u{fffd}")
}

/// Control characters, the separators of lines and paragraphs, the characters around annotations, and all with the
/// property Default_Ignorable_Code_Point (Unicode 17, DerivedCoreProperties.txt): it has the bidirectional controls,
/// and what takes no room.
fn deceives(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}')
        || matches!(c, '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}')
        || matches!(c, '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}')
        || matches!(c, '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_reorders_or_hides_is_masked() {
        let outside = "a\u{1b}[2J\u{9b}b\n\u{202e}c\u{2066}d\u{200b}\u{200d}e\u{feff}f\u{2028}\u{ad}\u{e0041}\u{fe0f}";
        let shown =
            "a\u{fffd}[2J\u{fffd}b\n\u{fffd}c\u{fffd}d\u{fffd}\u{fffd}e\u{fffd}f\u{fffd}\u{fffd}\u{fffd}\u{fffd}";
        assert_eq!(visible(outside, &['\n']), shown);
        assert_eq!(visible("a\nb", &[]), "a\u{fffd}b");
    }

    #[test]
    fn all_writing_is_shown() {
        for name in ["Müller", "e\u{301}", "שלום", "مرحبا", "नमस्ते", "日本語", "a b", "\u{a0}", "→", "💾", "\u{fffd}"]
        {
            assert_eq!(visible(name, &[]), name);
        }
    }
}
