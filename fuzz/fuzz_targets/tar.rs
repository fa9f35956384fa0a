//! tar: whatever the data, it is read in bounded memory; the image has the size that it is said to have, and parts of
//! it alone are what they are in the whole.
#![no_main]

use bmaptool::source::Raw;
use bmaptool::source::archive::{Member, open_tar};
use bmaptool::source::codec::Trailing;
use bmaptool::source::transport::Transport;
use bmaptool_fuzz::{End, LOOKED_AT, MIB, Outcome, bounded, file, peeked, pipe, ranges, read_ranges, repair};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};

fn open(file: Box<dyn Transport>, image_size: Option<u64>) -> Option<Member> {
    open_tar(Box::new(Raw::new(peeked(file))), image_size, Trailing::Refuse).ok()?.ok()
}

fuzz_target!(|data: &[u8]| {
    bounded(48 * MIB, || {
        let Some(Member { name, reader, size }) = open(file(data), None) else { return };
        let size = size.expect("a tar says all sizes");
        let whole = Outcome::of(reader);
        match &whole.end {
            End::Failed(_) => return,
            End::Left => assert!(size >= LOOKED_AT),
            End::Clean => assert_eq!(whole.bytes.len() as u64, size),
        }
        let streamed = Outcome::of(open(pipe(data, 7), None).expect("it is the same tar").reader);
        assert_eq!(whole, streamed);

        let length = whole.bytes.len() as u64;
        // Another file of that size, which cannot be an image, may come before it.
        let again = open(file(data), Some(size)).expect("one that was found is found by its size");
        if again.name != name {
            return;
        }
        let mut reader = again.reader;
        let parts = ranges(&data[data.len().saturating_sub(9)..], length);
        let read = read_ranges(&mut *reader, &parts).expect("what can be read whole can be read in parts");
        for (part, bytes) in parts.iter().zip(read) {
            assert!(whole.bytes[part.start as usize..part.end as usize] == bytes);
        }
        // What follows may be damaged.
        if let Ok(end) = reader.finish() {
            assert_eq!(end, size);
        }
    });
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, _seed: u32| {
    repair::mutated(data, size, max_size, repair::tar)
});
