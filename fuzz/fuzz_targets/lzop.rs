//! lzop: whatever the data, and however it comes, it is decompressed in bounded memory, and always to the same bytes.
#![no_main]

use bmaptool::source::Format;
use bmaptool_fuzz::{MIB, Outcome, bounded, file, pipe, repair};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};

fuzz_target!(|data: &[u8]| {
    // A block and what it decompresses to, 8 MiB each.
    bounded(24 * MIB, || {
        let whole = Outcome::of_codec(Format::Lzop, file(data));
        assert!(whole.agrees_with(&Outcome::of_codec(Format::Lzop, pipe(data, 3))));
    });
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, _seed: u32| {
    repair::mutated(data, size, max_size, repair::lzop)
});
