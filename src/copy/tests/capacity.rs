//! Devices that hold less than they say.

use super::*;
use crate::copy::capacity::check;

/// Checks a device of 70 MiB that is full of a pattern; returns what it is said to hold, and what it holds then.
fn checked(lie: Option<Lie>, failing: Range<usize>) -> (Result<(), Error>, Record) {
    let (result, record, told) = checked_until(&Cancel::default(), lie, failing);
    assert!(told.is_empty(), "{told:?}");
    (result, record)
}

/// The same, until it is stopped; returns also what is told.
fn checked_until(cancel: &Cancel, lie: Option<Lie>, failing: Range<usize>) -> (Result<(), Error>, Record, Vec<String>) {
    let contents = (0..70 * MIB).map(|at| (at / 4096 + at / 512) as u8).collect();
    let (mut sink, record) = recorder(Record { contents, lie, failing, ..Record::default() });
    let witness = Witness::default();
    let result = check(&mut *sink, TargetId(3), &witness, cancel);
    let record = std::mem::take(&mut *record.lock().unwrap());
    (result, record, witness.0.into_inner().unwrap())
}

fn is_as_it_was(record: &Record) -> bool {
    record.contents.iter().enumerate().all(|(at, &byte)| byte == (at / 4096 + at / 512) as u8)
}

#[test]
fn a_device_that_holds_what_it_says_is_left_as_it_was() {
    let (result, record) = checked(None, 0..0);
    assert!(result.is_ok() && is_as_it_was(&record), "{result:?}");
    let writes = record.operations.iter().filter(|operation| matches!(operation, Write(..))).count();
    assert_eq!(writes, 2 * 5, "at 0, 16, 32 and 64 MiB, and at the end");
}

#[test]
fn a_device_that_holds_less_is_found_out() {
    let wraps: Lie = Box::new(|offset, data| Some((offset % (32 * MIB), data)));
    let swallows: Lie = Box::new(|offset, data| (offset < 40 * MIB).then_some((offset, data)));
    let keeps_nothing: Lie = Box::new(|_, _| None);
    for (lie, expected) in [(wraps, 32 * MIB), (swallows, 64 * MIB), (keeps_nothing, 0)] {
        let (result, _) = checked(Some(lie), 0..0);
        assert!(
            matches!(result, Err(Error::Capacity { claimed, holds }) if (claimed, holds) == (70 * MIB, expected)),
            "{result:?}"
        );
    }
}

#[test]
fn a_device_that_cannot_be_marked_is_spared_and_left_as_it_was() {
    for number in 0..5 {
        let (result, record) = checked(None, number..number + 1);
        assert!(result.is_ok() && is_as_it_was(&record), "{number}: {result:?}");
    }
    let (result, record) = checked(None, 5..6);
    assert!(matches!(result, Err(Error::Sync(_))) && is_as_it_was(&record), "{result:?}");
}

#[test]
fn what_was_there_is_put_back_in_a_second_attempt_and_wherever_it_can_be() {
    let (result, record) = checked(None, 6..7);
    assert!(result.is_ok() && is_as_it_was(&record), "{result:?}");
    let (result, record, told) = checked_until(&Cancel::default(), None, 6..8);
    assert!(matches!(result, Err(Error::Write { .. })) && told == ["3 marks at [0]"], "{result:?}, {told:?}");
    let marked = (0..70 * MIB as usize).step_by(4096).filter(|&at| {
        let there = record.contents[at..at + 4096].iter().enumerate();
        there.clone().any(|(index, &byte)| byte != ((at + index) / 4096 + (at + index) / 512) as u8)
    });
    assert_eq!(marked.count(), 1);
}

/// Asks to stop at the fourth mark.
fn stop_at_fourth(cancel: &Cancel) -> Lie {
    let flag = cancel.flag();
    let mut count = 0;
    Box::new(move |offset, data| {
        count += 1;
        flag.store(usize::from(count == 4) * 15, Ordering::Relaxed);
        Some((offset, data))
    })
}

#[test]
fn a_check_that_is_stopped_leaves_the_device_as_it_was() {
    let cancel = Cancel::default();
    let (result, record, told) = checked_until(&cancel, Some(stop_at_fourth(&cancel)), 0..0);
    assert!(matches!(result, Err(Error::Cancelled)) && is_as_it_was(&record) && told.is_empty(), "{result:?}");
}

#[test]
fn a_device_with_marks_that_are_left_is_not_said_to_be_as_it_was_or_zero() {
    let record = || Record { contents: vec![7; 70 * MIB as usize], ..Record::default() };
    for (failing, state) in [(5..6, TargetState::Untouched), (6..8, TargetState::MaybeBootable)] {
        let (sink, _) = recorder(Record { failing, ..record() });
        let source = indexed(sized(3 * MIB), &image(3 * MIB));
        let observer = Arc::new(Witness::default());
        let verdict = one(Copy { read_back: ReadBack::Yes, observer, ..Copy::new(source, vec![sink]) }.run());
        assert_eq!(verdict.unwrap_err().state, state);
    }
}

#[test]
fn marks_that_are_left_are_told_and_do_not_hide_the_verdict() {
    let swallows: Lie = Box::new(|offset, data| (offset < 40 * MIB).then_some((offset, data)));
    let (result, _, told) = checked_until(&Cancel::default(), Some(swallows), 6..10);
    assert!(matches!(result, Err(Error::Capacity { .. })), "{result:?}");
    assert_eq!(told, [format!("3 marks at [0, {}]", 16 * MIB)]);

    let cancel = Cancel::default();
    let (result, _, told) = checked_until(&cancel, Some(stop_at_fourth(&cancel)), 4..6);
    assert!(matches!(result, Err(Error::Cancelled)), "{result:?}");
    assert_eq!(told, [format!("3 marks at [{}]", 16 * MIB)]);

    // None is known to have arrived.
    let (result, _, told) = checked_until(&Cancel::default(), None, 11..12);
    assert!(matches!(result, Err(Error::Sync(_))), "{result:?}");
    assert!(told.len() == 1 && told[0].matches(", ").count() == 4, "{told:?}");
}
