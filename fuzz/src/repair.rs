//! Gives mutated inputs the checksums that their formats ask for. The author of a hostile file can compute them.

use sha2::{Digest, Sha256};
use twox_hash::XxHash32;

/// Mutates an input and then repairs it: what a mutator of libFuzzer does.
pub fn mutated(data: &mut [u8], size: usize, max_size: usize, repair: impl FnOnce(&mut [u8])) -> usize {
    let size = libfuzzer_sys::fuzzer_mutate(data, size, max_size);
    repair(&mut data[..size]);
    size
}

/// The headers of an lzop file, wherever there is one; all without extra fields.
pub fn lzop(file: &mut [u8]) {
    const MAGIC: &[u8] = b"\x89LZO\0\r\n\x1a\n";
    const CRC32: u8 = 0x10;
    for start in 0..file.len().saturating_sub(MAGIC.len()) {
        let Some(header) = file[start..].strip_prefix(MAGIC) else { continue };
        let Some(&[version, _]) = header.first_chunk() else { continue };
        let flags_at = if version >= 9 { 8 } else { 5 };
        let Some(flags) = header.get(flags_at..flags_at + 4) else { continue };
        let (has_filter, is_crc) = (flags[2] & 8 != 0, flags[2] & CRC32 != 0);
        let name_at = flags_at + 12 + if version >= 9 { 4 } else { 0 } + if has_filter { 4 } else { 0 };
        let Some(&name_len) = header.get(name_at) else { continue };
        let end = name_at + 1 + usize::from(name_len);
        let Some(covered) = header.get(..end) else { continue };
        let sum = if is_crc { crc32fast::hash(covered) } else { simd_adler32::adler32(&covered) };
        put(file, start + MAGIC.len() + end, &sum.to_be_bytes());
    }
}

/// The headers of the frames of an lz4 file.
pub fn lz4(file: &mut [u8]) {
    const MAGIC: &[u8] = b"\x04\x22\x4d\x18";
    for start in 0..file.len().saturating_sub(MAGIC.len()) {
        let Some(header) = file[start..].strip_prefix(MAGIC) else { continue };
        let Some(&flags) = header.first() else { continue };
        let length = 2 + if flags & 8 != 0 { 8 } else { 0 } + if flags & 1 != 0 { 4 } else { 0 };
        let Some(covered) = header.get(..length) else { continue };
        let sum = XxHash32::oneshot(0, covered).to_le_bytes()[1];
        put(file, start + MAGIC.len() + length, &[sum]);
    }
}

/// The headers of a tar: all blocks that have the magic of one, or had the checksum of one but for a few bytes.
pub fn tar(file: &mut [u8]) {
    for block in file.chunks_exact_mut(512) {
        let ends_like_a_checksum = block[155] == b' ' && block[148..154].iter().all(u8::is_ascii_digit);
        if block[257..262] == *b"ustar" || ends_like_a_checksum {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
}

fn put(file: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = file.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

/// The headers, indexes and footers of the streams of an xz file.
pub fn xz(file: &mut [u8]) {
    const HEADER: &[u8] = b"\xfd7zXZ\0";
    for start in 0..file.len() {
        if file[start..].starts_with(HEADER)
            && let Some(flags) = file.get(start + 6..start + 8)
        {
            let sum = crc32fast::hash(flags);
            put(file, start + 8, &sum.to_le_bytes());
        }
        // A footer: its checksum, the length of the index in words, the flags.
        if file[start..].starts_with(b"YZ")
            && let Some(footer) = start.checked_sub(10)
        {
            let words = file[footer + 4..footer + 8].first_chunk().map_or(0, |words| u32::from_le_bytes(*words));
            let length = (u64::from(words) + 1) * 4;
            if let Some(index) = (footer as u64).checked_sub(length).map(|index| index as usize) {
                let sum = crc32fast::hash(&file[index..footer - 4]);
                put(file, footer - 4, &sum.to_le_bytes());
            }
            let sum = crc32fast::hash(&file[footer + 4..start]);
            put(file, footer, &sum.to_le_bytes());
        }
    }
}

/// A bmap's checksum of itself, where it has one of SHA-256.
pub fn bmap(file: &mut [u8]) {
    const ELEMENT: &[u8] = b"<BmapFileChecksum>";
    let Some(element) = file.windows(ELEMENT.len()).position(|window| window == ELEMENT) else { return };
    let text = element + ELEMENT.len();
    let blanks = file[text..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    let start = text + blanks;
    let Some(place) = file.get_mut(start..start + 64) else { return };
    place.fill(b'0');
    let digest: String = Sha256::digest(&*file).iter().map(|byte| format!("{byte:02x}")).collect();
    put(file, start, digest.as_bytes());
}
