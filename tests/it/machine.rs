//! A machine of its own, emulated by QEMU, with what the machine that tests may lack: a kernel that reads partition
//! tables, a USB stick and an SD card; or another processor. It runs the static binary, and little else.

mod architecture;
mod emulator;

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::common::gnupg::{Who, keys};
use crate::common::image;
use crate::common::signed::{BAD, DETACHED, good};
use crate::common::tool::create;
use crate::common::{sh, sha256, text};

pub use architecture::AARCH64;
use architecture::{Architecture, X86_64};
use emulator::Machine;

const MIB: u64 = 1 << 20;

/// The size of each disk. An SD card's is a power of two.
const DISK_SIZE: u64 = 64 * MIB;

/// An image of a disk with two partitions, the second with a file system; compressed as `disk.img.xz`, with its bmap.
fn partitioned_image(directory: &Path) -> PathBuf {
    let image = directory.join("disk.img");
    image::sparse(&image, 32 * MIB, &[(MIB, 3_000_000)], 5);
    let table = "label: gpt\\nstart=2048, size=16384\\nstart=18432, size=40960\\n";
    sh("sh", &["-c", &format!("printf '{table}' | sfdisk --quiet '{}'", text(&image))]);
    sh("mkfs.ext4", &["-q", "-E", &format!("offset={}", 18432 * 512), text(&image), "20M"]);
    create(&image);
    sh("xz", &["--keep", "-0", text(&image)]);
    image
}

/// Writes a table of two partitions to a disk, the second inside the first, as in an isohybrid image.
fn overlapping_partitions(disk: &Path) {
    let mut table = [0; 66];
    for (entry, [start, sectors]) in [[64_u32, 49152], [8192, 16384]].into_iter().enumerate() {
        let entry = &mut table[16 * entry..][..16];
        entry[4] = 0x83;
        entry[8..12].copy_from_slice(&start.to_le_bytes());
        entry[12..].copy_from_slice(&sectors.to_le_bytes());
    }
    table[64..].copy_from_slice(&[0x55, 0xaa]);
    fs::File::options().write(true).open(disk).unwrap().write_all_at(&table, 446).unwrap();
}

/// Signs the bmap of `disk.img`, and puts in what verifies that; and another bmap that was changed after it was signed.
fn add_signatures(machine: &Machine) {
    let bmap = fs::read(machine.root("disk.img.bmap")).unwrap();
    let signature = keys().sign(Who::Ed, DETACHED, &bmap);
    fs::write(machine.root("tampered.bmap"), [&bmap[..], b"\n"].concat()).unwrap();
    for name in ["disk.img.bmap.sig", "tampered.bmap.sig"] {
        fs::write(machine.root(name), &signature).unwrap();
    }
    fs::copy(keys().directory().join("ring.gpg"), machine.root("ring.gpg")).unwrap();
}

/// The options of QEMU for a USB stick, an SD card and a fixed disk, in this order.
fn disk_options(stick: &Path, card: &Path, fixed: &Path) -> Vec<String> {
    let words = format!(
        "-device qemu-xhci -drive if=none,id=stick,format=raw,file={} -device usb-storage,drive=stick,removable=on \
         -device sdhci-pci -drive if=none,id=card,format=raw,file={} -device sd-card,drive=card \
         -drive if=virtio,format=raw,file={}",
        text(stick),
        text(card),
        text(fixed)
    );
    words.split(' ').map(str::to_owned).collect()
}

#[test(Root, Minutes, Emulator, Program("sfdisk"), Program("mkfs.ext4"), Program("dmsetup"))]
fn a_usb_stick_and_an_sd_card_are_flashed() {
    let mut machine = Machine::new();
    let image = partitioned_image(&machine.root(""));
    let [stick, card, fixed] = ["stick", "card", "fixed"].map(|name| machine.disk(name));
    machine.add_program("dmsetup");
    fs::write(machine.root("table"), "0 2048 linear /dev/mmcblk0p1 0\n").unwrap();
    fs::write(machine.root("next"), "0 2048 linear /dev/mmcblk0p1 2048\n").unwrap();
    overlapping_partitions(&fixed);
    let pattern = sha256(&fixed);

    for device in ["sda", "mmcblk0", "vda"] {
        machine.step(&format!("wait /dev/{device}"));
    }
    let settings = ["sda/queue/scheduler", "sda/bdi/max_ratio", "mmcblk0/queue/scheduler", "mmcblk0/bdi/max_ratio"];
    let before = settings.map(|setting| machine.step(&format!("show /sys/block/{setting}")));
    let nodes_before = machine.step("list /dev");
    let to_fixed = machine.step("run /bmaptool copy --removable-device /disk.img.xz /dev/vda");
    machine.step("wait /dev/vda2");
    machine.step("hold /dev/vda2");
    let to_vda1 = machine.step("run /bmaptool copy --nobmap /part.img /dev/vda1");
    let to_stick = machine.step("run /bmaptool copy --removable-device /disk.img.xz /dev/sda");
    let to_card = machine.step("run /bmaptool copy --removable-device /disk.img.xz /dev/mmcblk0");
    let nodes = machine.step("list /dev");
    let after = settings.map(|setting| machine.step(&format!("show /sys/block/{setting}")));

    // The partitions of the image can be used, and are respected.
    let used = machine.step("mount ext4 /dev/sda2 /mnt");
    let mounted = ["sda", "sda2"].map(|disk| machine.step(&format!("run /bmaptool copy /disk.img.xz /dev/{disk}")));
    machine.step("umount /mnt");
    let mapped = machine.step("run /dmsetup create held /table");
    let held =
        ["mmcblk0", "mmcblk0p1"].map(|disk| machine.step(&format!("run /bmaptool copy /disk.img.xz /dev/{disk}")));
    // Beside it, as one logical volume beside another, there is room.
    let mapped_next = machine.step("run /dmsetup create next /next");
    let to_next = machine.step("run /bmaptool copy --nobmap /small.img /dev/dm-1");
    let small = machine.root("small.img");
    image::sparse(&small, MIB, &[(0, 1 << 20)], 8);
    machine.step("run /dmsetup remove next");
    machine.step("run /dmsetup remove held");
    let to_partition = machine.step("run /bmaptool copy --nobmap /part.img /dev/sda1");
    let part = machine.root("part.img");
    image::sparse(&part, 8 * MIB, &[(0, 8 << 20)], 6);

    let disks = disk_options(&stick, &card, &fixed);
    let report = machine.run(&disks.iter().map(String::as_str).collect::<Vec<_>>(), |_| None);
    report.expect(to_fixed, "1", &["'/dev/vda' is not a removable device"]);
    report.expect(to_vda1, "1", &["'/dev/vda1' shares its data with '/dev/vda2', in use by another program"]);
    assert_eq!(sha256(&fixed), pattern);
    for (step, device) in [(to_stick, "/dev/sda"), (to_card, "/dev/mmcblk0")] {
        report.expect(step, "0", &[&format!("to block device '{device}'"), "copying time"]);
        assert!(!report.said(step).contains("WARNING"), "{}", report.said(step));
    }
    let partitions = ["sda1", "sda2", "mmcblk0p1", "mmcblk0p2"];
    for (step, expected) in [(nodes_before, false), (nodes, true)] {
        let there = partitions.map(|name| report.said(step).lines().any(|line| line == name));
        assert_eq!(there, [expected; 4], "{}", report.said(step));
    }
    for (before, after) in before.into_iter().zip(after) {
        assert!(["[mq-deadline] none\n", "100\n"].contains(&report.said(before)), "{}", report.said(before));
        assert_eq!(report.said(after), report.said(before));
    }
    report.expect(used, "0", &[]);
    for step in mounted {
        report.expect(step, "1", &["mounted: /dev/sda2 on '/mnt'", "umount /mnt"]);
    }
    report.expect(mapped, "0", &[]);
    for step in held {
        report.expect(step, "1", &["held by dm-0 (device-mapper: held)", "dmsetup remove held"]);
    }
    report.expect(mapped_next, "0", &[]);
    report.expect(to_next, "0", &["copying time"]);
    report.expect(to_partition, "0", &["copying time"]);

    let mut expected = image::flashed(&image, DISK_SIZE);
    let mut of_card = expected.clone();
    of_card[2 * MIB as usize..][..1 << 20].copy_from_slice(&fs::read(&small).unwrap());
    assert!(fs::read(&card).unwrap() == of_card, "the card differs");
    expected[MIB as usize..][..8 << 20].copy_from_slice(&fs::read(&part).unwrap());
    assert!(fs::read(&stick).unwrap() == expected, "the stick differs");
}

#[test(Root, Minutes, Emulator, Program("sfdisk"), Program("mkfs.ext4"), Program("gpg"))]
fn a_board_flashes_its_card() {
    board_flashes_its_card(&X86_64);
}

/// A board whose initramfs has the binary, images and a keyring, and no other program.
pub fn board_flashes_its_card(architecture: &'static Architecture) {
    let mut machine = Machine::of(architecture);
    let image = partitioned_image(&machine.root(""));
    add_signatures(&machine);
    let [card, disk, spared] = ["card", "disk", "spared"].map(|name| machine.disk(name));
    let pattern = sha256(&spared);
    for device in ["mmcblk0", "vda", "vdb"] {
        machine.step(&format!("wait /dev/{device}"));
    }
    let created = machine.step("run /bmaptool create --output /again.bmap /disk.img");
    let [tampered, to_card] = [("/tampered.bmap", "vdb"), ("/disk.img.bmap", "mmcblk0")].map(|(bmap, device)| {
        let options = format!("--read-back --keyring /ring.gpg --bmap {bmap}");
        machine.step(&format!("run /bmaptool copy {options} /disk.img.xz /dev/{device}"))
    });
    let used = machine.step("mount ext4 /dev/mmcblk0p2 /mnt");
    let mounted = machine.step("run /bmaptool copy /disk.img.xz /dev/mmcblk0 --no-sig-verify");
    machine.step("umount /mnt");
    let to_disk = machine.step("run /bmaptool copy --bmap /again.bmap /disk.img /dev/vda");
    let verified = machine.step("run /bmaptool verify --keyring /ring.gpg --bmap /disk.img.bmap /dev/vda");

    let disks = format!(
        "-device sdhci-pci -drive if=none,id=card,format=raw,file={} -device sd-card,drive=card \
         -drive if=none,id=disk,format=raw,file={} -device virtio-blk-pci,drive=disk \
         -drive if=none,id=spared,format=raw,file={} -device virtio-blk-pci,drive=spared",
        text(&card),
        text(&disk),
        text(&spared)
    );
    let report = machine.run(&disks.split(' ').collect::<Vec<_>>(), |_| None);
    report.expect(created, "0", &[]);
    report.expect(tampered, "1", &[&format!("{BAD} of '/tampered.bmap'")]);
    assert_eq!(sha256(&spared), pattern);
    report.expect(to_card, "0", &[&good(Who::Ed), "to block device '/dev/mmcblk0'", "copying time"]);
    report.expect(used, "0", &[]);
    report.expect(mounted, "1", &["mounted: /dev/mmcblk0p2 on '/mnt'", "umount /mnt"]);
    report.expect(to_disk, "0", &["to block device '/dev/vda'", "copying time"]);
    report.expect(verified, "0", &[&good(Who::Ed)]);
    let expected = image::flashed(&image, DISK_SIZE);
    assert!(fs::read(&card).unwrap() == expected, "the card differs");
    // The initramfs knows no holes.
    let mut whole = fs::read(&image).unwrap();
    whole.resize(DISK_SIZE as usize, image::UNTOUCHED);
    assert!(fs::read(&disk).unwrap() == whole, "the disk differs");
}

#[test(Root, Minutes, Emulator, Program("sfdisk"), Program("mkfs.ext4"))]
fn the_kernel_finds_no_fault_in_a_gpt_that_was_relocated() {
    let mut machine = Machine::new();
    partitioned_image(&machine.root(""));
    let [stick, card, fixed] = ["stick", "card", "fixed"].map(|name| machine.disk(name));
    for device in ["sda", "mmcblk0"] {
        machine.step(&format!("wait /dev/{device}"));
    }
    let copies = [("--relocate-gpt", "sda"), ("--read-back", "mmcblk0")].map(|(flag, device)| {
        let copied = machine.step(&format!("run /bmaptool copy {flag} /disk.img.xz /dev/{device}"));
        (copied, machine.step("log"), machine.step("list /dev"), device)
    });
    let verified = machine.step("run /bmaptool verify --bmap /disk.img.bmap /dev/sda");
    let mounted = machine.step("mount ext4 /dev/sda2 /mnt");

    let disks = disk_options(&stick, &card, &fixed);
    let report = machine.run(&disks.iter().map(String::as_str).collect::<Vec<_>>(), |_| None);
    let complaints = copies.map(|(copied, log, nodes, device)| {
        report.expect(copied, "0", &["copying time"]);
        let partition = if device == "sda" { "sda2" } else { "mmcblk0p2" };
        assert!(report.said(nodes).lines().any(|line| line == partition), "{}", report.said(nodes));
        report.said(log).lines().filter(|line| line.contains("GPT")).count()
    });
    assert_eq!(complaints[0], 0, "{}", report.said(copies[0].1));
    assert!(complaints[1] > 0, "without the option, it complains: {}", report.said(copies[1].1));
    report.expect(verified, "0", &["its GPT was relocated", "is what its bmap says"]);
    report.expect(mounted, "0", &[]);
}

#[test(Root, Minutes, Emulator)]
fn a_usb_stick_is_pulled_out() {
    let mut machine = Machine::new();
    let image = machine.root("disk.img");
    image::sparse(&image, 32 * MIB, &[(0, 24 << 20)], 7);
    create(&image);
    let stick = machine.disk("stick");
    machine.step("wait /dev/sda");
    let copy = machine.step("run /bmaptool copy /disk.img /dev/sda");
    let gone = machine.step("list /dev");
    let drive = format!("if=none,id=drive,format=raw,throttling.bps-write=2000000,file={}", text(&stick));
    let disks = ["-device", "qemu-xhci", "-drive", &drive, "-device", "usb-storage,id=stick,drive=drive,removable=on"];
    let mut began = None;
    let mut is_pulled = false;
    let report = machine.run(&disks, |report| {
        let is_on_its_way = report.contains("copying image");
        let began: &mut Option<Instant> = &mut began;
        let elapsed = is_on_its_way.then(|| began.get_or_insert_with(Instant::now).elapsed());
        let pull = !is_pulled && elapsed.is_some_and(|elapsed| elapsed > Duration::from_secs(3));
        is_pulled |= pull;
        pull.then_some("device_del stick")
    });
    report.expect(copy, "1", &["ERROR", "/dev/sda", "holds no valid image"]);
    assert!(!report.said(copy).contains("WARNING"), "{}", report.said(copy));
    assert!(!report.said(gone).lines().any(|line| line == "sda"), "{}", report.said(gone));
}

/// Of one disk the machine keeps what is discarded; of the other one it is given back to the host.
#[test(Root, Minutes, Emulator)]
fn what_is_discarded_is_given_back() {
    let mut machine = Machine::new();
    let image = machine.root("disk.img");
    image::sparse(&image, 32 * MIB, &[(0, 34 * 512), (4 * MIB, 3 << 20), (20 * MIB, 1 << 20)], 9);
    create(&image);
    let [gives, keeps, stick] = ["gives", "keeps", "stick"].map(|name| machine.disk(name));
    let copies = ["vda", "vdb", "sda"].map(|device| {
        machine.step(&format!("wait /dev/{device}"));
        machine.step(&format!("run /bmaptool copy --unmapped discard /disk.img /dev/{device}"))
    });
    let again = machine.step("run /bmaptool copy --unmapped discard --only-changed --read-back /disk.img /dev/vda");
    let disks = format!(
        "-drive if=virtio,format=raw,discard=unmap,file={} -drive if=virtio,format=raw,discard=ignore,file={} \
         -device qemu-xhci -drive if=none,id=stick,format=raw,file={} -device usb-storage,drive=stick,removable=on",
        text(&gives),
        text(&keeps),
        text(&stick)
    );
    let report = machine.run(&disks.split(' ').collect::<Vec<_>>(), |_| None);
    let [to_gives, to_keeps, to_stick] = copies;
    for step in [to_gives, again] {
        report.expect(step, "0", &["what was discarded on '/dev/vda' reads as zeroes"]);
    }
    report.expect(to_keeps, "0", &["WARNING", "/dev/vdb", "zeroes"]);
    report.expect(to_stick, "1", &["'/dev/sda' cannot discard", "--unmapped zero"]);

    let contents = fs::read(&gives).unwrap();
    assert!(contents[..32 << 20] == fs::read(&image).unwrap(), "the disk that gives differs");
    assert!(contents[32 << 20..].iter().all(|&byte| byte == 0));
    // The boot region, and what the image has after it.
    let allocated = fs::metadata(&gives).unwrap().blocks() * 512;
    assert!((4 * MIB..6 * MIB).contains(&allocated), "{allocated}");
    let mut flashed = image::flashed(&image, DISK_SIZE);
    flashed[34 * 512..MIB as usize].fill(0);
    assert!(fs::read(&keeps).unwrap() == flashed, "the disk that keeps differs");
    assert!(fs::read(&stick).unwrap().iter().all(|&byte| byte == image::UNTOUCHED));
}
