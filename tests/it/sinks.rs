//! What the library's sinks do to real devices and file systems: reading back from the medium, zeroing, discarding; and
//! what an observer is told.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::common::device::{Disk, Loop, Mount};
use crate::common::image::UNTOUCHED;
use crate::common::temp_dir;
use bmaptool::device::flush_loop_devices;
use bmaptool::event::{Event, Notice, Observer, Outcome, Silent};
use bmaptool::range::ByteRange;
use bmaptool::sink::{Error, Kind, Request, Sink, TargetState, claim};
use bmaptool::sys::aligned::AlignedBuf;
use bmaptool::sys::file_id::FileId;

const MIB: u64 = 1 << 20;
const SIZE: u64 = 6 * MIB;

/// Remembers what it is told.
#[derive(Default)]
struct Record(Mutex<Vec<String>>);

impl Observer for Record {
    fn event(&self, event: Event<'_>) {
        let told = match event {
            Event::Notice(Notice::SharesData { device, target }) => {
                format!("{} shares data with {}", device.display(), target.display())
            }
            Event::Notice(Notice::PartitionTableNotReread { device, error }) => {
                format!("{} not read again: {error}", device.display())
            }
            Event::Notice(Notice::ImageInUse { image, usage }) => format!("{} is used: {usage}", image.display()),
            event => format!("{event:?}"),
        };
        self.0.lock().unwrap().push(told);
    }
}

fn open(path: &Path) -> Box<dyn Sink> {
    open_watched(path, &(Arc::new(Silent) as Arc<dyn Observer>))
}

fn open_watched(path: &Path, observer: &Arc<dyn Observer>) -> Box<dyn Sink> {
    let observer = Arc::clone(observer);
    let request = Request { observer, ..Request::new(path, None, Vec::new()) };
    // A program that another test is just starting holds what this process had open, until it is executed.
    let claimed = (0..100).find_map(|_| match claim(&request) {
        Err(Error::Busy { .. }) => {
            thread::sleep(Duration::from_millis(50));
            None
        }
        claimed => Some(claimed),
    });
    claimed.expect("the device is free").unwrap().sink
}

fn range(start: u64, end: u64) -> ByteRange {
    ByteRange { start, end }
}

#[test(Root)]
fn a_device_is_known_by_its_sectors_and_its_size() {
    let disk = Disk::with(SIZE, &["--sector-size", "4096"]);
    let partition = disk.partition(1, MIB, 4096);
    for (path, capacity) in [(disk.path(), SIZE), (&partition, 4096)] {
        let info = open(path).info();
        assert_eq!((info.kind, info.sector_size), (Kind::BlockDevice, Some(4096)));
        assert_eq!((info.capacity, info.boot_region), (Some(capacity), capacity.min(MIB)));
        // That of the disk, also where the target is a partition.
        let identity = info.identity.unwrap();
        assert_eq!((identity.size, identity.sector_size, identity.removable), (Some(SIZE), Some(4096), Some(false)));
        assert_eq!((identity.model, identity.serial), (None, None));
    }
}

/// Reads ranges of a sink on a disk whose file is changed meanwhile, at every boundary that matters.
fn assert_read_from_the_medium(disk: &Disk) {
    let mut sink = open(disk.path());
    let cached = File::open(disk.path()).unwrap();
    let mut all = vec![0; SIZE as usize];
    let ranges = [(0, SIZE), (1, SIZE - 1), (511, 514), (512, 1025), (4095, 3 * MIB + 1), (SIZE - 1, SIZE), (7, 7)];
    for (number, (start, end)) in (1..).zip(ranges) {
        // What the kernel has read before, it gives again without a look.
        cached.read_exact_at(&mut all, 0).unwrap();
        let medium = OpenOptions::new().write(true).open(&disk.backing).unwrap();
        medium.write_all_at(&vec![number; SIZE as usize], 0).unwrap();
        let mut byte = [0];
        cached.read_exact_at(&mut byte, start.min(SIZE - 1)).unwrap();
        assert_ne!(byte, [number], "the page cache has noticed the change");

        let mut buf = AlignedBuf::zeroed((end - start) as usize + 1).unwrap();
        for shift in [0, 1] {
            let buf = &mut buf[shift..][..(end - start) as usize];
            buf.fill(0);
            sink.read_at(buf, start).unwrap();
            assert!(buf.iter().all(|&byte| byte == number), "{start}..{end}");
        }
    }
    let error = sink.read_at(&mut [0; 4096], SIZE - 512).unwrap_err();
    assert_eq!((error.offset, error.source.kind()), (SIZE, ErrorKind::UnexpectedEof));
}

#[test(Root)]
fn a_device_is_read_from_the_medium_and_not_from_the_page_cache() {
    for sector in ["512", "4096"] {
        assert_read_from_the_medium(&Disk::with(SIZE, &["--sector-size", sector]));
    }
}

/// Tells the test that it is the one that is run with direct access refused.
const REFUSED: &str = "BMAPTOOL_TEST_DIRECT_ACCESS_IS_REFUSED";

#[test(Root, Program("strace"))]
fn a_device_that_refuses_direct_reads_is_read_from_the_medium() {
    if std::env::var_os(REFUSED).is_some() {
        let disk = Disk::new(SIZE);
        return assert_read_from_the_medium(&disk);
    }
    let trace = temp_dir();
    let log = trace.path().join("log");
    let mut strace = std::process::Command::new("strace");
    // What this program runs is left alone: it needs its calls.
    strace.args(["-f", "-b", "execve", "-e", "trace=fcntl", "-e", "inject=fcntl:error=EINVAL", "-o"]).arg(&log);
    strace.arg(std::env::current_exe().unwrap()).env(REFUSED, "1");
    strace.args(["--exact", "sinks::a_device_that_refuses_direct_reads_is_read_from_the_medium"]);
    let output = strace.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    let is_refused = |line: &str| line.contains("O_DIRECT") && line.ends_with("(INJECTED)");
    assert!(fs::read_to_string(&log).unwrap().lines().any(is_refused));
}

#[test(Root)]
fn what_was_written_through_the_page_cache_is_read_back() {
    let disk = Disk::new(SIZE);
    let mut sink = open(disk.path());
    let data: Vec<_> = (0..100_000_u32).map(|at| (at / 3) as u8).collect();
    // Neither begins nor ends on a sector.
    sink.write_at(&data, MIB + 5).unwrap();
    let mut found = vec![0; data.len() + 2];
    sink.read_at(&mut found, MIB + 4).unwrap();
    assert!(found[0] == UNTOUCHED && found[1..=data.len()] == data && found[data.len() + 1] == UNTOUCHED);
}

/// How many bytes this thread has had read from storage.
fn bytes_read() -> u64 {
    let io = fs::read_to_string("/proc/thread-self/io").unwrap();
    let read = io.lines().find_map(|line| line.strip_prefix("read_bytes: "));
    read.unwrap().parse().unwrap()
}

#[test(Root)]
fn a_file_is_read_from_the_medium_and_not_from_the_page_cache() {
    let mount = Mount::on_file("ext4", 32 * MIB, &["-q"]);
    let mut sink = open(&mount.path().join("file"));
    sink.prepare(Some(4 * MIB)).unwrap();
    sink.write_at(&vec![7; 4 << 20], 0).unwrap();
    sink.sync().unwrap();
    let mut found = vec![0; 2 << 20];
    // Every time, for what was read before is in the page cache as well.
    for _ in 0..2 {
        let before = bytes_read();
        sink.read_at(&mut found, MIB).unwrap();
        assert!(bytes_read() - before >= 2 * MIB && found.iter().all(|&byte| byte == 7));
    }
    assert_eq!(sink.finish(Outcome::Complete), TargetState::Complete);
}

#[test(Root)]
fn a_range_of_a_device_is_zeroed_to_the_byte() {
    for sector in ["512", "4096"] {
        let disk = Disk::with(SIZE, &["--sector-size", sector]);
        let ranges = [
            (0, MIB),
            (1, 2),
            (511, 513),
            (4096, 8192),
            (100, 3 * MIB + 77),
            (SIZE - 1, SIZE),
            (5 * MIB, SIZE),
            (9, 9),
        ];
        for (start, end) in ranges {
            disk.refill();
            let mut expected = vec![UNTOUCHED; SIZE as usize];
            expected[start as usize..end as usize].fill(0);
            let mut sink = open(disk.path());
            sink.zero(range(start, end)).unwrap();
            let mut found = vec![1; SIZE as usize];
            sink.read_at(&mut found, 0).unwrap();
            assert!(found == expected, "{start}..{end}, sectors of {sector}");
            sink.sync().unwrap();
            assert!(fs::read(&disk.backing).unwrap() == expected, "{start}..{end}, sectors of {sector}");
        }
        let beyond = open(disk.path()).zero(range(SIZE - 4096, SIZE + 4096)).unwrap_err();
        assert!(beyond.offset >= SIZE - 4096, "{beyond:?}");
    }
}

#[test(Root)]
fn what_is_zeroed_after_a_buffered_write_is_zero() {
    let disk = Disk::new(SIZE);
    let mut sink = open(disk.path());
    sink.write_at(&[7; 10_001], 3).unwrap();
    sink.zero(range(0, 3 * MIB)).unwrap();
    sink.sync().unwrap();
    let found = fs::read(&disk.backing).unwrap();
    let (zeroed, rest) = found.split_at(3 << 20);
    assert!(zeroed.iter().all(|&byte| byte == 0) && rest.iter().all(|&byte| byte == UNTOUCHED));
}

#[test(Root)]
fn a_discarded_range_of_a_device_has_no_storage() {
    let disk = Disk::new(SIZE);
    let storage = || fs::metadata(&disk.backing).unwrap().blocks() * 512;
    File::open(&disk.backing).unwrap().sync_all().unwrap();
    let before = storage();
    let mut sink = open(disk.path());
    sink.discard(range(MIB + 1, 5 * MIB - 1)).unwrap();
    sink.discard(range(1, 511)).unwrap();
    sink.sync().unwrap();
    assert!(storage() <= before - 3 * MIB, "{before} {}", storage());
    // What has no whole sector in the range is as it was.
    let found = fs::read(&disk.backing).unwrap();
    let kept = [&found[..=MIB as usize], &found[5 * MIB as usize - 1..]];
    assert!(kept.iter().all(|kept| kept.iter().all(|&byte| byte == UNTOUCHED)));
}

#[test(Root)]
fn a_device_that_cannot_discard_says_so_and_is_zeroed() {
    let memory = Mount::in_memory("ramfs");
    let backing = memory.path().join("disk");
    fs::write(&backing, vec![UNTOUCHED; SIZE as usize]).unwrap();
    let device = Loop::attach(&backing);
    let mut sink = open(&device.path);
    let error = sink.discard(range(MIB, 2 * MIB)).unwrap_err();
    assert_eq!((error.offset, error.source.kind()), (MIB, ErrorKind::Unsupported));
    sink.zero(range(MIB - 3, 2 * MIB)).unwrap();
    sink.sync().unwrap();
    let found = fs::read(&backing).unwrap();
    let is_zero = |at| (MIB - 3..2 * MIB).contains(&at);
    assert!((0..).zip(&found).all(|(at, &byte)| byte == if is_zero(at) { 0 } else { UNTOUCHED }));
}

#[test(Root)]
fn a_file_system_without_holes_has_zeroes_written() {
    let memory = Mount::in_memory("ramfs");
    let path = memory.path().join("file");
    let mut sink = open(&path);
    sink.prepare(Some(SIZE)).unwrap();
    sink.write_at(&vec![7; SIZE as usize], 0).unwrap();
    let error = sink.discard(range(MIB, 2 * MIB)).unwrap_err();
    assert_eq!((error.offset, error.source.kind()), (MIB, ErrorKind::Unsupported));
    sink.zero(range(MIB + 1, 3 * MIB)).unwrap();
    sink.zero(range(5 * MIB, 7 * MIB)).unwrap();
    sink.sync().unwrap();
    let is_zero = |at| (MIB + 1..3 * MIB).contains(&at) || at >= 5 * MIB;
    let found = fs::read(&path).unwrap();
    assert_eq!(found.len() as u64, 7 * MIB);
    assert!((0..).zip(&found).all(|(at, &byte)| byte == if is_zero(at) { 0 } else { 7 }));
}

#[test(Root)]
fn the_observer_is_told_of_devices_that_share_data() {
    let disk = Disk::new(SIZE);
    let twin = Loop::attach(&disk.backing);
    let record = Arc::new(Record::default());
    let observer: Arc<dyn Observer> = record.clone();
    drop(open_watched(&twin.path, &observer));
    let told = |target: &Path| format!("{} shares data with {}", disk.path().display(), target.display());
    assert_eq!(record.0.lock().unwrap()[..], [told(&twin.path)]);
    twin.detach();
    drop(open_watched(&disk.backing, &observer));
    assert_eq!(record.0.lock().unwrap()[1..], [told(&disk.backing)]);
}

#[test(Root)]
fn the_observer_is_told_that_the_partition_table_is_the_old_one() {
    let disk = Disk::with(SIZE, &["--partscan"]);
    let record = Arc::new(Record::default());
    let observer: Arc<dyn Observer> = record.clone();
    let mut sink = open_watched(disk.path(), &observer);
    sink.prepare(None).unwrap();
    let _in_use = File::open(disk.partition(1, MIB, MIB)).unwrap();
    assert_eq!(sink.finish(Outcome::Complete), TargetState::Complete);
    let told = format!("{} not read again: Device or resource busy (os error 16)", disk.path().display());
    assert_eq!(record.0.lock().unwrap()[..], [told]);
}

#[test(Root)]
fn the_observer_is_told_that_an_image_is_in_use() {
    let disk = Disk::new(8 * MIB);
    let id = FileId::of(&fs::metadata(&disk.backing).unwrap());
    let record = Record::default();
    flush_loop_devices(&disk.backing, id, &record).unwrap();
    assert!(record.0.lock().unwrap().is_empty());
    let mount = disk.mount(disk.path());
    flush_loop_devices(&disk.backing, id, &record).unwrap();
    let used = format!("{} is used: mounted: {}", disk.backing.display(), disk.path().display());
    let told = record.0.lock().unwrap();
    assert!(told.len() == 1 && told[0].starts_with(&used), "{told:?}");
    assert!(told[0].contains(mount.path().to_str().unwrap()), "{told:?}");
}
