//! File systems that show the files of another one: overlays, and FUSE by bindfs, whose server can be stopped.

use std::any::Any;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::device::{Loop, Mount};
use super::tool::{TIMEOUT, Tool, end, tie};
use super::{image, sh, temp_dir, text};

/// An overlay file system.
pub struct Overlay {
    base: PathBuf,
    _below: Box<dyn Any>,
}

impl Overlay {
    pub fn new() -> Self {
        let directory = temp_dir();
        Self::at(directory.path().to_owned(), directory)
    }

    /// One whose layers lie in memory.
    pub fn in_memory() -> Self {
        let mount = Mount::in_memory("tmpfs");
        Self::at(mount.path().to_owned(), mount)
    }

    /// One in the directory `base`, which is there as long as `below` lives.
    fn at(base: PathBuf, below: impl Any) -> Self {
        for name in ["lower", "upper", "work", "merged"] {
            fs::create_dir(base.join(name)).unwrap();
        }
        let shown = text(&base);
        let options = format!("lowerdir={shown}/lower,upperdir={shown}/upper,workdir={shown}/work");
        sh("mount", &["-t", "overlay", "-o", &options, "overlay", &format!("{shown}/merged")]);
        Self { base, _below: Box::new(below) }
    }

    /// A file of the layer `lower` or `upper`, or of the whole, `merged`.
    pub fn path(&self, layer: &str, name: &str) -> PathBuf {
        self.base.join(layer).join(name)
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        let _ = umount2(&self.base.join("merged"), MntFlags::MNT_DETACH);
    }
}

/// A directory that is shown once more, by a server in user space. The server is gone when this is dropped, and with it
/// all that waits for it.
pub struct Bind {
    server: Child,
    shown: tempfile::TempDir,
}

impl Bind {
    pub fn of(directory: &Path) -> Self {
        let shown = temp_dir();
        let device = fs::metadata(shown.path()).unwrap().dev();
        let mut bindfs = Command::new("bindfs");
        // Without a cache, what the kernel has asked before is asked again.
        bindfs.args(["-f", "-o", "attr_timeout=0,entry_timeout=0", text(directory), text(shown.path())]);
        bindfs.stdin(Stdio::null()).stderr(Stdio::null());
        let mut server = tie(&mut bindfs).spawn().unwrap();
        let started = Instant::now();
        while fs::metadata(shown.path()).unwrap().dev() == device {
            let is_late = started.elapsed() > TIMEOUT;
            if is_late || server.try_wait().unwrap().is_some() {
                end(&mut server);
                panic!("bindfs does not mount");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Self { server, shown }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.shown.path().join(name)
    }

    /// From here on, whoever asks for something waits.
    pub fn stop(&self) {
        kill(Pid::from_raw(self.server.id() as i32), Signal::SIGSTOP).unwrap();
    }

    /// From here on, whoever asks for something has an error.
    pub fn end(&mut self) {
        end(&mut self.server);
    }
}

impl Drop for Bind {
    fn drop(&mut self) {
        self.end();
        let _ = umount2(self.shown.path(), MntFlags::MNT_DETACH);
    }
}

/// A loop device over a file whose server can be stopped. Other tests do not see what it is attached to, and do not
/// wait for it.
pub struct RemoteLoop {
    /// Ends before the device is detached, which would wait for it.
    pub server: Bind,
    pub device: Loop,
    pub file: PathBuf,
    _directory: tempfile::TempDir,
}

impl RemoteLoop {
    pub fn new() -> Self {
        let directory = temp_dir();
        image::create(&directory.path().join("remote.img"), 20 << 20);
        let server = Bind::of(directory.path());
        let file = server.path("remote.img");
        let device = Loop::attach(&file);
        // The kernel takes the mount away with the device.
        sh("mount", &["-t", "tmpfs", "none", text(&device.attribute("loop"))]);
        Self { server, device, file, _directory: directory }
    }

    /// Has `tool` see it.
    pub fn shown_to(&self, tool: Tool) -> Tool {
        let hidden = self.device.attribute("loop");
        tool.under(&["unshare", "--mount", "sh", "-c", "umount \"$0\" && exec \"$@\"", text(&hidden)])
    }
}
