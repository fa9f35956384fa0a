//! Several targets, and what observers are told of them.

use super::*;

#[test]
fn a_source_that_panics_fails_all_targets() {
    struct Panics;
    impl Read for Panics {
        fn read(&mut self, _buf: &mut [u8]) -> io::Result<usize> {
            panic!("for the test");
        }
    }
    impl ForwardRead for Panics {
        fn skip_to(&mut self, offset: u64) -> io::Result<u64> {
            Ok(offset)
        }
        fn skipping(&self) -> Skipping {
            Skipping::Reads
        }
        fn finish(&mut self) -> io::Result<u64> {
            Ok(0)
        }
    }
    let records: Vec<_> = [0, 1].map(|_| Arc::new(Mutex::new(Record::device()))).into();
    let sinks = records.iter().map(|record| sink(Kind::BlockDevice, record)).collect();
    let image = Image {
        plan: sized(2 * MIB),
        reader: Box::new(Panics),
        reopen: None,
        input: None,
        pipe: None,
        gpt_sectors: None,
    };
    for verdict in Copy::new(image, sinks).run() {
        let failure = verdict.unwrap_err();
        assert!(matches!(*failure.error, Error::NoResult) && failure.state == TargetState::BootRegionZero);
    }
    for record in records {
        assert_eq!(record.lock().unwrap().operations.last(), Some(&Finish(Failed)));
    }
}

#[test]
fn a_target_that_fails_leaves_its_chunks_to_the_others() {
    let image = image(40 * MIB);
    let (complete, wait) = std::sync::mpsc::channel();
    let good = Arc::new(Mutex::new(Record {
        at_finish: Some(Box::new(move || complete.send(()).unwrap())),
        ..Record::default()
    }));
    // It fails at once, and is not done before the other one is.
    let at_finish: Box<dyn FnMut() + Send> = Box::new(move || wait.recv().unwrap());
    let bad = Arc::new(Mutex::new(Record { failing: 0..1, at_finish: Some(at_finish), ..Record::default() }));
    let sinks = vec![sink(Kind::RegularFile, &bad), sink(Kind::RegularFile, &good)];
    let source = Box::new(Reluctant::new(&image));
    let verdicts = Copy::new(
        Image { plan: sized(40 * MIB), reader: source, reopen: None, input: None, pipe: None, gpt_sectors: None },
        sinks,
    )
    .run();
    assert!(verdicts[0].is_err() && verdicts[1].as_ref().unwrap().bytes == 40 * MIB);
    assert!(good.lock().unwrap().contents == image);
}

#[test]
fn a_target_that_fails_is_given_up_and_the_others_go_on() {
    let image = image(5 * MIB);
    let mut all = vec![Prepare, Write(0, MIB), Sync];
    all.extend((1..5).map(|chunk| Write(chunk * MIB, MIB)));
    all.extend([Sync, Write(0, MIB), Sync, Finish(Complete)]);
    for number in 0..10 {
        let records = vec![Record::device(), Record::failing(number..number + 1), Record::device()];
        let (verdicts, records, witness) = copy_to(Kind::BlockDevice, sized(5 * MIB), Reluctant::new(&image), records);
        for index in [0, 2] {
            assert_eq!(verdicts[index].as_ref().unwrap().bytes, 5 * MIB);
            assert!(records[index].contents[..5 * MIB as usize] == image);
            assert_eq!(records[index].operations, all);
        }
        let fails = number < 9; // of which there are nine
        assert_eq!(verdicts[1].is_err(), fails, "{number}");
        assert_eq!(records[1].operations.last(), Some(&Finish(if fails { Failed } else { Complete })));
        let told = witness.0.lock().unwrap();
        for (id, outcome) in [(0, Complete), (1, if fails { Failed } else { Complete }), (2, Complete)] {
            assert!(told.contains(&format!("{id} {outcome:?}")), "{told:?}");
        }
    }
}

#[test]
fn a_source_that_fails_fails_all_targets_for_the_same_reason() {
    let image = image(5 * MIB);
    let map = map(&image, &[(0, 5000)]);
    let mut damaged = image;
    damaged[4_000_000] ^= 1;
    let records = vec![Record::device(), Record::device()];
    let (verdicts, records, _) = copy_to(Kind::BlockDevice, mapped(map), Reluctant::new(&damaged), records);
    let failures: Vec<_> = verdicts.into_iter().map(Result::unwrap_err).collect();
    assert!(Arc::ptr_eq(&failures[0].error, &failures[1].error));
    assert!(matches!(*failures[0].error, Error::Mismatch { .. }));
    for record in records {
        assert!(record.contents[..MIB as usize].iter().all(|&byte| byte == 0));
        assert_eq!(record.operations.last(), Some(&Finish(Failed)));
    }
}

#[test]
fn observers_are_told_phases_and_progress() {
    let (_, _, witness) =
        copy_to(Kind::RegularFile, sized(2 * MIB), Reluctant::new(&image(2 * MIB)), vec![Record::default()]);
    let total = Some(2 * MIB);
    let expected = [
        "0 Copying".to_owned(),
        format!("0 0 of {total:?}"),
        format!("0 1048576 of {total:?}"),
        format!("0 2097152 of {total:?}"),
        "0 Synchronizing".to_owned(),
        "0 Complete".to_owned(),
    ];
    assert_eq!(*witness.0.lock().unwrap(), expected);
}
