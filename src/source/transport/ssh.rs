//! SSH, through the user's `ssh`: with that user's keys, agent, configuration and known hosts.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use nix::sys::signal::Signal;

use super::prefetch::{CHUNK_LEN, Chunk, Fetch, StreamTransport, TransferStats};
use super::{FetchError, Info, RetryPolicy, Transport};
use crate::source::{OpenOptions, Url, read_full};
use crate::sys::programs::end_with_us;
use crate::sys::threads;

/// How much of ssh's messages is kept, in bytes.
const MESSAGES_LEN: u64 = 16 << 10;

/// How long to wait for its last messages after its end: a shared connection may keep its standard error open.
const GRACE: Duration = Duration::from_millis(500);

/// Opens the file at `url`.
pub(super) fn open(url: &Url, options: &OpenOptions) -> io::Result<Box<dyn Transport>> {
    let (mut command, program) = command(url, options.retry)?;
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // sshpass passes this signal on.
    let spawned = end_with_us(&mut command, Signal::SIGTERM).spawn();
    let mut child = spawned.map_err(|source| FetchError::Program { program, source })?;
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(io::ErrorKind::BrokenPipe.into());
    };
    let stats = TransferStats::default();
    let output = Output { stdout, position: 0, stats: stats.clone() };
    let messages = collect(stderr)?;
    let output = StreamTransport::new(output, stats.clone());
    let mut ssh = Ssh { program, child, output, stats, messages: Some(messages) };
    // Only its first bytes tell that there is such a file.
    if ssh.output.fill()?.is_empty() {
        ssh.check_end()?;
    }
    Ok(Box::new(ssh))
}

/// The program that writes the file to its standard output, and its name.
fn command(url: &Url, policy: RetryPolicy) -> Result<(Command, &'static str), FetchError> {
    let (host, user) = (url.host(), url.user());
    if host.starts_with('-') || user.as_ref().is_some_and(|user| user.starts_with('-')) {
        return Err(FetchError::Unusable { what: "ssh would take its host or user for an option" });
    }
    let (mut command, program) = match url.password() {
        Some(password) => {
            let mut command = Command::new("sshpass");
            // In the environment, as all users can see arguments.
            command.env("SSHPASS", password).args(["-e", "ssh", "-o", "NumberOfPasswordPrompts=1"]);
            (command, "sshpass")
        }
        None => {
            let mut command = Command::new("ssh");
            command.args(["-o", "BatchMode=yes"]);
            (command, "ssh")
        }
    };
    // A terminal would change the data.
    command.arg("-T");
    let (connect, alive) = (policy.connect.as_secs().max(1), (policy.stall.as_secs() / 2).max(1));
    command.args(["-o", &format!("ConnectTimeout={connect}")]);
    command.args(["-o", &format!("ServerAliveInterval={alive}"), "-o", "ServerAliveCountMax=2"]);
    if let Some(port) = url.port() {
        command.args(["-p", &port.to_string()]);
    }
    if let Some(user) = user {
        command.args(["-l", &user]);
    }
    command.args([OsStr::new("--"), host.as_ref(), &remote_command(&url.path())]);
    Ok((command, program))
}

/// The command for the server's shell, quoted for all kinds of them. In this locale the messages of `cat` are known.
fn remote_command(path: &[u8]) -> OsString {
    let quoted = path.split(|&byte| byte == b'\'').collect::<Vec<_>>().join(&br"'\''"[..]);
    OsString::from_vec([&b"env LC_ALL=C cat -- '"[..], &quoted, b"'"].concat())
}

/// A file that ssh delivers.
struct Ssh {
    program: &'static str,
    child: Child,
    output: StreamTransport,
    stats: TransferStats,
    /// Delivers all messages of ssh, in one line, at its end; `None` once that has been checked.
    messages: Option<Receiver<String>>,
}

impl Ssh {
    /// The data has ended: only the exit status tells whether the file is complete.
    fn check_end(&mut self) -> io::Result<()> {
        let Some(messages) = self.messages.take() else { return Ok(()) };
        let status = self.child.wait()?;
        if status.success() {
            return Ok(());
        }
        let said = messages.recv_timeout(GRACE).unwrap_or_default();
        let cause = match (self.program, status.code(), said.as_str()) {
            // The manual page of sshpass has these.
            ("sshpass", Some(5), _) => "the password is wrong".to_owned(),
            ("sshpass", Some(6), _) => "the host's key is not known".to_owned(),
            ("sshpass", Some(7), _) => "the host's key has changed".to_owned(),
            // ssh(1): an error of its own.
            (_, Some(255), "") => "the connection was lost".to_owned(),
            (_, Some(255), said) if self.stats.fetched() > 0 => format!("the connection was lost: {said}"),
            (_, _, "") => format!("it ended with {status}"),
            (_, _, said) => said.to_owned(),
        };
        Err(FetchError::Ssh { cause }.into())
    }
}

impl Drop for Ssh {
    fn drop(&mut self) {
        // It has ended, or its output is not wanted any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Read for Ssh {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.output.read(buf)?;
        if count == 0 && !buf.is_empty() {
            self.check_end()?;
        }
        Ok(count)
    }
}

impl Transport for Ssh {
    fn info(&self) -> Info {
        self.output.info()
    }
}

/// The standard output of ssh.
struct Output {
    stdout: ChildStdout,
    position: u64,
    stats: TransferStats,
}

impl Fetch for Output {
    fn fetch(&mut self) -> io::Result<Option<Chunk>> {
        let mut data = vec![0; CHUNK_LEN];
        let count = read_full(&mut self.stdout, &mut data)?;
        data.truncate(count);
        let offset = self.position;
        self.position = offset.saturating_add(count as u64);
        self.stats.add(count);
        Ok(Some(Chunk { offset, data }).filter(|chunk| !chunk.data.is_empty()))
    }
}

/// Collects the messages of ssh, which would block on a full pipe.
fn collect(mut stderr: ChildStderr) -> io::Result<Receiver<String>> {
    let (sender, messages) = channel();
    threads::start("ssh", move || {
        let mut said = Vec::new();
        let _ = stderr.by_ref().take(MESSAGES_LEN).read_to_end(&mut said);
        let _ = io::copy(&mut stderr, &mut io::sink());
        let said = String::from_utf8_lossy(&said);
        let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let _ = sender.send(lines.join("; "));
    })?;
    Ok(messages)
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::*;
    use crate::source::Location;

    fn arguments(text: &str) -> Result<(String, Vec<String>), FetchError> {
        let Ok(Location::Url(url)) = Location::parse(OsStr::new(text)) else { panic!("not a URL") };
        let (command, program) = command(&url, RetryPolicy::default())?;
        let arguments = command.get_args().map(|argument| String::from_utf8_lossy(argument.as_bytes()).into_owned());
        Ok((program.to_owned(), arguments.collect()))
    }

    #[test]
    fn nothing_is_left_to_a_shell() {
        let (program, words) = arguments("ssh://me@[::1]:2222/a%20b/it's%22$(x)").unwrap();
        assert_eq!(program, "ssh");
        assert!(words.starts_with(&["-o", "BatchMode=yes"].map(str::to_owned)), "{words:?}");
        let end = ["-p", "2222", "-l", "me", "--", "::1", r#"env LC_ALL=C cat -- '/a b/it'\''s"$(x)'"#];
        assert!(words.ends_with(&end.map(str::to_owned)), "{words:?}");
        for wrong in ["ssh://-oProxyCommand=x/y", "ssh://-lroot@h/y", "ssh://%2Dx@h/y"] {
            assert!(matches!(arguments(wrong), Err(FetchError::Unusable { .. })), "{wrong}");
        }
    }

    #[test]
    fn a_password_is_no_argument() {
        let (program, words) = arguments("ssh://me:secret@h/y").unwrap();
        assert_eq!(program, "sshpass");
        assert!(words.iter().all(|word| !word.contains("secret") && !word.contains("BatchMode")), "{words:?}");
    }
}
