//! What is done while system calls fail.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use super::devices::ToDevice;
use super::judge::{Scene, expect};
use crate::common::image::sparse;
use crate::common::tool::{Outcome, Tool, bmaptool, copy, create};
use crate::common::{sha256, temp_dir};

pub const MIB: u64 = 1 << 20;

/// The names in a directory.
pub fn names(directory: &Path) -> BTreeSet<String> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// An image with its bmap beside it, which has more ranges than there are uses to tell apart.
pub struct Work {
    pub directory: tempfile::TempDir,
    pub image: PathBuf,
}

impl Work {
    pub fn new() -> Self {
        Self::changed(|_| {})
    }

    /// The same with another image.
    pub fn changed(change: impl FnOnce(&Path)) -> Self {
        let directory = temp_dir();
        let image = directory.path().join("disk.img");
        let mut data: Vec<_> = (1..14).map(|index| (index * 200_000 / 4096 * 4096, 9000)).collect();
        data[0] = (0, 70_000);
        data.push((3 * MIB, 777));
        sparse(&image, 3 * MIB + 777, &data, 3);
        change(&image);
        create(&image);
        Self { directory, image }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn expect_names(&self, more: &[&str]) -> Result<(), String> {
        let mut expected = BTreeSet::from(["disk.img".to_owned(), "disk.img.bmap".to_owned()]);
        expected.extend(more.iter().map(|&name| name.to_owned()));
        let found = names(self.directory.path());
        if found == expected { Ok(()) } else { Err(format!("the directory has {found:?}")) }
    }
}

/// A copy to a file.
pub struct ToFile {
    pub work: Work,
    /// What the file has before, if it exists.
    pub before: Option<&'static [u8]>,
    /// Options of the copy.
    pub options: &'static [&'static str],
}

impl ToFile {
    pub fn new(before: Option<&'static [u8]>) -> Self {
        Self { work: Work::new(), before, options: &[] }
    }

    pub fn target(&self) -> PathBuf {
        self.work.path("copy")
    }
}

impl Scene for ToFile {
    fn reset(&self) {
        let _ = fs::remove_file(self.target());
        if let Some(before) = self.before {
            fs::write(self.target(), before).unwrap();
        }
    }

    fn tool(&self) -> Tool {
        let mut tool = copy(self.options);
        tool.command.args([self.work.image.as_path(), &self.target()]);
        tool
    }

    fn judge_success(&self, _outcome: &Outcome) -> Result<(), String> {
        self.work.expect_names(&["copy"])?;
        expect(fs::read(self.target()).unwrap() == fs::read(&self.work.image).unwrap(), "the copy differs")
    }

    fn judge_failure(&self, outcome: &Outcome) -> Result<(), String> {
        match self.before {
            None => self.work.expect_names(&[]),
            Some(before) => {
                self.work.expect_names(&["copy"])?;
                let untouched = fs::read(self.target()).unwrap() == before;
                let told = ["is as it was", "is incomplete"].iter().any(|words| outcome.stderr.contains(words));
                expect(untouched || told, "it does not say what is left")?;
                expect(untouched || !outcome.stderr.contains("is as it was"), "it is not as it was")
            }
        }
    }

    fn judge_abort(&self, _outcome: &Outcome) -> Result<(), String> {
        let found = fs::read(self.target()).unwrap_or_default();
        expect(found == self.before.unwrap_or_default(), "the file was written to")
    }
}

/// A map of an image.
pub struct Map {
    pub work: Work,
    pub expected: Vec<u8>,
    /// What the output holds before, which stays where there is no new one.
    pub before: Option<&'static str>,
}

impl Map {
    pub fn new(before: Option<&'static str>) -> Self {
        let work = Work::new();
        let expected = fs::read(work.path("disk.img.bmap")).unwrap();
        Self { work, expected, before }
    }
}

impl Scene for Map {
    fn reset(&self) {
        let output = self.work.path("map");
        match self.before {
            Some(before) => fs::write(output, before).unwrap(),
            None => drop(fs::remove_file(output)),
        }
    }

    fn tool(&self) -> Tool {
        let output = self.work.path("map");
        bmaptool([OsStr::new("create"), "-o".as_ref(), output.as_os_str(), self.work.image.as_os_str()])
    }

    fn judge_success(&self, _outcome: &Outcome) -> Result<(), String> {
        self.work.expect_names(&["map"])?;
        expect(fs::read(self.work.path("map")).unwrap() == self.expected, "the map differs")
    }

    /// The old map is there, or none; or the whole new one, whose name may not be durable.
    fn judge_failure(&self, outcome: &Outcome) -> Result<(), String> {
        let found = fs::read(self.work.path("map")).ok();
        let names: &[&str] = if found.is_some() { &["map"] } else { &[] };
        self.work.expect_names(names)?;
        let is_old = found.as_deref() == self.before.map(str::as_bytes);
        let is_new = found.as_ref() == Some(&self.expected) && outcome.stderr.contains("cannot write the bmap");
        expect(is_old || is_new, "the old map is gone")
    }
}

/// Something that must not be done, whatever fails while it is found out.
pub struct Forbidden<'a> {
    pub arguments: Vec<&'a OsStr>,
    /// What it would destroy, with its digest.
    pub precious: &'a Path,
    pub before: String,
    /// What it says when nothing fails.
    pub reason: &'a str,
}

impl<'a> Forbidden<'a> {
    pub fn new<S: AsRef<OsStr> + ?Sized>(arguments: &[&'a S], precious: &'a Path, reason: &'a str) -> Self {
        let arguments = arguments.iter().map(|&argument| argument.as_ref()).collect();
        Self { arguments, precious, before: sha256(precious), reason }
    }
}

impl Scene for Forbidden<'_> {
    fn reset(&self) {}

    fn tool(&self) -> Tool {
        bmaptool(&self.arguments)
    }

    fn judge_success(&self, _outcome: &Outcome) -> Result<(), String> {
        Err("it was done".to_owned())
    }

    fn judge_failure(&self, _outcome: &Outcome) -> Result<(), String> {
        expect(sha256(self.precious) == self.before, "something was destroyed")
    }
}

/// A copy to a device and to a file.
pub struct ToBoth {
    pub device: ToDevice,
}

impl ToBoth {
    pub fn new() -> Self {
        Self { device: ToDevice::new() }
    }

    fn file(&self) -> PathBuf {
        self.device.work.path("copy")
    }

    fn file_is_right(&self) -> bool {
        fs::read(self.file()).is_ok_and(|found| found == fs::read(&self.device.work.image).unwrap())
    }
}

impl Scene for ToBoth {
    fn reset(&self) {
        let _ = fs::remove_file(self.file());
        self.device.reset();
    }

    fn tool(&self) -> Tool {
        let work = &self.device.work;
        copy([work.image.as_path(), self.device.disk.path(), &self.file()])
    }

    fn judge_success(&self, outcome: &Outcome) -> Result<(), String> {
        expect(self.file_is_right(), "the file differs")?;
        fs::remove_file(self.file()).unwrap();
        self.device.judge_success(outcome)
    }

    /// What is reported as right is right, and the other one says what is left. A fault of one never harms the other.
    fn judge_failure(&self, outcome: &Outcome) -> Result<(), String> {
        let names = [self.device.disk.path().to_owned(), self.file()];
        let has = |start: &str, name: &Path| outcome.stderr.contains(&format!("{start} '{}'", name.display()));
        let [device_is_done, file_is_done] = names.each_ref().map(|name| has("written to", name));
        let [device_failed, file_failed] = names.each_ref().map(|name| {
            outcome.stderr.lines().any(|line| line.contains("cannot copy") && line.contains(&*name.to_string_lossy()))
        });
        if device_failed || file_failed {
            expect(device_failed != device_is_done, "nothing is said of the device")?;
            expect(file_failed != file_is_done, "nothing is said of the file")?;
        }
        expect(!file_is_done || self.file_is_right(), "the file differs")?;
        expect(file_is_done || !self.file().exists() || has("is incomplete", &self.file()), "the file is left")?;
        let _ = fs::remove_file(self.file());
        if device_is_done { self.device.judge_success(outcome) } else { self.device.judge_failure(outcome) }
    }

    fn judge_abort(&self, outcome: &Outcome) -> Result<(), String> {
        let _ = fs::remove_file(self.file());
        self.device.judge_abort(outcome)
    }
}
