//! bzip2: whatever the data, it is decompressed in bounded memory, to the same bytes or error as by the reference.
#![no_main]

use bmaptool_fuzz::{End, MIB, Outcome, bounded, file, pipe};
use bzip2::read::MultiBzDecoder;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let whole = bounded(64 * MIB, || {
        let whole = Outcome::of_bzip2(file(data));
        assert!(whole.agrees_with(&Outcome::of_bzip2(pipe(data, 3))));
        whole
    });
    // It takes code words for good that cannot be, as long as it need not decide which of them is meant.
    if matches!(&whole.end, End::Failed(words) if words.contains("a Huffman code is not valid")) {
        return;
    }
    // Padding is ours alone. A trailer may end in four zeroes that are none.
    if data.windows(4).any(|four| four == b"\0BZh") {
        return;
    }
    let data_len = data.len() - data.iter().rev().take_while(|&&byte| byte == 0).count();
    let mut references = (data_len..=data.len()).take(5).chain([data.len()]);
    let agrees = |length| whole.agrees_with(&Outcome::of(MultiBzDecoder::new(&data[..length])));
    assert!(references.any(agrees), "{:?}", whole.end);
});
