//! Real servers, on ports of their own. They end when they are dropped.

use std::collections::BTreeSet;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::tool::{end, tie};

/// A server that this test started.
pub struct Daemon {
    child: Child,
}

impl Daemon {
    /// Starts a server that stays in the foreground, and waits until it listens on `port` of this machine.
    pub fn start(command: &mut Command, port: u16) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = tie(command).spawn().unwrap();
        let mut daemon = Self { child };
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert_eq!(daemon.child.try_wait().unwrap(), None, "{command:?} has ended");
            assert!(started.elapsed() < Duration::from_secs(20), "{command:?} does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        daemon
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// A port that has no listener, and that no other test of this program is given.
pub fn free_port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        if GIVEN.lock().unwrap().insert(port) {
            return port;
        }
    }
}

/// Expects that no process has `secret` among its arguments.
pub fn assert_not_listed(secret: &str) {
    for process in std::fs::read_dir("/proc").unwrap() {
        let Ok(arguments) = std::fs::read(process.unwrap().path().join("cmdline")) else { continue };
        let arguments = String::from_utf8_lossy(&arguments).replace('\0', " ");
        assert!(!arguments.contains(secret), "{arguments}");
    }
}
