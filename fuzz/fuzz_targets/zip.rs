//! zip: whatever the data, and however it comes, it is read in bounded memory; the image has the size that it is said
//! to have, and parts of it alone are what they are in the whole.
#![no_main]

use bmaptool::source::archive::{Member, open_zip};
use bmaptool::source::codec::Trailing;
use bmaptool_fuzz::{End, MIB, Outcome, bounded, file, peeked, pipe, ranges, read_ranges};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    bounded(48 * MIB, || {
        let open =
            |image_size| -> Option<Member> { open_zip(peeked(file(data)), image_size, Trailing::Refuse).ok()?.ok() };
        let Some(Member { name, reader, size }) = open(None) else { return };
        let whole = Outcome::of(reader);
        if whole.end != End::Clean {
            return;
        }
        let length = whole.bytes.len() as u64;
        assert!(size.is_none_or(|size| size == length), "{size:?} {length}");

        // Another file of that size, which cannot be an image, may come before it.
        let again = open(Some(length)).expect("one that was found is found by its size");
        if again.name != name {
            return;
        }
        let mut reader = again.reader;
        let parts = ranges(&data[data.len().saturating_sub(9)..], length);
        let read = read_ranges(&mut *reader, &parts).expect("what can be read whole can be read in parts");
        for (part, bytes) in parts.iter().zip(read) {
            assert!(whole.bytes[part.start as usize..part.end as usize] == bytes);
        }
        assert_eq!(reader.finish().ok(), Some(length));
    });
    bounded(48 * MIB, || {
        let streamed = |chunk_len| match open_zip(peeked(pipe(data, chunk_len)), None, Trailing::Refuse) {
            Ok(Ok(member)) => Some(Outcome::of(member.reader)),
            Ok(Err(_)) => None,
            Err(error) => Some(Outcome { bytes: Vec::new(), end: End::failed(&error) }),
        };
        match (streamed(3), streamed(4096)) {
            (Some(left), Some(right)) => assert!(left.agrees_with(&right)),
            (left, right) => assert_eq!(left, right),
        }
    });
});
