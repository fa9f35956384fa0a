//! bzip2's checksum: CRC-32 with the bits of each byte taken from the most significant one on, the mirror image of gzip's.

/// Computes the checksum of a block.
#[derive(Default)]
pub(super) struct Crc(crc32fast::Hasher);

impl Crc {
    /// Takes in the bytes of `data`, and leaves them mirrored.
    pub(super) fn consume(&mut self, data: &mut [u8]) {
        data.iter_mut().for_each(|byte| *byte = byte.reverse_bits());
        self.0.update(data);
    }

    /// The checksum of all that came in.
    pub(super) fn finish(self) -> u32 {
        self.0.finalize().reverse_bits()
    }
}

/// The checksum of a stream whose blocks so far make up `stream`, and whose next block has the checksum `block`.
pub(super) fn combine(stream: u32, block: u32) -> u32 {
    stream.rotate_left(1) ^ block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value() {
        let mut crc = Crc::default();
        crc.consume(&mut b"12345".to_owned());
        crc.consume(&mut b"6789".to_owned());
        // That of CRC-32/BZIP2 in the usual catalogues.
        assert_eq!(crc.finish(), 0xfc89_1918);
    }
}
