//! bzip2 that is sound, but that no program would make: any symbols, any codes. It decompresses as by the reference.
#![no_main]

use bmaptool_fuzz::{End, Input, MIB, Outcome, bounded, file, forge};
use bzip2::read::MultiBzDecoder;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let compressed = forge::bzip2(&mut Input::new(data));
    let ours = bounded(64 * MIB, || Outcome::of_bzip2(file(&compressed)));
    // What the forge does not look at is whether the text ends within a run.
    assert!(!matches!(&ours.end, End::Failed(words) if !words.contains("a run in a block has no length")), "{ours:?}");
    let reference = Outcome::of(MultiBzDecoder::new(&*compressed));
    assert!(
        ours.agrees_with(&reference),
        "{:?} {}, {:?} {}",
        ours.end,
        ours.bytes.len(),
        reference.end,
        reference.bytes.len()
    );
});
