//! The decoder as others use it.

#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::unwrap_used)]

use std::io::{self, Read, Write};
use std::num::NonZeroUsize;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use bzip2_parallel::{Decoder, FormatError, Task};

fn compress(data: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::new(1));
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

/// Bytes without any order: blocks of 100,000 each, at the level that they are compressed with here.
fn noise(length: u32) -> Vec<u8> {
    (0..length).map(|i| (i.wrapping_mul(0x9e37_79b9) ^ i.wrapping_mul(i)) as u8).collect()
}

fn format_error(error: &io::Error) -> Option<FormatError> {
    error.get_ref()?.downcast_ref().copied()
}

/// Reads all of `compressed`, which fails.
fn error_of(compressed: impl Read + Send + 'static) -> io::Error {
    Decoder::new(compressed).unwrap().read_to_end(&mut Vec::new()).unwrap_err()
}

#[test]
fn any_number_of_threads_delivers_the_same() {
    let data = noise(1_000_000);
    let compressed = compress(&data);
    for threads in [1, 2, 3, 16] {
        let threads = NonZeroUsize::new(threads).unwrap();
        let mut decoder = Decoder::with_threads(io::Cursor::new(compressed.clone()), threads).unwrap();
        let mut decompressed = Vec::new();
        decoder.read_to_end(&mut decompressed).unwrap();
        assert!(decompressed == data, "{threads} threads");
        assert_eq!(decoder.read(&mut [0; 10]).unwrap(), 0, "the end stays the end");
    }
}

#[test]
fn errors_tell_what_is_wrong_and_where() {
    let compressed = compress(&noise(100));
    let changed = |index: usize| {
        let mut compressed = compressed.clone();
        compressed[index] ^= 1;
        io::Cursor::new(compressed)
    };
    let cut_off = error_of(io::Cursor::new(compressed[..compressed.len() - 1].to_vec()));
    assert_eq!(cut_off.kind(), io::ErrorKind::UnexpectedEof);
    assert_eq!(format_error(&cut_off), Some(FormatError::CutOff));
    for (index, expected) in [
        (0, FormatError::NoStreamHeader { at: 0 }),
        (4, FormatError::NoMagic { at: 4 }),
        (10, FormatError::BlockChecksum { at: 4 }),
        (compressed.len() - 2, FormatError::StreamChecksum { at: compressed.len() as u64 - 1 }),
    ] {
        let error = error_of(changed(index));
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert_eq!(format_error(&error), Some(expected), "byte {index}");
    }
}

#[test]
fn data_before_an_error_is_delivered() {
    let data = noise(300_000);
    let mut compressed = compress(&data);
    compressed.extend(b"garbage");
    let mut decompressed = Vec::new();
    let error = Decoder::new(io::Cursor::new(compressed)).unwrap().read_to_end(&mut decompressed).unwrap_err();
    assert!(matches!(format_error(&error), Some(FormatError::NoStreamHeader { .. })));
    assert!(decompressed == data);
}

#[test]
fn what_follows_the_data_is_told() {
    let compressed = compress(&noise(300_000));
    let noise = [&b"x"[..], &noise(7_000_000)].concat();
    for rest in [&b"a"[..], b"garbage", b"B1AY&SY1AY&SY and so on", &noise] {
        let mut decoder = Decoder::new(io::Cursor::new([&compressed, &b"\0\0\0"[..], rest].concat())).unwrap();
        assert!(decoder.skip_rest(&mut []).is_err());
        decoder.read_to_end(&mut Vec::new()).unwrap_err();
        let mut start = [0; 16];
        let length = decoder.skip_rest(&mut start).unwrap();
        assert_eq!(start[..length], rest[..rest.len().min(16)]);
        assert!(decoder.skip_rest(&mut start).is_err() && decoder.read(&mut [0; 10]).is_err());
    }
}

#[test]
fn an_error_is_not_followed_by_data_or_a_clean_end() {
    let mut compressed = b"BZh9, but no block".to_vec();
    compressed.extend(compress(b"data"));
    let mut decoder = Decoder::new(io::Cursor::new(compressed)).unwrap();
    assert!(format_error(&decoder.read(&mut [0; 10]).unwrap_err()).is_some());
    for _ in 0..3 {
        assert_eq!(decoder.read(&mut [0; 10]).unwrap_err().kind(), io::ErrorKind::Other);
    }
}

#[test]
fn an_error_of_the_reader_arrives_as_it_was() {
    #[derive(Debug)]
    struct LineCut;
    impl std::fmt::Display for LineCut {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("the line is cut")
        }
    }
    impl std::error::Error for LineCut {}

    /// Is interrupted once, and then fails.
    struct Failing(bool);
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            match std::mem::replace(&mut self.0, true) {
                false => Err(io::ErrorKind::Interrupted.into()),
                true => Err(io::Error::new(io::ErrorKind::UnexpectedEof, LineCut)),
            }
        }
    }
    let error = error_of(io::Cursor::new(compress(b"data")).chain(Failing(false)));
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    assert!(error.get_ref().unwrap().is::<LineCut>(), "{error:?}");
}

#[test]
fn threads_that_cannot_be_started_are_an_error_and_the_others_end() {
    let threads = NonZeroUsize::new(3).unwrap();
    for limit in 0..4 {
        let (alive, ended) = mpsc::channel::<()>();
        let mut started = 0;
        let spawn = |name: &str, task: Task| {
            if started == limit {
                return Err(io::ErrorKind::OutOfMemory.into());
            }
            started += 1;
            let alive = alive.clone();
            let work = move || {
                let _alive = alive;
                task();
            };
            thread::Builder::new().name(name.to_owned()).spawn(work).map(drop)
        };
        let error = Decoder::with_spawner(io::empty(), threads, spawn).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
        drop(alive);
        let all_ended = ended.recv_timeout(Duration::from_secs(20));
        assert_eq!(all_ended, Err(mpsc::RecvTimeoutError::Disconnected), "{limit} threads");
    }
}

#[test]
fn all_threads_have_been_started_before_the_decoder_is_returned() {
    let mut names = Vec::new();
    let spawn = |name: &str, task: Task| {
        names.push(name.to_owned());
        thread::Builder::new().spawn(task).map(drop)
    };
    let compressed = io::Cursor::new(compress(b"data"));
    let mut decoder = Decoder::with_spawner(compressed, NonZeroUsize::new(2).unwrap(), spawn).unwrap();
    assert_eq!(names, ["bzip2 decoder", "bzip2 decoder", "bzip2 scanner"]);
    assert_eq!(io::read_to_string(&mut decoder).unwrap(), "data");
}
