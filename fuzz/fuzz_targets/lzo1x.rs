//! A block of LZO1X: what is decompressed is what the reference makes of it. That has no defence against damaged ones,
//! so it does not see them.
#![no_main]

use bmaptool::source::codec::fuzzing::lzo1x;
use libfuzzer_sys::fuzz_target;
use lzokay_native::decompress_all;

/// What the block may decompress to, in bytes.
const ROOM: usize = 4096;

fuzz_target!(|data: &[u8]| {
    let mut output = vec![0; ROOM];
    if let Some(length) = lzo1x(data, &mut output) {
        let reference = decompress_all(data, Some(ROOM)).expect("ours can decompress it");
        assert!(output[..length] == reference);
    }
});
