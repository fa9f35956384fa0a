//! The whole decoder, tried with what the reference compresses and with blocks that no program would make.

use std::io::{self, Read, Write};
use std::num::NonZeroUsize;

use proptest::prelude::*;

use super::block::{BLOCK_MAGIC, END_MAGIC};
use super::pool::Scanned;
use super::{Decoder, pool, randomised};

/// Delivers at most 5000 bytes at a time.
struct Portions<R>(R);

impl<R: Read> Read for Portions<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let length = buf.len().min(5000);
        self.0.read(&mut buf[..length])
    }
}

fn decompress(compressed: &[u8]) -> io::Result<Vec<u8>> {
    let mut data = Vec::new();
    let compressed = Portions(io::Cursor::new(compressed.to_vec()));
    Decoder::new(compressed)?.read_to_end(&mut data).map(|_| data)
}

fn compress(data: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = ::bzip2::write::BzEncoder::new(Vec::new(), ::bzip2::Compression::new(level));
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn reference(compressed: &[u8]) -> Vec<u8> {
    let mut decompressed = Vec::new();
    ::bzip2::read::MultiBzDecoder::new(compressed).read_to_end(&mut decompressed).unwrap();
    decompressed
}

/// Data with runs and repetitions of any length.
fn data() -> impl Strategy<Value = Vec<u8>> {
    let alphabet = prop_oneof![Just(1_u8), Just(3), Just(40), Just(255)];
    let piece = (alphabet, prop::collection::vec(any::<u8>(), 1..300), 1_usize..400);
    prop::collection::vec(piece, 0..30).prop_map(|pieces| {
        let repeated = |(alphabet, bytes, times): (u8, Vec<u8>, usize)| {
            bytes.into_iter().map(move |byte| byte % alphabet).collect::<Vec<_>>().repeat(times)
        };
        pieces.into_iter().flat_map(repeated).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whatever_the_reference_compresses_is_decompressed(data in data(), more in data(), level in 1..=9_u32) {
        let compressed = [compress(&data, level), compress(&more, 10 - level)].concat();
        prop_assert!(decompress(&compressed).unwrap() == [data, more].concat());
    }

    #[test]
    fn nothing_makes_it_panic(mut compressed in Just(compress(&b"bzip2 packs this, that, and this again".repeat(9), 1)),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..9)) {
        for (index, byte) in changes {
            let index = index.index(compressed.len());
            compressed[index] = byte;
        }
        let _ = decompress(&compressed);
    }
}

/// Compresses without any effort: every block has all bytes, and code words of 8 and 9 bits that equal their symbols.
#[derive(Default)]
struct Forge {
    bits: Vec<bool>,
    crc: u32,
}

/// The symbol after the last byte.
const END_OF_BLOCK: u64 = 257;

/// How a block is forged.
#[derive(Clone, Copy, PartialEq)]
enum Style {
    Plain,
    Randomised,
}

impl Forge {
    fn stream() -> Self {
        let mut forge = Self::default();
        b"BZh9".iter().for_each(|&byte| forge.put(u64::from(byte), 8));
        forge
    }

    fn put(&mut self, value: u64, count: u32) {
        self.bits.extend((0..count).rev().map(|bit| value >> bit & 1 == 1));
    }

    /// A block with these symbols, none of which is a run.
    fn block(mut self, symbols: &[u8], orig_ptr: usize, style: Style) -> Self {
        let crc = crc(&text(symbols, orig_ptr, style));
        self.crc = self.crc.rotate_left(1) ^ crc;
        self.put(BLOCK_MAGIC, 48);
        self.put(u64::from(crc), 32);
        self.put(u64::from(style == Style::Randomised), 1);
        self.put(orig_ptr as u64, 24);
        (0..17).for_each(|_| self.put(0xffff, 16));
        let groups = (symbols.len() + 1).div_ceil(50);
        self.put(2, 3);
        self.put(groups as u64, 15);
        (0..groups).for_each(|_| self.put(0, 1));
        for _ in 0..2 {
            self.put(8, 5);
            (0..254).for_each(|_| self.put(0, 1));
            self.put(0b100, 3); // one longer from here on
            (0..3).for_each(|_| self.put(0, 1));
        }
        for symbol in symbols.iter().map(|&symbol| u64::from(symbol)).chain([END_OF_BLOCK]) {
            if symbol < 254 { self.put(symbol, 8) } else { self.put(symbol + 254, 9) }
        }
        self
    }

    fn finish(mut self) -> Vec<u8> {
        self.put(END_MAGIC, 48);
        self.put(u64::from(self.crc), 32);
        let byte = |bits: &[bool]| (0..8).fold(0, |byte, bit| byte << 1 | u8::from(bits.get(bit) == Some(&true)));
        self.bits.chunks(8).map(byte).collect()
    }
}

/// What the symbols stand for, by the book.
fn text(symbols: &[u8], orig_ptr: usize, style: Style) -> Vec<u8> {
    let mut recent: Vec<u8> = (0..=255).collect();
    let mut column = Vec::new();
    for &symbol in symbols {
        let byte = recent.remove(usize::from(symbol) - 1);
        recent.insert(0, byte);
        column.push(byte);
    }
    let mut sorted: Vec<usize> = (0..column.len()).collect();
    sorted.sort_by_key(|&index| column[index]);
    let mut at = orig_ptr;
    let mut text = Vec::new();
    for _ in 0..column.len() {
        at = sorted[at];
        text.push(column[at]);
    }
    if style == Style::Randomised {
        randomised::restore(&mut text);
    }
    let (mut expanded, mut equal) = (Vec::new(), 0);
    for byte in text {
        if equal == 4 {
            expanded.extend(vec![expanded[expanded.len() - 1]; usize::from(byte)]);
            equal = 0;
        } else {
            equal = if expanded.last() == Some(&byte) && equal > 0 { equal + 1 } else { 1 };
            expanded.push(byte);
        }
    }
    expanded
}

fn crc(data: &[u8]) -> u32 {
    !data.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte) << 24, |crc, _| crc << 1 ^ if crc >> 31 == 1 { 0x04c1_1db7 } else { 0 })
    })
}

/// Symbols without any order, none of which is a run.
fn noise(length: usize) -> Vec<u8> {
    (0..length as u32).map(|i| 2 + ((i + 7).wrapping_mul(0x9e37_79b9) >> 20) as u8 % 253).collect()
}

/// A magic as symbols, which are coded as just these bytes.
fn magic(magic: u64) -> Vec<u8> {
    magic.to_be_bytes()[2..].to_vec()
}

fn assert_decompresses(compressed: &[u8], expected: &[u8]) {
    assert!(reference(compressed) == expected, "the forgery is bad");
    assert!(decompress(compressed).unwrap() == expected);
}

#[test]
fn magics_inside_a_block_are_not_taken_for_blocks() {
    for length in [60, 3000, 100_000] {
        let noise = noise(length);
        let mut symbols = Vec::new();
        for part in noise.chunks(length.div_ceil(20)) {
            symbols.extend(magic(BLOCK_MAGIC).iter().chain(part).chain(&magic(END_MAGIC)));
        }
        let compressed = Forge::stream()
            .block(&symbols, 5, Style::Plain)
            .block(&noise, 6, Style::Plain)
            .block(&symbols, 7, Style::Plain)
            .finish();
        let one = |symbols: &[u8], orig_ptr| text(symbols, orig_ptr, Style::Plain);
        let expected = [one(&symbols, 5), one(&noise, 6), one(&symbols, 7)].concat();
        assert_decompresses(&compressed, &expected);
        for end in (4..compressed.len()).step_by(compressed.len() / 50) {
            assert_eq!(
                decompress(&compressed[..end]).unwrap_err().kind(),
                io::ErrorKind::UnexpectedEof,
                "cut at {end}"
            );
        }
    }
}

#[test]
fn magics_too_close_for_blocks_are_not_decoded() {
    let symbols = magic(BLOCK_MAGIC).repeat(10_000);
    let compressed = Forge::stream().block(&symbols, 5, Style::Plain).block(&noise(60), 6, Style::Plain).finish();
    let scanned = pool::start(io::Cursor::new(compressed.clone()), NonZeroUsize::MIN, pool::spawn).unwrap();
    let candidates: Vec<_> = std::iter::from_fn(|| match scanned.recv().unwrap() {
        Scanned::Candidate(candidate) => Some(candidate),
        Scanned::EndOfFile => None,
        Scanned::ReadFailed(error) => panic!("{error}"),
    })
    .collect();
    assert!(candidates.len() > 10_000);
    // The start of the first block, and the second one.
    assert_eq!(candidates.iter().filter(|candidate| candidate.block.is_some()).count(), 2);
    assert_decompresses(&compressed, &[text(&symbols, 5, Style::Plain), text(&noise(60), 6, Style::Plain)].concat());
}

#[test]
fn a_run_without_a_length_is_refused_as_the_reference_does() {
    // A last column in ascending order: each index leads to itself, and so the text is one byte over and over.
    let block = |symbols: &[u8]| Forge::stream().block(symbols, 0, Style::Plain).finish();
    assert_decompresses(&block(&[6, 7, 8, 9, 10]), &[5; 4 + 5]);
    let compressed = block(&[6, 7, 8, 9]);
    assert!(decompress(&compressed).unwrap_err().to_string().contains("has no length"));
    assert!(::bzip2::read::MultiBzDecoder::new(&*compressed).read_to_end(&mut Vec::new()).is_err());
}

#[test]
fn old_randomised_blocks() {
    let symbols = noise(150_000);
    let compressed = Forge::stream()
        .block(&symbols, 1, Style::Randomised)
        .block(&symbols[..617], 2, Style::Randomised)
        .block(&symbols[..618], 3, Style::Randomised)
        .block(&symbols, 4, Style::Plain)
        .finish();
    let expected = [
        text(&symbols, 1, Style::Randomised),
        text(&symbols[..617], 2, Style::Randomised),
        text(&symbols[..618], 3, Style::Randomised),
        text(&symbols, 4, Style::Plain),
    ];
    assert_decompresses(&compressed, &expected.concat());
}

#[test]
fn repetitive_texts_whose_chains_are_short() {
    for period in [1, 2, 3, 5, 8191, 8192, 8193, 40_000] {
        let data: Vec<u8> = noise(period).repeat(200_000 / period);
        assert_decompresses(&compress(&data, 9), &data);
    }
    let zeroes = vec![0; 30_000_000];
    assert!(decompress(&compress(&zeroes, 9)).unwrap() == zeroes);
}

#[test]
fn every_byte_counts() {
    let symbols = noise(200);
    let compressed = Forge::stream().block(&symbols, 1, Style::Plain).block(&symbols, 2, Style::Plain).finish();
    let expected = decompress(&compressed).unwrap();
    for index in 0..compressed.len() {
        let mut changed = compressed.clone();
        changed[index] ^= 0x10;
        match decompress(&changed) {
            // The level, a code that is not used, the padding of the last byte.
            Ok(decompressed) => assert!(decompressed == expected, "byte {index}"),
            Err(error) => assert!(
                matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof),
                "byte {index}: {error:?}"
            ),
        }
    }
}

#[test]
fn padding_garbage_and_nothing() {
    let compressed = compress(b"data", 9);
    let with = |more: &[u8]| decompress(&[&compressed, more].concat()).map_err(|error| error.kind());
    assert_eq!(with(&[]), Ok(b"data".to_vec()));
    assert_eq!(with(&[0; 3]), Ok(b"data".to_vec()));
    assert_eq!(with(&vec![0; 6_000_000]), Ok(b"data".to_vec()));
    assert_eq!(with(&[&[0; 6_000_000], &*compressed].concat()), Ok(b"datadata".to_vec()));
    assert_eq!(with(&compress(b"", 3)), Ok(b"data".to_vec()));
    assert_eq!(with(b"garbage"), Err(io::ErrorKind::InvalidData));
    assert_eq!(with(&[0, 0, 7, 0, 0]), Err(io::ErrorKind::InvalidData));
    assert_eq!(with(&compressed[..compressed.len() - 1]), Err(io::ErrorKind::UnexpectedEof));
    assert_eq!(decompress(&compress(b"", 1)).unwrap(), b"");
    assert_eq!(decompress(b"").unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn blocks_larger_than_their_stream_allows_are_refused() {
    let mut compressed = compress(&noise(150_000), 2);
    assert!(decompress(&compressed).is_ok());
    compressed[3] = b'1';
    assert_eq!(decompress(&compressed).unwrap_err().kind(), io::ErrorKind::InvalidData);
}

#[test]
fn an_error_of_the_reader_is_not_taken_for_the_end() {
    const EIO: i32 = 5;
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::from_raw_os_error(EIO))
        }
    }
    let compressed = compress(b"data", 9);
    for end in [0, 4, 20, compressed.len()] {
        let failing = io::Cursor::new(compressed[..end].to_vec()).chain(Failing);
        let error = Decoder::new(failing).unwrap().read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(EIO));
    }
}

#[test]
fn the_threads_end_when_nobody_wants_the_data() {
    struct Watched {
        compressed: io::Cursor<Vec<u8>>,
        _alive: std::sync::mpsc::Sender<()>,
    }
    impl Read for Watched {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            self.compressed.read(buf)
        }
    }
    let (_alive, dropped) = std::sync::mpsc::channel();
    let compressed = io::Cursor::new(compress(&noise(100_000), 1).repeat(40));
    let mut decoder = Decoder::new(Watched { compressed, _alive }).unwrap();
    decoder.read_exact(&mut [0; 10]).unwrap();
    drop(decoder);
    let ended = dropped.recv_timeout(std::time::Duration::from_secs(20));
    assert_eq!(ended, Err(std::sync::mpsc::RecvTimeoutError::Disconnected));
}
