//! Media that do not hold what was written to them.

use super::*;

/// How the image is copied: with checksums that are compared, with some that are not, or without a map.
fn plans(image: &[u8], ranges: &[(u64, u64)]) -> Vec<Plan> {
    let map = map(image, ranges);
    let skip = Plan::mapped(map.clone(), Verify::Skip, Unmapped::Keep);
    let zero = Plan::mapped(map.clone(), Verify::Checksums, Unmapped::Zero);
    vec![mapped(map), skip, zero, sized(image.len() as u64), Plan::whole()]
}

fn again(image: &[u8]) -> Option<plan::Reopen> {
    let image = image.to_vec();
    Some(Box::new(move |_| Ok(Box::new(Reluctant::new(&image)))))
}

/// Copies to a device that lies, and reads back.
fn read_back(
    plan: &Plan,
    image: &[u8],
    reopen: Option<plan::Reopen>,
    lie: Option<Lie>,
) -> (Verdict, Record, Vec<String>) {
    read_back_from(
        plan,
        image,
        reopen,
        Record { lie, contents: vec![0xff; image.len().max(8 << 20)], ..Record::default() },
    )
}

/// Copies to a device, and reads back.
fn read_back_from(
    plan: &Plan,
    image: &[u8],
    reopen: Option<plan::Reopen>,
    record: Record,
) -> (Verdict, Record, Vec<String>) {
    let record = Arc::new(Mutex::new(record));
    let witness = Arc::new(Witness::default());
    let image = Image {
        plan: plan.clone(),
        reader: Box::new(Reluctant::new(image)),
        reopen,
        input: None,
        pipe: None,
        gpt_sectors: None,
    };
    let sinks = vec![sink(Kind::BlockDevice, &record)];
    let copy = Copy { read_back: ReadBack::Yes, observer: witness.clone(), ..Copy::new(image, sinks) };
    let verdict = one(copy.run());
    let told = witness.0.lock().unwrap().iter().filter(|words| !words.contains(" of ")).cloned().collect();
    let record = std::mem::take(&mut *record.lock().unwrap());
    (verdict, record, told)
}

fn damage(verdict: Verdict) -> Damage {
    match verdict.unwrap_err().error.as_ref() {
        Error::Medium(damage) => damage.clone(),
        error => panic!("{error:?}"),
    }
}

/// Flips a bit of the byte at `at`, in the first `times` writes of the image that have it: none of its bytes is zero.
fn flip(at: u64, times: usize) -> Option<Lie> {
    let mut left = times;
    Some(Box::new(move |offset, mut data| {
        let index = at.wrapping_sub(offset) as usize;
        if index < data.len() && data[index] != 0 && left > 0 {
            left -= 1;
            data[index] ^= 4;
        }
        Some((offset, data))
    }))
}

const RANGES: [(u64, u64); 3] = [(0, 1999), (2500, 3999), (4500, 5000)];

#[test]
fn all_is_read_before_the_boot_region_is_written_and_then_that() {
    let image = image(3 * MIB - 100);
    let (verdict, record, told) = read_back(&sized(3 * MIB - 100), &image, None, None);
    assert_eq!(verdict.unwrap().bytes, 3 * MIB - 100);
    let (second, third) = ((MIB, MIB), (2 * MIB, MIB - 100));
    let expected = [
        &[Prepare, Write(0, MIB), Sync, Write(second.0, second.1), Write(third.0, third.1), Sync][..],
        &[ReadAt(second.0, second.1), ReadAt(third.0, third.1), ReadAt(0, MIB)],
        &[Write(0, MIB), Sync, ReadAt(0, MIB)],
        &[Finish(Complete)],
    ];
    assert_eq!(record.operations, expected.concat());
    let right = format!("0 {} right, Direct", 3 * MIB - 100);
    assert_eq!(told, ["0 Copying", "0 Synchronizing", "0 Verifying", &right, "0 Complete"]);
}

#[test]
fn what_a_medium_got_wrong_once_is_written_again() {
    let image = image(5 * MIB);
    for (number, plan) in plans(&image, &RANGES).iter().enumerate() {
        for times in [1, 2] {
            let (verdict, record, told) = read_back(plan, &image, again(&image), flip(3_600_000, times));
            assert!(verdict.is_ok(), "{number}: {:?}", verdict.unwrap_err().error);
            for range in map(&image, &RANGES).ranges() {
                let bytes = range.bytes.start as usize..range.bytes.end as usize;
                assert!(record.contents[bytes.clone()] == image[bytes], "{number}");
            }
            // The MiB that it lies in, and no more.
            let writes = record.operations.iter().filter(|operation| matches!(operation, Write(3_145_728, _)));
            assert_eq!(writes.count(), 1 + times, "{number}: {:?}", record.operations);
            let others = record.operations.iter().filter(|operation| matches!(operation, Write(MIB, _)));
            assert_eq!(others.count(), 1, "{number}: {:?}", record.operations);
            assert_eq!(told.iter().filter(|words| words.ends_with("again")).count(), times, "{told:?}");
        }
    }
}

#[test]
fn a_medium_that_stays_wrong_is_at_fault() {
    let image = image(5 * MIB);
    for (number, plan) in plans(&image, &RANGES).iter().enumerate() {
        for (reopen, retries) in [(again(&image), 2), (None, 0)] {
            let (verdict, record, told) = read_back(plan, &image, reopen, flip(3_600_000, 9));
            let state = verdict.as_ref().unwrap_err().state;
            let damage = damage(verdict);
            assert_eq!((damage.count, damage.places.len(), state), (1, 1, TargetState::BootRegionCleared));
            let place = &damage.places[0];
            assert!(place.bytes.start >= 3 * MIB && place.bytes.end <= 4 * MIB, "{place:?}");
            assert!(place.bytes.overlaps(ByteRange { start: 3_600_000, end: 3_600_001 }), "{place:?}");
            assert!(place.digests.is_some() && place.looks == Looks::Unknown);
            let blocks = place.blocks.map(|blocks| blocks.to_string());
            assert_eq!(blocks.as_deref(), [Some("2500-3999"), None, Some("2500-3999"), None, None][number]);
            assert!(record.contents[..MIB as usize].iter().all(|&byte| byte == 0), "it is not bootable");
            assert_eq!(told.iter().filter(|words| words.ends_with("again")).count(), retries, "{told:?}");
        }
    }
}

#[test]
fn what_wrong_bytes_look_like_is_told() {
    let image = image(6 * MIB);
    let ranges = [(0, (6 * MIB).div_ceil(BLOCK) - 1)];
    type Store = fn(u64, Vec<u8>) -> Option<(u64, Vec<u8>)>;
    let at = |wanted: u64, store: Store| -> Option<Lie> {
        Some(Box::new(move |offset, data| if offset == wanted { store(offset, data) } else { Some((offset, data)) }))
    };
    for plan in plans(&image, &ranges) {
        let looks = |lie| {
            let damage = damage(read_back(&plan, &image, None, lie).0);
            damage.places.iter().map(|place| (place.bytes.start / MIB, place.looks)).collect::<Vec<_>>()
        };
        // The device was full of 0xff.
        assert_eq!(looks(at(3 * MIB, |_, _| None)), [(3, Looks::Ones)]);
        assert_eq!(looks(at(3 * MIB, |at, data| Some((at, vec![0; data.len()])))), [(3, Looks::Zeroes)]);
        // A write that went to the next MiB is overwritten there; one that went to the MiB before is not.
        assert_eq!(looks(at(3 * MIB, |at, data| Some((at + MIB, data)))), [(3, Looks::Ones)]);
        let both = [(2, Looks::Displaced(MIB as i64)), (3, Looks::Ones)];
        assert_eq!(looks(at(3 * MIB, |at, data| Some((at - MIB, data)))), both);
    }
}

#[test]
fn a_boot_region_that_comes_back_wrong_is_written_again_or_zeroed() {
    let image = image(3 * MIB);
    for plan in plans(&image, &[(10, 2999)]) {
        let (verdict, record, _) = read_back(&plan, &image, None, flip(77_777, 1));
        assert!(verdict.is_ok() && record.contents[77_777] == image[77_777]);
        assert_eq!(record.operations.iter().filter(|&&operation| operation == Write(0, MIB)).count(), 3);

        let (verdict, record, _) = read_back(&plan, &image, again(&image), flip_always(77_777));
        let failure = verdict.unwrap_err();
        assert!(matches!(*failure.error, Error::Medium(_)) && failure.state == TargetState::BootRegionCleared);
        assert_eq!(record.operations.iter().filter(|&&operation| operation == Write(0, MIB)).count(), 5);
        assert!(record.contents[..MIB as usize].iter().all(|&byte| byte == 0));
    }
}

fn flip_always(at: u64) -> Option<Lie> {
    flip(at, usize::MAX)
}

#[test]
fn an_image_that_changes_between_passes_is_not_taken_for_a_fault_of_the_medium() {
    let image = image(5 * MIB);
    let mut other = image.clone();
    other[3_700_000] ^= 1;
    for (number, plan) in plans(&image, &RANGES).iter().enumerate() {
        let error = read_back(plan, &image, again(&other), flip_always(3_600_000)).0.unwrap_err().error;
        match &*error {
            Error::Mismatch { .. } => assert!([0, 2].contains(&number)),
            Error::Changed { offset: 3_145_728 } => assert!([1, 3, 4].contains(&number)),
            error => panic!("{number}: {error:?}"),
        }
    }
}

#[test]
fn what_cannot_be_read_back_is_written_again_and_else_named() {
    let image = image(5 * MIB);
    let bad = |error, times| Record { bad: Some((3_600_000, error, times)), ..Record::device() };
    for (number, plan) in plans(&image, &RANGES).iter().enumerate() {
        let (verdict, record, told) = read_back_from(plan, &image, again(&image), bad(libc::EIO, 2));
        assert!(verdict.is_ok(), "{number}: {:?}", verdict.unwrap_err().error);
        let writes = record.operations.iter().filter(|operation| matches!(operation, Write(3_145_728, _)));
        assert_eq!(writes.count(), 3, "{number}: {:?}", record.operations);
        assert_eq!(told.iter().filter(|words| words.ends_with("again")).count(), 2, "{told:?}");

        let damage = damage(read_back_from(plan, &image, again(&image), bad(libc::ENODATA, usize::MAX)).0);
        let place = one(damage.places);
        assert!(place.looks == Looks::Unreadable && place.digests.is_none(), "{place:?}");
        assert!(place.bytes.start >= 3 * MIB && place.bytes.end <= 4 * MIB, "{place:?}");

        // The device has gone.
        let failure = read_back_from(plan, &image, again(&image), bad(libc::ENODEV, usize::MAX)).0.unwrap_err();
        assert!(matches!(*failure.error, Error::ReadBack { offset: 3_600_000, .. }), "{:?}", failure.error);
        assert_eq!(failure.state, TargetState::BootRegionZero);
    }
}

#[test]
fn a_medium_of_which_nothing_can_be_read_is_not_read_to_its_end() {
    let image = image(20 * MIB);
    let map = map(&image, &[(0, (20 * MIB).div_ceil(BLOCK) - 1)]);
    for plan in [mapped(map), sized(20 * MIB)] {
        let record = Record { contents: vec![0xff; 20 << 20], unreadable: true, ..Record::default() };
        let (verdict, record, _) = read_back_from(&plan, &image, again(&image), record);
        let damage = damage(verdict);
        assert_eq!((damage.bytes, damage.extent), (16 * MIB, Extent::Part));
        assert_eq!(record.operations.iter().filter(|operation| matches!(operation, ReadAt(..))).count(), 16);
    }
}

#[test]
fn what_has_wrapped_around_into_the_boot_region_is_not_overwritten_by_it() {
    let image = image(8 * MIB);
    // 64 KiB at the start, and 4 KiB after 5 MiB, which is where it begins again.
    for plan in plans(&image, &[(0, 65), (5247, 5250)]) {
        let wraps: Lie = Box::new(|offset, data| Some((offset % (5 * MIB), data)));
        let record = Record { lie: Some(wraps), wraps_at: Some(5 * MIB), ..Record::device() };
        let (verdict, record, _) = read_back_from(&plan, &image, again(&image), record);
        assert_eq!(verdict.as_ref().unwrap_err().state, TargetState::BootRegionCleared);
        damage(verdict);
        assert!(record.contents[..MIB as usize].iter().all(|&byte| byte == 0));
    }
}

#[test]
fn what_a_part_of_a_mib_looks_like_is_told_of_that_part() {
    let image = image(3 * MIB);
    let plan = mapped(map(&image, &[(0, 99), (1100, 1199), (1300, 1399), (1400, 1499)]));
    let lie: Lie = Box::new(|offset, mut data| {
        match offset {
            1_100_000 => data[50] ^= 4,
            1_300_000 => data.fill(0),
            _ => {}
        }
        Some((offset, data))
    });
    let damage = damage(read_back(&plan, &image, None, Some(lie)).0);
    let places: Vec<_> = damage.places.iter().map(|place| (place.bytes.start, place.looks)).collect();
    assert_eq!(places, [(1_100_000, Looks::Unknown), (1_300_000, Looks::Zeroes)]);
}

#[test]
fn a_medium_with_thousands_of_wrong_places_is_not_read_to_its_end() {
    let image = image(12 * MIB);
    let ranges: Vec<_> = (0..12 * MIB / BLOCK).step_by(2).map(|block| (block, block)).collect();
    let plan = Plan::mapped(map(&image, &ranges), Verify::Checksums, Unmapped::Zero);
    let drops_zeroes: Lie = Box::new(|offset, data| data.iter().any(|&byte| byte != 0).then_some((offset, data)));
    let (verdict, record, _) = read_back(&plan, &image, again(&image), Some(drops_zeroes));
    let damage = damage(verdict);
    // A MiB has 524 holes: the 4096th lies in the eighth after the boot region.
    assert!((4096..4096 + 524).contains(&damage.count) && damage.extent == Extent::Part, "{damage:?}");
    let reads = |operation: &&Operation| matches!(operation, ReadAt(..));
    assert_eq!(record.operations.iter().filter(reads).count(), 8, "nor copied again");
}

#[test]
fn zeroes_that_did_not_arrive_are_zeroed_again() {
    let image = image(5 * MIB);
    let plan = Plan::mapped(map(&image, &RANGES), Verify::Checksums, Unmapped::Zero);
    for times in [1, 9] {
        let mut left = times;
        let lie: Lie = Box::new(move |offset, mut data| {
            if (offset..offset + data.len() as u64).contains(&2_222_222) && left > 0 {
                left -= 1;
                data[(2_222_222 - offset) as usize] = 7;
            }
            Some((offset, data))
        });
        let (verdict, record, _) = read_back(&plan, &image, again(&image), Some(lie));
        assert_eq!(verdict.is_ok(), times == 1);
        let zeroed = record.operations.iter().filter(|operation| matches!(operation, Zero(..))).count();
        assert_eq!(zeroed, if times == 1 { 5 } else { 6 }, "{:?}", record.operations);
    }
}

#[test]
fn what_a_retry_has_overwritten_is_noticed() {
    let image = image(8 * MIB);
    let plan = mapped(map(&image, &[(1100, 1999), (6300, 6400)]));
    // It wraps around after 5 MiB: the second range lies in the first.
    let wraps: Lie = Box::new(|offset, data| Some((offset % (5 * MIB), data)));
    let record = Record { lie: Some(wraps), wraps_at: Some(5 * MIB), ..Record::device() };
    let record = Arc::new(Mutex::new(record));
    let source = Image {
        plan,
        reader: Box::new(Reluctant::new(&image)),
        reopen: again(&image),
        input: None,
        pipe: None,
        gpt_sectors: None,
    };
    let copy = Copy { read_back: ReadBack::Yes, ..Copy::new(source, vec![sink(Kind::BlockDevice, &record)]) };
    assert!(matches!(*one(copy.run()).unwrap_err().error, Error::Medium(_)));
}

#[test]
fn targets_that_need_different_parts_again_share_one_pass() {
    let image = image(7 * MIB);
    for plan in plans(&image, &[(0, (7 * MIB).div_ceil(BLOCK) - 1)]) {
        let lies = [flip(2_500_000, 1), None, flip(5_500_000, 2), flip_always(6_500_000)];
        let records: Vec<_> =
            lies.into_iter().map(|lie| Arc::new(Mutex::new(Record { lie, ..Record::device() }))).collect();
        let opened = Arc::new(Mutex::new(0));
        let (count, data) = (Arc::clone(&opened), image.clone());
        let reopen: plan::Reopen = Box::new(move |_| {
            *count.lock().unwrap() += 1;
            Ok(Box::new(Reluctant::new(&data)))
        });
        let reader = Box::new(Reluctant::new(&image));
        let source =
            Image { plan: plan.clone(), reader, reopen: Some(reopen), input: None, pipe: None, gpt_sectors: None };
        let sinks = records.iter().map(|record| sink(Kind::BlockDevice, record)).collect();
        let verdicts = Copy { read_back: ReadBack::Yes, ..Copy::new(source, sinks) }.run();
        for (number, verdict) in verdicts.into_iter().enumerate() {
            let record = records[number].lock().unwrap();
            assert_eq!(verdict.is_ok(), number < 3, "{number}");
            let is_right = record.contents[..7 << 20] == image;
            assert_eq!(is_right, number < 3, "{number}");
            // Three MiB at most were written again, each to the target that needed it.
            let writes = record.operations.iter().filter(|operation| matches!(operation, Write(MIB.., _))).count();
            assert_eq!(writes, 6 + [1, 0, 2, 2][number], "{number}: {:?}", record.operations);
        }
        assert_eq!(*opened.lock().unwrap(), 2);
    }
}
