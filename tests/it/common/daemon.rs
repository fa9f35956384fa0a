//! Real servers, on ports of their own. They end when they are dropped.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::tool::{TIMEOUT, end, tie};

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
            assert!(started.elapsed() < TIMEOUT, "{command:?} does not listen");
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

/// A port without a listener. It is below those that the kernel gives to programs that ask for any, from 32768 on, such as
/// the servers of tests that run meanwhile (ip_local_port_range, ip(7)).
pub fn free_port() -> u16 {
    const PORTS: u32 = 20_000;
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    // Several programs of tests may run at the same time.
    let first = std::process::id() % PORTS * 100;
    loop {
        let number = first + GIVEN.fetch_add(1, Ordering::Relaxed);
        let port = 10_000 + (number % PORTS) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
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
