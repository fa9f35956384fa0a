//! Move to front: a byte is coded as the number of other bytes that have occurred since it last did.

/// How many bytes at the front are kept in a register: most indices are below it.
const FRONT: usize = 16;

/// The bytes that occur in a block, the latest first.
pub(super) struct MtfList {
    /// The first bytes of the list, the first one in the least significant bits.
    front: u128,
    /// The bytes after those.
    rest: [u8; 256 - FRONT],
}

impl MtfList {
    /// The list before the first byte: those that occur, in ascending order, and zeroes after them.
    pub(super) fn new(bytes: &[u8; 256]) -> Self {
        let (mut front, mut rest) = ([0; FRONT], [0; 256 - FRONT]);
        front.copy_from_slice(&bytes[..FRONT]);
        rest.copy_from_slice(&bytes[FRONT..]);
        Self { front: u128::from_le_bytes(front), rest }
    }

    /// The latest byte.
    #[inline(always)]
    pub(super) fn first(&self) -> u8 {
        self.front as u8
    }

    /// Moves the byte at `index` to the front, and returns it.
    #[expect(clippy::arithmetic_side_effects, reason = "eight times an index below 16 is less than 128 bits")]
    #[inline(always)]
    pub(super) fn move_to_front(&mut self, index: u8) -> u8 {
        let index = usize::from(index);
        if index >= FRONT {
            return self.move_from_rest(index - FRONT);
        }
        let shift = 8 * index as u32;
        let byte = (self.front >> shift) as u8;
        let before = (1 << shift) - 1;
        let after = !(before << 8 | 0xff);
        self.front = (self.front & after) | (self.front & before) << 8 | u128::from(byte);
        byte
    }

    #[inline(never)]
    fn move_from_rest(&mut self, index: usize) -> u8 {
        let Some(&byte) = self.rest.get(index) else { return 0 };
        self.rest.copy_within(..index, 1);
        self.rest[0] = (self.front >> (8 * (FRONT - 1))) as u8;
        self.front = self.front << 8 | u128::from(byte);
        byte
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_index_is_moved_as_in_a_plain_list() {
        let mut plain: Vec<u8> = (0..=255).rev().collect();
        let mut list = MtfList::new(plain.as_slice().try_into().unwrap());
        for round in 0..2000_usize {
            let index = (round * round + round / 7) % 256;
            let byte = plain.remove(index);
            plain.insert(0, byte);
            assert_eq!(list.move_to_front(index as u8), byte, "index {index}");
            assert_eq!(list.first(), byte);
        }
    }
}
