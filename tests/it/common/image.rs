//! Images with known holes and contents.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use bmaptool::bmap::Bmap;

/// What the disks of tests are full of before they are written to.
pub const UNTOUCHED: u8 = 0xa5;

/// A small random number generator (xorshift64*), so that a seed gives the same image everywhere.
#[derive(Clone)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Bytes that look random and do not compress.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..length.div_ceil(8)).flat_map(|_| self.next().to_le_bytes()).collect();
        bytes.truncate(length);
        bytes
    }

    /// Bytes that compress by about half, as those of a disk with texts on it.
    pub fn text(&mut self, length: usize) -> Vec<u8> {
        self.bytes(length).into_iter().map(|byte| b"etaoin shrdlu\n0\0"[usize::from(byte & 15)]).collect()
    }
}

/// Makes a sparse file of `size` bytes with data at the given places, each `(offset, length)`.
pub fn sparse(path: &Path, size: u64, data: &[(u64, usize)], seed: u64) {
    let file = create(path, size);
    let mut random = Random::new(seed);
    for &(offset, length) in data {
        file.write_all_at(&random.text(length), offset).unwrap();
    }
}

/// Makes a file of `size` bytes that is one hole.
pub fn create(path: &Path, size: u64) -> File {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path).unwrap();
    file.set_len(size).unwrap();
    file
}

/// An image like that of a small disk: a partition table, a few large files, scattered metadata, a last partial block.
pub fn disk_like(path: &Path, seed: u64) {
    const MIB: u64 = 1 << 20;
    let data = [
        (0, 34 * 512),
        (MIB, 300_000),
        (3 * MIB + 8192, 4096),
        (5 * MIB, 1_500_000),
        (9 * MIB + 4096, 12_288),
        (13 * MIB - 4096, 4096),
        (16 * MIB, 777),
    ];
    sparse(path, 16 * MIB + 777, &data, seed);
}

/// Puts a GPT for sectors of this size at the start of an image, with a partition and no backup; returns how many bytes
/// it takes (UEFI specification, chapter 5).
pub fn put_gpt(image: &mut [u8], sector: usize) -> usize {
    const ENTRIES: usize = 128 * 128;
    let (header_at, entries_at) = (sector, 2 * sector);
    let end = entries_at + ENTRIES;
    image[..end].fill(0);
    let sectors = (image.len() / sector) as u64;
    let first_usable = (end / sector) as u64;
    let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
    // The protective MBR.
    put(446, &[0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff, 1, 0, 0, 0]);
    put(458, &(sectors as u32 - 1).to_le_bytes());
    put(510, &[0x55, 0xaa]);
    put(entries_at, &[9; 32]); // type and GUID
    put(entries_at + 32, &first_usable.to_le_bytes());
    put(entries_at + 40, &(first_usable + 3).to_le_bytes());
    put(header_at, b"EFI PART\0\0\x01\0\x5c\0\0\0");
    let numbers = [(24, 1), (32, sectors - 1), (40, first_usable), (48, sectors - first_usable), (72, 2)];
    numbers.into_iter().for_each(|(at, number): (usize, u64)| put(header_at + at, &number.to_le_bytes()));
    put(header_at + 80, &[128, 0, 0, 0, 128, 0, 0, 0]);
    let entries = crc32fast::hash(&image[entries_at..end]);
    image[header_at + 88..header_at + 92].copy_from_slice(&entries.to_le_bytes());
    let header = crc32fast::hash(&image[header_at..header_at + 92]);
    image[header_at + 16..header_at + 20].copy_from_slice(&header.to_le_bytes());
    end
}

/// Whether two files have the same bytes in the first `length` of them.
pub fn same_start(left: &Path, right: &Path, length: u64) -> bool {
    let (left, right) = (File::open(left).unwrap(), File::open(right).unwrap());
    let mut buffers = (vec![0; 1 << 20], vec![0; 1 << 20]);
    let mut offset = 0;
    while offset < length {
        let want = (length - offset).min(1 << 20) as usize;
        left.read_exact_at(&mut buffers.0[..want], offset).unwrap();
        right.read_exact_at(&mut buffers.1[..want], offset).unwrap();
        if buffers.0[..want] != buffers.1[..want] {
            return false;
        }
        offset += want as u64;
    }
    true
}

/// Expects `copy` to begin with all bytes of `image`; a file must be just as long, a device may be longer.
pub fn assert_same(image: &Path, copy: &Path) {
    let size = std::fs::metadata(image).unwrap().len();
    let copied = std::fs::metadata(copy).unwrap();
    assert!(!copied.is_file() || copied.len() == size, "{} has {} bytes, not {size}", copy.display(), copied.len());
    assert!(same_start(image, copy, size), "{} differs from {}", copy.display(), image.display());
}

/// What a disk full of [`UNTOUCHED`] holds after `image` has been flashed to it with the bmap beside it: the mapped
/// blocks, and a boot region that is zero elsewhere.
pub fn flashed(image: &Path, disk_size: u64) -> Vec<u8> {
    flashed_by(format!("{}.bmap", image.display()).as_ref(), image, disk_size)
}

/// The same, with the bmap at `bmap`.
pub fn flashed_by(bmap: &Path, image: &Path, disk_size: u64) -> Vec<u8> {
    let map = Bmap::parse(&std::fs::read(bmap).unwrap()).unwrap();
    let image = std::fs::read(image).unwrap();
    let mut bytes = vec![UNTOUCHED; disk_size as usize];
    for range in map.ranges() {
        let place = range.bytes.start as usize..range.bytes.end as usize;
        bytes[place.clone()].copy_from_slice(&image[place]);
    }
    bytes
}
