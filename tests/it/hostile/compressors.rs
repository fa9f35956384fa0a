//! Compressors, some of which make what no program would.

use std::io::Write;

use crate::common::work::gzip;

pub fn bzip2(data: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::best());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

pub fn xz(data: &[u8]) -> Vec<u8> {
    let mut encoder = xz2::write::XzEncoder::new(Vec::new(), 0);
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

pub fn zstd(data: &[u8]) -> Vec<u8> {
    zstd::encode_all(data, 3).unwrap()
}

pub fn lz4(data: &[u8]) -> Vec<u8> {
    let mut frame = lz4_frame_start();
    for block in data.chunks(4 << 20) {
        let compressed = lz4_flex::block::compress(block);
        frame.extend((compressed.len() as u32).to_le_bytes());
        frame.extend(compressed);
    }
    frame.extend([0; 4]);
    frame
}

/// The header of a frame of blocks of up to 4 MiB, without checksums of them.
pub fn lz4_frame_start() -> Vec<u8> {
    use std::hash::Hasher;

    let mut hasher = twox_hash::XxHash32::with_seed(0);
    hasher.write(&[0x60, 0x70]);
    vec![0x04, 0x22, 0x4d, 0x18, 0x60, 0x70, (hasher.finish() >> 8) as u8]
}

/// The header of an lzop part whose blocks are stored.
pub fn lzop_start() -> Vec<u8> {
    // Versions, method, level, flags, mode, times, and no name.
    let header = b"\x10\x40\x20\xa0\x09\x40\x01\x05\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let checksum = simd_adler32::adler32(&header.as_slice()).to_be_bytes();
    [b"\x89LZO\0\r\n\x1a\n".as_slice(), header, &checksum].concat()
}

pub fn lzop(data: &[u8]) -> Vec<u8> {
    let mut part = lzop_start();
    for block in data.chunks(256 << 10) {
        let length = (block.len() as u32).to_be_bytes();
        part.extend([length, length].concat());
        part.extend(block);
    }
    part.extend([0; 4]);
    part
}

/// The name of a codec, and a function that compresses with it.
pub type Codec = (&'static str, fn(&[u8]) -> Vec<u8>);

pub const CODECS: [Codec; 6] =
    [("gzip", gzip), ("bzip2", bzip2), ("xz", xz), ("zstd", zstd), ("lz4", lz4), ("lzop", lzop)];
