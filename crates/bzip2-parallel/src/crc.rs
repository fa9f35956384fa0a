//! The checksums: CRC-32 that takes the bits of each byte from the most significant one on, the mirror image of gzip's.

/// Computes the checksum of a block.
#[derive(Default)]
pub(super) struct Crc(crc32fast::Hasher);

impl Crc {
    /// Adds the bytes of `data`, and leaves them with their bits reversed.
    pub(super) fn update(&mut self, data: &mut [u8]) {
        data.iter_mut().for_each(|byte| *byte = byte.reverse_bits());
        self.0.update(data);
    }

    /// The checksum of all the data.
    pub(super) fn finish(self) -> u32 {
        self.0.finalize().reverse_bits()
    }
}

/// The checksum of a stream after a block with the checksum `block`; `stream` is the one before it, 0 at first.
pub(super) fn combine(stream: u32, block: u32) -> u32 {
    stream.rotate_left(1) ^ block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_is_that_of_crc_32_bzip2() {
        let mut crc = Crc::default();
        crc.update(&mut b"12345".to_owned());
        crc.update(&mut b"6789".to_owned());
        // From the catalogue of parametrised CRC algorithms.
        assert_eq!(crc.finish(), 0xfc89_1918);
    }
}
