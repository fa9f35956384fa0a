//! Images over FTP: from a real server, and from one that fails on cue.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::common::daemon::{Daemon, free_port};
use crate::common::image::{assert_same, sparse};
use crate::common::lying::{Lie, LyingDisk};
use crate::common::server::{File, Server};
use crate::common::tool::{Tool, bmaptool, copy, create};
use crate::common::{PYTHON, sh, temp_dir, text};
use crate::only_changed_sources::Flashed;
use crate::registry::Need;
use nix::sys::socket::{setsockopt, sockopt::Linger};

/// The real one.
const SERVER: Need = Need::Python("pyftpdlib");

/// An image of 3,000,000 bytes without holes, and where it is copied to.
struct Case {
    directory: tempfile::TempDir,
    image: PathBuf,
}

impl Case {
    fn new() -> Self {
        let directory = temp_dir();
        let image = directory.path().join("disk.img");
        sparse(&image, 3_000_000, &[(0, 3_000_000)], 2);
        create(&image);
        Self { directory, image }
    }

    fn out(&self) -> PathBuf {
        self.directory.path().join("out")
    }

    fn copy(&self, url: &str) -> Tool {
        copy([url.as_ref(), self.out().as_os_str()]).env("BMAPTOOL_TIMEOUT_SCALE", "0.03")
    }

    fn copy_all(&self, url: &str) -> Tool {
        let mut tool = self.copy(url);
        tool.command.arg("--nobmap");
        tool
    }

    fn assert_copied(&self) {
        assert_same(&self.image, &self.out());
        std::fs::remove_file(self.out()).unwrap();
    }
}

fn real_server(case: &Case, options: &[&str]) -> (Daemon, u16) {
    let port = free_port();
    let mut command = Command::new(PYTHON);
    command.args(["-m", "pyftpdlib", "-i", "127.0.0.1", "-p", &port.to_string(), "-d"]);
    command.arg(case.directory.path()).args(options);
    (Daemon::start(&mut command, port), port)
}

#[test(SERVER)]
fn a_real_server_is_read_anonymously() {
    let case = Case::new();
    sh("gzip", &["-k", case.image.to_str().unwrap()]);
    let inner = case.directory.path().join("a directory");
    std::fs::create_dir(&inner).unwrap();
    std::fs::copy(&case.image, inner.join("it's \"x\".img")).unwrap();
    let (_server, port) = real_server(&case, &[]);
    let url = |path| format!("ftp://127.0.0.1:{port}/{path}");
    case.copy(&url("disk.img")).ok().says(&["disk.img.bmap'", "fetched 2.9 MiB of 2.9 MiB"]);
    case.assert_copied();
    case.copy(&url("disk.img.gz")).ok().says(&["disk.img.bmap'"]);
    case.assert_copied();
    case.copy_all(&url("a%20directory/it's%20%22x%22.img")).ok();
    case.assert_copied();
    case.copy_all(&url("none.img")).fails(&["cannot open", &url("none.img"), "refuses 'RETR': 550"]);
    case.copy(&url("a%20directory/it's%20%22x%22.img")).fails(&["bmap file not found", "--nobmap"]);
    drop(_server);
    case.copy_all(&url("disk.img")).fails(&["cannot connect", "refused"]);
}

#[test(Root, FileSystem("fuse"), SERVER)]
fn what_was_written_wrong_is_fetched_again() {
    let case = Case::new();
    let (_server, port) = real_server(&case, &[]);
    let url = format!("ftp://127.0.0.1:{port}/disk.img");
    bmaptool(["verify", &url]).ok().says(&["disk.img.bmap'", "is what its bmap says: 2.9 MiB in 1 range"]);
    let disk = LyingDisk::new(4 << 20).lies(Lie::Flip(2_000_000, 1));
    let outcome = copy(["--read-back", &url, text(disk.path())]).ok();
    outcome.says(&["came back wrong; copying them again", "past the page cache: all is right"]);
    assert!(disk.medium().contents(0..3_000_000) == std::fs::read(&case.image).unwrap());
}

#[test(Root, SERVER)]
fn only_what_differs_is_written_of_what_a_real_server_sends() {
    let case = Case::new();
    let (_server, port) = real_server(&case, &[]);
    let url = format!("ftp://127.0.0.1:{port}/disk.img");
    let bmap = case.directory.path().join("disk.img.bmap");
    Flashed::with(&case.image, &bmap).gets_only_what_differs(|target| copy(["--only-changed", &url, text(target)]));
}

#[test(SERVER)]
fn a_real_server_is_read_with_a_password() {
    let case = Case::new();
    let (_server, port) = real_server(&case, &["-u", "me", "-P", "s&cret"]);
    let url = |credentials| format!("ftp://{credentials}127.0.0.1:{port}/disk.img");
    let mut tool = case.copy(&url("me:s%26cret@"));
    tool.command.arg("--debug");
    let outcome = tool.ok();
    case.assert_copied();
    assert!(!outcome.stderr.contains("cret"), "{}", outcome.stderr);
    // That server thinks it over for some seconds.
    let patient = case.copy(&url("me:wr%26ng@")).env("BMAPTOOL_TIMEOUT_SCALE", "1");
    let outcome = patient.fails(&["cannot open", "refuses 'PASS': 530"]);
    assert!(!outcome.stderr.contains("26ng") && !outcome.stderr.contains("r&ng"), "{}", outcome.stderr);
    std::fs::write(case.directory.path().join(".netrc"), "machine 127.0.0.1 login me password s&cret").unwrap();
    case.copy(&url("")).env("HOME", case.directory.path()).ok();
    case.assert_copied();
}

/// How a server behaves.
#[derive(Clone)]
struct Behaviour {
    /// It closes the data connection after so many bytes, and says what `end` is.
    limit: usize,
    /// Whether each session sends that much more.
    grows: bool,
    /// What it says then; nothing means that it hangs up.
    end: &'static str,
    rest: bool,
    size: bool,
    epsv: bool,
    /// What it says of the file's time, for each session.
    times: [&'static str; 2],
    stall: Duration,
    /// Whether a data connection that breaks off is reset instead of closed.
    reset: bool,
    greeting: &'static str,
    /// How many sessions there are; later ones are not greeted.
    sessions: usize,
    /// Where it writes down from which byte on it was last asked to go on.
    restart: Option<&'static AtomicUsize>,
}

const GOOD: Behaviour = Behaviour {
    limit: usize::MAX,
    grows: false,
    end: "226 Done",
    rest: true,
    size: true,
    epsv: true,
    times: ["213 20240101000000"; 2],
    stall: Duration::ZERO,
    reset: false,
    sessions: usize::MAX,
    restart: None,
    greeting: "220-Hello\r\n221 is not the end\r\n220 Ready",
};

/// An FTP server that has one file under every name. Returns its address, and counts its sessions.
fn server(data: Vec<u8>, behaviour: Behaviour) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let sessions = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&sessions);
    let data = Arc::new(data);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let number = counted.fetch_add(1, Ordering::SeqCst);
            let (data, behaviour) = (Arc::clone(&data), behaviour.clone());
            std::thread::spawn(move || session(stream.unwrap(), &data, &behaviour, number));
        }
    });
    (address, sessions)
}

/// Speaks until the client or the behaviour hangs up.
fn session(stream: TcpStream, data: &[u8], behaviour: &Behaviour, number: usize) -> Option<()> {
    let mut control = stream.try_clone().unwrap();
    let mut say = |text: &str| control.write_all(format!("{text}\r\n").as_bytes()).ok();
    (number < behaviour.sessions).then_some(())?;
    say(behaviour.greeting)?;
    let mut lines = BufReader::new(stream).lines();
    let mut start = 0;
    let mut passive: Option<TcpListener> = None;
    loop {
        let line = lines.next()?.ok()?;
        match line.split(' ').next()? {
            "USER" => say("331 Password")?,
            "PASS" => say("230 Welcome")?,
            "TYPE" => say("200 Binary")?,
            "SIZE" if behaviour.size => say(&format!("213 {}", data.len()))?,
            "MDTM" => say(behaviour.times[number.min(1)])?,
            "REST" if behaviour.rest => {
                start = line.split(' ').nth(1)?.parse().ok()?;
                behaviour.restart.inspect(|place| place.store(start, Ordering::SeqCst));
                say("350 Restarting")?;
            }
            command @ ("EPSV" | "PASV") if command == "PASV" || behaviour.epsv => {
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                let port = listener.local_addr().unwrap().port();
                passive = Some(listener);
                match command {
                    "EPSV" => say(&format!("229 Extended (|||{port}|)"))?,
                    _ => say(&format!("227 Passive (192,0,2,1,{},{})", port >> 8, port & 255))?,
                }
            }
            "RETR" => {
                let (mut to, _) = passive.take()?.accept().unwrap();
                say("150 Here it comes")?;
                let rest = &data[start..];
                let limit = behaviour.limit.saturating_mul(if behaviour.grows { number + 1 } else { 1 });
                let _ = to.write_all(&rest[..rest.len().min(limit)]);
                let complete = rest.len() <= limit;
                if !complete {
                    std::thread::sleep(behaviour.stall);
                    let linger = libc::linger { l_onoff: i32::from(behaviour.reset), l_linger: 0 };
                    setsockopt(&to, Linger, &linger).unwrap();
                }
                drop(to);
                match behaviour.end {
                    "" => return None,
                    end => say(if complete { "226 Done" } else { end })?,
                }
            }
            _ => say("502 Not here")?,
        }
    }
}

#[test]
fn connections_that_break_are_resumed() {
    let case = Case::new();
    let bytes = std::fs::read(&case.image).unwrap();
    for end in ["426 Connection lost", "226 Done", "421 Shutting down"] {
        let (address, sessions) = server(bytes.clone(), Behaviour { limit: 700_000, end, ..GOOD });
        let outcome = case.copy_all(&format!("ftp://{address}/disk.img")).ok();
        outcome.says(&["trying again", "fetched 2.9 MiB of 2.9 MiB"]);
        case.assert_copied();
        assert_eq!(sessions.load(Ordering::SeqCst), 5);
    }
}

#[test]
fn a_server_that_cannot_resume_starts_over() {
    let case = Case::new();
    let bytes = std::fs::read(&case.image).unwrap();
    let limit = 700_000;
    let (address, sessions) = server(bytes, Behaviour { limit, grows: true, end: "426 Lost", rest: false, ..GOOD });
    let outcome = case.copy_all(&format!("ftp://{address}/disk.img")).ok();
    outcome.says(&["trying again", "sends whole files only: starting again from byte 0"]);
    case.assert_copied();
    assert_eq!(sessions.load(Ordering::SeqCst), 5);
}

#[test]
fn an_end_that_is_not_confirmed_is_no_end() {
    let case = Case::new();
    let bytes = std::fs::read(&case.image).unwrap();
    // The server hangs up after the data, and says neither how long nor that it was all.
    let behaviour = Behaviour { end: "", size: false, rest: false, limit: 2_000_000, ..GOOD };
    let (address, _) = server(bytes.clone(), behaviour.clone());
    case.copy_all(&format!("ftp://{address}/disk.img")).fails(&["the end is not confirmed", "given up"]);
    assert!(!case.out().exists());
    let (address, _) = server(bytes, Behaviour { rest: true, ..behaviour });
    case.copy_all(&format!("ftp://{address}/disk.img")).fails(&["given up after 8 breaks", "not confirmed"]);
}

#[test]
fn a_reset_is_no_end() {
    let case = Case::new();
    let bytes = std::fs::read(&case.image).unwrap();
    // The server says that it was all, and not how much that is.
    static RESTART: AtomicUsize = AtomicUsize::new(0);
    let restart = Some(&RESTART);
    let behaviour = Behaviour { limit: 2_000_000, end: "226 Done", size: false, reset: true, restart, ..GOOD };
    let (address, _) = server(bytes.clone(), behaviour.clone());
    let outcome = case.copy_all(&format!("ftp://{address}/disk.img")).ok();
    // What was sent last may be lost with the connection.
    outcome.says(&[&format!("broke at byte {}: ", RESTART.load(Ordering::SeqCst)), "reset"]);
    case.assert_copied();
    let (address, _) = server(bytes, Behaviour { rest: false, ..behaviour });
    case.copy_all(&format!("ftp://{address}/disk.img")).fails(&["given up after 8 breaks"]);
}

#[test]
fn a_break_says_where_it_was() {
    let case = Case::new();
    let bytes = std::fs::read(&case.image).unwrap();
    let (address, _) = server(bytes, Behaviour { limit: 700_000, end: "426 Lost", sessions: 1, ..GOOD });
    let outcome =
        case.copy_all(&format!("ftp://{address}/disk.img")).fails(&["broke at byte 700000: the server has hung up"]);
    assert!(!outcome.stderr.contains("broke at byte 0"), "{}", outcome.stderr);
}

#[test]
fn a_changed_image_is_an_error() {
    let case = Case::new();
    let bytes = std::fs::read(&case.image).unwrap();
    let times = ["213 20240101000000", "213 20240101000001"];
    let (address, _) = server(bytes, Behaviour { limit: 700_000, end: "426 Lost", times, ..GOOD });
    case.copy_all(&format!("ftp://{address}/disk.img")).fails(&["changed while it was being fetched"]);
}

#[test]
fn a_server_that_gives_no_time_is_told() {
    let case = Case::new();
    let bytes = std::fs::read(&case.image).unwrap();
    let times = ["502 Not here"; 2];
    let (address, _) = server(bytes.clone(), Behaviour { limit: 2_000_000, end: "426 Lost", times, ..GOOD });
    let outcome = case.copy_all(&format!("ftp://{address}/disk.img")).ok();
    outcome.says(&["WARNING: the server gives", "no time: a change may stay unnoticed"]);
    case.assert_copied();
    let (address, _) = server(bytes, Behaviour { times, ..GOOD });
    let outcome = case.copy_all(&format!("ftp://{address}/disk.img")).ok();
    assert!(!outcome.stderr.contains("WARNING"), "{}", outcome.stderr);
    case.assert_copied();
}

#[test]
fn a_stall_is_a_break() {
    let case = Case::new();
    let bytes = std::fs::read(&case.image).unwrap();
    let behaviour = Behaviour { limit: 2_000_000, stall: Duration::from_secs(3), end: "426 Lost", ..GOOD };
    let (address, _) = server(bytes, behaviour);
    case.copy_all(&format!("ftp://{address}/disk.img")).ok().says(&["nothing came for too long"]);
    case.assert_copied();
}

#[test]
fn a_strange_address_is_not_believed() {
    let case = Case::new();
    let bytes = std::fs::read(&case.image).unwrap();
    let (address, _) = server(bytes, Behaviour { epsv: false, ..GOOD });
    case.copy_all(&format!("ftp://{address}/disk.img")).ok();
    case.assert_copied();
}

#[test]
fn a_server_that_is_ready_later_is_waited_for_once() {
    let case = Case::new();
    let bytes = std::fs::read(&case.image).unwrap();
    let copy = |greeting| {
        let (address, _) = server(bytes.clone(), Behaviour { greeting, ..GOOD });
        case.copy_all(&format!("ftp://{address}/disk.img"))
    };
    copy("120 Soon\r\n220 Ready").ok();
    case.assert_copied();
    copy("120 Soon\r\n120 Soon\r\n220 Ready").fails(&["refuses 'connect': 120 Soon"]);
}

#[test]
fn control_characters_are_refused() {
    let case = Case::new();
    for place in ["x/a%0d%0aDELE%20b", "me%0a@x/a", "me:a%00b@x/a"] {
        case.copy_all(&format!("ftp://{}", place.replace('x', "127.0.0.1"))).fails(&["control character"]);
    }
}

#[test]
fn a_proxy_is_not_passed_by() {
    let case = Case::new();
    let bytes = std::fs::read(&case.image).unwrap();
    let (address, sessions) = server(bytes, GOOD);
    let url = format!("ftp://{address}/disk.img");
    let cases = [
        ("ftp_proxy", "http://me:s3cret@127.0.0.1:1", "cannot connect, through the proxy 'http://127.0.0.1:1/': "),
        ("FTP_PROXY", "socks5://me:s3cret@p", "cannot use the proxy that FTP_PROXY names: FTP goes through http"),
        ("all_proxy", "quic://me:s3cret@p", "cannot use the proxy that all_proxy names: 'quic' is not one of"),
    ];
    for (variable, proxy, message) in cases {
        let outcome = case.copy_all(&url).env(variable, proxy).fails(&[&format!("cannot open '{url}': {message}")]);
        assert!(!outcome.stderr.contains("s3cret"), "{}", outcome.stderr);
    }
    assert_eq!(sessions.load(Ordering::SeqCst), 0);
    case.copy_all(&url).env("ftp_proxy", "http://127.0.0.1:1").env("no_proxy", "127.0.0.1").ok();
    case.assert_copied();
}

#[test]
fn a_proxy_is_asked_for_the_address() {
    let case = Case::new();
    let image = File::new(std::fs::read(&case.image).unwrap());
    let bmap = File::new(std::fs::read(case.directory.path().join("disk.img.bmap")).unwrap());
    let proxy = Server::start(move |request, reply| {
        let file = |file: &File| File { ranges: false, ..file.clone() };
        match &*request.target {
            "ftp://me:s%26cret@images.invalid/a%20b/disk.img" => {
                // It breaks off, and goes on from the start each time.
                reply.file_until(request, &file(&image), (request.number + 1) * 600_000);
            }
            "ftp://me:s%26cret@images.invalid/a%20b/disk.img.bmap" => reply.file(request, &file(&bmap)),
            _ => reply.status("404 Not Found", &[]),
        }
        reply.close();
    });
    let url = "ftp://me:s%26cret@images.invalid/a%20b/disk.img";
    let outcome = case.copy(url).env("ftp_proxy", proxy.url_as("you:p@ss", "")).ok();
    outcome.says(&["discovered bmap file", "sends whole files only: starting again"]);
    case.assert_copied();
    assert!(!outcome.stderr.contains("cret"), "{}", outcome.stderr);
    for request in proxy.requests() {
        assert_eq!(request.header("proxy-authorization"), Some("Basic eW91OnBAc3M="), "{request:?}");
    }
    let absent = case.copy_all("ftp://images.invalid/none.img").env("ftp_proxy", proxy.url(""));
    absent.fails(&["cannot open 'ftp://images.invalid/none.img': the server answers 404 Not Found"]);
    let nonsense = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nonsense.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in nonsense.incoming() {
            let _ = stream.unwrap().write_all(b"220 FTP here\r\n");
        }
    });
    case.copy_all("ftp://h/x").env("ftp_proxy", address.to_string()).fails(&["the proxy does not speak HTTP"]);
}
