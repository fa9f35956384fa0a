//! Files with an index, xz and zstd: what is decompressed of wanted parts alone is what they are in the whole, and
//! reading the index takes bounded memory.
#![no_main]

use bmaptool::source::codec::{self, Trailing};
use bmaptool::source::{Format, ForwardRead, HEAD_LEN, ReadPolicy};
use bmaptool_fuzz::{End, MIB, Outcome, bounded, file, peeked, pipe, ranges, read_ranges, repair};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};

fuzz_target!(|data: &[u8]| {
    let format = match Format::of(&data[..data.len().min(HEAD_LEN)]) {
        Some(format @ (Format::Xz | Format::Zstd)) => format,
        _ => return,
    };
    let whole = Outcome::of_codec(format, file(data));
    let length = whole.bytes.len() as u64;
    let wanted = ranges(&data[data.len().saturating_sub(9)..], length + 1);
    let parts = bounded(8 * MIB, || {
        let policy = ReadPolicy::SkipHoles { wanted: wanted.clone() };
        let mut image = codec::open(format, peeked(file(data)), &policy, Trailing::Refuse).ok()?;
        let parts = read_ranges(&mut image, &wanted)?;
        Some((parts, image.size(), image.finish().ok()?))
    });
    assert!(whole.agrees_with(&Outcome::of_codec(format, pipe(data, 3))));
    // A table of zstd is not verified: only the checksums of a bmap can tell whether what it leads to is right.
    if whole.end != End::Clean || (format == Format::Zstd && !is_true_table(data)) {
        return;
    }
    let (parts, size, end) = parts.expect("what can be read whole can be read in parts");
    assert!(size.is_none_or(|size| size == length), "{size:?} {length}");
    assert_eq!(end, length);
    for (part, bytes) in wanted.iter().zip(parts) {
        assert!(whole.bytes[part.start as usize..part.end.min(length) as usize] == bytes, "{part:?}");
    }
});

/// Whether the frames of a zstd file are as long, compressed and decompressed, as its table says.
fn is_true_table(data: &[u8]) -> bool {
    let Some((footer, _)) = data.len().checked_sub(9).map(|at| (&data[at..], ())) else { return false };
    let count = u32::from_le_bytes([footer[0], footer[1], footer[2], footer[3]]) as usize;
    let entry_len = if footer[4] & 0x80 == 0 { 8 } else { 12 };
    let Some(start) = data.len().checked_sub(9 + count * entry_len) else { return false };
    let number = |at: usize| u32::from_le_bytes([data[at], data[at + 1], data[at + 2], data[at + 3]]) as usize;
    let mut place = 0;
    (0..count).map(|entry| start + entry * entry_len).all(|entry| {
        let end = place + number(entry);
        let frame = data.get(place..end).unwrap_or_default();
        place = end;
        let decompressed = Outcome::of_codec(Format::Zstd, file(frame));
        // Not a frame, more than one, or one that goes on in the next: a table of those is wrong.
        decompressed.end == End::Clean && decompressed.bytes.len() == number(entry + 4)
    })
}

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, _seed: u32| {
    repair::mutated(data, size, max_size, repair::xz)
});
