//! What only the fuzz targets use.

use super::lzo1x;

/// Decompresses a block of LZO1X into `output`; returns its length, or `None` where it is damaged.
pub fn lzo1x(input: &[u8], output: &mut [u8]) -> Option<usize> {
    lzo1x::decompress(input, output).ok()
}
