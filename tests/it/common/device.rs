//! Loop devices and file systems. Whatever is attached or mounted is gone when its guard is dropped.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::tool::tie;
use super::{image, sh, temp_dir, text};

/// A loop device that this test attached. The kernel detaches it when this test, or another process that has it open or
/// mounted, has closed it, even if it is killed.
pub struct Loop {
    pub path: PathBuf,
    _open: std::fs::File,
}

impl Loop {
    /// Attaches `file`.
    pub fn attach(file: &Path) -> Self {
        Self::attach_with(file, &[])
    }

    /// Attaches `file` with more options of losetup.
    pub fn attach_with(file: &Path, options: &[&str]) -> Self {
        let mut arguments = vec!["--find", "--show"];
        arguments.extend(options);
        arguments.push(file.to_str().unwrap());
        Self::of(PathBuf::from(sh("losetup", &arguments).trim()))
    }

    /// A device that has been attached.
    pub fn of(path: PathBuf) -> Self {
        let device = Self { _open: std::fs::File::open(&path).unwrap(), path };
        // As it is open, this lasts until it is not.
        sh("losetup", &["--detach", device.path.to_str().unwrap()]);
        device.delete_partitions();
        device.reset();
        device
    }

    /// Gives it back, and waits until nothing is attached to it any more: a program that another test is just starting
    /// may still have it open.
    pub fn detach(self) {
        let backing_file = self.attribute("loop/backing_file");
        drop(self);
        for _ in 0..3000 {
            if !backing_file.exists() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{} stays", backing_file.display());
    }

    /// One of its attributes in sysfs, such as `bdi/max_ratio`.
    pub fn attribute(&self, name: &str) -> PathBuf {
        Path::new("/sys/block").join(self.path.file_name().unwrap()).join(name)
    }

    /// Deletes its partitions, which outlive what is attached to it. A program that another test is just starting may
    /// still have one of them open.
    fn delete_partitions(&self) {
        let name = self.path.file_name().unwrap().to_str().unwrap();
        let is_partition = |entry: std::io::Result<std::fs::DirEntry>| {
            entry.is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with(&format!("{name}p")))
        };
        for _ in 0..100 {
            if !std::fs::read_dir(self.attribute("")).is_ok_and(|mut entries| entries.any(is_partition)) {
                return;
            }
            let deleted = Command::new("partx").arg("--delete").arg(&self.path).output();
            if !deleted.is_ok_and(|output| output.status.success()) {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }

    /// Gives the device the settings that a new one has. They outlive what is attached to it, and a copy that is killed
    /// cannot put them back.
    fn reset(&self) {
        for (attribute, value) in [("queue/scheduler", "none"), ("bdi/max_ratio", "100")] {
            let _ = std::fs::write(self.attribute(attribute), value);
        }
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        self.reset();
    }
}

/// A loop device over a file of its own, full of a pattern, so that what is not written can be told.
pub struct Disk {
    pub device: Loop,
    pub backing: PathBuf,
    _directory: tempfile::TempDir,
}

impl Disk {
    /// A device of `size` bytes, a multiple of 512.
    pub fn new(size: u64) -> Self {
        Self::with(size, &[])
    }

    /// A device of `size` bytes, made with more options of losetup.
    pub fn with(size: u64, options: &[&str]) -> Self {
        let directory = temp_dir();
        let backing = directory.path().join("disk");
        std::fs::write(&backing, vec![image::UNTOUCHED; usize::try_from(size).unwrap()]).unwrap();
        let device = Loop::attach_with(&backing, options);
        Self { device, backing, _directory: directory }
    }

    pub fn path(&self) -> &Path {
        &self.device.path
    }

    /// One of its attributes in sysfs.
    pub fn attribute(&self, name: &str) -> PathBuf {
        self.device.attribute(name)
    }

    /// Fills it with the pattern again, so that what one copy has written is not taken for the work of the next.
    pub fn refill(&self) {
        let size = std::fs::metadata(&self.backing).unwrap().len();
        fill(self.path(), &vec![image::UNTOUCHED; size as usize]);
    }

    /// How many bytes have been written to it, as the kernel counts them (Documentation/block/stat.rst).
    pub fn written(&self) -> u64 {
        let stat = std::fs::read_to_string(self.attribute("stat")).unwrap();
        stat.split_whitespace().nth(6).unwrap().parse::<u64>().unwrap() * 512
    }

    /// Expects that `image` has been flashed to it with `bmap`, and that all other bytes are as they were.
    pub fn assert_flashed(&self, image: &Path, bmap: &Path) {
        let bytes = std::fs::read(&self.backing).unwrap();
        let expected = image::flashed_by(bmap, image, bytes.len() as u64);
        let difference = bytes.iter().zip(&expected).position(|(byte, expected)| byte != expected);
        assert_eq!(difference, None, "{} differs from {} at this byte", self.path().display(), image.display());
    }

    /// Tells the kernel of a partition of `length` bytes at `start`; returns its node. There need not be a partition
    /// table, nor a kernel that can read one.
    pub fn partition(&self, number: u32, start: u64, length: u64) -> PathBuf {
        let sectors = [start, length].map(|bytes| (bytes / 512).to_string());
        sh("addpart", &[self.path().to_str().unwrap(), &number.to_string(), &sectors[0], &sectors[1]]);
        PathBuf::from(format!("{}p{number}", self.path().display()))
    }

    /// Makes a file system on `device`, which is this one or a part of it, and mounts it read-only, so that nothing in
    /// it changes by itself.
    pub fn mount(&self, device: &Path) -> Mount {
        sh("mkfs.ext4", &["-q", device.to_str().unwrap()]);
        Mount::of(device, "ro")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.device.delete_partitions();
    }
}

/// Gives a device these contents, from its first byte on.
pub fn fill(device: &Path, contents: &[u8]) {
    let mut device = std::fs::OpenOptions::new().write(true).open(device).unwrap();
    device.write_all(contents).unwrap();
    device.sync_all().unwrap();
}

/// A device that is used as swap.
pub struct Swap {
    device: PathBuf,
}

impl Swap {
    pub fn on(device: &Path) -> Self {
        sh("mkswap", &[device.to_str().unwrap()]);
        sh("swapon", &[device.to_str().unwrap()]);
        Self { device: device.to_owned() }
    }
}

impl Drop for Swap {
    fn drop(&mut self) {
        let _ = Command::new("swapoff").arg(&self.device).status();
    }
}

/// A file system that is mounted for this test.
pub struct Mount {
    directory: tempfile::TempDir,
}

impl Mount {
    /// A tmpfs or ramfs.
    pub fn in_memory(kind: &str) -> Self {
        Self::with(kind, "rw")
    }

    /// A tmpfs that holds no more than `size` bytes.
    pub fn small(size: u64) -> Self {
        Self::with("tmpfs", &format!("size={size}"))
    }

    /// A file system of this kind that lies on no device.
    pub fn with(kind: &str, options: &str) -> Self {
        let directory = temp_dir();
        sh("mount", &["-t", kind, "-o", options, "test", directory.path().to_str().unwrap()]);
        Self { directory }
    }

    /// The file system on `device`.
    pub fn of(device: &Path, options: &str) -> Self {
        Self::below(device, options, temp_dir())
    }

    /// The file system on `device`, mounted in `directory`.
    pub fn below(device: &Path, options: &str, directory: tempfile::TempDir) -> Self {
        sh("mount", &["-o", options, device.to_str().unwrap(), directory.path().to_str().unwrap()]);
        Self { directory }
    }

    /// A file system of `size` bytes in a file, made by `mkfs.KIND` with `options`.
    pub fn on_file(kind: &str, size: u64, options: &[&str]) -> Self {
        let directory = temp_dir();
        let store = temp_dir();
        let file = store.path().join("fs");
        image::create(&file, size);
        let mut arguments: Vec<&str> = options.to_vec();
        arguments.push(file.to_str().unwrap());
        sh(&format!("mkfs.{kind}"), &arguments);
        // The file may lose its name: the loop device that mount makes keeps it.
        sh("mount", &["-o", "loop", "-t", kind, file.to_str().unwrap(), directory.path().to_str().unwrap()]);
        Self { directory }
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.directory.path()).status();
    }
}

/// A mount of a device in a mount namespace of its own, as long as this lives.
pub struct Elsewhere {
    helper: Child,
    _point: tempfile::TempDir,
}

impl Elsewhere {
    /// Mounts the file system on `device` read-only.
    pub fn mount(device: &Path) -> Self {
        let point = temp_dir();
        let script = "mount -o ro \"$1\" \"$2\" && echo mounted && read -r end";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", script, "sh", text(device), text(point.path())]);
        let mut helper = tie(command.stdin(Stdio::piped()).stdout(Stdio::piped())).spawn().unwrap();
        let mut said = [0; 8];
        helper.stdout.as_mut().unwrap().read_exact(&mut said).unwrap();
        Self { helper, _point: point }
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        drop(self.helper.stdin.take());
        let _ = self.helper.wait();
    }
}

/// The lists of I/O schedulers of all devices.
pub fn schedulers() -> String {
    let devices = std::fs::read_dir("/sys/block").unwrap();
    let lists = devices.map(|device| std::fs::read_to_string(device.unwrap().path().join("queue/scheduler")));
    lists.filter_map(Result::ok).collect()
}
