//! Disks that lie: loop devices over a file of a file system of our own, which keeps what it likes.
//!
//! The file has no page cache (FOPEN_DIRECT_IO), so that the lie is in the medium, and the page cache of the loop device
//! holds what was written.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request,
    WriteFlags,
};

use super::device::Loop;
use super::image::UNTOUCHED;
use super::temp_dir;

/// What a medium does instead of what it is told.
#[derive(Clone, Debug)]
pub enum Lie {
    /// It flips a bit of the byte at this offset, so many times, in writes in which that is not zero.
    Flip(u64, usize),
    /// It flips a bit wherever these bytes are written.
    Garble(&'static [u8]),
    /// It drops what is written here.
    Drop(Range<u64>),
    /// It drops what is written from here on, and reads as zeroes there.
    Swallow(u64),
    /// It has this size, and begins again at its start after that.
    Wrap(u64),
    /// It cannot be read here.
    Unreadable(Range<u64>),
    /// Each read takes so long.
    Slow(Duration),
    /// It takes so many bytes in a second.
    SlowWrites(u32),
    /// It takes no writes here.
    ReadOnly(Range<u64>),
    /// It takes commands to discard, and keeps what it has.
    KeepDiscarded,
    /// A write that begins here does not return before the disk tells the truth again.
    Hang(Range<u64>),
}

/// What it was asked for, with offset and length in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    Read(u64, u64),
    Write(u64, u64),
    Sync,
}

const BLOCK: u64 = 4096;

/// What is stored.
pub struct Medium {
    size: u64,
    /// Blocks that have been written.
    blocks: HashMap<u64, Vec<u8>>,
    lies: Vec<Lie>,
    /// In the order in which it was asked.
    pub log: Vec<Asked>,
}

impl Medium {
    fn block(&mut self, number: u64) -> &mut Vec<u8> {
        self.blocks.entry(number).or_insert_with(|| vec![UNTOUCHED; BLOCK as usize])
    }

    /// Where `offset` really is; `None` where nothing is.
    fn place(&self, offset: u64) -> Option<u64> {
        self.lies.iter().try_fold(offset, |offset, lie| match lie {
            Lie::Wrap(size) => Some(offset % size),
            Lie::Swallow(size) if offset >= *size => None,
            _ => Some(offset),
        })
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> Result<(), Errno> {
        self.log.push(Asked::Write(offset, data.len() as u64));
        let end = offset + data.len() as u64;
        if self.lies.iter().any(|lie| matches!(lie, Lie::ReadOnly(range) if range.start < end && offset < range.end)) {
            return Err(Errno::EIO);
        }
        let mut data = data.to_vec();
        for lie in &mut self.lies {
            match lie {
                Lie::Flip(at, times)
                    if (offset..end).contains(at) && *times > 0 && data[(*at - offset) as usize] != 0 =>
                {
                    *times -= 1;
                    data[(*at - offset) as usize] ^= 4;
                }
                Lie::Garble(bytes) => {
                    if let Some(at) = data.windows(bytes.len()).position(|window| window == *bytes) {
                        data[at] ^= 4;
                    }
                }
                _ => {}
            }
        }
        // The kernel writes whole sectors.
        for (index, sector) in data.chunks(512).enumerate() {
            let at = offset + index as u64 * 512;
            let is_dropped = self.lies.iter().any(|lie| matches!(lie, Lie::Drop(range) if range.contains(&at)));
            let Some(place) = self.place(at).filter(|_| !is_dropped) else { continue };
            let start = (place % BLOCK) as usize;
            self.block(place / BLOCK)[start..start + sector.len()].copy_from_slice(sector);
        }
        Ok(())
    }

    fn read(&mut self, offset: u64, length: u64) -> Result<Vec<u8>, Errno> {
        self.log.push(Asked::Read(offset, length));
        let end = (offset + length).min(self.size);
        if self.lies.iter().any(|lie| matches!(lie, Lie::Unreadable(range) if range.start < end && offset < range.end))
        {
            return Err(Errno::EIO);
        }
        Ok(self.contents(offset..end))
    }

    /// What it holds.
    pub fn contents(&self, bytes: Range<u64>) -> Vec<u8> {
        let mut data = Vec::new();
        for at in bytes.clone().step_by(512) {
            let length = (bytes.end - at).min(512) as usize;
            match self.place(at) {
                Some(place) => {
                    let start = (place % BLOCK) as usize;
                    match self.blocks.get(&(place / BLOCK)) {
                        Some(block) => data.extend(&block[start..start + length]),
                        None => data.extend(vec![UNTOUCHED; length]),
                    }
                }
                None => data.extend(vec![0; length]),
            }
        }
        data
    }
}

/// A loop device over a medium that lies.
pub struct LyingDisk {
    // In the order in which they must go.
    pub device: Loop,
    medium: Arc<Mutex<Medium>>,
    _session: BackgroundSession,
    directory: tempfile::TempDir,
}

impl LyingDisk {
    /// A disk that says that it has `size` bytes, a multiple of 4096. It tells the truth.
    pub fn new(size: u64) -> Self {
        let medium = Medium { size, blocks: HashMap::new(), lies: Vec::new(), log: Vec::new() };
        let medium = Arc::new(Mutex::new(medium));
        let directory = temp_dir();
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("lying".into()), MountOption::NoAtime];
        let file_system = FileSystem { medium: Arc::clone(&medium) };
        let session = fuser::spawn_mount(file_system, directory.path(), &config).unwrap();
        let device = Loop::attach(&directory.path().join("medium"));
        let disk = Self { device, medium, _session: session, directory };
        disk.medium().log.clear();
        disk
    }

    /// The disk lies from here on.
    pub fn lies(self, lie: Lie) -> Self {
        self.lies_now(lie);
        self
    }

    /// The same for one that lies only at times.
    pub fn lies_now(&self, lie: Lie) {
        self.medium().lies.push(lie);
    }

    pub fn path(&self) -> &Path {
        &self.device.path
    }

    /// The file that the loop device lies over. It lies as well.
    pub fn file(&self) -> PathBuf {
        self.directory.path().join("medium")
    }

    pub fn medium(&self) -> MutexGuard<'_, Medium> {
        self.medium.lock().unwrap()
    }

    /// The disk does not lie from here on.
    pub fn tells_the_truth(&self) {
        self.medium().lies.clear();
    }

    /// What it was asked for since the last call; what follows directly on the same is one.
    pub fn asked(&self) -> Vec<Asked> {
        let mut asked: Vec<Asked> = Vec::new();
        for next in std::mem::take(&mut self.medium().log) {
            match (asked.last_mut(), next) {
                (Some(Asked::Read(start, length)), Asked::Read(at, more)) if *start + *length == at => *length += more,
                (Some(Asked::Write(start, length)), Asked::Write(at, more)) if *start + *length == at => {
                    *length += more;
                }
                (Some(Asked::Sync), Asked::Sync) => {}
                _ => asked.push(next),
            }
        }
        asked
    }
}

impl Drop for LyingDisk {
    /// A write that hangs would keep it from being detached.
    fn drop(&mut self) {
        self.tells_the_truth();
    }
}

/// A directory with one file.
struct FileSystem {
    medium: Arc<Mutex<Medium>>,
}

const FILE: INodeNo = INodeNo(2);
const FOR_GOOD: Duration = Duration::from_secs(3600);

impl FileSystem {
    /// How long something takes. Others may look at the medium meanwhile.
    fn delay(&self, of: impl Fn(&Lie) -> Option<Duration>) -> Duration {
        self.medium.lock().unwrap().lies.iter().find_map(of).unwrap_or_default()
    }

    fn attributes(&self, inode: INodeNo) -> FileAttr {
        let size = self.medium.lock().unwrap().size;
        let (kind, perm, size) = match inode {
            FILE => (FileType::RegularFile, 0o600, size),
            _ => (FileType::Directory, 0o700, 0),
        };
        let time = UNIX_EPOCH;
        FileAttr {
            ino: inode,
            size,
            blocks: size / 512,
            atime: time,
            mtime: time,
            ctime: time,
            crtime: time,
            kind,
            perm,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: BLOCK as u32,
            flags: 0,
        }
    }
}

impl Filesystem for FileSystem {
    fn lookup(&self, _request: &Request, _parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match name.to_str() {
            Some("medium") => reply.entry(&FOR_GOOD, &self.attributes(FILE), Generation(0)),
            _ => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _request: &Request, inode: INodeNo, _file: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&FOR_GOOD, &self.attributes(inode));
    }

    fn open(&self, _request: &Request, _inode: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _file: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let read = self.medium.lock().unwrap().read(offset, size.into());
        std::thread::sleep(self.delay(|lie| match lie {
            Lie::Slow(time) => Some(*time),
            _ => None,
        }));
        match read {
            Ok(data) => reply.data(&data),
            Err(error) => reply.error(error),
        }
    }

    fn write(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _file: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let is_hanging = || {
            let medium = self.medium.lock().unwrap();
            medium.lies.iter().any(|lie| matches!(lie, Lie::Hang(range) if range.contains(&offset)))
        };
        while is_hanging() {
            std::thread::sleep(Duration::from_millis(10));
        }
        let length = data.len() as u32;
        std::thread::sleep(self.delay(|lie| match lie {
            Lie::SlowWrites(rate) => Some(Duration::from_secs(length.into()) / *rate),
            _ => None,
        }));
        match self.medium.lock().unwrap().write(offset, data) {
            Ok(()) => reply.written(data.len() as u32),
            Err(error) => reply.error(error),
        }
    }

    fn fallocate(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _file: FileHandle,
        _offset: u64,
        _length: u64,
        _mode: i32,
        reply: ReplyEmpty,
    ) {
        let lies = |lie: &Lie| matches!(lie, Lie::KeepDiscarded);
        match self.medium.lock().unwrap().lies.iter().any(lies) {
            true => reply.ok(),
            false => reply.error(Errno::EOPNOTSUPP),
        }
    }

    fn flush(&self, _request: &Request, _inode: INodeNo, _file: FileHandle, _owner: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _request: &Request, _inode: INodeNo, _file: FileHandle, _only_data: bool, reply: ReplyEmpty) {
        self.medium.lock().unwrap().log.push(Asked::Sync);
        reply.ok();
    }
}
