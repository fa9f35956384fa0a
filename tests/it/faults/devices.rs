//! Copies to block devices while system calls fail.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;

use super::fixtures::{MIB, Work};
use super::judge::{Scene, expect};
use crate::common::device::{Disk, Loop, fill};
use crate::common::image::{UNTOUCHED, flashed, put_gpt};
use crate::common::lying::{Lie, LyingDisk};
use crate::common::text;
use crate::common::tool::{Outcome, Tool, copy};

pub const DISK: u64 = 4 * MIB;

/// A disk that a scene copies to.
pub trait Target {
    fn device(&self) -> &Loop;

    fn contents(&self) -> Vec<u8>;

    /// Gives it these contents, and makes it as it is before a copy.
    fn reset(&self, contents: &[u8]);
}

impl Target for Disk {
    fn device(&self) -> &Loop {
        &self.device
    }

    fn contents(&self) -> Vec<u8> {
        fs::read(&self.backing).unwrap()
    }

    fn reset(&self, contents: &[u8]) {
        fill(self.path(), contents);
    }
}

/// A disk that flips a bit in each of these bytes when it is written for the first time.
pub struct Flipping {
    disk: LyingDisk,
    bytes: [u64; 2],
}

impl Target for Flipping {
    fn device(&self) -> &Loop {
        &self.disk.device
    }

    fn contents(&self) -> Vec<u8> {
        self.disk.medium().contents(0..DISK)
    }

    fn reset(&self, contents: &[u8]) {
        self.disk.tells_the_truth();
        fill(self.disk.path(), contents);
        self.bytes.into_iter().for_each(|byte| self.disk.lies_now(Lie::Flip(byte, 1)));
    }
}

/// A copy to a block device, whose settings must be changed for it.
pub struct ToDevice<T = Disk> {
    pub work: Work,
    pub disk: T,
    /// What the device holds before.
    pub before: Vec<u8>,
    /// What the device holds when all is well.
    pub expected: Vec<u8>,
    /// Options of the copy.
    pub options: &'static [&'static str],
    /// What a copy says in which nothing fails.
    pub says: &'static [&'static str],
}

impl ToDevice {
    pub fn new() -> Self {
        Self::of_size(DISK)
    }

    pub fn of_size(size: u64) -> Self {
        Self::of(Disk::new(size), size)
    }

    /// The device holds most of an image whose GPT is relocated.
    pub fn changed() -> Self {
        let work = Work::changed(|image| {
            let mut bytes = fs::read(image).unwrap();
            put_gpt(&mut bytes, 512);
            File::options().write(true).open(image).unwrap().write_all_at(&bytes[..70_000], 0).unwrap();
        });
        let disk = Disk::new(DISK);
        copy(["--relocate-gpt", "--unmapped=zero", text(&work.image), text(disk.path())]).ok();
        let expected = disk.contents();
        let mut before = expected.clone();
        // In the GPT, the image, a hole of it, and the backup of the GPT.
        [530, 1_200_000, 1_300_000, DISK - 100].into_iter().for_each(|wrong| before[wrong as usize] ^= 0xff);
        let options = &["--only-changed", "--read-back", "--relocate-gpt", "--unmapped=zero"];
        let says = &["was right already", "read back", "the backup of the GPT is at the end"];
        Self { work, disk, before, expected, options, says }
    }
}

impl ToDevice<Flipping> {
    /// What is read back is wrong at first, once in the boot region and once elsewhere.
    pub fn retried() -> Self {
        let bytes = [6_000, 1_200_000];
        let scene = Self::of(Flipping { disk: LyingDisk::new(DISK), bytes }, DISK);
        // Zeroes are not flipped.
        assert!(bytes.iter().all(|&byte| ![0, UNTOUCHED].contains(&scene.expected[byte as usize])));
        Self { options: &["--read-back"], says: &["came back wrong", "all is right"], ..scene }
    }
}

impl<T: Target> ToDevice<T> {
    fn of(disk: T, size: u64) -> Self {
        let work = Work::new();
        let (before, expected) = (vec![UNTOUCHED; size as usize], flashed(&work.image, size));
        Self { work, disk, before, expected, options: &[], says: &[] }
    }

    fn judge_settings(&self) -> Result<(), String> {
        let ratio = fs::read_to_string(self.disk.device().attribute("bdi/max_ratio")).unwrap();
        expect(ratio == "73\n", "the share of the page cache is not put back")
    }

    /// After a failure: returns whether the device has what it had.
    pub fn judge_contents(&self) -> Result<bool, String> {
        let device = self.disk.contents();
        let untouched = device == self.before;
        let zeroed = device[..MIB as usize].iter().all(|&byte| byte == 0);
        expect(untouched || zeroed, "the device may look valid")?;
        Ok(untouched)
    }
}

impl<T: Target> Scene for ToDevice<T> {
    fn reset(&self) {
        fs::write(self.disk.device().attribute("bdi/max_ratio"), "73").unwrap();
        self.disk.reset(&self.before);
    }

    fn tool(&self) -> Tool {
        let mut tool = copy(self.options);
        tool.command.args([&self.work.image, &self.disk.device().path]);
        tool
    }

    fn says(&self) -> &[&str] {
        self.says
    }

    fn judge_success(&self, outcome: &Outcome) -> Result<(), String> {
        self.work.expect_names(&[])?;
        self.judge_settings()?;
        let mut device = self.disk.contents();
        if outcome.stderr.contains("cannot read the first 1048576 bytes") {
            // Then what the image leaves out there is lost, and zero.
            let left_out = self.expected.iter().zip(&mut device).take(MIB as usize);
            left_out
                .filter(|(expected, byte)| (**expected, **byte) == (UNTOUCHED, 0))
                .for_each(|(_, byte)| *byte = UNTOUCHED);
        }
        expect(device == self.expected, "the device differs from what it should hold")
    }

    fn judge_failure(&self, outcome: &Outcome) -> Result<(), String> {
        self.work.expect_names(&[])?;
        self.judge_settings()?;
        let untouched = self.judge_contents()?;
        expect(untouched || outcome.stderr.contains("holds no valid image"), "it does not say what is left")?;
        // It must be free for the next one.
        expect(OpenOptions::new().write(true).open(&self.disk.device().path).is_ok(), "the device cannot be opened")
    }

    fn judge_abort(&self, _outcome: &Outcome) -> Result<(), String> {
        expect(self.judge_contents()?, "the device was written to")
    }
}
