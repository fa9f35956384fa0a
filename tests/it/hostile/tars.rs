//! Archives of tar.

use super::{MEMORY, MIB, SIZE, TIME, Victim, bounded};

/// A header of tar.
fn tar_header(name: &[u8], kind: u8, size: &[u8]) -> Vec<u8> {
    let mut block = vec![0; 512];
    block[..name.len()].copy_from_slice(name);
    block[124..124 + size.len()].copy_from_slice(size);
    block[156] = kind;
    block[257..265].copy_from_slice(b"ustar\x0000");
    tar_sealed(block)
}

fn tar_sealed(mut block: Vec<u8>) -> Vec<u8> {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

fn octal(size: usize) -> Vec<u8> {
    format!("{size:011o}").into_bytes()
}

/// A pax header with these records.
fn pax(records: &[u8]) -> Vec<u8> {
    let padding = vec![0; records.len().next_multiple_of(512) - records.len()];
    [&tar_header(b"pax", b'x', &octal(records.len())), records, &padding].concat()
}

/// A record of a pax header: its length counts itself.
fn record(key: &str, value: &str) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let length = (rest + 1..).find(|length| length.to_string().len() + rest == *length).unwrap();
    format!("{length} {key}={value}\n").into_bytes()
}

/// A sparse file of `size` bytes in version 1.0 of GNU's format: its map stands before what is stored of it.
fn sparse(size: &str, map: &str, stored: &[u8]) -> Vec<u8> {
    let records = [record("GNU.sparse.major", "1"), record("GNU.sparse.realsize", size)].concat();
    let mut map = map.as_bytes().to_vec();
    map.resize(map.len().next_multiple_of(512), 0);
    [&pax(&records), &tar_header(b"disk.img", b'0', &octal(map.len() + stored.len())), &map[..], stored].concat()
}

#[test(TIME)]
fn tars_that_lie_are_refused() {
    let victim = Victim::new();
    let data = [0; SIZE];
    let image = [&tar_header(b"disk.img", b'0', &octal(SIZE)), data.as_slice()].concat();
    let end = [0; 1024];
    let base_256 = |first: u8, rest: &[u8; 8]| [&[first, 0, 0, 0], rest.as_slice()].concat();
    let sized = |size: &[u8]| tar_header(b"disk.img", b'0', size);
    let others =
        b"1234567".map(|kind| tar_header(b"../../dev/sda", kind, if kind == b'7' { b"0" } else { b"77777777777" }));
    let cases: [(&str, Vec<u8>, i32, &str); 16] = [
        ("as it should be", image.clone(), 0, ""),
        ("links, devices and FIFOs", [others.concat(), image.clone()].concat(), 0, "reading 'disk.img'"),
        (
            "dots",
            [&tar_header(b"../../../etc/passwd", b'0', &octal(SIZE)), &data[..]].concat(),
            0,
            "from the tar archive",
        ),
        ("escapes", [&tar_header(b"\x1b[2J\x07", b'0', &octal(SIZE)), &data[..]].concat(), 0, "from the tar archive"),
        (
            "a size for after a note",
            [
                pax(&record("size", "8192")),
                tar_header(b"note", b'K', b"0"),
                tar_header(b"disk.img", b'0', b"0"),
                data.to_vec(),
            ]
            .concat(),
            0,
            "",
        ),
        ("a negative size", sized(&base_256(0xff, &[0xff; 8])), 1, "a size is not a number"),
        ("2^64", sized(&[&[0x80, 0, 0, 1][..], &[0; 8]].concat()), 1, "a size is not a number"),
        ("2^64 - 1", [sized(&base_256(0x80, &[0xff; 8])), image.clone()].concat(), 1, "a file is too large"),
        (
            "2^63",
            [sized(&base_256(0x80, &[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff])), image.clone()].concat(),
            1,
            "the tar data",
        ),
        (
            "pax 2^64",
            [pax(&record("size", "18446744073709551616")), image.clone()].concat(),
            1,
            "the record size of a pax header is invalid",
        ),
        (
            "pax negative",
            [pax(&record("size", "-1")), image.clone()].concat(),
            1,
            "the record size of a pax header is invalid",
        ),
        ("pax empty", [pax(b"0 size=1\n"), image.clone()].concat(), 1, "a pax header is invalid"),
        ("pax too long", [pax(b"99 size=1\n"), image.clone()].concat(), 1, "a pax header is invalid"),
        ("pax 1 GiB", tar_header(b"pax", b'x', &octal(1 << 30)), 1, "an extended header has 1073741824 bytes"),
        (
            "a sparse map beyond the file",
            sparse("8192", "1\n8191\n2\n", &data),
            1,
            "the map of a sparse file is invalid",
        ),
        (
            "a sparse map of more than is stored",
            sparse("99999", "1\n0\n99999\n", &data),
            1,
            "the map of a sparse file is invalid",
        ),
    ];
    for (name, data, status, reason) in cases {
        println!("{name}");
        let tar = victim.file("tar", &[&data, &end]);
        let outcome = victim.copy(&tar).exits(status, &[reason]);
        assert!(outcome.memory() < MEMORY, "{name}: {} MiB", outcome.memory() / MIB);
        assert!(!outcome.stderr.contains('\x1b'), "{:?}", outcome.stderr);
    }
}

/// As many records, and as many extents, as there can be.
#[test(TIME)]
fn tars_with_maps_beyond_measure_are_refused() {
    let victim = Victim::new();
    let image = [&tar_header(b"disk.img", b'0', &octal(SIZE)), [0; SIZE].as_slice(), &[0; 1024]].concat();
    let records = b"5 a=\n".repeat((8 << 20) / 5);
    bounded(victim.copy(&victim.file("tar", &[&pax(&records), &image])), 0, &[]);
    // The long notes before the image are not held against its many records.
    let notes = tar_header(b"note", b'K', b"0").repeat(20_000);
    bounded(victim.copy(&victim.file("tar", &[&pax(&records), &notes, &image])), 0, &[]);

    for (count, status, reason) in
        [(1 << 18, 0, ""), ((1 << 18) + 1, 1, "is too long"), (1_u64 << 62, 1, "is too long")]
    {
        let map = format!("{count}\n{}", "0\n0\n".repeat(1 << 18));
        bounded(victim.copy(&victim.file("tar", &[&sparse("8192", &map, &[]), &[0; 1024]])), status, &[reason]);
    }
}
