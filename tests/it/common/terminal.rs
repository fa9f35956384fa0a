//! A terminal that a program runs in, as a user's does. It ends when it is dropped.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// How long it may take until a screen looks as expected.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A session of tmux.
pub struct Terminal {
    socket: PathBuf,
}

impl Terminal {
    /// Runs a command on a screen of `width` columns and `height` rows. `directory` is for what tmux needs.
    pub fn start(directory: &Path, (width, height): (u32, u32), command: &[&str]) -> Self {
        let terminal = Self { socket: directory.join(format!("tmux-{width}")) };
        let (width, height) = (width.to_string(), height.to_string());
        let session = ["-f", "/dev/null", "new-session", "-d", "-x", &width, "-y", &height];
        terminal.tmux(&[&session, command].concat());
        terminal
    }

    /// Gives tmux a command; returns what it prints.
    pub fn tmux(&self, arguments: &[&str]) -> String {
        let output = Command::new("tmux").arg("-S").arg(&self.socket).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Waits for a screen that is as it should be.
    pub fn wait_for(&self, what: &str, is_met: impl Fn(&str) -> bool) -> String {
        let started = Instant::now();
        loop {
            let screen = self.tmux(&["capture-pane", "-p"]);
            if is_met(&screen) {
                return screen;
            }
            assert!(started.elapsed() < TIMEOUT, "no {what}:\n{screen}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = Command::new("tmux").arg("-S").arg(&self.socket).arg("kill-server").status();
    }
}
