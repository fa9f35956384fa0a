//! Images over SSH, from a real sshd and through the real ssh.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::daemon::{Daemon, assert_not_listed, free_port};
use crate::common::image::{assert_same, disk_like, flashed_by};
use crate::common::lying::{Lie, LyingDisk};
use crate::common::tool::{Tool, assert_ends, bmaptool, copy, create, finish, open_pipe, write_program};
use crate::common::{find_program, sh, temp_dir, text};
use crate::only_changed_sources::Flashed;
use crate::registry::Need;

const SSHD: Need = Need::Program("sshd");
const SSH: Need = Need::Program("ssh");

/// An sshd of our own, and an `ssh` on PATH that knows its host key and has a key of its own.
struct Sshd {
    directory: tempfile::TempDir,
    port: u16,
    daemon: Daemon,
}

impl Sshd {
    fn start() -> Self {
        let directory = temp_dir();
        let path = directory.path();
        // sshd refuses users whose directory others may not enter.
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        let file = |name: &str| path.join(name).to_str().unwrap().to_owned();
        for key in ["host_key", "key"] {
            sh("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &file(key)]);
        }
        fs::copy(file("key.pub"), file("authorized_keys")).unwrap();
        let port = free_port();
        let host_key = fs::read_to_string(file("host_key.pub")).unwrap();
        fs::write(file("known_hosts"), format!("[127.0.0.1]:{port} {host_key}")).unwrap();
        let root = path.display();
        fs::write(
            file("sshd_config"),
            format!(
                "Port {port}\nListenAddress 127.0.0.1\nHostKey {root}/host_key\nAuthorizedKeysFile {root}/authorized_keys\n\
                 UsePAM no\nStrictModes no\nPidFile none\nPermitRootLogin yes\nPasswordAuthentication yes\n"
            ),
        )
        .unwrap();
        fs::write(
            file("config"),
            format!(
                "IdentityFile {root}/key\nIdentitiesOnly yes\nIdentityAgent none\nUserKnownHostsFile {root}/known_hosts\n\
                 GlobalKnownHostsFile /dev/null\n"
            ),
        )
        .unwrap();
        fs::create_dir(file("bin")).unwrap();
        let ssh = find_program("ssh").unwrap();
        write_program(&path.join("bin/ssh"), &format!("exec {} -F {root}/config \"$@\"", ssh.display()));
        disk_like(&path.join("disk.img"), 6);
        create(&path.join("disk.img"));

        // sshd insists on it. It stays, for others may have one run.
        fs::create_dir_all("/run/sshd").unwrap();
        let mut command = Command::new(find_program("sshd").unwrap());
        let daemon = Daemon::start(command.args(["-D", "-e", "-f", &file("sshd_config")]), port);
        Self { directory, port, daemon }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn url(&self, user: &str, name: &str) -> String {
        format!("ssh://{user}@127.0.0.1:{}{}/{name}", self.port, self.directory.path().display())
    }

    fn copy(&self, url: &str) -> Tool {
        self.on_path(copy([url.as_ref(), self.file("out").as_os_str()]))
    }

    /// Has the tool find our `ssh`.
    fn on_path(&self, tool: Tool) -> Tool {
        tool.env("PATH", std::env::join_paths([self.file("bin"), "/usr/bin".into(), "/bin".into()]).unwrap())
    }

    fn copy_all(&self, url: &str) -> Tool {
        let mut tool = self.copy(url);
        tool.command.arg("--nobmap");
        tool
    }

    fn assert_copied(&self) {
        assert_same(&self.file("disk.img"), &self.file("out"));
        fs::remove_file(self.file("out")).unwrap();
    }
}

/// A user of this system, with a password.
struct User {
    name: String,
}

/// No other test has it among its arguments.
const PASSWORD: &str = "h&dd'n: 1";

impl User {
    fn new() -> Self {
        let name = format!("bmaptest{}", std::process::id());
        sh("useradd", &["--no-create-home", "--home-dir", "/", "--shell", "/bin/sh", &name]);
        let user = Self { name };
        sh("sh", &["-c", "echo \"$0\" | chpasswd", &format!("{}:{PASSWORD}", user.name)]);
        user
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let _ = Command::new(find_program("userdel").unwrap()).arg("--force").arg(&self.name).status();
    }
}

#[test(Root, SSHD, SSH)]
fn a_key_opens_the_connection() {
    let sshd = Sshd::start();
    sh("gzip", &["-k", sshd.file("disk.img").to_str().unwrap()]);
    sshd.copy(&sshd.url("root", "disk.img.gz")).ok().says(&["discovered bmap file 'ssh://", "disk.img.bmap'"]);
    sshd.assert_copied();
    sshd.copy_all(&sshd.url("root", "disk.img")).ok().says(&["fetched 16.0 MiB\n"]);
    sshd.assert_copied();
    fs::write(sshd.file("authorized_keys"), "").unwrap();
    sshd.copy_all(&sshd.url("root", "disk.img")).fails(&["cannot open", "Permission denied"]);
}

#[test(Root, SSHD, SSH, FileSystem("fuse"))]
fn what_was_written_wrong_is_fetched_again() {
    let sshd = Sshd::start();
    let url = sshd.url("root", "disk.img");
    let verified = sshd.on_path(bmaptool(["verify", &url])).ok();
    verified.says(&["discovered bmap file 'ssh://", "is what its bmap says: 1.8 MiB in 7 ranges"]);
    let disk = LyingDisk::new(20 << 20).lies(Lie::Flip((5 << 20) + 100_000, 1));
    let outcome = sshd.on_path(copy(["--read-back", &url, text(disk.path())])).ok();
    outcome.says(&["came back wrong; copying them again", "past the page cache: all is right"]);
    let expected = flashed_by(&sshd.file("disk.img.bmap"), &sshd.file("disk.img"), 20 << 20);
    assert!(disk.medium().contents(0..20 << 20) == expected);
}

#[test(Root, SSHD, SSH, Program("sshpass"))]
fn a_password_opens_the_connection_and_is_not_shown() {
    let sshd = Sshd::start();
    let user = User::new();
    fs::write(sshd.file("authorized_keys"), "").unwrap();
    let with = |password: &str| sshd.url(&format!("{}:{password}", user.name), "disk.img");
    sh("mkfifo", &["-m", "644", sshd.file("fifo").to_str().unwrap()]);
    let mut tool = sshd.copy_all(&with("h%26dd'n%3A%201").replace("disk.img", "fifo"));
    tool.command.arg("--debug");
    let mut child = tool.spawn();
    // The other end is there once it is read, far away.
    let mut fifo = open_pipe(&mut child, &sshd.file("fifo"));
    for secret in ["dd'n", "h%26dd"] {
        assert_not_listed(secret);
    }
    std::io::copy(&mut fs::File::open(sshd.file("disk.img")).unwrap(), &mut fifo).unwrap();
    drop(fifo);
    let outcome = finish(child);
    assert_eq!(outcome.status, Some(0), "{}", outcome.stderr);
    assert!(!outcome.stderr.contains("dd'n"), "{}", outcome.stderr);
    sshd.assert_copied();

    let outcome = sshd.copy_all(&with("wrong1")).fails(&["cannot open", "Permission denied"]);
    assert!(!outcome.stderr.contains("wrong1"), "{}", outcome.stderr);
}

#[test(Root, SSHD, SSH)]
fn only_what_differs_is_written() {
    let sshd = Sshd::start();
    let url = sshd.url("root", "disk.img");
    let copy_to = |target: &Path| sshd.on_path(copy(["--only-changed", &url, text(target)]));
    Flashed::with(&sshd.file("disk.img"), &sshd.file("disk.img.bmap")).gets_only_what_differs(copy_to);
}

#[test(Root, SSHD, SSH)]
fn a_missing_file_is_named() {
    let sshd = Sshd::start();
    sshd.copy_all(&sshd.url("root", "none.img")).fails(&["cannot open", "none.img", "No such file or directory"]);
    fs::rename(sshd.file("disk.img"), sshd.file("other.img")).unwrap();
    sshd.copy(&sshd.url("root", "other.img")).fails(&["bmap file not found", "--nobmap"]);
    fs::write(sshd.file("empty"), "").unwrap();
    sshd.copy_all(&sshd.url("root", "empty")).ok();
}

#[test(Root, SSHD, SSH)]
fn names_are_quoted() {
    let sshd = Sshd::start();
    let marker = sshd.file("marker");
    let name = format!("it's a \"disk\"; touch marker $(touch {0}) `touch {0}` \\ ?#%.img", "marker");
    fs::rename(sshd.file("disk.img"), sshd.file(&name)).unwrap();
    let encoded = name.replace('%', "%25").replace(' ', "%20").replace('\\', "%5C").replace('"', "%22");
    sshd.copy_all(&sshd.url("root", &encoded)).ok();
    assert_same(&sshd.file(&name), &sshd.file("out"));
    assert!(!marker.exists() && !Path::new("/root/marker").exists());
}

#[test(Root, SSHD, SSH, Program("sshpass"))]
fn an_unknown_host_is_not_trusted() {
    let sshd = Sshd::start();
    fs::write(sshd.file("known_hosts"), "").unwrap();
    sshd.copy_all(&sshd.url("root", "disk.img")).fails(&["Host key verification failed"]);
    sshd.copy_all(&sshd.url("root:any", "disk.img")).fails(&["the host's key is not known"]);
    assert_eq!(fs::read_to_string(sshd.file("known_hosts")).unwrap(), "");
}

#[test(Root, SSHD, SSH)]
fn a_killed_connection_is_an_error() {
    let sshd = Sshd::start();
    sh("mkfifo", &[sshd.file("fifo").to_str().unwrap()]);
    let mut child = sshd.copy_all(&sshd.url("root", "fifo")).spawn();
    let mut fifo = open_pipe(&mut child, &sshd.file("fifo"));
    std::io::Write::write_all(&mut fifo, &vec![1; 1 << 20]).unwrap();
    let listener = sshd.daemon.id();
    for session in children(listener) {
        for process in children(session).into_iter().chain([session]) {
            // The session may have ended with its child already.
            let _ = kill(Pid::from_raw(process as i32), Signal::SIGKILL);
        }
    }
    let outcome = finish(child);
    assert_eq!(outcome.status, Some(1), "{}", outcome.stderr);
    outcome.says(&["cannot read the image", "ssh: the connection was lost"]);
    assert!(!sshd.file("out").exists());
}

#[test(Root, SSHD, SSH)]
fn an_interrupted_copy_leaves_no_ssh_behind() {
    let sshd = Sshd::start();
    sh("mkfifo", &[sshd.file("fifo").to_str().unwrap()]);
    let mut child = sshd.copy_all(&sshd.url("root", "fifo")).spawn();
    let mut fifo = open_pipe(&mut child, &sshd.file("fifo"));
    std::io::Write::write_all(&mut fifo, &vec![1; 1 << 20]).unwrap();
    let ssh = children(child.id());
    assert_eq!(ssh.len(), 1);
    sh("kill", &["-TERM", &child.id().to_string()]);
    assert_eq!(finish(child).status, Some(143));
    // Even while nothing comes that it could not write.
    assert_ends(ssh[0]);
    drop(fifo);
}

/// Those of all its threads.
fn children(process: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let lists: Vec<_> = threads.map(|thread| fs::read_to_string(thread.unwrap().path().join("children"))).collect();
    lists.iter().flatten().flat_map(|list| list.split_whitespace()).map(|id| id.parse().unwrap()).collect()
}

#[test]
fn a_missing_program_is_named() {
    let directory = temp_dir();
    let tool = |url: &str| copy(["--nobmap", url, directory.path().join("out").to_str().unwrap()]).env("PATH", "");
    tool("ssh://h/x").fails(&["cannot run 'ssh': No such file or directory; please install it"]);
    tool("ssh://me:pw@h/x").fails(&["cannot run 'sshpass': No such file or directory; please install it"]);
    tool("ssh://-oProxyCommand=x/y").fails(&["for an option"]);
    // That is not what "no such file" means for a bmap.
    copy(["ssh://h/x", directory.path().join("out").to_str().unwrap()]).env("PATH", "").fails(&["cannot run 'ssh'"]);
}

#[test]
fn a_name_as_scp_has_it_is_answered_with_the_address() {
    for name in ["me@host:/srv/disk.img", "host:disk.img"] {
        let outcome = copy(["--nobmap", name, "/nonexistent/out"]);
        outcome.fails(&[&format!("cannot open '{name}'"), "ssh://USER@HOST/PATH"]);
    }
    let outcome = copy(["--nobmap", "./a:b", "/nonexistent/out"]).fails(&["cannot open './a:b'"]);
    assert!(!outcome.stderr.contains("ssh://"), "{}", outcome.stderr);
}
