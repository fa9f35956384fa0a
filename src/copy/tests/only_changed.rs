//! Targets that hold some of the image already.

use super::*;
use crate::copy::WritePolicy;

const SIZE: u64 = 3 * MIB - 100;

/// What is written at once where one byte differs.
const UNIT: u64 = 64 << 10;

/// What is done to a device that holds all of the image.
const NOTHING: [Operation; 4] = [Prepare, Sync, ReadAt(0, MIB), Finish(Complete)];

/// A device that holds `image`, but for the bytes at `wrong`.
fn device(image: &[u8], wrong: &[u64]) -> Record {
    let mut record = Record::device();
    record.contents[..image.len()].copy_from_slice(image);
    wrong.iter().for_each(|&at| record.contents[at as usize] ^= 1);
    record
}

/// Copies what differs; reads back, if that is wanted.
fn changed_to(kind: Kind, image: Image, read_back: ReadBack, record: Record) -> (Verdict, Record) {
    let record = Arc::new(Mutex::new(record));
    let copy = Copy { write: WritePolicy::Changed, read_back, ..Copy::new(image, vec![sink(kind, &record)]) };
    let verdict = one(copy.run());
    let record = std::mem::take(&mut *record.lock().unwrap());
    (verdict, record)
}

fn image_of(plan: Plan, image: &[u8]) -> Image {
    Image { plan, reader: Box::new(Reluctant::new(image)), reopen: None, input: None, pipe: None, gpt_sectors: None }
}

fn changed(plan: Plan, image: &[u8], record: Record) -> (Verdict, Record) {
    changed_to(Kind::BlockDevice, image_of(plan, image), ReadBack::No, record)
}

fn plans(image: &[u8]) -> [Plan; 4] {
    let map = map(image, &[(0, SIZE.div_ceil(BLOCK) - 1)]);
    let skip = Plan::mapped(map.clone(), Verify::Skip, Unmapped::Keep);
    [mapped(map), skip, sized(SIZE), Plan::whole()]
}

#[test]
fn what_is_right_is_not_written() {
    let image = image(SIZE);
    let clear = [Prepare, Operation::Write(0, MIB), Sync];
    let boot = [Sync, Operation::Write(0, MIB), Sync, Finish(Complete)];
    let first = 2 * MIB + UNIT;
    let cases: [(&[u64], &[Operation], u64); 4] = [
        (&[2 * MIB + 70_000], &[Operation::Write(first, UNIT)], UNIT + MIB),
        (&[first - 1, first], &[Operation::Write(2 * MIB, 2 * UNIT)], 2 * UNIT + MIB),
        (
            &[2 * MIB - 1, 2 * MIB],
            &[Operation::Write(2 * MIB - UNIT, UNIT), Operation::Write(2 * MIB, UNIT)],
            2 * UNIT + MIB,
        ),
        (&[5, SIZE - 1], &[Operation::Write(3 * MIB - UNIT, UNIT - 100)], UNIT - 100 + MIB),
    ];
    for plan in plans(&image) {
        let (verdict, record) = changed(plan.clone(), &image, device(&image, &[]));
        let summary = verdict.unwrap();
        assert_eq!((summary.bytes, summary.written, summary.left_out), (SIZE, 0, 0));
        assert_eq!(record.operations, NOTHING);
        for (wrong, writes, written) in cases {
            let (verdict, record) = changed(plan.clone(), &image, device(&image, wrong));
            let summary = verdict.unwrap();
            assert_eq!((summary.bytes, summary.written), (SIZE, written), "{wrong:?}");
            assert_eq!(record.operations, [&clear, writes, &boot].concat(), "{wrong:?}");
            assert!(record.contents == device(&image, &[]).contents);
        }
    }
}

#[test]
fn where_only_the_boot_region_differs_nothing_else_is_written() {
    let image = image(SIZE);
    for plan in plans(&image) {
        let (verdict, record) = changed(plan, &image, device(&image, &[7]));
        assert_eq!(verdict.unwrap().written, MIB);
        let expected = [
            &[Prepare, Sync, ReadAt(0, MIB)][..],
            &[Operation::Write(0, MIB), Sync, Operation::Write(0, MIB), Sync, Finish(Complete)],
        ];
        assert_eq!(record.operations, expected.concat());
        assert!(record.contents == device(&image, &[]).contents);
    }
}

#[test]
fn what_is_zero_of_the_boot_region_is_neither_zeroed_nor_written() {
    let image = image(SIZE);
    let plan = || mapped(map(&image, &[(10, 19), (1100, 3100)]));
    let cases = [
        (0..0, None, (8192, 20_480)),
        (9000..12_000, Some(Operation::Write(8192, 4096)), (8192, 20_480)),
        (4095..9000, Some(Operation::Write(0, 12_288)), (0, 20_480)),
    ];
    for (not_zero, clear, (start, end)) in cases {
        let mut record = device(&image, &[3_000_000]);
        record.contents[..MIB as usize].fill(0);
        record.contents[not_zero].fill(7);
        let mut expected = record.contents.clone();
        expected[10_000..20_000].copy_from_slice(&image[10_000..20_000]);
        expected[3_000_000] ^= 1;
        let (verdict, record) = changed(plan(), &image, record);
        assert!(verdict.is_ok() && record.contents == expected);
        let unit = Operation::Write(3_000_000 / UNIT * UNIT, UNIT);
        let begin = [Prepare].into_iter().chain(clear).chain([Sync, unit]);
        let boot = [Sync, Operation::Write(start, end - start), Sync, Finish(Complete)];
        assert_eq!(record.operations, begin.chain(boot).collect::<Vec<_>>());
    }
}

#[test]
fn a_boot_region_that_comes_back_wrong_is_written_whole() {
    let image = image(SIZE);
    let plan = mapped(map(&image, &[(10, 19), (1100, 3100)]));
    let mut record = device(&image, &[3_000_000]);
    record.contents[..MIB as usize].fill(0);
    let mut left = 1;
    let lie: Lie = Box::new(move |offset, mut data| {
        if offset == 8192 && left > 0 {
            left -= 1;
            data.rotate_left(5);
        }
        Some((offset, data))
    });
    let record = Record { lie: Some(lie), ..record };
    let (verdict, record) = changed_to(Kind::BlockDevice, image_of(plan, &image), ReadBack::Yes, record);
    assert!(verdict.is_ok());
    assert!(record.operations.contains(&Operation::Write(0, MIB)), "{:?}", record.operations);
    assert!(record.contents[10_000..20_000] == image[10_000..20_000]);
}

#[test]
fn what_cannot_be_read_is_written() {
    let image = image(SIZE);
    let (verdict, record) = changed(sized(SIZE), &image, Record { unreadable: true, ..device(&image, &[]) });
    assert_eq!(verdict.unwrap().written, SIZE);
    let (_, expected) = to_device(sized(SIZE), &image, Record::device());
    assert_eq!(record.operations, expected.operations);
}

#[test]
fn a_target_that_ends_within_the_image_is_written_from_there_on() {
    let image = image(SIZE);
    for plan in [sized(SIZE), Plan::whole()] {
        let record = Record { contents: image[..SIZE as usize - 10].to_vec(), ..Record::default() };
        let (verdict, record) = changed_to(Kind::RegularFile, image_of(plan, &image), ReadBack::No, record);
        assert_eq!(
            verdict.unwrap_err().error.to_string(),
            "the image does not fit: it goes on after the 3145618 bytes that the target can hold"
        );
        assert_eq!(record.operations.last(), Some(&Finish(Failed)));
    }
}

#[test]
fn a_wrong_image_leaves_a_device_that_holds_it_as_it_was() {
    let right = image(SIZE);
    let plan = mapped(map(&right, &[(0, 1999), (2000, 3100)]));
    let mut wrong = right.clone();
    wrong[2_500_000] ^= 1;
    let (verdict, record) = changed(plan.clone(), &wrong, device(&wrong, &[]));
    assert!(matches!(*verdict.unwrap_err().error, Error::Mismatch { .. }));
    assert_eq!(record.operations, [Prepare, Finish(Failed)]);
    let (verdict, record) = changed(plan, &right[..2_900_000], device(&right, &[]));
    assert!(matches!(*verdict.unwrap_err().error, Error::EndedEarly { .. }));
    assert_eq!(record.operations, [Prepare, Finish(Failed)]);
}

#[test]
fn holes_are_zeroed_where_they_are_not_zero() {
    let image = image(6 * MIB);
    let blocks = (6 * MIB).div_ceil(BLOCK);
    let map = map(&image, &[(0, 1099), (blocks - 10, blocks - 1)]);
    let plan = Plan::mapped(map, Verify::Checksums, Unmapped::Zero);
    let (_, plain) = to_device(plan.clone(), &image, Record::device());
    let (verdict, record) = changed(plan.clone(), &image, Record { operations: Vec::new(), ..plain });
    let summary = verdict.unwrap();
    assert_eq!((summary.written, summary.zeroed, &record.operations[..]), (0, 0, &NOTHING[..]));
    let mut dirty = Record { operations: Vec::new(), ..record };
    dirty.contents[4 * MIB as usize + 3] = 1;
    let (verdict, record) = changed(plan, &image, dirty);
    assert_eq!(verdict.unwrap().zeroed, UNIT);
    assert!(record.operations.contains(&Zero(4 * MIB, UNIT)), "{:?}", record.operations);
    assert_eq!(record.operations.iter().filter(|operation| matches!(operation, Zero(..))).count(), 1);
}

#[test]
fn what_is_zeroed_counts_as_done() {
    const HOLE: u64 = 20 * MIB;
    let image = image(HOLE + MIB);
    let blocks = (HOLE + MIB).div_ceil(BLOCK);
    let map = map(&image, &[(0, 99), (HOLE / BLOCK + 1, blocks - 1)]);
    let total = map.image_size();
    let plan = Plan::mapped(map, Verify::Checksums, Unmapped::Zero);
    for write in [WritePolicy::All, WritePolicy::Changed] {
        let record = Arc::new(Mutex::new(Record { contents: vec![7; 24 * MIB as usize], ..Record::default() }));
        let witness = Arc::new(Witness::default());
        let observer = Arc::clone(&witness) as Arc<dyn Observer>;
        let sinks = vec![sink(Kind::BlockDevice, &record)];
        let copy = Copy { write, observer, ..Copy::new(image_of(plan.clone(), &image), sinks) };
        assert!(one(copy.run()).is_ok());
        let told = witness.0.lock().unwrap();
        let done = told.iter().filter_map(|words| words.strip_suffix(&format!(" of Some({total})")));
        let done: Vec<u64> = done.map(|words| words.strip_prefix("0 ").unwrap().parse().unwrap()).collect();
        assert!(done.is_sorted() && done.ends_with(&[total]), "{done:?}");
        assert!(done.windows(2).all(|pair| pair[1] - pair[0] <= 4 * MIB), "{done:?}");
    }
}

#[test]
fn a_device_is_discarded_and_zeroed_before_it_is_compared() {
    let image = image(SIZE);
    let plan = Plan::mapped(map(&image, &[(0, 1999)]), Verify::Checksums, Unmapped::Discard);
    let (verdict, record) = changed(plan, &image, device(&image, &[]));
    let summary = verdict.unwrap();
    assert_eq!((summary.written, summary.zeroed, summary.discarded), (MIB, 0, 8 * MIB - 2_000_000));
    let (hole, after) = (Discard(2_000_000, SIZE - 2_000_000), Discard(SIZE, 8 * MIB - SIZE));
    let boot = Operation::Write(0, MIB);
    // The last read asks for one of the discarded blocks, to say what they read as.
    let sample = Operation::Read(2_049_152, 4096);
    assert_eq!(record.operations, [hole, after, Prepare, boot, Sync, Sync, boot, Sync, sample, Finish(Complete)]);
}

#[test]
fn what_was_written_is_read_back_and_wrong_bytes_are_written_again() {
    let image = image(SIZE);
    let again = image.clone();
    let reopen: plan::Reopen = Box::new(move |_| Ok(Box::new(Reluctant::new(&again))));
    let source = Image { reopen: Some(reopen), ..image_of(sized(SIZE), &image) };
    let mut left = 1;
    let lie: Lie = Box::new(move |offset, mut data| {
        if offset > MIB && left > 0 {
            left -= 1;
            data[5] ^= 1;
        }
        Some((offset, data))
    });
    let record = Record { lie: Some(lie), ..device(&image, &[2 * MIB + 9]) };
    let (verdict, record) = changed_to(Kind::BlockDevice, source, ReadBack::Yes, record);
    assert_eq!(verdict.unwrap().written, UNIT + MIB);
    assert!(record.operations.contains(&Operation::Write(2 * MIB, MIB - 100)), "{:?}", record.operations);
    assert!(record.contents == device(&image, &[]).contents);
}

#[test]
fn holes_of_a_file_that_are_zeroed_again_are_read_back() {
    let image = image(SIZE);
    let plan = mapped(map(&image, &[(0, 999), (2000, 2499)]));
    for arrives in [true, false] {
        let lie: Lie = Box::new(move |offset, data| (arrives || data[0] != 0).then_some((offset, data)));
        let record = Record { lie: Some(lie), ..device(&image, &[]) };
        let (verdict, record) = changed_to(Kind::RegularFile, image_of(plan.clone(), &image), ReadBack::Yes, record);
        assert_eq!(verdict.is_ok(), arrives);
        let state = record.operations.last();
        assert_eq!(state, Some(&Finish(if arrives { Complete } else { Failed })));
    }
}

#[test]
fn a_pass_for_a_file_and_a_device_zeroes_the_holes_of_the_file_again() {
    let image = image(SIZE);
    let again = image.clone();
    let reopen: plan::Reopen = Box::new(move |_| Ok(Box::new(Reluctant::new(&again))));
    let plan = mapped(map(&image, &[(0, 999), (2000, 2499)]));
    // The device needs both further passes. In the file, neither hole is zeroed in the first pass.
    let (mut wrong, mut lost) = (2, 2);
    let flips: Lie = Box::new(move |offset, mut data| {
        if offset > MIB && wrong > 0 {
            wrong -= 1;
            data[0] ^= 1;
        }
        Some((offset, data))
    });
    let loses: Lie = Box::new(move |offset, data| {
        let arrives = data[0] != 0 || lost == 0;
        lost -= usize::from(!arrives);
        arrives.then_some((offset, data))
    });
    let device_record = Arc::new(Mutex::new(Record { lie: Some(flips), ..device(&image, &[2_000_100]) }));
    let file_record = Arc::new(Mutex::new(Record { lie: Some(loses), ..device(&image, &[]) }));
    let sinks = vec![sink(Kind::BlockDevice, &device_record), sink(Kind::RegularFile, &file_record)];
    let source = Image { reopen: Some(reopen), ..image_of(plan, &image) };
    let verdicts = Copy { write: WritePolicy::Changed, read_back: ReadBack::Yes, ..Copy::new(source, sinks) }.run();
    assert!(verdicts.iter().all(Result::is_ok), "{verdicts:?}");
    assert!(file_record.lock().unwrap().contents[1_000_000..2_000_000].iter().all(|&byte| byte == 0));
}

#[test]
fn how_a_target_that_is_right_was_read_is_told_by_what_has_read_it() {
    let image = image(SIZE);
    let record = Arc::new(Mutex::new(device(&image, &[])));
    let witness = Arc::new(Witness::default());
    let (sinks, observer) = (vec![sink(Kind::RegularFile, &record)], witness.clone());
    let source = image_of(sized(SIZE), &image);
    one(Copy { write: WritePolicy::Changed, read_back: ReadBack::Yes, observer, ..Copy::new(source, sinks) }.run())
        .unwrap();
    let right = format!("0 {SIZE} right, AfterDrop");
    assert!(witness.0.lock().unwrap().contains(&right), "{:?}", witness.0);
}

#[test]
fn what_was_right_until_something_was_written_is_noticed() {
    let image = image(6 * MIB);
    let map = map(&image, &[(0, 9), (1100, 1199), (5295, 5394)]);
    // It wraps around after 4 MiB: the second range lies in the first, which is wrong.
    let mut contents = image.clone();
    contents[1_100_000..1_200_000].fill(7);
    contents.copy_within(5_295_000..5_395_000, 5_295_000 - 4 * MIB as usize);
    let wraps: Lie = Box::new(|offset, data| Some((offset % (4 * MIB), data)));
    let record = Record { contents, lie: Some(wraps), wraps_at: Some(4 * MIB), ..Record::default() };
    let again = image.clone();
    let reopen: plan::Reopen = Box::new(move |_| Ok(Box::new(Indexed(Reluctant::new(&again)))));
    let reader = Box::new(Indexed(Reluctant::new(&image)));
    let source = Image { reader, reopen: Some(reopen), ..image_of(mapped(map), &image) };
    let failure = changed_to(Kind::BlockDevice, source, ReadBack::Yes, record).0.unwrap_err();
    assert!(matches!(*failure.error, Error::Medium(_)), "{:?}", failure.error);
}

#[test]
fn what_is_left_out_of_the_boot_region_stays_there_when_its_holes_are_discarded() {
    let image = image(SIZE);
    let map = map(&image, &[(10, 19), (1100, 1199)]);
    let plan = Plan::mapped(map, Verify::Checksums, Unmapped::Discard);
    let (verdict, plain) = to_device(plan.clone(), &image, Record::device());
    assert!(verdict.is_ok());
    let (verdict, record) = changed_to(Kind::BlockDevice, indexed(plan, &image), ReadBack::No, device(&image, &[]));
    assert_eq!(verdict.unwrap().left_out, 110_000);
    assert!(record.contents == plain.contents);
}

#[test]
fn ranges_that_all_targets_hold_are_left_out_of_the_image() {
    let image = image(SIZE);
    let ranges = [(0, 999), (1000, 1499), (1500, 1999), (2100, 2999)];
    let map = map(&image, &ranges);
    // Wrong in the second range on one target, and in the third on the other; then in a hole; then nowhere.
    type Places = &'static [u64];
    type Ranges = &'static [(u64, u64)];
    let cases: [([Places; 2], Ranges, u64); 3] = [
        ([&[1_200_000], &[1_700_000]], &[(1_000_000, 1_500_000), (1_500_000, 2_000_000)], 1_900_000),
        ([&[2_000_500], &[]], &[], 2_900_000),
        ([&[], &[]], &[], 2_900_000),
    ];
    for (wrong, wanted, left_out) in cases {
        let asked: Arc<Mutex<Vec<ByteRange>>> = Arc::default();
        let (again, asked_for) = (image.clone(), Arc::clone(&asked));
        let reopen: plan::Reopen = Box::new(move |plan| {
            asked_for.lock().unwrap().extend(plan.writes());
            Ok(Box::new(Indexed(Reluctant::new(&again))))
        });
        let reader = Box::new(Indexed(Reluctant::new(&image)));
        let source = Image {
            plan: mapped(map.clone()),
            reader,
            reopen: Some(reopen),
            input: None,
            pipe: None,
            gpt_sectors: None,
        };
        let records = wrong.map(|wrong| Arc::new(Mutex::new(device(&image, wrong))));
        let sinks = records.iter().map(|record| sink(Kind::BlockDevice, record)).collect();
        let verdicts = Copy { write: WritePolicy::Changed, ..Copy::new(source, sinks) }.run();
        let asked: Vec<_> = asked.lock().unwrap().iter().map(|bytes| (bytes.start, bytes.end)).collect();
        assert_eq!(asked, wanted);
        for (verdict, (record, wrong)) in verdicts.into_iter().zip(records.iter().zip(wrong)) {
            let summary = verdict.unwrap();
            assert_eq!((summary.bytes, summary.left_out), (map.mapped_bytes(), left_out));
            let is_written = wrong.iter().any(|&at| at != 2_000_500);
            assert_eq!(summary.written > 0, is_written);
            let mut expected = device(&image, if is_written { &[] } else { wrong });
            assert!(record.lock().unwrap().contents == std::mem::take(&mut expected.contents));
        }
    }
}

#[test]
fn a_target_that_misreads_once_gets_the_image_nevertheless() {
    let image = image(SIZE);
    // The second range crosses the end of the boot region.
    let ranges = [(10, 19), (1000, 1199), (1300, 1399)];
    let plan = mapped(map(&image, &ranges));
    for misread in [15_000, 1_010_000, 1_100_000] {
        for time in 0..3 {
            let mut reads = 0;
            let misreads: Misread = Box::new(move |offset, data| {
                if (offset..offset + data.len() as u64).contains(&misread) {
                    data[(misread - offset) as usize] ^= u8::from(reads == time);
                    reads += 1;
                }
            });
            let record = Record { misreads: Some(misreads), ..device(&image, &[1_350_000]) };
            let (verdict, record) = changed_to(Kind::BlockDevice, indexed(plan.clone(), &image), ReadBack::No, record);
            verdict.unwrap();
            assert!(record.contents == device(&image, &[]).contents, "{misread}, read {time}");
        }
    }
}

#[test]
fn a_target_that_cannot_be_read_fails_alone_or_is_written_whole() {
    let image = image(SIZE);
    let map = map(&image, &[(0, 999), (1000, 2999)]);
    let wrong = &[2_500_000];
    for (unreadable, record) in [
        (true, Record { unreadable: true, ..device(&image, wrong) }),
        (false, Record { opens_once: true, ..device(&image, wrong) }),
    ] {
        let records = [device(&image, wrong), record, device(&image, wrong)].map(|record| Arc::new(Mutex::new(record)));
        let sinks = records.iter().map(|record| sink(Kind::BlockDevice, record)).collect();
        let verdicts =
            Copy { write: WritePolicy::Changed, ..Copy::new(indexed(mapped(map.clone()), &image), sinks) }.run();
        for good in [0, 2] {
            let summary = verdicts[good].as_ref().unwrap();
            assert_eq!(summary.left_out, if unreadable { 0 } else { 1_000_000 });
            assert!(records[good].lock().unwrap().contents == device(&image, &[]).contents);
        }
        let record = records[1].lock().unwrap();
        match &verdicts[1] {
            Ok(_) => assert!(unreadable && record.contents[..3_000_000] == image[..3_000_000]),
            Err(failure) => {
                assert!(!unreadable && matches!(*failure.error, Error::ReadTarget(_)), "{failure}");
                assert_eq!(record.operations, [Finish(Failed)]);
            }
        }
    }
}
