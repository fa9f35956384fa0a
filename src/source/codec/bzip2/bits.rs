//! Bits of packed data, the most significant of each byte first.

/// Reads bits from a slice; behind its end come zeroes, and [`Bits::position`] tells that they are none of its own.
#[derive(Clone, Copy)]
pub(super) struct Bits<'a> {
    data: &'a [u8],
    /// The first byte that is not in the window.
    next: usize,
    /// The bits that come next, from the top. Below the valid ones there may be some that will be read again.
    window: u64,
    valid: u32,
}

impl<'a> Bits<'a> {
    /// How many bits [`Bits::refill`] provides at least.
    pub(super) const REFILLED: u32 = 56;

    /// The bits of `data` from the one at `start` on.
    pub(super) fn new(data: &'a [u8], start: u64) -> Self {
        let next = usize::try_from(start / 8).unwrap_or(usize::MAX);
        let mut bits = Self { data, next, window: 0, valid: 0 };
        bits.refill();
        bits.skip((start % 8) as u32);
        bits
    }

    /// How many bits lie between the start of the data and the next bit.
    pub(super) fn position(&self) -> u64 {
        (self.next as u64).saturating_mul(8).saturating_sub(u64::from(self.valid))
    }

    /// Whether bits were read that the data does not have.
    pub(super) fn overran(&self) -> bool {
        self.position() > (self.data.len() as u64).saturating_mul(8)
    }

    /// Makes sure that the window has [`Bits::REFILLED`] valid bits.
    #[expect(clippy::arithmetic_side_effects, reason = "at most 63 bits of the window are valid")]
    #[inline(always)]
    pub(super) fn refill(&mut self) {
        let load = match self.data.get(self.next..).and_then(|rest| rest.first_chunk::<8>()) {
            Some(bytes) => u64::from_be_bytes(*bytes),
            None => self.last_bytes(),
        };
        // Bits that are loaded below the valid ones are the same each time.
        self.window |= load >> self.valid;
        self.next = self.next.wrapping_add(((63 - self.valid) >> 3) as usize);
        self.valid |= Self::REFILLED;
    }

    #[cold]
    fn last_bytes(&self) -> u64 {
        let mut bytes = [0; 8];
        let rest = self.data.get(self.next..).unwrap_or_default();
        bytes.iter_mut().zip(rest).for_each(|(to, &from)| *to = from);
        u64::from_be_bytes(bytes)
    }

    /// The window: the next bit is its most significant one.
    #[inline(always)]
    pub(super) fn window(&self) -> u64 {
        self.window
    }

    /// How many bits of the window are valid.
    #[inline(always)]
    pub(super) fn valid(&self) -> u32 {
        self.valid
    }

    /// Passes over `count` valid bits.
    #[inline(always)]
    pub(super) fn skip(&mut self, count: u32) {
        self.window <<= count;
        self.valid = self.valid.wrapping_sub(count);
    }

    /// The next `count` bits, 1 to 48, as a number.
    #[expect(clippy::arithmetic_side_effects, reason = "the count is at most 48")]
    pub(super) fn take(&mut self, count: u32) -> u64 {
        self.refill();
        let value = self.window >> (64 - count);
        self.skip(count);
        value
    }

    /// The next bit.
    pub(super) fn flag(&mut self) -> bool {
        self.take(1) != 0
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
            let mut bits = Bits::new(&data, start);
            let mut at = start;
            for count in (1..=48).cycle().take(60) {
                let expected = (at..at + count).fold(0, |value, at| value << 1 | u64::from(bit(at)));
                assert_eq!(bits.take(count as u32), expected, "{count} bits at {at}");
                at += count;
                assert_eq!(bits.position(), at);
                assert_eq!(bits.overran(), at > 320);
            }
        }
    }
}
