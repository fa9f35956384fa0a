//! LZMA_Alone: whatever the data, and however it comes, it is decompressed to the same bytes or the same error.
#![no_main]

use bmaptool::source::Format;
use bmaptool_fuzz::{Outcome, file, pipe};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let whole = Outcome::of_codec(Format::Lzma, file(data));
    assert!(whole.agrees_with(&Outcome::of_codec(Format::Lzma, pipe(data, 3))));
});
