//! Runs: four equal bytes in the text of a block are followed by a count of how many more there are.

/// How many equal bytes announce a count.
const ANNOUNCED: usize = 4;

/// How far the text of a block has been expanded.
#[derive(Default)]
pub(super) struct Runs {
    /// The next byte of the text.
    position: usize,
    /// How many bytes from there on are as they are.
    plain: usize,
    /// Whether a count stands behind them.
    counted: bool,
    /// How often the last byte comes yet.
    repeat: usize,
    byte: u8,
}

impl Runs {
    /// Puts what comes next into `out`; returns how much that is: all that fits, or less where the text ends.
    #[expect(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        reason = "what is plain lies in the text, and no more is taken than there is"
    )]
    pub(super) fn expand(&mut self, text: &[u8], out: &mut [u8]) -> usize {
        let length = out.len();
        let mut out = out;
        while !out.is_empty() {
            if self.repeat > 0 {
                let (run, rest) = out.split_at_mut(self.repeat.min(out.len()));
                run.fill(self.byte);
                self.repeat -= run.len();
                out = rest;
            } else if self.plain > 0 {
                let (copy, rest) = out.split_at_mut(self.plain.min(out.len()));
                copy.copy_from_slice(&text[self.position..self.position + copy.len()]);
                self.position += copy.len();
                self.plain -= copy.len();
                out = rest;
            } else if self.counted {
                self.counted = false;
                self.repeat = text.get(self.position).copied().map_or(0, usize::from);
                self.position += 1;
            } else {
                let rest = text.get(self.position..).unwrap_or_default();
                match run(rest) {
                    Some(start) => (self.plain, self.counted, self.byte) = (start + ANNOUNCED, true, rest[start]),
                    None if rest.is_empty() => break,
                    None => self.plain = rest.len(),
                }
            }
        }
        length - out.len()
    }

    /// Whether `text`, all of which has been expanded, ended where the count of a run should be.
    pub(super) fn lacks_count(&self, text: &[u8]) -> bool {
        self.position > text.len()
    }
}

/// Where the first four equal bytes begin.
#[expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a step and what is announced lie in the window"
)]
fn run(text: &[u8]) -> Option<usize> {
    const STEP: usize = 32;
    const WINDOW: usize = STEP + ANNOUNCED - 1;
    let equal = |window: &[u8; WINDOW], at: usize| {
        (window[at] == window[at + 1]) & (window[at] == window[at + 2]) & (window[at] == window[at + 3])
    };
    let mut start = 0;
    // Free of branches, so that it becomes vector instructions.
    while let Some(window) = text.get(start..).and_then(|rest| rest.first_chunk::<WINDOW>())
        && !(0..STEP).fold(false, |any, at| any | equal(window, at))
    {
        start += STEP;
    }
    let rest = text.get(start..)?;
    rest.windows(ANNOUNCED).position(|window| window.iter().all(|byte| byte == &window[0])).map(|at| start + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expanded text, unless it lacks a count.
    fn expanded(text: &[u8], piece: usize) -> Option<Vec<u8>> {
        let (mut runs, mut whole, mut out) = (Runs::default(), Vec::new(), vec![0; piece]);
        loop {
            match runs.expand(text, &mut out) {
                0 => return (!runs.lacks_count(text)).then_some(whole),
                count => whole.extend_from_slice(&out[..count]),
            }
        }
    }

    #[test]
    fn runs_are_expanded_in_pieces_of_any_size() {
        let mut text = b"abc".to_vec();
        text.extend(b"dddd\x03aaaa\0aaaab".iter().chain(b"0123456789".repeat(9).iter()).chain(b"zzzz\xffz"));
        let mut plain = b"abcdddddddaaaa".to_vec();
        plain.extend(vec![b'a'; 4 + usize::from(b'b')]);
        plain.extend(b"0123456789".repeat(9));
        plain.extend(vec![b'z'; 4 + 255 + 1]);
        for piece in [1, 2, 3, 7, 64, 1000] {
            assert_eq!(expanded(&text, piece).as_ref(), Some(&plain), "pieces of {piece}");
            assert_eq!(expanded(b"xaaaa", piece), None, "the count is missing");
        }
        assert_eq!(expanded(b"xaaaa\0", 10).unwrap(), b"xaaaa");
        assert_eq!(expanded(b"", 10).unwrap(), b"");
    }

    #[test]
    fn four_equal_bytes_are_found_wherever_they_are() {
        for at in 0..80 {
            let mut text: Vec<u8> = (0..84).collect();
            text[at..at + 4].fill(200);
            assert_eq!(run(&text), Some(at));
            assert_eq!(run(&text[..at + 3]), None);
        }
    }
}
