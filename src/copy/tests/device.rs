//! What is done to a device, in which order, and what is left of it after an error.

use super::*;

#[test]
fn zeroes_then_data_then_the_boot_region() {
    let start = [Prepare, Write(0, MIB), Sync];
    let end = [Sync, Write(0, MIB), Sync, Finish(Complete)];
    let cases: [(u64, &[Operation]); 4] = [
        (3 * MIB - 100, &[Write(MIB, MIB), Write(2 * MIB, MIB - 100)]),
        (MIB + 1, &[Write(MIB, 1)]),
        (MIB, &[]),
        (10_000, &[]),
    ];
    for (size, data) in cases {
        let (verdict, record) = to_device(sized(size), &image(size), Record::device());
        assert_eq!(verdict.unwrap().bytes, size);
        assert_eq!(record.operations, [&start, data, &end].concat(), "{size} bytes");
        // What the image leaves out is what it was.
        let mut expected = image(size);
        expected.resize(8 * MIB as usize, 0xff);
        assert!(record.contents == expected, "{size} bytes");
    }
}

#[test]
fn holes_are_kept_zeroed_or_discarded() {
    let image = image(3 * MIB);
    let blocks = (3 * MIB).div_ceil(BLOCK);
    // Holes at the start, across the end of the boot region, and at the end of the image.
    let map = map(&image, &[(10, 99), (1100, 1999), (2100, blocks - 100)]);
    let (hole, end) = (1_100_000 - MIB, (blocks - 99) * BLOCK);
    let data = [Write(1_100_000, 900_000), Write(2_100_000, end - 2_100_000)];
    let start = [Write(0, MIB), Sync];
    let boot = [Sync, Write(0, MIB), Sync, Finish(Complete)];
    let cases = [
        (Unmapped::Keep, [&[Prepare][..], &start, &data, &boot].concat(), 0xff, 0xff),
        (
            Unmapped::Zero,
            [
                &[Prepare][..],
                &start,
                &[Zero(MIB, hole), data[0], Zero(2_000_000, 100_000), data[1], Zero(end, 3 * MIB - end)],
                &boot,
            ]
            .concat(),
            0,
            0xff,
        ),
        (
            Unmapped::Discard,
            [
                &[Discard(0, 10_000), Discard(100_000, 1_000_000), Discard(2_000_000, 100_000)][..],
                &[Discard(end, 3 * MIB - end), Discard(3 * MIB, 5 * MIB), Prepare],
                &start,
                &data,
                &boot,
            ]
            .concat(),
            0xdd,
            0xdd,
        ),
    ];
    for (unmapped, operations, in_holes, after) in cases {
        let plan = Plan::mapped(map.clone(), Verify::Checksums, unmapped);
        let (verdict, record) = to_device(plan, &image, Record::device());
        assert_eq!(verdict.unwrap().bytes, map.mapped_bytes());
        let (reads, others): (Vec<_>, Vec<_>) =
            record.operations.iter().copied().partition(|operation| matches!(operation, ReadAt(..)));
        assert_eq!(others, operations, "{unmapped:?}");
        // One look is enough to see that it is not zero.
        assert_eq!(reads.len(), usize::from(unmapped == Unmapped::Discard));
        let mut expected = vec![in_holes; 3 * MIB as usize];
        expected.resize(8 * MIB as usize, after);
        if unmapped == Unmapped::Discard {
            expected[..MIB as usize].fill(0); // written with the boot region
        }
        for range in map.ranges() {
            let bytes = range.bytes.start as usize..range.bytes.end as usize;
            expected[bytes.clone()].copy_from_slice(&image[bytes]);
        }
        assert!(record.contents == expected, "{unmapped:?}");
    }
}

#[test]
fn long_ranges_are_cut_so_that_a_signal_is_noticed() {
    let image = image(20 * MIB);
    let blocks = (20 * MIB).div_ceil(BLOCK);
    let plan = Plan::mapped(map(&image, &[(0, 1999), (blocks - 10, blocks - 1)]), Verify::Checksums, Unmapped::Zero);
    let record = Record { contents: vec![0xff; 24 * MIB as usize], ..Record::default() };
    let (verdict, record) = to_device(plan, &image, record);
    assert!(verdict.is_ok());
    let zeroes: Vec<_> = record.operations.iter().filter(|operation| matches!(operation, Zero(..))).collect();
    let last = (blocks - 10) * BLOCK;
    let mut expected = vec![Zero(2_000_000, 4 * MIB - 2_000_000)];
    expected.extend((1..4).map(|stride| Zero(stride * 4 * MIB, 4 * MIB)));
    expected.push(Zero(16 * MIB, last - 16 * MIB));
    assert_eq!(zeroes, expected.iter().collect::<Vec<_>>());
}

#[test]
fn a_device_gets_no_empty_image() {
    for plan in [sized(0), Plan::whole()] {
        let (verdict, record) = to_device(plan.clone(), &[], Record::device());
        assert!(matches!(*verdict.unwrap_err().error, Error::Empty));
        assert_eq!(record.operations.last(), Some(&Finish(Failed)));
        if plan.image_size() == Some(0) {
            assert_eq!(record.operations, [Finish(Failed)]);
            assert!(record.contents.iter().all(|&byte| byte == 0xff));
        }
        let (result, record) = to_file(plan, Reluctant::new(&[]), Record::default());
        assert_eq!((result.unwrap(), &record.operations[..]), (0, &[Prepare, Sync, Finish(Complete)][..]));
    }
}

#[test]
fn after_an_error_the_boot_region_is_zero_or_is_not_said_to_be() {
    let all = [Prepare, Write(0, MIB), Sync, Write(MIB, MIB), Write(2 * MIB, MIB), Sync, Write(0, MIB), Sync];
    for number in 0..7 {
        let failed = number + 1;
        let (verdict, record) = to_device(sized(3 * MIB), &image(3 * MIB), Record::failing(number..failed));
        let failure = verdict.unwrap_err();
        let mut expected = all[..=failed].to_vec();
        // Unless it was zero before.
        if !(3..6).contains(&failed) {
            expected.extend([Write(0, MIB), Sync]);
            assert_eq!(failure.state, TargetState::BootRegionCleared);
        } else {
            assert_eq!(failure.state, TargetState::BootRegionZero);
        }
        expected.push(Finish(Failed));
        assert_eq!(record.operations, expected);
        match (all[failed], &*failure.error) {
            (Write(offset, _), Error::Write { offset: told, .. }) => assert_eq!(offset, *told),
            (Sync, Error::Sync(_)) => {}
            (operation, error) => panic!("{operation:?}: {error:?}"),
        }
        assert!(record.boot_region_is_zero(), "{number}");
    }
    for number in 0..7 {
        let (verdict, _) = to_device(sized(3 * MIB), &image(3 * MIB), Record::failing(number..usize::MAX));
        let was_zero = (2..5).contains(&number);
        let state = if was_zero { TargetState::BootRegionZero } else { TargetState::MaybeBootable };
        assert_eq!(verdict.unwrap_err().state, state, "{number}");
    }
}

#[test]
fn a_device_that_cannot_discard_is_not_written_to() {
    let image = image(3 * MIB);
    let plan = Plan::mapped(map(&image, &[(10, 2000)]), Verify::Checksums, Unmapped::Discard);
    let unsupported = Record { error: Some(libc::ENOSYS), ..Record::failing(0..1) };
    let (verdict, record) = to_device(plan, &image, unsupported);
    assert!(matches!(*verdict.unwrap_err().error, Error::Discard { offset: 0, .. }));
    assert_eq!(record.operations, [Discard(0, 10_000), Finish(Failed)]);
    assert!(record.contents.iter().all(|&byte| byte == 0xff));
}

#[test]
fn a_device_that_fails_to_discard_does_not_look_valid() {
    let image = image(3 * MIB);
    let plan = Plan::mapped(map(&image, &[(10, 2000)]), Verify::Checksums, Unmapped::Discard);
    let discards = [Discard(0, 10_000), Discard(2_001_000, 3 * MIB - 2_001_000)];
    // A part of the one that fails may have been carried out.
    for (failed, at) in [(0, 0), (1, 2_001_000)] {
        for error in [None, Some(libc::ENOSYS)].into_iter().take(1 + failed) {
            let record = Record { error, ..Record::failing(failed..failed + 1) };
            let (verdict, record) = to_device(plan.clone(), &image, record);
            let failure = verdict.unwrap_err();
            assert!(matches!(*failure.error, Error::Discard { offset, .. } if offset == at), "{failure}");
            assert_eq!(failure.state, TargetState::BootRegionCleared);
            let end = [Write(0, MIB), Sync, Finish(Failed)];
            assert_eq!(record.operations, [&discards[..=failed], &end].concat());
            assert!(record.boot_region_is_zero());
        }
    }
}

#[test]
fn a_copy_that_is_stopped_before_its_boot_region_is_written_has_none() {
    for sync in [0, 1] {
        let cancel = Some((sync, Cancel::default()));
        let (verdict, record) = to_device(sized(2 * MIB), &image(2 * MIB), Record { cancel, ..Record::device() });
        let failure = verdict.unwrap_err();
        assert!(matches!(*failure.error, Error::Cancelled) && failure.state == TargetState::BootRegionZero);
        assert_eq!(record.operations.iter().filter(|&&operation| operation == Write(0, MIB)).count(), 1);
        assert_eq!(record.operations.last(), Some(&Finish(Failed)));
    }
    let cancel = Some((2, Cancel::default()));
    let (verdict, record) = to_device(sized(2 * MIB), &image(2 * MIB), Record { cancel, ..Record::device() });
    assert_eq!(
        (verdict.unwrap().bytes, record.operations.last()),
        (2 * MIB, Some(&Finish(Complete))),
        "it is complete"
    );
}

#[test]
fn a_boot_region_that_cannot_be_read_is_zero_where_the_image_has_nothing() {
    let (verdicts, records, witness) = copy_to(
        Kind::BlockDevice,
        sized(1000),
        Reluctant::new(&image(1000)),
        vec![Record { unreadable: true, ..Record::device() }],
    );
    assert!(one(verdicts).is_ok());
    assert_eq!(witness.0.lock().unwrap()[0], "1048576 unreadable");
    let mut expected = image(1000);
    expected.resize(MIB as usize, 0);
    assert!(one(records).contents[..MIB as usize] == expected);
}
