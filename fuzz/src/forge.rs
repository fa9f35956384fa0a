//! Streams of bzip2 as no program would make them, with the checksums that they need to be taken for sound.

use crate::Input;

/// The most text of a forged block, before its runs are expanded.
const TEXT_MAX: usize = 20_000;

#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
    bits: u32,
}

impl Writer {
    fn put(&mut self, value: u64, count: u32) {
        for bit in (0..count).rev() {
            if self.bits % 8 == 0 {
                self.bytes.push(0);
            }
            if let Some(last) = self.bytes.last_mut() {
                *last |= ((value >> bit & 1) as u8) << (7 - self.bits % 8);
            }
            self.bits += 1;
        }
    }

    /// Up to the end of the byte.
    fn align(&mut self) {
        self.bits = self.bits.next_multiple_of(8);
    }
}

/// The streams that `input` asks for.
pub fn bzip2(input: &mut Input<'_>) -> Vec<u8> {
    let mut writer = Writer::default();
    for _ in 0..=input.below(3) {
        writer.put(0x425a_6831 + input.below(9) as u64, 32);
        let mut sum = 0_u32;
        for _ in 0..input.below(4) {
            sum = sum.rotate_left(1) ^ block(&mut writer, input);
        }
        writer.put(0x1772_4538_5090, 48);
        writer.put(u64::from(sum), 32);
        writer.align();
    }
    writer.bytes
}

/// Writes a block; returns its checksum.
fn block(writer: &mut Writer, input: &mut Input<'_>) -> u32 {
    let alphabet = alphabet(input);
    let end = alphabet.len() + 1;
    // Pairs of a symbol and how often it comes.
    let pairs = input.byte();
    let mut symbols = Vec::new();
    for _ in 0..pairs {
        let symbol = input.below(end);
        symbols.extend(vec![symbol; 1 + usize::from(input.byte() >> 3)]);
    }
    let (column, used) = column(&symbols, &alphabet);
    symbols.truncate(used);
    if column.is_empty() {
        return block_of_one(writer, alphabet[0]);
    }
    symbols.push(end);
    let origin = input.number() as usize % column.len();
    let sum = checksum(&text(&column, origin));
    let codes: Vec<Vec<u8>> = (0..2 + input.below(5)).map(|_| lengths(input, end + 1)).collect();
    let chosen: Vec<usize> = (0..symbols.len().div_ceil(50)).map(|_| input.below(codes.len())).collect();
    // More than are needed do no harm.
    let surplus = if input.byte() == 1 { input.number() as usize } else { 0 };

    header(writer, sum, origin, &alphabet);
    writer.put(codes.len() as u64, 3);
    writer.put((chosen.len() + surplus).min(0x7fff) as u64, 15);
    let mut recent: Vec<usize> = (0..codes.len()).collect();
    for code in chosen.iter().copied().chain(vec![0; surplus]).take(0x7fff) {
        let place = recent.iter().position(|&other| other == code).unwrap_or(0);
        recent[..=place].rotate_right(1);
        (0..place).for_each(|_| writer.put(1, 1));
        writer.put(0, 1);
    }
    codes.iter().for_each(|lengths| put_lengths(writer, lengths));
    let words: Vec<Vec<u64>> = codes.iter().map(|lengths| words(lengths)).collect();
    for (group, &code) in symbols.chunks(50).zip(&chosen) {
        for &symbol in group {
            writer.put(words[code][symbol], u32::from(codes[code][symbol]));
        }
    }
    sum
}

/// A block of a single byte, for where there would be none.
fn block_of_one(writer: &mut Writer, byte: u8) -> u32 {
    let sum = checksum(&[byte]);
    header(writer, sum, 0, &[byte]);
    writer.put(2, 3);
    writer.put(1, 15);
    writer.put(0, 1);
    (0..2).for_each(|_| put_lengths(writer, &[2, 2, 2]));
    writer.put(0b00_10, 4);
    sum
}

fn header(writer: &mut Writer, sum: u32, origin: usize, alphabet: &[u8]) {
    writer.put(0x3141_5926_5359, 48);
    writer.put(u64::from(sum), 32);
    writer.put(0, 1); // not randomised
    writer.put(origin as u64, 24);
    let has = |sixteen: u8| alphabet.iter().any(|byte| byte >> 4 == sixteen);
    (0..16).for_each(|sixteen| writer.put(u64::from(has(sixteen)), 1));
    for sixteen in (0..16).filter(|&sixteen| has(sixteen)) {
        (0..16).for_each(|one| writer.put(u64::from(alphabet.contains(&(sixteen << 4 | one))), 1));
    }
}

/// Which bytes the text may have, in order: at least one.
fn alphabet(input: &mut Input<'_>) -> Vec<u8> {
    match input.below(4) {
        0 => vec![input.byte()],
        1 => (0..=255).collect(),
        2 => (input.byte()..=255).collect(),
        _ => {
            let step = 1 + input.below(60);
            (input.byte()..=255).step_by(step).collect()
        }
    }
}

/// The last column that the symbols stand for, up to its longest, and how many of them that are.
fn column(symbols: &[usize], alphabet: &[u8]) -> (Vec<u8>, usize) {
    let mut recent = alphabet.to_vec();
    let (mut column, mut run, mut weight) = (Vec::new(), 0, 1);
    for (used, &symbol) in symbols.iter().enumerate() {
        if symbol <= 1 {
            if column.len() + run + (weight << symbol) > TEXT_MAX {
                column.extend(vec![recent[0]; run]);
                return (column, used);
            }
            run += weight << symbol;
            weight <<= 1;
            continue;
        }
        column.extend(vec![recent[0]; run]);
        (run, weight) = (0, 1);
        if column.len() >= TEXT_MAX {
            return (column, used);
        }
        recent[..symbol].rotate_right(1);
        column.push(recent[0]);
    }
    column.extend(vec![recent[0]; run]);
    (column, symbols.len())
}

/// The text with that last column, by the book.
fn text(column: &[u8], origin: usize) -> Vec<u8> {
    let mut sorted: Vec<usize> = (0..column.len()).collect();
    sorted.sort_by_key(|&place| column[place]);
    let mut at = origin;
    let text = (0..column.len()).map(|_| {
        at = sorted[at];
        column[at]
    });
    let (mut expanded, mut equal) = (Vec::new(), 0);
    for byte in text {
        match expanded.last().copied() {
            Some(last) if equal == 4 => {
                expanded.extend(vec![last; usize::from(byte)]);
                equal = 0;
            }
            last => {
                equal = if last == Some(byte) && equal > 0 { equal + 1 } else { 1 };
                expanded.push(byte);
            }
        }
    }
    expanded
}

/// The lengths of code words for so many symbols, of which there are enough.
fn lengths(input: &mut Input<'_>, symbols: usize) -> Vec<u8> {
    let mut lengths: Vec<u8> = (0..symbols).map(|_| 1 + (input.byte() % 20)).collect();
    // Longer, one after another, until all find a place.
    let taken = |lengths: &[u8]| lengths.iter().map(|&length| 1_u64 << (20 - length)).sum::<u64>();
    while taken(&lengths) > 1 << 20 {
        let shortest = lengths.iter().copied().min().unwrap_or(20);
        lengths.iter_mut().filter(|length| **length == shortest).for_each(|length| *length += 1);
    }
    lengths
}

fn put_lengths(writer: &mut Writer, lengths: &[u8]) {
    let mut current = lengths[0];
    writer.put(u64::from(current), 5);
    for &length in lengths {
        while current != length {
            let up = length > current;
            writer.put(if up { 0b10 } else { 0b11 }, 2);
            current = if up { current + 1 } else { current - 1 };
        }
        writer.put(0, 1);
    }
}

/// The code words of these lengths.
fn words(lengths: &[u8]) -> Vec<u64> {
    let mut words = vec![0; lengths.len()];
    let mut next = 0;
    for length in 1..=20 {
        for (word, _) in words.iter_mut().zip(lengths).filter(|(_, wanted)| **wanted == length) {
            *word = next;
            next += 1;
        }
        next <<= 1;
    }
    words
}

fn checksum(data: &[u8]) -> u32 {
    let add = |sum: u32, &byte: &u8| {
        (0..8).fold(sum ^ u32::from(byte) << 24, |sum, _| sum << 1 ^ if sum >> 31 == 1 { 0x04c1_1db7 } else { 0 })
    };
    !data.iter().fold(u32::MAX, add)
}
