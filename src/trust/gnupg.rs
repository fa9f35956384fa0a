//! GnuPG as the verifier: `gpg` and `gpgv` are run, and their status lines read.

pub(super) mod status;

use std::env;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::Signal;
use nix::unistd::getuid;

use super::{Refusal, Signed, Subject, VerifierError};
use crate::sys::programs::end_with_us;
use status::Report;

/// A program that verifies signatures.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Program {
    Gpg,
    Gpgv,
}

/// Options of `gpg`. It must not ask the user or fetch anything, nor leave a file, and every key in the keyring is
/// trusted.
const GPG_OPTIONS: [&str; 7] = [
    "--batch",
    "--no-tty",
    "--no-auto-key-retrieve",
    "--disable-dirmngr",
    "--no-random-seed-file",
    "--trust-model=always",
    "--verify",
];

/// The settings of `gpg` that take the place of the user's, as a gpg.conf. With `auto-key-import`, which may also be in
/// /etc/gnupg, a signature would bring its own key into the keyring. Releases before 2.2.20 do not know it.
const GPG_SETTINGS: &str = "ignore-invalid-option no-auto-key-import\nno-auto-key-import\n";

/// What is kept of the user's own settings: which keyrings there are, and which digests are too weak. Any other could
/// make an unknown key known, in a release to come if not today.
const KEPT_SETTINGS: [&str; 4] = ["keyring", "primary-keyring", "no-default-keyring", "weak-digest"];

/// The environment variables that a verifier sees; messages are English.
const ENVIRONMENT: [&str; 4] = ["PATH", "HOME", "GNUPGHOME", "TMPDIR"];

/// How much of a verifier's last message is shown, in characters.
const SAID_LEN: usize = 200;

/// Verifies `subject`: with `gpgv` where a keybox is given; with the user's own keyring by `gpg`, or `gpgv` where there is
/// no `gpg`.
pub(super) fn verify(subject: &Subject<'_>, keybox: Option<&[u8]>) -> Result<Signed, VerifierError> {
    let programs = match keybox {
        None => &[Program::Gpg, Program::Gpgv][..],
        Some(_) => &[Program::Gpgv][..],
    };
    for program in programs {
        match program.run(subject, keybox) {
            Err(VerifierError::Run { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
            Ok(answer) => return Ok(answer.judge(*program, subject)?),
        }
    }
    Err(match keybox {
        None => VerifierError::NoVerifier,
        Some(_) => VerifierError::NoKeyboxReader,
    })
}

impl Program {
    fn name(self) -> &'static str {
        match self {
            Self::Gpg => "gpg",
            Self::Gpgv => "gpgv",
        }
    }

    /// Runs it. It ends with this program at the latest.
    fn run(self, subject: &Subject<'_>, keybox: Option<&[u8]>) -> Result<Answer, VerifierError> {
        let status = MemoryFile::new(b"").map_err(VerifierError::Memory)?;
        let keybox = keybox.map(MemoryFile::new).transpose().map_err(VerifierError::Memory)?;
        let settings = gpg_home().map(|home| MemoryFile::new(&gpg_settings(&home))).transpose();
        let settings = settings.map_err(VerifierError::Memory)?;
        let files = subject.files().map_err(VerifierError::Memory)?;

        let mut command = Command::new(self.name());
        command.env_clear().env("LC_ALL", "C").stdin(Stdio::null());
        command.envs(ENVIRONMENT.into_iter().filter_map(|name| Some((name, env::var_os(name)?))));
        command.arg(format!("--status-fd={}", status.0.as_raw_fd())).arg("--output=-");
        if let Some(keybox) = &keybox {
            command.arg("--keyring").arg(keybox.path());
        }
        if self == Self::Gpg {
            match &settings {
                Some(settings) => command.arg("--options").arg(settings.path()),
                // Without this it creates a home where there is none.
                None => command.arg("--no-options"),
            };
            command.args(GPG_OPTIONS);
        }
        command.args(files.iter().map(MemoryFile::path));
        end_with_us(&mut command, Signal::SIGKILL);
        log::debug!("running {command:?}");
        let run_error = |source| VerifierError::Run { program: self.name(), source };
        let said = MemoryFile::new(b"").map_err(VerifierError::Memory)?;
        command.stdout(Stdio::piped()).stderr(said.0.try_clone().map_err(VerifierError::Memory)?);
        let mut child = command.spawn().map_err(run_error)?;
        if !fs::exists(status.path()).unwrap_or(false) {
            let ended = child.kill().and_then(|()| child.wait());
            return Err(ended.map_or_else(run_error, |_| VerifierError::NoProc { program: self.name() }));
        }
        let text = text_of(&mut child, subject.text_max());
        let exit = child.wait().map_err(run_error)?;
        let [said, status] = [said, status].map(|file| file.into_contents().map_err(run_error));
        Ok(Answer {
            exit,
            text: text.map_err(run_error)?,
            said: String::from_utf8_lossy(&said?).into_owned(),
            status: String::from_utf8_lossy(&status?).into_owned(),
        })
    }
}

/// The output of `verifier`; `None` where that is over `max` bytes long, and the verifier is killed. A message of one
/// kilobyte may decompress to any length.
fn text_of(verifier: &mut Child, max: usize) -> io::Result<Option<Vec<u8>>> {
    let mut text = Vec::new();
    if let Some(output) = verifier.stdout.take() {
        output.take((max as u64).saturating_add(1)).read_to_end(&mut text)?;
    }
    if text.len() > max {
        verifier.kill()?;
        return Ok(None);
    }
    Ok(Some(text))
}

impl Subject<'_> {
    /// The files for a verifier, in its order.
    fn files(&self) -> io::Result<Vec<MemoryFile>> {
        match self {
            Self::Clearsigned(message) => [message.message()].into_iter().map(MemoryFile::new).collect(),
            Self::Detached { data, signature } => [*signature, *data].into_iter().map(MemoryFile::new).collect(),
        }
    }

    /// The longest text that a verifier may put out, in bytes.
    fn text_max(&self) -> usize {
        match self {
            Self::Clearsigned(message) => message.message().len(),
            // There should be none, and then an error says so; it needs no more room than the data.
            Self::Detached { data, .. } => data.len(),
        }
    }
}

/// The result of running a verifier.
struct Answer {
    exit: ExitStatus,
    /// What was signed; `None` where the output was too long for that.
    text: Option<Vec<u8>>,
    /// Messages for people.
    said: String,
    /// The status lines.
    status: String,
}

impl Answer {
    fn judge(self, program: Program, subject: &Subject<'_>) -> Result<Signed, Refusal> {
        let Self { exit, text, said, status } = self;
        for line in said.lines().chain(status.lines()) {
            log::debug!("{}: {line}", program.name());
        }
        let report = Report::parse(&status);
        let text = match (subject, report.texts, text) {
            (Subject::Clearsigned(_), 1, Some(text)) | (Subject::Detached { .. }, 0, Some(text)) => text,
            (Subject::Detached { .. }, ..) => return Err(Refusal::NotDetached),
            (Subject::Clearsigned(_), ..) => return Err(failure(program, exit, &said)),
        };
        // Status 2 stands for every failure but a bad signature.
        let is_explained = exit.success() || (report.has_unchecked() && exit.code() == Some(2));
        let no_data = report.no_data;
        match report.judge(text) {
            Ok(signed) if is_explained => Ok(signed),
            Err(refusal) if refusal != Refusal::NoSignature || no_data => Err(refusal),
            Ok(_) | Err(_) => Err(failure(program, exit, &said)),
        }
    }
}

fn failure(program: Program, exit: ExitStatus, said: &str) -> Refusal {
    let said = said.lines().last().unwrap_or("it does not say why").chars().take(SAID_LEN).collect();
    Refusal::VerifierFailed { program: program.name(), status: exit.to_string(), said }
}

/// The user's directory for `gpg`, if there is one.
fn gpg_home() -> Option<PathBuf> {
    let named = env::var_os("GNUPGHOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    named.or_else(|| Some(home()?.join(".gnupg"))).filter(|home| home.is_dir())
}

/// The settings for a `gpg` whose user has this home.
fn gpg_settings(home: &Path) -> Vec<u8> {
    let of_user = fs::read(home.join("gpg.conf")).unwrap_or_default();
    let is_kept = |line: &&[u8]| {
        let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        words.next().is_some_and(|name| KEPT_SETTINGS.iter().any(|kept| kept.as_bytes() == name))
    };
    let kept = of_user.split_inclusive(|&byte| byte == b'\n').filter(is_kept);
    [GPG_SETTINGS.as_bytes()].into_iter().chain(kept).flatten().copied().collect()
}

/// The user's home, without getpwuid(3), which in a static program would load parts of the C library (NSS).
fn home() -> Option<PathBuf> {
    let named = env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    named.or_else(|| listed_home(&fs::read("/etc/passwd").ok()?, getuid().as_raw()))
}

/// The home of a user in passwd(5): `name:password:UID:GID:comment:HOME:shell`.
fn listed_home(passwd: &[u8], user: u32) -> Option<PathBuf> {
    let user = user.to_string();
    passwd.split(|&byte| byte == b'\n').find_map(|line| {
        let fields: Vec<_> = line.split(|&byte| byte == b':').collect();
        match fields[..] {
            [_, _, id, _, _, home, ..] if id == user.as_bytes() && !home.is_empty() => {
                Some(OsStr::from_bytes(home).into())
            }
            _ => None,
        }
    })
}

/// A file without a name. Child processes inherit it.
struct MemoryFile(File);

impl MemoryFile {
    fn new(contents: &[u8]) -> io::Result<Self> {
        let mut file = File::from(memfd_create("bmaptool", MFdFlags::empty())?);
        file.write_all(contents)?;
        file.rewind()?;
        Ok(Self(file))
    }

    /// Where a child process finds it.
    fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }

    fn into_contents(mut self) -> io::Result<Vec<u8>> {
        let mut contents = Vec::new();
        self.0.rewind()?;
        self.0.read_to_end(&mut contents)?;
        Ok(contents)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn homes() {
        let passwd =
            b"root:x:0:0:root:/root:/bin/sh\n\nbroken:x:7\nnone:x:8:8:::\nlast:x:70:7:A, B:/home/l\xff:/bin/sh";
        assert_eq!(listed_home(passwd, 0), Some(PathBuf::from("/root")));
        assert_eq!(listed_home(passwd, 70), Some(PathBuf::from(OsStr::from_bytes(b"/home/l\xff"))));
        for user in [7, 8, 9] {
            assert_eq!(listed_home(passwd, user), None, "{user}");
        }
    }

    #[test]
    fn of_the_users_settings_only_keyrings_and_weak_digests_are_kept() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(gpg_settings(home.path()), GPG_SETTINGS.as_bytes());
        let of_user =
            "# keyring none\nkeyring a b.gpg\nauto-key-import\n\tweak-digest SHA1\nkeyrings x\n\nno-default-keyring";
        fs::write(home.path().join("gpg.conf"), of_user).unwrap();
        let kept = "keyring a b.gpg\n\tweak-digest SHA1\nno-default-keyring";
        assert_eq!(String::from_utf8(gpg_settings(home.path())).unwrap(), format!("{GPG_SETTINGS}{kept}"));
    }
}
