//! The run-length encoding of a block: after four equal bytes, one byte tells how many more of them there are.

/// How many equal bytes are followed by a count.
const BEFORE_COUNT: usize = 4;

/// Expands the runs of a block, as much at a time as is asked for.
#[derive(Default)]
pub(super) struct RunExpander {
    /// Index of the next byte of the block.
    position: usize,
    /// How many bytes from there on are to be copied.
    plain: usize,
    /// Whether a count follows them.
    counted: bool,
    /// How many more times `byte` is to be repeated.
    repeat: usize,
    byte: u8,
}

impl RunExpander {
    /// Puts the next expanded bytes into `out`, and returns how many: as many as fit, or fewer if the block ends.
    #[expect(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        reason = "plain bytes lie in the block, and no more is taken than there is"
    )]
    pub(super) fn expand(&mut self, block: &[u8], out: &mut [u8]) -> usize {
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
                copy.copy_from_slice(&block[self.position..self.position + copy.len()]);
                self.position += copy.len();
                self.plain -= copy.len();
                out = rest;
            } else if self.counted {
                self.counted = false;
                self.repeat = block.get(self.position).copied().map_or(0, usize::from);
                self.position += 1;
            } else {
                let rest = block.get(self.position..).unwrap_or_default();
                match find_run(rest) {
                    Some(start) => (self.plain, self.counted, self.byte) = (start + BEFORE_COUNT, true, rest[start]),
                    None if rest.is_empty() => break,
                    None => self.plain = rest.len(),
                }
            }
        }
        length - out.len()
    }

    /// Whether `block`, all of which has been expanded, ended where the count of a run should be.
    pub(super) fn lacks_count(&self, block: &[u8]) -> bool {
        self.position > block.len()
    }
}

/// Index of the first four equal bytes.
#[expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a step and the three bytes after it lie in the window"
)]
fn find_run(block: &[u8]) -> Option<usize> {
    const STEP: usize = 32;
    const WINDOW: usize = STEP + BEFORE_COUNT - 1;
    let equal = |window: &[u8; WINDOW], at: usize| {
        (window[at] == window[at + 1]) & (window[at] == window[at + 2]) & (window[at] == window[at + 3])
    };
    let mut start = 0;
    // Without branches, so that the compiler makes vector instructions of it.
    while let Some(window) = block.get(start..).and_then(|rest| rest.first_chunk::<WINDOW>())
        && !(0..STEP).fold(false, |any, at| any | equal(window, at))
    {
        start += STEP;
    }
    let rest = block.get(start..)?;
    rest.windows(BEFORE_COUNT).position(|window| window.iter().all(|byte| byte == &window[0])).map(|at| start + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expanded block, `portion` bytes at a time; `None` if it lacks a count.
    fn expanded(block: &[u8], portion: usize) -> Option<Vec<u8>> {
        let (mut expander, mut whole, mut out) = (RunExpander::default(), Vec::new(), vec![0; portion]);
        loop {
            match expander.expand(block, &mut out) {
                0 => return (!expander.lacks_count(block)).then_some(whole),
                count => whole.extend_from_slice(&out[..count]),
            }
        }
    }

    #[test]
    fn runs_are_expanded_in_portions_of_any_size() {
        let mut block = b"abc".to_vec();
        block.extend(b"dddd\x03aaaa\0aaaab".iter().chain(b"0123456789".repeat(9).iter()).chain(b"zzzz\xffz"));
        let mut plain = b"abcdddddddaaaa".to_vec();
        plain.extend(vec![b'a'; 4 + usize::from(b'b')]);
        plain.extend(b"0123456789".repeat(9));
        plain.extend(vec![b'z'; 4 + 255 + 1]);
        for portion in [1, 2, 3, 7, 64, 1000] {
            assert_eq!(expanded(&block, portion).as_ref(), Some(&plain), "portions of {portion}");
            assert_eq!(expanded(b"xaaaa", portion), None, "the count is missing");
        }
        assert_eq!(expanded(b"xaaaa\0", 10).unwrap(), b"xaaaa");
        assert_eq!(expanded(b"", 10).unwrap(), b"");
    }

    #[test]
    fn four_equal_bytes_are_found_wherever_they_are() {
        for at in 0..80 {
            let mut block: Vec<u8> = (0..84).collect();
            block[at..at + 4].fill(200);
            assert_eq!(find_run(&block), Some(at));
            assert_eq!(find_run(&block[..at + 3]), None);
        }
    }
}
