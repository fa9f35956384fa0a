//! The static binary alone in a root directory: no libraries, no helper programs, no /proc.

use std::io::Write;
use std::net::{IpAddr, TcpListener, UdpSocket};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::LazyLock;

use crate::common::device::Disk;
use crate::common::image::{self, assert_same, disk_like};
use crate::common::package::{self, Sys};
use crate::common::server::{File, Server};
use crate::common::tool::{Tool, bmaptool};
use crate::common::work::Work;
use crate::common::{sh, text};
use crate::registry::{Need, Test};
use nix::sys::stat::{Mode, SFlag, mknod};

/// How large it may be.
const SIZE_MAX: u64 = 12 << 20;

/// How the image is compressed or archived, by which program and with which command.
const FORMATS: [(&str, &str, &str); 10] = [
    ("gzip", "gzip", "gzip"),
    ("bzip2", "bzip2", "bzip2"),
    ("xz", "xz", "xz -0"),
    ("xz_of_several_blocks", "xz", "xz -0 -T2 --block-size=1MiB"),
    ("zstd", "zstd", "zstd"),
    ("lz4", "lz4", "lz4"),
    ("lzop", "lzop", "lzop"),
    ("zip", "zip", "zip -q a.zip disk.img; cat a.zip"),
    ("tar", "tar", "tar -cS disk.img"),
    ("tar_in_zstd", "zstd", "tar -c disk.img | zstd"),
];

static BINARY: LazyLock<PathBuf> = LazyLock::new(|| package::make("static", &[]));

#[test_cases]
fn formats() -> Vec<Test> {
    let reads = |(name, program, command)| {
        let needs = [Need::Program(program), Need::Root, Need::Minutes];
        Test::new(format!("{name}_is_read"), &needs, move || is_read(command))
    };
    FORMATS.map(reads).into()
}

/// A root directory with an image and its bmap, the binary, and the device nodes that it is given.
struct Root {
    _sys: Option<Sys>,
    work: Work,
}

impl Root {
    fn new() -> Self {
        let work = Work::new(|image| disk_like(image, 7));
        sh("cp", &[text(&BINARY), text(&work.path("bmaptool"))]);
        for directory in ["dev", "etc"] {
            std::fs::create_dir(work.path(directory)).unwrap();
        }
        let root = Self { _sys: None, work };
        root.node("/dev/null", SFlag::S_IFCHR);
        root
    }

    /// One that has /sys, without which no device is written to.
    fn with_sys() -> Self {
        let mut root = Self::new();
        root._sys = Some(Sys::within(root.work.directory.path()));
        root
    }

    fn path(&self, name: &str) -> PathBuf {
        self.work.path(name)
    }

    /// Makes a node for a device of this machine.
    fn node(&self, device: &str, kind: SFlag) {
        let number = std::fs::metadata(device).unwrap().rdev();
        let node = self.path(device.strip_prefix('/').unwrap());
        mknod(&node, kind, Mode::from_bits_truncate(0o600), number).unwrap();
    }

    /// The binary with these arguments.
    fn run(&self, arguments: &[&str]) -> Tool {
        let mut tool = bmaptool([""; 0]);
        tool.command = package::chroot(self.work.directory.path());
        tool.command.arg("/bmaptool").args(arguments);
        tool
    }

    /// Fetches the image, and compares.
    fn fetch(&self, url: &str) {
        self.run(&["copy", url, "fetched"]).ok();
        assert_same(&self.work.image, &self.path("fetched"));
        // Without /sys nobody can tell whether a file is in use; a new one is not.
        std::fs::remove_file(self.path("fetched")).unwrap();
    }
}

fn is_read(command: &str) {
    let root = Root::with_sys();
    root.work.output_of(command);
    let disk = Disk::new(24 << 20);
    let device = text(disk.path());
    root.node(device, SFlag::S_IFBLK);
    for target in ["out", device] {
        root.run(&["copy", "--bmap", "disk.img.bmap", "output", target]).ok();
    }
    root.run(&["copy", "--nobmap", "output", "whole"]).ok();
    for copy in ["out", "whole"] {
        assert_same(&root.work.image, &root.path(copy));
    }
    let expected = image::flashed(&root.work.image, 24 << 20);
    assert!(std::fs::read(disk.path()).unwrap() == expected, "{device} differs");
}

#[test(Minutes, Program("readelf"))]
fn it_is_static_stripped_and_small() {
    let size = std::fs::metadata(&*BINARY).unwrap().len();
    assert!(size < SIZE_MAX, "it has {size} bytes");
    let headers = sh("readelf", &["--program-headers", "--sections", "--wide", text(&BINARY)]);
    for absent in ["INTERP", ".symtab", ".debug_info"] {
        assert!(!headers.contains(absent), "{headers}");
    }
}

#[test(Root, Minutes)]
fn create_needs_nothing_else() {
    let root = Root::new();
    let expected = std::fs::read(&root.work.bmap).unwrap();
    assert_eq!(root.run(&["create", "disk.img"]).ok().stdout, expected);
    for _ in ["new", "replaced"] {
        root.run(&["create", "-o", "made.bmap", "disk.img"]).ok();
        assert_eq!(std::fs::read(root.path("made.bmap")).unwrap(), expected);
    }
    let names: Vec<_> =
        std::fs::read_dir(root.work.directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().contains("tmp")), "{names:?}");
}

/// Without /proc it cannot be said where a device is mounted; the kernel refuses it all the same.
#[test(Root, Minutes, Program("mkfs.ext4"))]
fn a_device_in_use_is_refused() {
    let root = Root::with_sys();
    let disk = Disk::new(24 << 20);
    root.node(text(disk.path()), SFlag::S_IFBLK);
    let partition = disk.partition(1, 1 << 20, 16 << 20);
    let _mount = disk.mount(&partition);
    let before = crate::common::sha256(disk.path());
    root.run(&["copy", "disk.img", text(disk.path())]).fails(&[text(disk.path()), "in use by another program"]);
    assert_eq!(crate::common::sha256(disk.path()), before);
}

#[test(Root, Minutes)]
fn without_sys_no_device_is_written_to() {
    let root = Root::new();
    let disk = Disk::new(24 << 20);
    root.node(text(disk.path()), SFlag::S_IFBLK);
    let before = crate::common::sha256(disk.path());
    root.run(&["copy", "disk.img", text(disk.path())]).fails(&[text(disk.path()), "mount -t sysfs sysfs /sys"]);
    assert_eq!(crate::common::sha256(disk.path()), before);
}

#[test(Root, Minutes)]
fn images_come_over_http() {
    let root = Root::new();
    let file = root.path("disk.img");
    let bmap = std::fs::read(&root.work.bmap).unwrap();
    let image = std::fs::read(file).unwrap();
    let server = Server::start(move |request, reply| match request.path() {
        "/disk.img" => reply.file(request, &File::new(image.clone())),
        "/disk.img.bmap" => reply.file(request, &File::new(bmap.clone())),
        _ => reply.status("404 Not Found", &[]),
    });
    let url = server.url("disk.img");
    root.fetch(&url);
    // A name that stands nowhere, and one that does.
    root.fetch(&url.replace("127.0.0.1", "localhost"));
    std::fs::write(
        root.path("etc/hosts"),
        "127.0.0.1 localhost\n::1 ip6-only # 127.0.0.1 other\n127.0.0.1\tother Listed\n",
    )
    .unwrap();
    for name in ["localhost", "other", "listed"] {
        root.fetch(&url.replace("127.0.0.1", name));
    }
    let absent = url.replace("127.0.0.1", "absent.invalid");
    root.run(&["copy", &absent, "fetched"]).fails(&["cannot connect", "cannot find the address of 'absent.invalid'"]);

    let names = NameServer::start();
    let configuration =
        format!("search nowhere.test images.test\noptions edns0 trust-ad\nnameserver {}\n", names.address);
    std::fs::write(root.path("etc/resolv.conf"), configuration).unwrap();
    for name in ["server.images.test", "server", "other"] {
        root.fetch(&url.replace("127.0.0.1", name));
    }
    let absent = url.replace("127.0.0.1", "absent.images.test");
    root.run(&["copy", &absent, "fetched"]).fails(&["cannot find the address of 'absent.images.test'"]);
}

/// A server that turns everybody away is enough to show that it was found.
#[test(Root, Minutes)]
fn names_are_found_for_ftp() {
    let root = Root::new();
    let listener = TcpListener::bind("[::1]:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = stream.unwrap().write_all(b"530 Not today\r\n");
        }
    });
    std::fs::write(root.path("etc/hosts"), "::1 six\n").unwrap();
    for host in ["six", "localhost", "[::1]"] {
        let url = format!("ftp://{host}:{port}/disk.img");
        root.run(&["copy", "--nobmap", &url, "fetched"]).fails(&["Not today"]);
    }
    let url = format!("ftp://absent.invalid:{port}/disk.img");
    root.run(&["copy", "--nobmap", &url, "fetched"]).fails(&["cannot find the address of 'absent.invalid'"]);
}

/// On a machine that has a C library too.
#[test(Root, Minutes, Program("strace"))]
fn nothing_is_loaded_from_the_machine() {
    let directory = crate::common::temp_dir();
    let [trace, image, fetched] = ["trace", "disk.img", "fetched"].map(|name| directory.path().join(name));
    disk_like(&image, 7);
    let server = Server::of(File::new(std::fs::read(&image).unwrap()));
    let url = server.url("disk.img").replace("127.0.0.1", "localhost");
    let mut tool = bmaptool([""; 0]);
    tool.command = std::process::Command::new("strace");
    tool.command.args(["-f", "-e", "trace=openat,open,execve", "-o", text(&trace)]).arg(&*BINARY);
    tool.command.args(["copy", "--nobmap", &url, text(&fetched)]).env_remove("HOME");
    tool.ok();
    assert_same(&image, &fetched);
    let opened = std::fs::read_to_string(&trace).unwrap();
    let foreign: Vec<_> = opened.lines().filter(|line| line.contains(".so") || line.contains("nsswitch")).collect();
    assert!(opened.contains("/etc/hosts") && foreign.is_empty(), "{foreign:?}");
}

/// A name server that knows `server.images.test` by an IPv4 address.
struct NameServer {
    address: IpAddr,
}

impl NameServer {
    /// Name servers have port 53 and no other, so this one has an address of its own.
    fn start() -> Self {
        let socket = UdpSocket::bind("127.53.53.53:53").unwrap();
        let address = socket.local_addr().unwrap().ip();
        std::thread::spawn(move || {
            let mut packet = [0; 512];
            while let Ok((length, client)) = socket.recv_from(&mut packet) {
                let _ = socket.send_to(&answer(&packet[..length]), client);
            }
        });
        Self { address }
    }
}

/// The answer to a query (RFC 1035, section 4).
fn answer(query: &[u8]) -> Vec<u8> {
    const HEADER_LEN: usize = 12;
    const KNOWN: &[u8] = b"\x06server\x06images\x04test\0";
    let name_len = query[HEADER_LEN..].iter().position(|&byte| byte == 0).unwrap() + 1;
    let question = &query[HEADER_LEN..HEADER_LEN + name_len + 4];
    let (name, kind) = (&question[..name_len], &question[name_len..]);
    let is_known = name.eq_ignore_ascii_case(KNOWN);
    // A; class IN.
    let has_address = is_known && kind == [0, 1, 0, 1];
    let status = if is_known { 0 } else { 3 };
    let mut answer = query[..2].to_vec();
    answer.extend([0x81, 0x80 | status, 0, 1, 0, u8::from(has_address), 0, 0, 0, 0]);
    answer.extend(question);
    if has_address {
        // The name by reference, type and class, a minute to live, four bytes.
        answer.extend([0xc0, HEADER_LEN as u8, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
    }
    answer
}
