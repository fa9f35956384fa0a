//! A GPT whose backup goes to the end of the device.

use super::*;
use crate::copy::boot_region::Last;
use crate::copy::{BackupGpt, WritePolicy};
use crate::partition::{RelocateError, Relocated, relocate};

const SIZE: u64 = 3 * MIB;

/// The size of the device.
const CAPACITY: u64 = 8 * MIB;

/// The entries and a header.
const BACKUP: u64 = 33 * 512;

const PLACE: u64 = CAPACITY - BACKUP;

/// An image with a GPT for sectors of 512 bytes, of which only the first 2000 bytes and what comes from 20 000 on are mapped:
/// the rest of its table is zero.
fn gpt_image() -> (Vec<u8>, Bmap) {
    let mut image = image(SIZE);
    image[..20_000].fill(0);
    image[446..462].copy_from_slice(&[0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0, 0, 0, 0]);
    image[458..462].copy_from_slice(&(SIZE as u32 / 512 - 1).to_le_bytes());
    image[510..512].copy_from_slice(&[0x55, 0xaa]);
    let mut header = [0; 92];
    let last = SIZE / 512 - 1;
    let numbers: [(usize, u64); 7] =
        [(8, 92 << 32 | 0x0001_0000), (24, 1), (32, last), (40, 34), (48, last - 33), (72, 2), (80, 128 << 32 | 128)];
    numbers.into_iter().for_each(|(at, number)| header[at..at + 8].copy_from_slice(&number.to_le_bytes()));
    header[..8].copy_from_slice(b"EFI PART");
    // A partition of the second MiB.
    image[1024..1056].fill(9);
    image[1056..1064].copy_from_slice(&2048_u64.to_le_bytes());
    image[1064..1072].copy_from_slice(&4095_u64.to_le_bytes());
    header[88..92].copy_from_slice(&crc32fast::hash(&image[1024..1024 + 16384]).to_le_bytes());
    let crc = crc32fast::hash(&header);
    header[16..20].copy_from_slice(&crc.to_le_bytes());
    image[512..604].copy_from_slice(&header);
    let map = map(&image, &[(0, 1), (20, 2500)]);
    (image, map)
}

fn relocating(plan: Plan, image: &[u8]) -> Plan {
    plan.with_backup_gpt(BackupGpt::AtDeviceEnd).of_head(&image[..MIB as usize])
}

/// A device, and what is done to it.
fn device(record: Record, sector_size: u32) -> (Box<dyn Sink>, Arc<Mutex<Record>>) {
    let record = Arc::new(Mutex::new(record));
    let capacity = record.lock().unwrap().contents.len() as u64;
    let info = SinkInfo {
        capacity: Some(capacity),
        boot_region: MIB,
        sector_size: Some(sector_size),
        ..SinkInfo::of(Kind::BlockDevice)
    };
    (Box::new(Recorder { info, record: Arc::clone(&record) }), record)
}

fn open(plan: Plan, image: &[u8]) -> Image {
    let again = image.to_vec();
    let reopen: plan::Reopen = Box::new(move |_| Ok(Box::new(Reluctant::new(&again))));
    let reader = Box::new(Reluctant::new(image));
    Image { plan, reader, reopen: Some(reopen), input: None, pipe: None, gpt_sectors: None }
}

fn copy(plan: Plan, image: &[u8], write: WritePolicy, read_back: ReadBack, record: Record) -> (Verdict, Record) {
    let (sink, record) = device(record, 512);
    let verdict = one(Copy { write, read_back, ..Copy::new(open(plan, image), vec![sink]) }.run());
    let record = std::mem::take(&mut *record.lock().unwrap());
    (verdict, record)
}

/// What a device has that was full of 0xff.
fn expected(image: &[u8], map: Option<&Bmap>) -> Vec<u8> {
    let mut device = vec![0xff; CAPACITY as usize];
    match map {
        Some(map) => map.ranges().map(|range| range.bytes.start as usize..range.bytes.end as usize).for_each(|bytes| {
            device[bytes.clone()].copy_from_slice(&image[bytes]);
        }),
        None => device[..image.len()].copy_from_slice(image),
    }
    // The table is whole, whatever of it is a hole; what follows it is not.
    device[..1024 + 16384].copy_from_slice(&image[..1024 + 16384]);
    let backup = relocate(&mut device[..MIB as usize], 512, CAPACITY).unwrap();
    device[PLACE as usize..].copy_from_slice(&backup.bytes);
    device
}

fn plans(image: &[u8], map: &Bmap) -> Vec<(Plan, Vec<u8>)> {
    let mut plans = Vec::new();
    for (verify, unmapped) in [(Verify::Checksums, Unmapped::Keep), (Verify::Skip, Unmapped::Keep)] {
        plans.push((Plan::mapped(map.clone(), verify, unmapped), expected(image, Some(map))));
    }
    plans.extend([sized(SIZE), Plan::whole()].map(|plan| (plan, expected(image, None))));
    plans.into_iter().map(|(plan, expected)| (relocating(plan, image), expected)).collect()
}

#[test]
fn the_backup_is_written_after_all_the_rest_and_before_the_boot_region() {
    let (image, map) = gpt_image();
    for (plan, expected) in plans(&image, &map) {
        for read_back in [ReadBack::No, ReadBack::Yes] {
            let (verdict, record) = copy(plan.clone(), &image, WritePolicy::All, read_back, Record::device());
            verdict.unwrap();
            assert!(record.contents == expected, "{plan:?}");
            let writes: Vec<_> =
                record.operations.into_iter().filter(|operation| !matches!(operation, ReadAt(..))).collect();
            // Only what is read back must be found to be zero.
            let clear_backup = (read_back == ReadBack::Yes).then_some(Operation::Write(PLACE, BACKUP));
            let begin = [Prepare, Operation::Write(0, MIB), Sync].into_iter().chain(clear_backup);
            assert!(writes.iter().copied().zip(begin).all(|(found, expected)| found == expected), "{writes:?}");
            let end = [Sync, Operation::Write(PLACE, BACKUP), Sync, Operation::Write(0, MIB), Sync, Finish(Complete)];
            assert_eq!(writes[writes.len() - 6..], end);
        }
    }
}

#[test]
fn a_copy_that_fails_at_any_write_leaves_no_boot_region() {
    let (image, map) = gpt_image();
    let plan = relocating(mapped(map), &image);
    let all = [
        Operation::Write(0, MIB),
        Sync,
        Operation::Write(MIB, MIB),
        Operation::Write(2 * MIB, 2_501_000 - 2 * MIB),
        Sync,
        Operation::Write(PLACE, BACKUP),
        Sync,
        Operation::Write(0, MIB),
        Sync,
    ];
    for number in 0..all.len() {
        let (verdict, record) =
            copy(plan.clone(), &image, WritePolicy::All, ReadBack::No, Record::failing(number..number + 1));
        let failure = verdict.unwrap_err();
        assert_eq!(record.operations[1..=number + 1], all[..=number]);
        assert!(record.boot_region_is_zero(), "{number}");
        let was_zero = (2..7).contains(&number);
        let state = if was_zero { TargetState::BootRegionZero } else { TargetState::BootRegionCleared };
        assert_eq!(failure.state, state, "{number}");
    }
    let (verdict, _) = copy(plan.clone(), &image, WritePolicy::All, ReadBack::No, Record::failing(9..10));
    assert!(verdict.is_ok(), "there are no more");
}

/// Whatever is written, and what becomes of the holes. The device holds most of the image already.
#[test]
fn a_copy_that_ends_anywhere_leaves_no_boot_region_unless_it_is_complete() {
    let (image, _) = gpt_image();
    let map = map(&image, &[(0, 1), (20, 60), (1100, 1200), (2400, 2500)]);
    let mut before = expected(&image, Some(&map));
    // In the header, the image, and the backup.
    [513, 1_150_000, 2_450_000, PLACE + 9].into_iter().for_each(|wrong| before[wrong as usize] ^= 1);
    let device_with = |record: Record| Record { contents: before.clone(), ..record };
    for (write, unmapped) in [WritePolicy::All, WritePolicy::Changed]
        .into_iter()
        .flat_map(|write| [Unmapped::Keep, Unmapped::Discard].map(|unmapped| (write, unmapped)))
    {
        let plan = relocating(Plan::mapped(map.clone(), Verify::Checksums, unmapped), &image);
        let run = |record: Record, cancel: Cancel| {
            let (sink, record) = device(device_with(record), 512);
            let verdict = one(Copy { write, cancel, ..Copy::new(open(plan.clone(), &image), vec![sink]) }.run());
            let record = std::mem::take(&mut *record.lock().unwrap());
            (verdict, record)
        };
        let (verdict, whole) = run(Record::default(), Cancel::default());
        assert!(verdict.is_ok());
        let counted = |wanted: fn(&Operation) -> bool| whole.operations.iter().copied().filter(wanted).count();
        let syncs = counted(|operation| *operation == Sync);
        let writes = counted(|operation| matches!(operation, Operation::Write(..) | Zero(..) | Discard(..)));
        assert!(syncs >= 4 && writes >= 5, "{:?}", whole.operations);
        let is_safe = |contents: &[u8]| contents[..MIB as usize].iter().all(|&byte| byte == 0) || contents == before;

        for first in 0..syncs + writes {
            // One fails, or also all that follow it.
            for last in [first, usize::MAX - 1] {
                let when = format!("{write:?}, {unmapped:?}, failing {first} to {last}");
                let (verdict, record) =
                    run(Record { failing: first..last + 1, ..Record::default() }, Cancel::default());
                let failure = verdict.expect_err(&when);
                let is_told = last > first && failure.state == TargetState::MaybeBootable;
                assert!(is_safe(&record.contents) || is_told, "{when}: {:?}", record.operations);
            }
        }
        let stops_at_write = |number| {
            let (cancel, mut count) = (Cancel::default(), 0);
            let flag = cancel.flag();
            let lie: Lie = Box::new(move |offset, data| {
                count += 1;
                flag.fetch_or(usize::from(count == number), Ordering::Relaxed);
                Some((offset, data))
            });
            (Record { lie: Some(lie), ..Record::default() }, cancel)
        };
        let stops_at_sync = |number| {
            let cancel = Cancel::default();
            (Record { cancel: Some((number, cancel.clone())), ..Record::default() }, cancel)
        };
        let stops = (1..=writes).map(stops_at_write).chain((0..syncs).map(stops_at_sync));
        let mut stopped = 0;
        for (number, (record, cancel)) in stops.enumerate() {
            let (verdict, record) = run(record, cancel);
            let is_right = match verdict {
                // It came too late.
                Ok(_) => record.contents == whole.contents,
                Err(_) => is_safe(&record.contents),
            };
            stopped += usize::from(record.contents != whole.contents);
            assert!(is_right, "{write:?}, {unmapped:?}, stopped at {number}: {:?}", record.operations);
        }
        // But for the boot region itself, and the last sync.
        assert_eq!(stopped, syncs + writes - 2);
    }
}

#[test]
fn a_device_that_has_been_relocated_is_not_written_to() {
    let (image, map) = gpt_image();
    for (plan, expected) in plans(&image, &map) {
        for read_back in [ReadBack::No, ReadBack::Yes] {
            let record = Record { contents: expected.clone(), ..Record::default() };
            let (verdict, record) = copy(plan.clone(), &image, WritePolicy::Changed, read_back, record);
            assert_eq!(verdict.unwrap().written, 0);
            let is_read = |operation: &Operation| matches!(operation, Prepare | Sync | ReadAt(..) | Finish(_));
            assert!(record.operations.iter().all(is_read), "{:?}", record.operations);
            // The backup, the header and the image, each with a wrong byte.
            for wrong in [PLACE + 9, CAPACITY - 1, 513, 600, 2 * MIB + 5] {
                let mut contents = expected.clone();
                contents[wrong as usize] ^= 1;
                let record = Record { contents, ..Record::default() };
                let (verdict, record) = copy(plan.clone(), &image, WritePolicy::Changed, read_back, record);
                verdict.unwrap();
                assert!(record.contents == expected, "{wrong}");
            }
        }
    }
}

#[test]
fn where_the_image_reaches_into_the_place_of_the_backup_it_is_not_written_there() {
    let (image, _) = gpt_image();
    let all = map(&image, &[(0, SIZE.div_ceil(BLOCK) - 1)]);
    let holes = map(&image, &[(0, 1), (20, 2500)]);
    for capacity in [SIZE, SIZE + 512, SIZE + 4096] {
        let place = (capacity - BACKUP) as usize;
        for (map, unmapped) in [(&all, Unmapped::Keep), (&holes, Unmapped::Zero), (&holes, Unmapped::Discard)] {
            let mut expected = image.clone();
            if unmapped != Unmapped::Keep {
                expected[2_501_000..].fill(0);
            }
            expected.resize(capacity as usize, 0xff);
            let backup = relocate(&mut expected[..MIB as usize], 512, capacity).unwrap();
            expected[place..].copy_from_slice(&backup.bytes);
            for (write, read_back) in [(WritePolicy::All, ReadBack::Yes), (WritePolicy::Changed, ReadBack::Yes)] {
                let plan = relocating(Plan::mapped(map.clone(), Verify::Checksums, unmapped), &image);
                let record = Record { contents: vec![0xff; capacity as usize], ..Record::default() };
                let (verdict, record) = copy(plan.clone(), &image, write, read_back, record);
                verdict.unwrap();
                let written = record.operations.iter().filter(|operation| match operation {
                    Operation::Write(start, length) | Zero(start, length) => start + length > place as u64,
                    _ => false,
                });
                assert_eq!(written.count(), 2, "{:?}", record.operations);
                let end = if unmapped == Unmapped::Discard { 2_501_000 } else { place };
                assert!(record.contents[MIB as usize..end] == expected[MIB as usize..end], "{capacity}, {unmapped:?}");
                assert!(record.contents[place..] == expected[place..], "{capacity}, {unmapped:?}");
                assert!(record.contents[..1024 + 16384] == expected[..1024 + 16384]);
                if unmapped == Unmapped::Keep {
                    let (verdict, record) = copy(plan, &image, WritePolicy::Changed, read_back, record);
                    assert_eq!(verdict.unwrap().written, 0);
                    assert!(record.contents == expected);
                }
            }
        }
    }
}

#[test]
fn what_has_wrapped_around_into_the_place_of_the_backup_is_not_overwritten_by_it() {
    let (image, map) = gpt_image();
    // The end of the device is in the middle of the image.
    let wraps_at = CAPACITY - 2_000_000 / 4096 * 4096;
    let lie: Lie = Box::new(move |offset, data| Some((offset % wraps_at, data)));
    let record = Record { lie: Some(lie), wraps_at: Some(wraps_at), ..Record::device() };
    let plan = relocating(mapped(map), &image);
    let (verdict, _) = copy(plan, &image, WritePolicy::All, ReadBack::Yes, record);
    assert!(matches!(*verdict.unwrap_err().error, Error::Medium(_)));
}

#[test]
fn a_backup_that_is_not_read_back_right_is_written_again() {
    let (image, map) = gpt_image();
    for (times, is_right) in [(1, true), (2, true), (3, false)] {
        let mut left = times;
        let lie: Lie = Box::new(move |offset, mut data| {
            if offset == PLACE && left > 0 && data.iter().any(|&byte| byte != 0) {
                left -= 1;
                data[100] ^= 4;
            }
            Some((offset, data))
        });
        let record = Record { lie: Some(lie), ..Record::device() };
        let plan = relocating(mapped(map.clone()), &image);
        let (verdict, record) = copy(plan, &image, WritePolicy::All, ReadBack::Yes, record);
        assert_eq!(verdict.is_ok(), is_right);
        if let Err(failure) = verdict {
            let Error::Medium(damage) = &*failure.error else { panic!("{failure:?}") };
            assert_eq!(damage.places[0].bytes, ByteRange { start: PLACE, end: CAPACITY });
            assert!(record.contents[..MIB as usize].iter().all(|&byte| byte == 0));
        } else {
            assert!(Relocated::find(record.contents[..MIB as usize].to_vec(), CAPACITY).is_some());
        }
    }
}

#[test]
fn what_comes_again_does_not_undo_the_relocation() {
    let (image, map) = gpt_image();
    let (mut sink, _) = device(Record::device(), 512);
    let relocation = Relocation::of(&relocating(mapped(map), &image), &sink.info()).unwrap();
    let zeroes = Arc::new(AlignedBuf::zeroed(MIB as usize).unwrap());
    let pulse = Pulse::new(&Pace::new(1, STALL), TargetId(0));
    let mut boot_region = BootRegion::new(MIB, &zeroes, relocation, pulse).unwrap();
    let start = &image[..MIB as usize];
    boot_region.hold(start, 0);
    boot_region.settle().unwrap();
    let mut expected = start.to_vec();
    relocate(&mut expected, 512, CAPACITY).unwrap();
    for _ in 0..2 {
        assert!(boot_region.last(Last::BootRegion) == (&expected, 0));
        // What is read back is compared with the image.
        for bytes in [ByteRange { start: 0, end: MIB }, ByteRange { start: 600, end: 3000 }] {
            let mut buf = vec![0; bytes.len() as usize];
            boot_region.fill(&mut *sink, &mut buf, bytes).unwrap();
            assert!(buf == image[bytes.start as usize..bytes.end as usize]);
        }
        boot_region.hold(start, 0);
    }
}

#[test]
fn the_backup_is_no_part_of_what_was_discarded() {
    let (image, map) = gpt_image();
    let plan = relocating(Plan::mapped(map, Verify::Checksums, Unmapped::Discard), &image);
    let (verdict, record) = copy(plan, &image, WritePolicy::All, ReadBack::No, Record::device());
    verdict.unwrap();
    let operations = record.operations;
    let position = |wanted: Operation| operations.iter().rposition(|&operation| operation == wanted).unwrap();
    assert!(position(Discard(SIZE, CAPACITY - SIZE)) < position(Operation::Write(PLACE, BACKUP)));
    assert!(operations.iter().all(|operation| !matches!(operation, ReadAt(start, length) if start + length > PLACE)));
}

#[test]
fn what_cannot_be_relocated_is_refused_before_anything_is_written() {
    let (image, map) = gpt_image();
    let mut damaged = image.clone();
    damaged[600] ^= 1;
    let mut in_hole = image.clone();
    in_hole[5000] = 1; // not mapped
    type Case<'a> = (&'a [u8], u32, fn(&Error) -> bool);
    let cases: [Case; 4] = [
        (&damaged, 512, |error| matches!(error, Error::Gpt(RelocateError::Damaged { .. }))),
        (&in_hole, 512, |error| matches!(error, Error::Gpt(RelocateError::Damaged { .. }))),
        (&image, 4096, |error| matches!(error, Error::Gpt(RelocateError::SectorSize { image: 512, device: 4096 }))),
        (&self::image(SIZE), 512, |error| matches!(error, Error::Gpt(RelocateError::Missing))),
    ];
    for (image, sector_size, is_it) in cases {
        for write in [WritePolicy::All, WritePolicy::Changed] {
            let (sink, record) = device(Record::device(), sector_size);
            let (other, other_record) = device(Record::device(), 512);
            let plan = relocating(mapped(map.clone()), image);
            let verdicts = Copy { write, ..Copy::new(open(plan, image), vec![sink, other]) }.run();
            assert!(verdicts.iter().all(|verdict| is_it(&verdict.as_ref().unwrap_err().error)));
            for record in [record, other_record] {
                assert_eq!(record.lock().unwrap().operations, [Finish(Failed)]);
            }
        }
    }
    let plan = relocating(mapped(map), &image);
    let (result, record) = to_file(plan, Reluctant::new(&image), Record::default());
    assert!(matches!(*result.unwrap_err(), Error::NoDeviceEnd));
    assert_eq!(record.operations, [Finish(Failed)]);
}

#[test]
fn a_gpt_that_changes_after_it_was_looked_at_is_not_made_bootable() {
    let (image, _) = gpt_image();
    let mut other = image.clone();
    other[600] ^= 1;
    let (verdict, record) =
        copy(relocating(sized(SIZE), &image), &other, WritePolicy::All, ReadBack::No, Record::device());
    assert!(matches!(*verdict.unwrap_err().error, Error::Gpt(RelocateError::Damaged { .. })));
    assert!(record.contents[..MIB as usize].iter().all(|&byte| byte == 0));
}
