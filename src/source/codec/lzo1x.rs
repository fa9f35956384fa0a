//! The LZO1X stream format, as Documentation/staging/lzo.rst of the Linux kernel describes it: without its extensions
//! for run lengths, which lzop does not use.

/// Why a block cannot be decompressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    #[error("the block ends within an instruction")]
    InputTooShort,
    #[error("the block goes on after its end")]
    InputTooLong,
    #[error("the block decompresses to more than it should")]
    OutputTooLong,
    #[error("an instruction refers to data before the block")]
    Distance,
    #[error("an instruction is invalid")]
    Instruction,
}

/// Decompresses the block `input` into `output`; returns how many bytes it holds.
#[expect(clippy::arithmetic_side_effects, reason = "distances are made of at most 16 bits, lengths of 3")]
pub(super) fn decompress(input: &[u8], output: &mut [u8]) -> Result<usize, Error> {
    let mut block = Block { input, output, filled: 0 };
    // How many literals followed the last match, which changes the meaning of small instructions; 4 stands for a run.
    let mut literals = 0;
    if let Some(&first @ 18..) = input.first() {
        block.byte()?;
        let count = usize::from(first - 17);
        block.copy_literals(count)?;
        literals = count.min(4);
    }
    loop {
        let instruction = usize::from(block.byte()?);
        let (length, distance, after) = match instruction {
            0..16 if literals == 0 => {
                let count = block.length(instruction, 15)?.saturating_add(3);
                block.copy_literals(count)?;
                literals = 4;
                continue;
            }
            0..16 => {
                let distance = (instruction >> 2) + (usize::from(block.byte()?) << 2) + 1;
                let (length, beyond) = if literals == 4 { (3, 2048) } else { (2, 0) };
                (length, distance + beyond, instruction & 3)
            }
            16..32 => {
                let length = block.length(instruction & 7, 7)?.saturating_add(2);
                let (near, after) = block.distance()?;
                let distance = ((instruction & 8) << 11) + near + 16384;
                if distance == 16384 {
                    return if length == 3 { block.end() } else { Err(Error::Instruction) };
                }
                (length, distance, after)
            }
            32..64 => {
                let length = block.length(instruction & 31, 31)?.saturating_add(2);
                let (near, after) = block.distance()?;
                (length, near + 1, after)
            }
            _ => {
                let distance = (instruction >> 2 & 7) + (usize::from(block.byte()?) << 3) + 1;
                ((instruction >> 5) + 1, distance, instruction & 3)
            }
        };
        block.copy_match(distance, length)?;
        block.copy_literals(after)?;
        literals = after;
    }
}

/// A block that is being decompressed.
struct Block<'a> {
    /// What is left of the compressed block.
    input: &'a [u8],
    output: &'a mut [u8],
    /// How much of `output` is done.
    filled: usize,
}

impl Block<'_> {
    fn byte(&mut self) -> Result<u8, Error> {
        let (&byte, rest) = self.input.split_first().ok_or(Error::InputTooShort)?;
        self.input = rest;
        Ok(byte)
    }

    /// A length of which the instruction has `bits`. If those are 0, each zero byte that follows counts 255, and the
    /// first other byte and `base`, the most that the bits can say, are added.
    fn length(&mut self, bits: usize, base: usize) -> Result<usize, Error> {
        if bits != 0 {
            return Ok(bits);
        }
        let mut length = base;
        loop {
            match self.byte()? {
                0 => length = length.saturating_add(255),
                byte => return Ok(length.saturating_add(usize::from(byte))),
            }
        }
    }

    /// The 14 bits of a distance, and the number of literals, that follow an instruction.
    fn distance(&mut self) -> Result<(usize, usize), Error> {
        let word = usize::from(u16::from_le_bytes([self.byte()?, self.byte()?]));
        Ok((word >> 2, word & 3))
    }

    fn copy_literals(&mut self, count: usize) -> Result<(), Error> {
        let (literals, rest) = self.input.split_at_checked(count).ok_or(Error::InputTooShort)?;
        let end = self.filled.saturating_add(count);
        self.output.get_mut(self.filled..end).ok_or(Error::OutputTooLong)?.copy_from_slice(literals);
        (self.input, self.filled) = (rest, end);
        Ok(())
    }

    /// Repeats `length` bytes from `distance` bytes back, which is at least 1. Where they overlap with what they make,
    /// the bytes in between repeat: each round copies what is there, and so doubles it.
    #[expect(
        clippy::arithmetic_side_effects,
        reason = "the start lies before what is filled, and that before the end, which lies in the output"
    )]
    fn copy_match(&mut self, distance: usize, length: usize) -> Result<(), Error> {
        let start = self.filled.checked_sub(distance).ok_or(Error::Distance)?;
        let end =
            self.filled.checked_add(length).filter(|&end| end <= self.output.len()).ok_or(Error::OutputTooLong)?;
        while self.filled < end {
            let chunk = (self.filled - start).min(end - self.filled);
            self.output.copy_within(start..start + chunk, self.filled);
            self.filled += chunk;
        }
        Ok(())
    }

    fn end(&self) -> Result<usize, Error> {
        if self.input.is_empty() { Ok(self.filled) } else { Err(Error::InputTooLong) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decompressed(input: &[u8]) -> Result<Vec<u8>, Error> {
        let mut output = [0; 64];
        decompress(input, &mut output).map(|length| output[..length].to_vec())
    }

    #[test]
    fn literals_and_matches() {
        assert_eq!(decompressed(b"\x11\0\0").unwrap(), b"");
        assert_eq!(decompressed(b"\x15abcd\x11\0\0").unwrap(), b"abcd");
        // A match of 3 + 3 bytes, 4 back, then one literal.
        assert_eq!(decompressed(b"\x15abcd\x24\x0d\0e\x11\0\0").unwrap(), b"abcdabcdabe");
        // Twice the last byte, after one literal.
        assert_eq!(decompressed(b"\x12a\0\0\x11\0\0").unwrap(), b"aaa");
        // A match that overlaps with itself.
        assert_eq!(decompressed(b"\x12a\x2a\0\0\x11\0\0").unwrap(), b"aaaaaaaaaaaaa");
    }

    #[test]
    fn damage() {
        assert_eq!(decompressed(b""), Err(Error::InputTooShort));
        assert_eq!(decompressed(b"\x15abcd"), Err(Error::InputTooShort));
        assert_eq!(decompressed(b"\x15abcd\x11\0\0x"), Err(Error::InputTooLong));
        assert_eq!(decompressed(b"\x15abcd\x24\x10\0"), Err(Error::Distance));
        assert_eq!(decompressed(b"\x12a\x20\0\x40\0\0\x11\0\0"), Err(Error::OutputTooLong));
        assert_eq!(decompressed(b"\x12a\x12\0\0"), Err(Error::Instruction));
    }

    proptest! {
        #[test]
        fn any_input_is_survived(input in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decompressed(&input);
        }
    }
}
