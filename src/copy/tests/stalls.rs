//! Targets that are held up while the others wait for them.

use std::sync::mpsc::{Sender, channel};
use std::time::Instant;

use super::*;
use crate::copy::WritePolicy;

/// How long a target may be held up here. A busy machine must not take a target that works for one that does not.
const LIMIT: Duration = Duration::from_millis(400);

/// A device of which the first operation that `hangs` never returns, what releases it, and what is told at its end.
fn hanging(hangs: impl Fn(Operation) -> bool + Send + 'static) -> (Record, Sender<()>, Receiver<()>) {
    let (release, released) = channel();
    let (end, ended) = channel();
    let at_finish: Box<dyn FnMut() + Send> = Box::new(move || end.send(()).unwrap());
    let hangs: Box<dyn Fn(Operation) -> bool + Send> = Box::new(hangs);
    (Record { hangs: Some((hangs, released)), at_finish: Some(at_finish), ..Record::device() }, release, ended)
}

/// Copies an image of so many MiB to devices.
fn copy_all(mib: u64, read_back: ReadBack, records: &[Arc<Mutex<Record>>]) -> (Vec<Verdict>, Vec<String>) {
    let image = Image { reopen: None, ..indexed(sized(mib * MIB), &image(mib * MIB)) };
    let copy = Copy { stall: LIMIT, read_back, ..Copy::new(image, Vec::new()) };
    run(copy, records)
}

/// Runs `copy` to devices.
fn run(copy: Copy, records: &[Arc<Mutex<Record>>]) -> (Vec<Verdict>, Vec<String>) {
    let witness = Arc::new(Witness::default());
    let sinks = records.iter().map(|record| sink(Kind::BlockDevice, record)).collect();
    let verdicts = Copy { sinks, observer: Arc::clone(&witness) as Arc<dyn Observer>, ..copy }.run();
    let told = std::mem::take(&mut *witness.0.lock().unwrap());
    (verdicts, told)
}

fn shared(record: Record) -> Arc<Mutex<Record>> {
    Arc::new(Mutex::new(record))
}

#[test]
fn one_that_is_held_up_is_given_up_and_the_others_are_completed() {
    let read = ReadBack::Yes;
    let (not_bootable, unclear) = (TargetState::BootRegionZero, TargetState::MaybeBootable);
    type Hangs = fn(Operation) -> bool;
    let cases: [(ReadBack, Hangs, TargetState); 6] = [
        (ReadBack::No, |operation| operation == Prepare, TargetState::Untouched),
        (ReadBack::No, |operation| operation == Write(0, MIB), unclear),
        (ReadBack::No, |operation| operation == Write(2 * MIB, MIB), not_bootable),
        (ReadBack::No, |operation| operation == Sync, unclear),
        (read, |operation| operation == ReadAt(3 * MIB, MIB), not_bootable),
        (read, |operation| operation == Write(7 * MIB, MIB), not_bootable),
    ];
    for (number, (read_back, hangs, state)) in cases.into_iter().enumerate() {
        let (record, release, ended) = hanging(hangs);
        let records = [shared(Record::device()), shared(record), shared(Record::device())];
        let (verdicts, told) = copy_all(8, read_back, &records);
        for good in [0, 2] {
            assert!(verdicts[good].is_ok(), "{number}: {:?}", verdicts[good]);
            assert!(records[good].lock().unwrap().contents == image(8 * MIB), "{number}");
            assert!(told.contains(&format!("{good} Complete")), "{number}: {told:?}");
        }
        let failure = verdicts[1].as_ref().unwrap_err();
        assert!(matches!(*failure.error, Error::Stalled { limit: LIMIT }), "{number}: {failure}");
        assert_eq!(failure.state, state, "{number}");
        assert_eq!(told.iter().filter(|words| *words == "1 Failed").count(), 1, "{number}: {told:?}");
        // When it is released after all, it does nothing more.
        let done = records[1].lock().unwrap().operations.len();
        drop(release);
        ended.recv().unwrap();
        let record = records[1].lock().unwrap();
        let more: Vec<_> = record.operations[done..].iter().filter(|operation| **operation != Prepare).collect();
        assert!(more.len() <= 3 && more.last() == Some(&&Finish(Failed)), "{number}: {more:?}");
        assert!(record.contents[..MIB as usize].iter().all(|&byte| byte == 0 || number == 0), "{number}");
    }
}

#[test]
fn one_that_is_held_up_before_the_first_write_is_given_up_too() {
    let image = image(4 * MIB);
    let plan = mapped(map(&image, &[(0, 999), (1000, 2999), (3000, 4194)]));
    type Hangs = fn(Operation) -> bool;
    let cases: [(WritePolicy, Hangs); 3] = [
        (WritePolicy::All, |operation| operation == ReadAt(0, MIB)),
        (WritePolicy::Changed, |operation| operation == ReadAt(0, MIB)),
        (WritePolicy::Changed, |operation| operation == ReadAt(2 * MIB, MIB)),
    ];
    for (number, (write, hangs)) in cases.into_iter().enumerate() {
        let (record, release, ended) = hanging(hangs);
        let records = [shared(Record::device()), shared(record), shared(Record::device())];
        // They hold the second range.
        for record in &records {
            record.lock().unwrap().contents[1_000_000..3_000_000].copy_from_slice(&image[1_000_000..3_000_000]);
        }
        let before = records[1].lock().unwrap().contents.clone();
        let copy = Copy { stall: LIMIT, write, ..Copy::new(indexed(plan.clone(), &image), Vec::new()) };
        let (verdicts, told) = run(copy, &records);
        for good in [0, 2] {
            let left_out = verdicts[good].as_ref().unwrap().left_out;
            assert_eq!(left_out, if write == WritePolicy::All { 0 } else { 2_000_000 }, "{number}");
            assert!(records[good].lock().unwrap().contents[..image.len()] == image, "{number}");
        }
        let failure = verdicts[1].as_ref().unwrap_err();
        assert!(matches!(*failure.error, Error::Stalled { limit: LIMIT }), "{number}: {failure}");
        assert_eq!(failure.state, TargetState::Untouched, "{number}");
        assert!(told.contains(&"1 Failed".to_owned()), "{number}: {told:?}");
        drop(release);
        ended.recv().unwrap();
        let record = records[1].lock().unwrap();
        assert!(record.operations == [Finish(Failed)] && record.contents == before, "{number}");
    }
}

#[test]
fn after_a_signal_one_that_is_held_up_is_not_waited_for_long() {
    let cancel = Cancel::default();
    let flag = cancel.flag();
    let (record, release, ended) = hanging(move |operation| {
        let hangs = operation == Write(2 * MIB, MIB);
        flag.fetch_or(if hangs { 15 } else { 0 }, Ordering::Relaxed);
        hangs
    });
    let records = [shared(Record::device()), shared(record)];
    let copy = Copy { cancel, ..Copy::new(indexed(sized(8 * MIB), &image(8 * MIB)), Vec::new()) };
    let started = Instant::now();
    let (verdicts, _) = run(copy, &records);
    assert!(started.elapsed() < STALL / 2, "{:?}", started.elapsed());
    let [first, second] = <[Verdict; 2]>::try_from(verdicts).unwrap();
    // It may have been complete before.
    assert!(first.err().is_none_or(|failure| matches!(*failure.error, Error::Cancelled)));
    let failure = second.unwrap_err();
    assert!(matches!(*failure.error, Error::HeldUp { .. }), "{failure}");
    assert_eq!(failure.state, TargetState::BootRegionZero);
    drop(release);
    ended.recv().unwrap();
}

#[test]
fn one_that_is_held_up_once_it_is_complete_has_the_image() {
    for read_back in [ReadBack::No, ReadBack::Yes] {
        let (record, release, _) = hanging(|operation| operation == Finish(Complete));
        let records = [shared(Record::device()), shared(Record { at_finish: None, ..record })];
        let (verdicts, told) = copy_all(3, read_back, &records);
        for (index, verdict) in verdicts.iter().enumerate() {
            assert_eq!(verdict.as_ref().unwrap().bytes, 3 * MIB);
            assert_eq!(told.iter().filter(|words| **words == format!("{index} Complete")).count(), 1, "{told:?}");
        }
        assert!(records[1].lock().unwrap().contents[..3 * MIB as usize] == image(3 * MIB));
        drop(release);
    }
}

#[test]
fn one_that_is_held_up_while_it_is_marked_may_look_valid() {
    let large = || Record { contents: vec![0xff; 70 * MIB as usize], ..Record::default() };
    let (record, release, ended) = hanging(|operation| operation == Write(0, 4096));
    let records = [shared(large()), shared(Record { contents: large().contents, ..record })];
    let (verdicts, _) = copy_all(3, ReadBack::Yes, &records);
    assert_eq!(verdicts[1].as_ref().unwrap_err().state, TargetState::MaybeBootable);
    drop(release);
    ended.recv().unwrap();
}

#[test]
fn the_boot_region_of_one_that_is_held_up_at_the_end_is_zeroed_if_it_is_released() {
    let (mut record, release, ended) = hanging(|_| false);
    let writes = std::cell::Cell::new(0);
    record.hangs.as_mut().unwrap().0 = Box::new(move |operation| {
        // The second write is that of the image's own.
        writes.set(writes.get() + usize::from(operation == Write(0, MIB)));
        writes.get() == 2
    });
    let records = [shared(Record::device()), shared(record)];
    let (verdicts, _) = copy_all(3, ReadBack::No, &records);
    assert!(verdicts[0].is_ok());
    assert_eq!(verdicts[1].as_ref().unwrap_err().state, TargetState::MaybeBootable);
    drop(release);
    ended.recv().unwrap();
    assert!(records[1].lock().unwrap().contents[..MIB as usize].iter().all(|&byte| byte == 0));
}

#[test]
fn chunks_that_are_lost_with_targets_are_replaced() {
    let (held_up, others): (Vec<_>, Vec<_>) = (0..20)
        .map(|index| hanging(move |operation| operation == Write((1 + index % 7) * MIB, MIB)))
        .fold((Vec::new(), Vec::new()), |(mut records, mut others), (record, release, ended)| {
            records.push(shared(record));
            others.push((release, ended));
            (records, others)
        });
    let mut records = held_up;
    records.push(shared(Record::device()));
    let (verdicts, _) = copy_all(8, ReadBack::No, &records);
    assert!(verdicts[20].is_ok() && verdicts[..20].iter().all(Result::is_err));
    for (release, ended) in others {
        drop(release);
        ended.recv().unwrap();
    }
}

#[test]
fn a_single_target_and_one_that_nobody_waits_for_are_never_given_up() {
    for count in [1, 2] {
        let (records, releases): (Vec<_>, Vec<_>) = (0..count)
            .map(|_| hanging(|operation| operation == Write(MIB, MIB)))
            .map(|(record, release, _)| (shared(Record { at_finish: None, ..record }), release))
            .unzip();
        let later = std::thread::spawn(move || {
            std::thread::sleep(4 * LIMIT);
            drop(releases);
        });
        let (verdicts, _) = copy_all(3, ReadBack::No, &records);
        assert!(verdicts.iter().all(Result::is_ok), "{verdicts:?}");
        later.join().unwrap();
    }
}
