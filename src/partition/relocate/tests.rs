//! Tables that are made here, byte by byte; those of sgdisk and sfdisk are for `tests/it`.

use super::*;

const MIB: u64 = 1 << 20;

/// How long the first bytes are that are written last.
const HEAD: usize = 1 << 20;

/// A disk with one partition, from its second MiB on.
struct Disk {
    sector_size: u32,
    /// In bytes.
    size: u64,
    /// The end of the partition, in bytes.
    used: u64,
}

impl Disk {
    fn new(sector_size: u32, size: u64) -> Self {
        Self { sector_size, size, used: 2 * MIB }
    }

    fn last_lba(&self) -> u64 {
        self.size / u64::from(self.sector_size) - 1
    }

    /// All of it.
    fn make(&self) -> Vec<u8> {
        let sector = self.sector_size as usize;
        let mut disk = vec![0; self.size as usize];
        disk[440] = 7;
        disk[446..462].copy_from_slice(&[0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0, 0, 0, 0]);
        disk[458..462].copy_from_slice(&u32::try_from(self.last_lba()).unwrap().to_le_bytes());
        disk[510..512].copy_from_slice(&[0x55, 0xaa]);
        let entries = 2 * sector;
        disk[entries..entries + 32].fill(9);
        put(&mut disk, entries + 32, MIB / sector as u64);
        put(&mut disk, entries + 40, self.used / sector as u64 - 1);
        let length = 128 * 128;
        let crc = crc32fast::hash(&disk[entries..entries + length]);
        let header = &mut disk[sector..2 * sector];
        header[..8].copy_from_slice(SIGNATURE);
        header[8..16].copy_from_slice(&[0, 0, 1, 0, 92, 0, 0, 0]);
        let reserved = (length as u64).div_ceil(sector as u64) + 1;
        let fields = [
            (field::THIS_LBA, 1),
            (field::OTHER_LBA, self.last_lba()),
            (40, 34),
            (field::LAST_USABLE_LBA, self.last_lba() - reserved),
            (field::ENTRIES_LBA, 2),
        ];
        fields.into_iter().for_each(|(field, value)| put(header, field, value));
        header[field::DISK_GUID..field::DISK_GUID + 16].fill(3);
        header[field::ENTRY_COUNT..field::ENTRY_COUNT + 4].copy_from_slice(&128_u32.to_le_bytes());
        header[field::ENTRY_LEN..field::ENTRY_LEN + 4].copy_from_slice(&128_u32.to_le_bytes());
        header[field::ENTRIES_CRC..field::ENTRIES_CRC + 4].copy_from_slice(&crc.to_le_bytes());
        gpt::seal(header);
        let table = Table::of(&disk[..HEAD.min(disk.len())]).unwrap();
        let Backup { offset, bytes, .. } = table.backup(&disk, self.last_lba());
        disk[offset as usize..].copy_from_slice(&bytes);
        disk
    }
}

/// The first bytes of a disk, and its end, on a device of another size.
fn moved(disk: &[u8], sector_size: u32, capacity: u64) -> Result<Vec<u8>, RelocateError> {
    let mut device = disk.to_vec();
    device.resize(capacity as usize, 0xaa);
    let backup = relocate(&mut device[..HEAD], sector_size, capacity)?;
    assert_eq!(backup.offset + backup.bytes.len() as u64, capacity);
    device[backup.offset as usize..].copy_from_slice(&backup.bytes);
    Ok(device)
}

#[test]
fn a_relocated_disk_is_one_that_was_made_so() {
    for sector_size in [512, 4096] {
        for capacity in [4 * MIB, 4 * MIB + 4096, 16 * MIB] {
            let (small, large) = (Disk::new(sector_size, 4 * MIB), Disk::new(sector_size, capacity));
            let device = moved(&small.make(), sector_size, capacity).unwrap();
            let expected = large.make();
            assert!(device[..HEAD] == expected[..HEAD], "{sector_size}, {capacity}");
            let end = capacity as usize - 16384 - sector_size as usize;
            assert!(device[end..] == expected[end..], "{sector_size}, {capacity}");
        }
    }
}

#[test]
fn what_cannot_be_relocated_is_told() {
    let image = Disk::new(512, 4 * MIB).make();
    let spoilt = |at: usize| {
        let mut image = image.clone();
        image[at] ^= 1;
        moved(&image, 512, 8 * MIB).unwrap_err()
    };
    let damaged = |problem| RelocateError::Damaged { problem };
    assert_eq!(spoilt(446 + 4), RelocateError::Missing);
    assert_eq!(spoilt(510), RelocateError::Missing);
    assert_eq!(spoilt(512), RelocateError::Missing);
    assert_eq!(spoilt(512 + 60), damaged("the checksum of its header is wrong"));
    assert_eq!(spoilt(1024 + 200), damaged("the checksum of its entries is wrong"));
    let other = moved(&image, 4096, 8 * MIB).unwrap_err();
    assert_eq!(other, RelocateError::SectorSize { image: 512, device: 4096 });
    assert!(Table::of(&image[..20_000]).is_ok());
    assert_eq!(Table::of(&image[..17_000]).err(), Some(RelocateError::FarEntries { limit: 17_000 }));
    let full = Disk { used: 4 * MIB - 33 * 512, ..Disk::new(512, 4 * MIB) }.make();
    assert!(moved(&full, 512, 4 * MIB).is_ok());
    let in_the_way = Disk { used: 4 * MIB - 32 * 512, ..Disk::new(512, 4 * MIB) }.make();
    let no_room = RelocateError::NoRoom { needed: 4 * MIB - 32 * 512, capacity: 4 * MIB };
    assert_eq!(moved(&in_the_way, 512, 4 * MIB), Err(no_room));
    assert!(moved(&in_the_way, 512, 4 * MIB + 512).is_ok());
    let mut small = image.clone();
    small.truncate(HEAD);
    assert!(matches!(relocate(&mut small, 512, 600), Err(RelocateError::NoRoom { .. })));
}

#[test]
fn a_signature_elsewhere_hides_no_table() {
    let mut image = Disk::new(4096, 4 * MIB).make();
    image[512..520].copy_from_slice(SIGNATURE);
    let table = Gpt::read(&mut Cursor::new(&image)).unwrap().unwrap();
    assert_eq!((table.sector_size(), table.partitions().len()), (4096, 1));
    assert_eq!(Gpt::sector_size_of(&image), Some(4096));
    assert!(moved(&image, 4096, 8 * MIB).is_ok());
}

#[test]
fn no_bytes_of_a_table_make_it_panic() {
    let image = Disk::new(512, 4 * MIB).make();
    let mut state = 1_u64;
    for _ in 0..3000 {
        let mut head = image[..20_000].to_vec();
        for _ in 0..3 {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            head[512 + (state >> 33) as usize % 92] = (state >> 40) as u8;
        }
        let length = number::<4>(&head, 512 + field::HEADER_LEN) as usize;
        if (92..=512).contains(&length) {
            gpt::seal(&mut head[512..1024]);
        }
        let _ = relocate(&mut head.clone(), 512, 8 * MIB);
        let found = Relocated::find(head, 8 * MIB);
        found.iter().for_each(|found| drop(found.originals(4 * MIB, &[])));
    }
}

#[test]
fn only_a_protective_entry_for_all_of_the_disk_follows_it() {
    let image = Disk::new(512, 4 * MIB).make();
    // Slot, type, start and length; what the protective entry has before and after.
    let data = |start: u32, length: u32| (1, 0x0c, start, length);
    let cases = [
        (None, 8191, 16383),
        (None, 1000, 16383),
        (None, u32::MAX, 16383),
        (Some(data(2048, 2048)), 2047, 2047),
        (Some(data(2048, 2048)), 8191, 16383),
        (Some((1, 0xee, 4096, 100)), 2047, 2047),
    ];
    for (other, before, after) in cases {
        let mut image = image.clone();
        image[458..462].copy_from_slice(&u32::to_le_bytes(before));
        if let Some((slot, kind, start, length)) = other {
            let entry = &mut image[446 + 16 * slot..][..16];
            entry[4] = kind;
            entry[8..12].copy_from_slice(&u32::to_le_bytes(start));
            entry[12..].copy_from_slice(&u32::to_le_bytes(length));
        }
        let device = moved(&image, 512, 8 * MIB).unwrap();
        assert_eq!(number::<4>(&device, 458), after, "{other:?}, {before}");
        if let Some((_, 0xee, ..)) = other {
            assert_eq!(number::<4>(&device, 474), 16384 - 4096);
            image[474..478].copy_from_slice(&device[474..478]);
        }
        image[458..462].copy_from_slice(&device[458..462]);
        assert!(image[..512] == device[..512], "nothing else changes");
    }
    // Of 3 TiB, as much as 32 bits can say.
    let mut head = image[..HEAD].to_vec();
    relocate(&mut head, 512, 3 << 40).unwrap();
    assert_eq!(number::<4>(&head, 458), u64::from(u32::MAX));
    assert_eq!(number::<8>(&head, 512 + field::OTHER_LBA), (3 << 31) - 1);
}

/// What `device` was before, as one of the guesses has it.
fn is_undone(device: &[u8], image: &[u8], image_size: u64) -> bool {
    let found = Relocated::find(device[..HEAD].to_vec(), device.len() as u64).unwrap();
    let sector_size = found.sector_size() as usize;
    let sectors = device[..image_size as usize].chunks_exact(sector_size).enumerate();
    let seen: Vec<_> = sectors.filter_map(|(lba, sector)| found.see(sector, (lba * sector_size) as u64)).collect();
    found.originals(image_size, &seen).into_iter().any(|original| {
        let mut device = device.to_vec();
        for (offset, patch) in original {
            device[offset as usize..][..patch.len()].copy_from_slice(&patch);
        }
        device[..image_size as usize] == image[..image_size as usize]
    })
}

#[test]
fn a_relocation_is_undone() {
    for sector_size in [512, 4096] {
        let image = Disk::new(sector_size, 4 * MIB).make();
        for capacity in [4 * MIB, 4 * MIB + 4096, 4 * MIB + 12288, 16 * MIB] {
            let device = moved(&image, sector_size, capacity).unwrap();
            assert!(is_undone(&device, &image, 4 * MIB), "{sector_size}, {capacity}");
            // The image had none at its end.
            let mut without = image.clone();
            without[4 * MIB as usize - 16384 - sector_size as usize..].fill(0);
            let device = moved(&without, sector_size, capacity).unwrap();
            assert!(is_undone(&device, &without, 4 * MIB), "{sector_size}, {capacity}");
        }
        // The image was made longer later.
        let mut longer = image.clone();
        longer.resize(6 * MIB as usize, 0);
        let device = moved(&longer, sector_size, 16 * MIB).unwrap();
        assert!(is_undone(&device, &longer, 6 * MIB), "{sector_size}");
        // Its MBR protects as much as it can.
        let mut all = image.clone();
        all[458..462].fill(0xff);
        let device = moved(&all, sector_size, 16 * MIB).unwrap();
        assert!(is_undone(&device, &all, 4 * MIB), "{sector_size}");
        // A wrong size in the MBR is not overlooked.
        let mut wrong = device;
        wrong[458] ^= 1;
        assert!(!is_undone(&wrong, &all, 4 * MIB), "{sector_size}");
    }
}

#[test]
fn where_more_is_kept_free_than_is_needed_it_stays_so() {
    let mut image = Disk::new(512, 4 * MIB).make();
    put(&mut image[512..1024], field::LAST_USABLE_LBA, 8191 - 2048);
    gpt::seal(&mut image[512..1024]);
    let device = moved(&image, 512, 8 * MIB).unwrap();
    assert_eq!(number::<8>(&device, 512 + field::LAST_USABLE_LBA), 16383 - 2048);
    // Unless that is not there, or too little for the backup.
    put(&mut image[512..1024], field::LAST_USABLE_LBA, 8191 - 8000);
    gpt::seal(&mut image[512..1024]);
    let device = moved(&image, 512, 4 * MIB).unwrap();
    assert_eq!(number::<8>(&device, 512 + field::LAST_USABLE_LBA), 8191 - 33);
    put(&mut image[512..1024], field::LAST_USABLE_LBA, 8190);
    gpt::seal(&mut image[512..1024]);
    let device = moved(&image, 512, 8 * MIB).unwrap();
    assert_eq!(number::<8>(&device, 512 + field::LAST_USABLE_LBA), 16383 - 33);
}
