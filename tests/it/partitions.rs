//! Partition tables, made by sfdisk and told by it again.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::common::device::Loop;
use crate::common::{find_program, image, sh, temp_dir, text};
use bmaptool::partition::{Error, Guid, Partition, PartitionTable, PartitionType, Scheme};

/// Three partitions.
pub const GPT: &str = "\
label: gpt
start=1MiB, size=2MiB, type=uefi, name=\"EFI ⚡\"
start=4MiB, size=3MiB, type=2c7357ed-ebd2-46d9-aec1-23d437ec2bf5
8: start=8MiB, size=1MiB, type=linux
";

pub const MBR: &str = "\
label: dos
start=1MiB, size=1MiB, type=c
start=2MiB, size=12MiB, type=5
start=3MiB, size=1MiB, type=83
start=5MiB, size=2MiB, type=82
start=8MiB, size=3MiB, type=83
";

/// Makes a disk of 16 MiB with this table.
pub fn make(disk: &Path, table: &str) {
    image::create(disk, 16 << 20);
    partition(disk, table);
}

/// Writes the table to a file or device.
pub fn partition(disk: &Path, table: &str) {
    let mut command = Command::new(find_program("sfdisk").unwrap());
    command.arg("--quiet").arg(disk).stdin(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(table.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

fn read(disk: &Path) -> Result<Option<PartitionTable>, Error> {
    PartitionTable::read(&mut File::open(disk).unwrap())
}

/// Number, start and length of each partition, as sfdisk tells them, in bytes.
fn as_sfdisk_tells(disk: &Path, sector_size: u64) -> Vec<(u32, u64, u64)> {
    let dump = sh("sfdisk", &["--dump", text(disk)]);
    let field = |line: &str, name: &str| -> u64 {
        let value = line.split(name).nth(1).unwrap().split(',').next().unwrap();
        value.trim().parse::<u64>().unwrap() * sector_size
    };
    let entries = dump.lines().filter(|line| line.contains("start="));
    let number = |line: &str| {
        let device = line.split(' ').next().unwrap();
        device[text(disk).len()..].trim_start_matches('p').parse().unwrap()
    };
    entries.map(|line| (number(line), field(line, "start="), field(line, "size="))).collect()
}

fn as_we_tell(partitions: &[Partition]) -> Vec<(u32, u64, u64)> {
    partitions.iter().map(|partition| (partition.number, partition.bytes.start, partition.bytes.len())).collect()
}

#[test(Program("sfdisk"))]
fn a_gpt_is_read_as_sfdisk_reads_it() {
    let directory = temp_dir();
    let disk = directory.path().join("disk");
    make(&disk, GPT);
    let table = read(&disk).unwrap().unwrap();
    assert_eq!((table.scheme, table.sector_size), (Scheme::Gpt, 512));
    assert_eq!(as_we_tell(&table.partitions), as_sfdisk_tells(&disk, 512));
    assert_eq!(table.partition(1).unwrap().name, "EFI ⚡");
    let kinds: Vec<_> = table.partitions.iter().map(|partition| partition.kind.to_string()).collect();
    assert_eq!(kinds, ["EFI system", "dm-verity", "Linux file system"]);
    assert!(table.partition(2).unwrap().kind.is_verity() && !table.partition(1).unwrap().kind.is_verity());
    assert_eq!(table.partition(3), None);
}

#[test(Program("sfdisk"))]
fn the_types_for_verity_are_those_of_sfdisk() {
    let types = sh("sfdisk", &["--label", "gpt", "--list-types"]);
    let mut verity = 0;
    for (guid, name) in types.lines().filter_map(|line| line.split_once("  ")) {
        let Ok(guid) = u128::from_str_radix(&guid.replace('-', ""), 16) else { continue };
        let is_verity = PartitionType::Guid(Guid(guid)).is_verity();
        assert_eq!(is_verity, name.contains("verity"), "{name}");
        verity += u32::from(is_verity);
    }
    assert!(verity >= 72, "sfdisk 2.38 lists 72, and here are {verity}");
}

#[test(Program("sfdisk"), Root)]
fn a_gpt_for_large_sectors_is_found() {
    let directory = temp_dir();
    let disk = directory.path().join("disk");
    image::create(&disk, 16 << 20);
    let device = Loop::attach_with(&disk, &["--sector-size", "4096"]);
    partition(&device.path, GPT);
    let table = read(&device.path).unwrap().unwrap();
    assert_eq!((table.scheme, table.sector_size), (Scheme::Gpt, 4096));
    assert_eq!(as_we_tell(&table.partitions), as_sfdisk_tells(&device.path, 4096));
}

#[test(Program("sfdisk"))]
fn logical_partitions_are_numbered_as_sfdisk_numbers_them() {
    let directory = temp_dir();
    let disk = directory.path().join("disk");
    make(&disk, MBR);
    let table = read(&disk).unwrap().unwrap();
    assert_eq!((table.scheme, table.sector_size), (Scheme::Mbr, 512));
    let numbers: Vec<_> = table.partitions.iter().map(|partition| partition.number).collect();
    assert_eq!(numbers, [1, 2, 5, 6, 7]);
    assert_eq!(as_we_tell(&table.partitions), as_sfdisk_tells(&disk, 512));
    assert_eq!(table.partition(6).unwrap().kind.to_string(), "Linux swap");
}

#[test(Program("sfdisk"))]
fn a_chain_of_logical_partitions_that_is_a_circle_ends() {
    let directory = temp_dir();
    let disk = directory.path().join("disk");
    make(&disk, MBR);
    // The second entry of the first extended boot record leads to that record itself.
    let file = OpenOptions::new().write(true).open(&disk).unwrap();
    file.write_all_at(&[0; 4], (2 << 20) + 446 + 16 + 8).unwrap();
    assert!(read(&disk).unwrap().unwrap().partitions.len() <= 260);
}

#[test(Program("sfdisk"))]
fn a_damaged_gpt_is_an_error() {
    let directory = temp_dir();
    let disk = directory.path().join("disk");
    make(&disk, GPT);
    let whole = fs::read(&disk).unwrap();
    // The header's length, its checksum, its place, what the entries are, their checksum, an entry.
    for offset in [12, 16, 24, 56, 72, 80, 84, 88, 512, 512 + 128] {
        let file = OpenOptions::new().write(true).open(&disk).unwrap();
        file.write_all_at(&[whole[512 + offset] ^ 0xff], 512 + offset as u64).unwrap();
        let damaged = read(&disk).unwrap_err();
        assert!(matches!(damaged, Error::Damaged { .. }), "{offset}: {damaged}");
        file.write_all_at(&whole[512 + offset..=512 + offset], 512 + offset as u64).unwrap();
    }
    assert!(read(&disk).unwrap().is_some());
}

#[test(Program("sfdisk"))]
fn a_gpt_counts_only_where_the_mbr_says_so() {
    let directory = temp_dir();
    let disk = directory.path().join("disk");
    make(&disk, GPT);
    let mbr = directory.path().join("mbr");
    make(&mbr, MBR);
    let file = OpenOptions::new().write(true).open(&disk).unwrap();
    file.write_all_at(&fs::read(&mbr).unwrap()[..512], 0).unwrap();
    assert_eq!(read(&disk).unwrap().unwrap().scheme, Scheme::Mbr);
    file.write_all_at(&[0; 512], 0).unwrap();
    assert_eq!(read(&disk).unwrap(), None);
}

#[test(Program("mkfs.vfat"), Program("mkfs.ext4"))]
fn a_file_system_without_a_table_has_no_partitions() {
    let directory = temp_dir();
    let disk = directory.path().join("disk");
    for make in [["mkfs.vfat", "-v"], ["mkfs.ext4", "-q"]] {
        image::create(&disk, 16 << 20);
        sh(make[0], &[make[1], text(&disk)]);
        assert_eq!(read(&disk).unwrap(), None, "{}", make[0]);
    }
    fs::write(&disk, b"short").unwrap();
    assert_eq!(read(&disk).unwrap(), None);
}
