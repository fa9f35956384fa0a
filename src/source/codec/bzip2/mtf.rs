//! Move to front: a byte is told by how many others have come up since it last did.

/// How many bytes at the front are kept in a register: most of those that come up are among them.
const FRONT: usize = 16;

/// The bytes of a block, the latest first.
pub(super) struct Recent {
    /// The first bytes, from the least significant one on.
    front: u128,
    rest: [u8; 256 - FRONT],
}

impl Recent {
    /// The list before any byte has come up.
    pub(super) fn new(bytes: &[u8; 256]) -> Self {
        let (mut front, mut rest) = ([0; FRONT], [0; 256 - FRONT]);
        front.copy_from_slice(&bytes[..FRONT]);
        rest.copy_from_slice(&bytes[FRONT..]);
        Self { front: u128::from_le_bytes(front), rest }
    }

    /// The byte that came up last.
    #[inline(always)]
    pub(super) fn first(&self) -> u8 {
        self.front as u8
    }

    /// The byte at `place`, which comes to the front.
    #[expect(clippy::arithmetic_side_effects, reason = "a place in front is told by less than 128 bits")]
    #[inline(always)]
    pub(super) fn take(&mut self, place: u8) -> u8 {
        let place = usize::from(place);
        if place >= FRONT {
            return self.take_far(place - FRONT);
        }
        let shift = 8 * place as u32;
        let byte = (self.front >> shift) as u8;
        let before = (1 << shift) - 1;
        let behind = !(before << 8 | 0xff);
        self.front = (self.front & behind) | (self.front & before) << 8 | u128::from(byte);
        byte
    }

    #[inline(never)]
    fn take_far(&mut self, place: usize) -> u8 {
        let Some(&byte) = self.rest.get(place) else { return 0 };
        self.rest.copy_within(..place, 1);
        self.rest[0] = (self.front >> (8 * (FRONT - 1))) as u8;
        self.front = self.front << 8 | u128::from(byte);
        byte
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_taken_as_from_a_plain_list() {
        let mut plain: Vec<u8> = (0..=255).rev().collect();
        let mut recent = Recent::new(plain.as_slice().try_into().unwrap());
        for round in 0..2000_usize {
            let place = (round * round + round / 7) % 256;
            let byte = plain.remove(place);
            plain.insert(0, byte);
            assert_eq!(recent.take(place as u8), byte, "place {place}");
            assert_eq!(recent.first(), byte);
        }
    }
}
