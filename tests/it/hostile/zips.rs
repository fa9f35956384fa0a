//! Archives of zip.

use super::{MEMORY, MIB, SIZE, TIME, Victim, bounded};

/// The local header of a zip's entry, stored.
fn zip_entry(name: &[u8], flags: u16, crc: u32, compressed: u32, decompressed: u32, extra: &[u8]) -> Vec<u8> {
    let mut header = b"PK\x03\x04\x2d\0".to_vec();
    header.extend(flags.to_le_bytes());
    header.extend([0; 6]); // stored, at no time
    [crc, compressed, decompressed].iter().for_each(|number| header.extend(number.to_le_bytes()));
    [name.len(), extra.len()].iter().for_each(|&length| header.extend((length as u16).to_le_bytes()));
    [header, name.to_vec(), extra.to_vec()].concat()
}

/// The record of the same in the central directory.
fn zip_record(name: &[u8], crc: u32, size: u32, place: u32) -> Vec<u8> {
    let mut record = b"PK\x01\x02\x2d\x03\x2d\0\0\0\0\0\0\0\0\0".to_vec();
    [crc, size, size].iter().for_each(|number| record.extend(number.to_le_bytes()));
    record.extend((name.len() as u16).to_le_bytes());
    record.extend([0; 12]);
    record.extend(place.to_le_bytes());
    [record, name.to_vec()].concat()
}

fn zip_end(entries: u16, length: u32, start: u32) -> Vec<u8> {
    let mut end = b"PK\x05\x06\0\0\0\0".to_vec();
    [entries, entries].iter().for_each(|count| end.extend(count.to_le_bytes()));
    [length, start].iter().for_each(|number| end.extend(number.to_le_bytes()));
    [end, vec![0; 2]].concat()
}

#[test(TIME)]
fn zips_that_lie_are_refused() {
    let victim = Victim::new();
    let (data, size) = ([0; SIZE], SIZE as u32);
    let crc = crc32fast::hash(&data);
    let name = b"disk.img";
    let end = |zip: &[u8], records: &[u8], count| {
        [zip, records, &zip_end(count, records.len() as u32, zip.len() as u32)].concat()
    };
    let entry = [&zip_entry(name, 0, crc, size, size, b""), data.as_slice()].concat();
    let zip64 = |size: u64| [&[1, 0, 16, 0], size.to_le_bytes().as_slice(), &size.to_le_bytes()].concat();
    let wide = |size| [&zip_entry(name, 0, crc, u32::MAX, u32::MAX, &zip64(size)), data.as_slice()].concat();
    let escape = [&zip_entry(b"\x1b[2J\x9b\n../../etc/passwd", 0, crc, size, size, b""), data.as_slice()].concat();
    let long = [&zip_entry(&[b'n'; 0xffff], 0, crc, size, size, b""), data.as_slice()].concat();
    // It is skipped; its size is told only after its data, in 64 bits.
    let descriptor = [&b"PK\x07\x08"[..], &[0; 4], &5_u64.to_le_bytes(), &(5_u64 << 30).to_le_bytes()].concat();
    let large = [&zip_entry(b"large", 8, 0, 0, 0, b""), &b"12345"[..], &descriptor].concat();
    let large_record = [
        &zip_record(b"large", 0, u32::MAX, 0)[..30],
        &20_u16.to_le_bytes(),
        &zip_record(b"large", 0, 0, 0)[32..],
        &[&[1, 0, 16, 0], &(5_u64 << 30).to_le_bytes()[..], &5_u64.to_le_bytes()].concat(),
    ]
    .concat();
    let last = zip_record(name, crc, size, large.len() as u32);
    let cases: [(&str, Vec<u8>, i32, &str); 12] = [
        ("after a large one", end(&[large, entry.clone()].concat(), &[large_record, last].concat(), 2), 0, ""),
        ("as it should be", end(&entry, &zip_record(name, crc, size, 0), 1), 0, ""),
        ("exabytes", end(&wide(1 << 60), &zip_record(name, crc, u32::MAX, 0), 1), 1, "the zip data ends too early"),
        ("2^64 - 1", end(&wide(u64::MAX), &zip_record(name, crc, u32::MAX, 0), 1), 1, "the zip data ends too early"),
        ("zip64 without need", end(&wide(SIZE as u64), &zip_record(name, crc, size, 0), 1), 0, ""),
        ("a directory for another size", end(&entry, &zip_record(name, crc, 5, 0), 1), 0, ""),
        ("entries in one another", end(&entry, &zip_record(name, crc, size, 0).repeat(1000), 1000), 0, ""),
        ("a directory in itself", [&entry[..], &zip_end(1, u32::MAX - 1, 0)].concat(), 0, ""),
        ("encrypted", [&zip_entry(name, 1, crc, size, size, b""), &data[..]].concat(), 1, "it is encrypted"),
        (
            "a wrong checksum",
            [&zip_entry(name, 0, 1, size, size, b""), &data[..]].concat(),
            1,
            "the checksum of a file is wrong",
        ),
        ("a name that commands", end(&escape, &zip_record(name, crc, size, 0), 1), 0, "etc/passwd' from the zip"),
        ("a long name", end(&long, &zip_record(&[b'n'; 0xffff], crc, size, 0), 1), 0, "nnnnnn"),
    ];
    for (name, data, status, reason) in cases {
        println!("{name}");
        let zip = victim.file("zip", &[&data]);
        let outcome = victim.copy(&zip).exits(status, &[reason]);
        assert!(outcome.memory() < MEMORY, "{name}: {} MiB", outcome.memory() / MIB);
        assert!(!outcome.stderr.contains(['\x1b', '\u{9b}']), "{:?}", outcome.stderr);
    }
    // A directory of more entries than it keeps, of which one is the image.
    let zip = victim.repeated(
        "zip",
        &entry,
        &zip_record(name, crc, size, 0),
        300_000,
        &zip_end(0xffff, 16_200_000, entry.len() as u32),
    );
    bounded(victim.copy(&zip), 0, &[]);
}
