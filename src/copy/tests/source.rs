//! What is read, compared and written of a source that ends, fails or changes.

use super::*;

#[test]
fn a_second_pass_writes_only_the_bytes_that_are_asked_for() {
    let image = image(5 * MIB);
    let plan = mapped(map(&image, &[(0, 1999), (2500, 3999), (4500, 5000)]));
    let bytes = |start, end| ByteRange { start, end };
    let wanted = [bytes(1_200_000, 1_300_000), bytes(2_600_000, 2_600_001), bytes(2_996_352, 3_145_733)];
    let again = plan.only([&[bytes(500, 500), bytes(1_000_000, 1_048_580)], &wanted[..]].concat());
    let ranges: Vec<_> = again.writes().collect();
    assert_eq!(ranges, [bytes(0, 2_000_000), bytes(2_500_000, 4_000_000)], "those that need not be read are not");

    let record = Arc::new(Mutex::new(Record::device()));
    let sink = sink(Kind::BlockDevice, &record);
    let zeroes = Arc::new(AlignedBuf::zeroed(MIB as usize).unwrap());
    let pace = Pace::new(1, STALL);
    let pulse = Pulse::new(&pace, TargetId(0));
    let boot_region = BootRegion::new(MIB, &zeroes, None, pulse.clone()).unwrap();
    let mut writer = Writer {
        id: TargetId(0),
        plan: Arc::new(plan.clone()),
        info: sink.info(),
        sink,
        boot_region,
        survey: None,
        held: None,
        found: writer::Found::Changed,
        read_back: None,
        observer: Arc::new(Silent),
        cancel: Cancel::default(),
        pulse,
    };
    let mut pass = |plan: &Plan| {
        let (sender, chunks) = queue(1);
        let source: Box<dyn ForwardRead> = Box::new(Reluctant::new(&image));
        let open: pipeline::Open = Box::new(move || Ok(source));
        let pool = pipeline::buffers().unwrap();
        let drain = drain(None).0;
        pipeline::start(&Arc::new(plan.clone()), open, drain, pool, Keep::Nothing, vec![sender], &pace).unwrap();
        record.lock().unwrap().operations.clear();
        let written = writer.write(plan, plan, chunks).unwrap().amount.bytes;
        (written, record.lock().unwrap().operations.clone())
    };
    assert_eq!(pass(&plan).0, plan.total().unwrap());
    let (written, operations) = pass(&again);
    assert_eq!((Some(written), written), (again.total(), 48_580 + 100_000 + 1 + 149_381));
    let expected = [
        Write(MIB, 4), // what lies before is in the boot region
        Write(1_200_000, 100_000),
        Write(2_600_000, 1),
        Write(2_996_352, 149_376),
        Write(3 * MIB, 5),
    ];
    assert_eq!(operations, expected);
}

#[test]
fn short_reads_and_interruptions_lose_nothing() {
    let image = image(3_500_000);
    let map = map(&image, &[(0, 0), (2, 1600), (1601, 1601), (3000, 3499)]);
    let mut expected = vec![0; image.len()];
    for range in map.ranges() {
        let bytes = range.bytes.start as usize..range.bytes.end as usize;
        expected[bytes.clone()].copy_from_slice(&image[bytes]);
    }
    let (result, record) = to_file(mapped(map.clone()), Reluctant::new(&image), Record::default());
    assert_eq!(result.unwrap(), map.mapped_bytes());
    assert!(record.contents == expected);

    let (result, record) = to_file(Plan::whole(), Reluctant::new(&image), Record::default());
    assert_eq!(result.unwrap(), image.len() as u64);
    assert!(record.contents == image);
}

#[test]
fn the_end_of_a_bad_range_is_not_written() {
    let image = image(3_500_000);
    let map = map(&image, &[(0, 9), (1000, 2999), (3400, 3499)]);
    let mut damaged = image.clone();
    damaged[1_000_000] ^= 1;
    let (result, record) = to_file(mapped(map.clone()), Reluctant::new(&damaged), Record::default());
    let error = result.unwrap_err();
    assert!(matches!(*error, Error::Mismatch { range, .. } if range.to_string() == "1000-2999"), "{error}");
    // The range ends at byte 3,000,000, in the chunk that begins at 2 MiB.
    assert_eq!(record.contents.len(), 2 * CHUNK_LEN);

    let unverified = Plan::mapped(map, Verify::Skip, Unmapped::Keep);
    let (result, record) = to_file(unverified, Reluctant::new(&damaged), Record::default());
    assert!(result.is_ok() && record.contents[1_000_000] == damaged[1_000_000]);
}

#[test]
fn a_source_that_ends_early_is_noticed_wherever_it_ends() {
    let image = image(3_500_000);
    let map = map(&image, &[(0, 9), (1000, 2999), (3400, 3499)]);
    for length in [0, 5_000, 10_000, 999_999, 1_500_000, 2_999_999, 3_400_000, 3_499_999] {
        let (result, _) = to_file(mapped(map.clone()), Reluctant::new(&image[..length]), Record::default());
        let error = result.unwrap_err();
        assert!(matches!(*error, Error::EndedEarly { at, expected: 3_500_000 } if at <= length as u64), "{error}");
    }
}

#[test]
fn what_no_checksum_covers_is_read_to_the_end_of_the_source() {
    let image = image(3_500_000);
    let map = map(&image, &[(0, 9)]);
    let longer = [&image[..], b"more"].concat();
    let (result, _) = to_file(mapped(map.clone()), Reluctant::new(&longer), Record::default());
    assert_eq!(result.unwrap(), 10_000, "reading stops after the last mapped byte");
    let (result, _) =
        to_file(Plan::mapped(map.clone(), Verify::Skip, Unmapped::Keep), Reluctant::new(&longer), Record::default());
    assert!(matches!(*result.unwrap_err(), Error::GoesOn { expected: 3_500_000 }));
    let plan = Plan::mapped(map, Verify::Skip, Unmapped::Keep);
    let (result, _) = to_file(plan, Reluctant::new(&image[..20_000]), Record::default());
    assert!(matches!(*result.unwrap_err(), Error::EndedEarly { at: 20_000, expected: 3_500_000 }));
}

#[test]
fn a_source_that_has_changed_its_size_is_not_followed() {
    let image = image(3_500_000);
    for (length, size) in [(3_500_000, 3_499_999), (3_500_000, 1_048_576), (3_499_999, 3_500_000), (0, 1)] {
        let (result, record) = to_file(sized(size), Reluctant::new(&image[..length]), Record::default());
        let error = result.unwrap_err();
        let is_told = match *error {
            Error::Grew { expected } => length as u64 > size && expected == size,
            Error::Shrank { at, expected } => (length as u64) < size && (at, expected) == (length as u64, size),
            _ => false,
        };
        assert!(is_told, "{error}");
        assert_eq!(record.contents.len() as u64, size.min(length as u64));
    }
}

#[test]
fn failures_of_the_source_and_the_target_are_located() {
    let image = image(3_500_000);
    let mut source = Reluctant::new(&image);
    source.fails_at = Some(1_234_567);
    let (result, _) = to_file(Plan::whole(), source, Record::default());
    assert!(matches!(*result.unwrap_err(), Error::Read { offset: 1_048_576, .. }));

    let (result, _) = to_file(Plan::whole(), Reluctant::new(&image), Record { failing: 2..3, ..Record::default() });
    assert!(matches!(*result.unwrap_err(), Error::Write { offset: 2_097_152, .. }));

    let record = Record { contents: vec![0; 3_000_000], ..Record::default() };
    let (result, _) = to_file(Plan::whole(), Reluctant::new(&image), record);
    assert!(matches!(*result.unwrap_err(), Error::Full { capacity: 3_000_000 }));
}
