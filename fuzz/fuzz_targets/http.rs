//! HTTP: whatever a server does short of lying about what it sends, what is read of a file are its bytes, or there is
//! an error.
#![no_main]

use std::ffi::OsStr;
use std::io::Read;
use std::time::Duration;

use bmaptool::range::ByteRange;
use bmaptool::source::transport::{self, RetryPolicy, Seek, Transport};
use bmaptool::source::{Location, OpenOptions};
use bmaptool_fuzz::{Input, MIB, bounded, server::Served};
use libfuzzer_sys::fuzz_target;

/// No pauses, and no waiting for a server that never just stalls.
const POLICY: RetryPolicy = RetryPolicy {
    connect: Duration::from_secs(2),
    stall: Duration::from_secs(2),
    first_pause: Duration::ZERO,
    longest_pause: Duration::ZERO,
    give_up: Duration::from_secs(5),
    breaks: 4,
};

fuzz_target!(
    init: {
        // SAFETY: no other thread runs yet.
        unsafe {
            // No roots to load, no passwords, no proxy.
            std::env::set_var("SSL_CERT_FILE", "/dev/null");
            std::env::set_var("SSL_CERT_DIR", "/nonexistent");
            std::env::set_var("HOME", "/nonexistent");
            std::env::set_var("no_proxy", "*");
        }
    },
    |data: &[u8]| {
        bounded(40 * MIB, || {
            let mut input = Input::new(data);
            let served = Served::by(&mut input);
            let location = Location::parse(OsStr::new(&served.url)).expect("it is a URL");
            let options = OpenOptions { retry: POLICY, ..OpenOptions::default() };
            let Ok((mut file, _)) = transport::open(&location, &options) else {
                assert!(!served.is_good, "a good server is not good enough");
                return;
            };
            assert!(file.info().size.is_none_or(|size| size == served.size as u64));
            match input.below(3) {
                0 => read_all(&mut *file, &served),
                1 => read_wanted(&mut *file, &served, &mut input),
                _ => read_anywhere(&mut *file, &served, &mut input),
            }
        });
    }
);

/// Reads up to the end, which must be that of the file.
fn read_all(file: &mut dyn Transport, served: &Served) {
    let mut at = 0;
    let mut buffer = vec![0; 70_000];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break assert_eq!(at, served.size as u64),
            Ok(count) => {
                assert!(served.is(at, &buffer[..count]), "other bytes at {at}");
                at += count as u64;
            }
            Err(error) => {
                assert!(!served.is_good, "{error}");
                break;
            }
        }
    }
}

/// Says beforehand what will be read.
fn read_wanted(file: &mut dyn Transport, served: &Served, input: &mut Input<'_>) {
    let size = served.size as u64;
    let mut ranges = Vec::new();
    let mut at = 0;
    for _ in 0..input.below(5) {
        let start = at + (input.number() << (input.byte() & 7)).min(size);
        let end = (start + (input.number() << (input.byte() & 5)) + 1).min(size);
        if start < end {
            ranges.push(ByteRange { start, end });
            at = end;
        }
    }
    file.fetch_only(&ranges);
    if file.info().seek != Seek::No {
        ranges.iter().all(|range| read(file, served, range.start, range.len()));
    }
}

fn read_anywhere(file: &mut dyn Transport, served: &Served, input: &mut Input<'_>) {
    let size = served.size as u64;
    for _ in 0..input.below(6) {
        let start = (input.number() << (input.byte() & 7)).min(size);
        let length = input.number();
        if file.info().seek == Seek::No || !read(file, served, start, length.min(size - start)) {
            break;
        }
    }
}

/// Reads that part; whether that went well.
fn read(file: &mut dyn Transport, served: &Served, start: u64, length: u64) -> bool {
    let mut bytes = Vec::new();
    let read = file.seek_to(start).and_then(|()| file.take(length).read_to_end(&mut bytes));
    assert!(served.is(start, &bytes), "other bytes from {start} on");
    match &read {
        Ok(_) => assert_eq!(bytes.len() as u64, length, "from {start} on"),
        Err(error) => assert!(!served.is_good, "{error}"),
    }
    read.is_ok()
}
