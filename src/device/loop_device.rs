//! What loop devices are attached to.
//!
//! That is asked for by child processes, for the file system of a device that has nothing to do with the copy may never
//! answer. A thread that waits for a FUSE server cannot be ended, and neither could the program; a child is left behind.

use std::ffi::{CStr, CString};
use std::fs::{self, File};
use std::io::{self, PipeReader, PipeWriter, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, write};

use crate::sys::eintr::retry_on_eintr;
use crate::sys::file_id::FileId;
use crate::sys::missing::{ok_if_missing, ok_if_missing_or_denied};

/// How long all answers are waited for: longer than a busy disk or server needs.
const TIMEOUT: Duration = Duration::from_secs(3);

/// The major number of loop devices (Documentation/admin-guide/devices.txt).
const LOOP_MAJOR: u32 = 7;

/// Asks what a loop device is attached to.
pub(super) struct Question {
    node: CString,
    number: u64,
    /// What sysfs calls the file.
    name: CString,
}

/// What a loop device is attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Attached(FileId),
    /// We may not know, or it has been detached.
    Unknown,
    /// The file's server does not answer, or is gone.
    Silent,
}

/// Asks all `questions` at the same time.
///
/// # Errors
///
/// Where one cannot be asked, or the answer is a failure of this machine.
pub(super) fn ask(questions: &[Question]) -> io::Result<Vec<Answer>> {
    let asked = questions.iter().map(Question::ask).collect::<io::Result<Vec<_>>>()?;
    let deadline = Instant::now() + TIMEOUT;
    asked.iter().map(|asked| asked.answer(deadline)).collect()
}

/// The numbers of the loop devices that have a size, as /proc/partitions lists them (proc(5)); `None` without /proc.
pub(super) fn listed() -> io::Result<Option<Vec<u64>>> {
    Ok(ok_if_missing(fs::read_to_string("/proc/partitions"))?.map(|list| parse_list(&list)))
}

/// `MAJOR MINOR BLOCKS NAME`, after a line of titles and an empty one. Partitions, `loop0p1`, are left out.
fn parse_list(list: &str) -> Vec<u64> {
    let parse = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let &[major, minor, _, name] = &fields[..] else { return None };
        name.strip_prefix("loop")?.parse::<u32>().ok()?;
        let (major, minor) = (major.parse().ok()?, minor.parse().ok()?);
        (major == LOOP_MAJOR).then(|| libc::makedev(major, minor))
    };
    list.lines().filter_map(parse).collect()
}

impl Question {
    /// About the device `number`, whose node is at `node`, and whose file sysfs calls `name`.
    pub(super) fn new(node: &Path, number: u64, name: &Path) -> io::Result<Self> {
        let text = |path: &Path| CString::new(path.as_os_str().as_bytes());
        Ok(Self { node: text(node)?, number, name: text(name)? })
    }

    /// Has it asked by a child process.
    fn ask(&self) -> io::Result<Asked> {
        let (reader, writer) = io::pipe()?;
        // SAFETY: the child makes system calls only, and ends. It neither allocates nor waits for a lock, which a thread
        // that it has no copy of may hold.
        match unsafe { fork() }? {
            ForkResult::Parent { child } => Ok(Asked { child, answer: reader }),
            ForkResult::Child => {
                close_all_but(&writer);
                let answer = encode(self.look()).map(u64::to_ne_bytes);
                let _ = write(&writer, answer.as_flattened());
                // SAFETY: _exit takes a number, and runs nothing of this process.
                unsafe { libc::_exit(0) }
            }
        }
    }

    /// The file or device that it is attached to: its driver tells, if we may open the node; otherwise it is looked up
    /// by its name.
    fn look(&self) -> io::Result<Option<FileId>> {
        let open = |path: &CStr, flags| {
            let opened = open(path, flags | OFlag::O_CLOEXEC, Mode::empty());
            ok_if_missing_or_denied(opened.map(File::from).map_err(io::Error::from))
        };
        let is_it = |node: &File| node.metadata().is_ok_and(|metadata| metadata.rdev() == self.number);
        match open(&self.node, OFlag::O_RDONLY)?.filter(is_it).and_then(|node| status(&node)) {
            Some(told) => Ok(Some(told)),
            // The name may be one of another mount namespace, or gone, while the file lives on under another.
            None => open(&self.name, OFlag::O_PATH)?.map(|file| Ok(FileId::of(&file.metadata()?))).transpose(),
        }
    }
}

/// The file or device that a loop device is attached to, by LOOP_GET_STATUS64 (linux/loop.h).
fn status(device: &File) -> Option<FileId> {
    /// `struct loop_info64`.
    #[repr(C)]
    struct LoopInfo {
        device: u64,
        inode: u64,
        /// The number of a block device that is attached, or 0.
        backing_number: u64,
        _rest: [u64; 26],
    }
    const LOOP_GET_STATUS64: libc::c_ulong = 0x4c05;
    nix::ioctl_read_bad!(loop_get_status64, LOOP_GET_STATUS64, LoopInfo);

    let mut info = LoopInfo { device: 0, inode: 0, backing_number: 0, _rest: [0; 26] };
    // SAFETY: LOOP_GET_STATUS64 writes one `loop_info64`, 232 bytes, into `info`, which is one and outlives the call.
    retry_on_eintr(|| unsafe { loop_get_status64(device.as_raw_fd(), &raw mut info) }).ok()?;
    Some(match info.backing_number {
        0 => FileId::File { device: info.device, inode: info.inode },
        number => FileId::BlockDevice { number },
    })
}

/// Closes all descriptors of this process but one, for a child that may be left behind: who reads from a pipe that it
/// has would wait for it. A kernel before 5.9 cannot do so.
fn close_all_but(kept: &PipeWriter) {
    let kept = kept.as_raw_fd().cast_unsigned();
    for (first, last) in [(0, kept.checked_sub(1)), (kept + 1, Some(u32::MAX))] {
        let Some(last) = last else { continue };
        // SAFETY: close_range takes numbers. The child uses no other descriptor.
        unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    }
}

/// An answer as it goes through the pipe: its kind, and two numbers.
fn encode(found: io::Result<Option<FileId>>) -> [u64; 3] {
    match found {
        Ok(None) => [0; 3],
        Ok(Some(FileId::File { device, inode })) => [1, device, inode],
        Ok(Some(FileId::BlockDevice { number })) => [2, number, 0],
        Err(error) => [3, u64::from(error.raw_os_error().unwrap_or(libc::EIO).cast_unsigned()), 0],
    }
}

fn decode(answer: [u64; 3]) -> io::Result<Answer> {
    match answer {
        [0, ..] => Ok(Answer::Unknown),
        [1, device, inode] => Ok(Answer::Attached(FileId::File { device, inode })),
        [2, number, _] => Ok(Answer::Attached(FileId::BlockDevice { number })),
        [_, error, _] => match Errno::from_raw(error as i32) {
            // How the clients of FUSE, NFS and SMB say that a server is gone.
            Errno::ENOTCONN
            | Errno::ECONNABORTED
            | Errno::ESTALE
            | Errno::EHOSTDOWN
            | Errno::ETIMEDOUT
            | Errno::EIO => Ok(Answer::Silent),
            error => Err(error.into()),
        },
    }
}

/// A question that a child process is asking.
struct Asked {
    child: Pid,
    answer: PipeReader,
}

impl Asked {
    fn answer(&self, deadline: Instant) -> io::Result<Answer> {
        let mut ready = [PollFd::new(self.answer.as_fd(), PollFlags::POLLIN)];
        let count = retry_on_eintr(|| {
            let left = deadline.saturating_duration_since(Instant::now());
            poll(&mut ready, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX))
        })?;
        if count == 0 {
            return Ok(Answer::Silent);
        }
        let mut answer = [0; 24];
        (&self.answer).read_exact(&mut answer)?;
        let (numbers, _) = answer.as_chunks::<8>();
        decode([0, 1, 2].map(|index| u64::from_ne_bytes(numbers[index])))
    }
}

/// Ends the child. One that cannot be ended stays behind: it is waited for no longer than that takes otherwise.
impl Drop for Asked {
    fn drop(&mut self) {
        let _ = kill(self.child, Signal::SIGKILL);
        for _ in 0..100 {
            match waitpid(self.child, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) => thread::sleep(Duration::from_millis(1)),
                _ => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::wait::{Id, waitid};

    use super::*;

    #[test]
    fn loop_devices_are_listed_without_their_partitions() {
        let list = "major minor  #blocks  name\n\n   7        0       1024 loop0\n   7      300       1024 loop300\n \
            7        1       1024 loop0p1\n 259        0       1024 loop0p2\n 254        0  268435456 vda\n";
        assert_eq!(parse_list(list), [libc::makedev(7, 0), libc::makedev(7, 300)]);
    }

    #[test]
    fn answers_come_through_the_pipe_as_they_are() {
        let file = FileId::File { device: 7, inode: u64::MAX };
        let device = FileId::BlockDevice { number: 8 };
        for (found, answer) in [
            (Ok(None), Answer::Unknown),
            (Ok(Some(file)), Answer::Attached(file)),
            (Ok(Some(device)), Answer::Attached(device)),
            (Err(Errno::ENOTCONN.into()), Answer::Silent),
        ] {
            assert_eq!(decode(encode(found)).unwrap(), answer);
        }
        assert_eq!(decode(encode(Err(Errno::EMFILE.into()))).unwrap_err().raw_os_error(), Some(libc::EMFILE));
    }

    #[test]
    fn many_questions_are_asked_and_no_child_is_left() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let id = FileId::of(&file.as_file().metadata().unwrap());
        let question = |name| Question::new(Path::new("/none"), 0, name).unwrap();
        let questions: Vec<_> = [file.path(), Path::new("/none")].map(question).into();
        assert_eq!(ask(&questions).unwrap(), [Answer::Attached(id), Answer::Unknown]);
        let asked = questions[0].ask().unwrap();
        let child = asked.child;
        // On a busy machine it may take longer to end than it is waited for.
        waitid(Id::Pid(child), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).unwrap();
        drop(asked);
        assert_eq!(waitpid(child, None), Err(Errno::ECHILD));
    }
}
