//! A file system in user space that holds files in memory, and in which some calls fail.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::tool::{TIMEOUT, end, tie};
use super::{PYTHON, temp_dir, text};

const SERVER: &str = r"
import errno, fuse, stat, sys
fuse.fuse_python_api = (0, 2)
files = {}

class Memory(fuse.Fuse):
    def getattr(self, path):
        if path != '/' and path not in files:
            return -errno.ENOENT
        mode = stat.S_IFDIR | 0o755 if path == '/' else stat.S_IFREG | 0o644
        return fuse.Stat(st_mode=mode, st_nlink=1, st_size=len(files.get(path, b'')))
    def readdir(self, path, offset):
        return map(fuse.Direntry, ['.', '..'] + [name[1:] for name in files])
    def create(self, path, flags, mode):
        files[path] = bytearray()
    def open(self, path, flags):
        pass
    def read(self, path, size, offset):
        return bytes(files[path][offset:offset + size])
    def write(self, path, data, offset):
        files[path].extend(bytes(max(0, offset - len(files[path]))))
        files[path][offset:offset + len(data)] = data
        return len(data)
    def truncate(self, path, size):
        files[path][:] = files[path][:size].ljust(size, b'\0')
    def rename(self, old, new):
        files[new] = files.pop(old)
    def unlink(self, path):
        del files[path]
    def chmod(self, path, mode):
        pass
    def chown(self, path, user, group):
        pass

setattr(Memory, sys.argv[2], lambda *_: -errno.EDQUOT)
server = Memory(dash_s_do='setsingle')
server.parse(['-f', '-s', sys.argv[1]])
server.main()
";

/// As long as this lives, the file system is mounted.
pub struct Fuse {
    server: Child,
    directory: tempfile::TempDir,
}

impl Fuse {
    /// One in which `call`, by its name in libfuse, fails with EDQUOT.
    pub fn failing(call: &str) -> Self {
        let directory = temp_dir();
        let mut command = Command::new(PYTHON);
        command.args(["-c", SERVER, text(directory.path()), call]).stdin(Stdio::null()).stdout(Stdio::null());
        let number = |path: &Path| fs::metadata(path).unwrap().dev();
        let before = number(directory.path());
        let mut server = tie(&mut command).spawn().unwrap();
        let started = Instant::now();
        while number(directory.path()) == before {
            assert_eq!(server.try_wait().unwrap(), None, "the server has ended");
            assert!(started.elapsed() < TIMEOUT, "nothing is mounted");
            std::thread::sleep(Duration::from_millis(10));
        }
        Self { server, directory }
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.directory.path()).status();
        end(&mut self.server);
    }
}
