//! lz4: whatever the data, and however it comes, it is decompressed in bounded memory, and always to the same bytes; to
//! those of the reference where that knows the frame.
#![no_main]

use bmaptool::source::Format;
use bmaptool_fuzz::{End, MIB, Outcome, bounded, file, pipe, repair};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use lz4_flex::frame::FrameDecoder;

fuzz_target!(|data: &[u8]| {
    // A block of the legacy frame and what it decompresses to, 8 MiB each.
    let whole = bounded(32 * MIB, || {
        let whole = Outcome::of_codec(Format::Lz4, file(data));
        assert!(whole.agrees_with(&Outcome::of_codec(Format::Lz4, pipe(data, 3))));
        whole
    });
    let mut rest = data;
    let reference = Outcome::of(FrameDecoder::new(&mut rest));
    if reference.end != End::Clean {
        return;
    }
    // It knows one frame only, and goes on where a frame is cut off after a block.
    if whole.end == End::Clean {
        assert!(whole.bytes.starts_with(&reference.bytes));
    }
    // Nor does it mind a block that decompresses to more than the frame allows.
    let is_oversized = matches!(&whole.end, End::Failed(words) if words.contains("output is too small"));
    if rest.is_empty() && has_end_mark(data) && !is_oversized {
        assert!(whole.end == End::Clean && whole.bytes == reference.bytes, "{:?}", whole.end);
    }
});

/// Whether a frame that is the whole of `data` ends with its mark, and the checksum that its flags say.
fn has_end_mark(data: &[u8]) -> bool {
    let flag = |bit: u8| usize::from(data.get(4).is_some_and(|flags| flags & 1 << bit != 0));
    let (dictionary, checksum, size, block_checksum) = (flag(0), flag(2), flag(3), flag(4));
    let mut place = 7 + 8 * size + 4 * dictionary;
    while let Some(word) = data.get(place..).and_then(<[u8]>::first_chunk) {
        place += 4;
        match u32::from_le_bytes(*word) {
            0 => return place + 4 * checksum == data.len(),
            // The highest bit says that it is stored; such a block may be empty.
            word => place += (word & !(1 << 31)) as usize + 4 * block_checksum,
        }
    }
    false
}

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, _seed: u32| {
    repair::mutated(data, size, max_size, repair::lz4)
});
