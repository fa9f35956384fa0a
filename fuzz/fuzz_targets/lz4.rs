//! lz4: whatever the data, and however it comes, it is unpacked in bounded memory, and always to the same bytes; to those of
//! the reference where that knows the frame.
#![no_main]

use bmaptool::magic::Format;
use bmaptool_fuzz::{End, MIB, Outcome, bounded, file, pipe, repair};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use lz4_flex::frame::FrameDecoder;

fuzz_target!(|data: &[u8]| {
    // A block of the legacy frame and what it unpacks to, 8 MiB each.
    let whole = bounded(32 * MIB, || {
        let whole = Outcome::of_codec(Format::Lz4, file(data));
        assert!(whole.agrees_with(&Outcome::of_codec(Format::Lz4, pipe(data, 3))));
        whole
    });
    let reference = Outcome::of(FrameDecoder::new(data));
    // It knows one frame only, and goes on where a frame is cut off behind a block.
    if whole.end == End::Clean && reference.end == End::Clean {
        assert!(whole.bytes.starts_with(&reference.bytes));
    }
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, _seed: u32| {
    repair::mutated(data, size, max_size, repair::lz4)
});
