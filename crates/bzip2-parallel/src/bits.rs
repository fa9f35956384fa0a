//! Reading bits of compressed data, the most significant of each byte first.

/// Reads bits from a slice. After its end there are zeroes; [`BitReader::is_past_end`] tells whether any were read.
#[derive(Clone, Copy)]
pub(super) struct BitReader<'a> {
    data: &'a [u8],
    /// Index of the first byte that is not in the window.
    next: usize,
    /// The next bits, the first one the most significant. Below the valid ones there may be some of those that follow,
    /// which are loaded again.
    window: u64,
    /// How many bits of the window are valid: 0 to 63.
    valid: u32,
}

impl<'a> BitReader<'a> {
    /// How many valid bits [`BitReader::refill`] makes at least.
    pub(super) const REFILLED: u32 = 56;

    /// Starts at the bit `start` of `data`.
    pub(super) fn new(data: &'a [u8], start: u64) -> Self {
        let next = usize::try_from(start / 8).unwrap_or(usize::MAX);
        let mut bits = Self { data, next, window: 0, valid: 0 };
        bits.refill();
        bits.skip((start % 8) as u32);
        bits
    }

    /// Index of the next bit in the data.
    pub(super) fn position(&self) -> u64 {
        (self.next as u64).saturating_mul(8).saturating_sub(u64::from(self.valid))
    }

    /// Whether bits were read that the data does not have.
    pub(super) fn is_past_end(&self) -> bool {
        self.position() > (self.data.len() as u64).saturating_mul(8)
    }

    /// Makes sure that the window has [`BitReader::REFILLED`] valid bits.
    #[expect(clippy::arithmetic_side_effects, reason = "at most 63 bits of the window are valid")]
    #[inline(always)]
    pub(super) fn refill(&mut self) {
        let load = match self.data.get(self.next..).and_then(|rest| rest.first_chunk::<8>()) {
            Some(bytes) => u64::from_be_bytes(*bytes),
            None => self.load_last_bytes(),
        };
        // The bits below the valid ones, if any, are equal to those that are loaded over them.
        self.window |= load >> self.valid;
        self.next = self.next.wrapping_add(((63 - self.valid) >> 3) as usize);
        self.valid |= Self::REFILLED;
    }

    #[cold]
    fn load_last_bytes(&self) -> u64 {
        let mut bytes = [0; 8];
        let rest = self.data.get(self.next..).unwrap_or_default();
        bytes.iter_mut().zip(rest).for_each(|(to, &from)| *to = from);
        u64::from_be_bytes(bytes)
    }

    /// The next bits, the first one the most significant; [`BitReader::valid`] tells how many.
    #[inline(always)]
    pub(super) fn window(&self) -> u64 {
        self.window
    }

    /// How many bits of the window are valid.
    #[inline(always)]
    pub(super) fn valid(&self) -> u32 {
        self.valid
    }

    /// Skips `count` valid bits.
    #[inline(always)]
    pub(super) fn skip(&mut self, count: u32) {
        self.window <<= count;
        self.valid = self.valid.wrapping_sub(count);
    }

    /// Reads the next `count` bits, 1 to 48, as a number.
    #[expect(clippy::arithmetic_side_effects, reason = "the count is at most 48")]
    pub(super) fn read(&mut self, count: u32) -> u64 {
        self.refill();
        let value = self.window >> (64 - count);
        self.skip(count);
        value
    }

    /// Reads the next bit.
    pub(super) fn read_flag(&mut self) -> bool {
        self.read(1) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_come_in_order_from_any_place() {
        let data: Vec<u8> = (0..40).map(|i: u8| i.wrapping_mul(89)).collect();
        let bit = |at: u64| data.get((at / 8) as usize).is_some_and(|byte| byte >> (7 - at % 8) & 1 == 1);
        for start in 0..20 {
            let mut bits = BitReader::new(&data, start);
            let mut at = start;
            for count in (1..=48).cycle().take(60) {
                let expected = (at..at + count).fold(0, |value, at| value << 1 | u64::from(bit(at)));
                assert_eq!(bits.read(count as u32), expected, "{count} bits at {at}");
                at += count;
                assert_eq!(bits.position(), at);
                assert_eq!(bits.is_past_end(), at > 320);
            }
        }
    }
}
