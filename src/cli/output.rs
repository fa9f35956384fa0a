//! Where `create` writes the bmap.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use bmaptool::file_id::FileId;
use bmaptool::target::is_among_devices;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{AccessFlags, access, linkat};

use super::signals::Signals;
use super::streams;

/// Writes the contents of an output.
pub type Emit<'a> = &'a dyn Fn(&mut dyn Write) -> io::Result<()>;

pub enum Output<'a> {
    Stdout,
    /// A file that appears whole or not at all.
    File(&'a Path),
}

impl<'a> Output<'a> {
    /// The file at `path`, or standard output.
    pub fn new(path: Option<&'a Path>) -> Self {
        path.map_or(Self::Stdout, Self::File)
    }

    /// Which file it is; `None` where there is none yet.
    pub fn id(&self) -> io::Result<Option<FileId>> {
        let metadata = match self {
            Self::Stdout => File::from(io::stdout().as_fd().try_clone_to_owned()?).metadata(),
            Self::File(path) => fs::metadata(path),
        };
        match metadata {
            Ok(metadata) => Ok(Some(FileId::of(&metadata))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Fails where it is certain that nothing can be written, before work is spent on what is to be written.
    pub fn check(&self) -> io::Result<()> {
        match self {
            Self::Stdout if !streams::stdout_was_open() => Err(io::Error::other("it is closed")),
            Self::Stdout => Ok(()),
            Self::File(path) => match Place::of(path)? {
                Place::New(path) => Ok(access(folder_of(&path), AccessFlags::W_OK)?),
                Place::There(path) => Ok(access(&path, AccessFlags::W_OK)?),
            },
        }
    }

    /// Writes the output.
    ///
    /// A signal that comes while there is something to take away makes it fail as interrupted, with nothing left.
    pub fn write(&self, signals: &Signals, emit: Emit<'_>) -> io::Result<()> {
        match self {
            Self::Stdout => emit_to(&mut io::stdout().lock(), emit),
            Self::File(path) => match Place::of(path)? {
                Place::New(path) => replace(&path, signals, emit),
                Place::There(path) => emit_to(&mut OpenOptions::new().write(true).open(path)?, emit),
            },
        }
    }
}

/// What becomes of the name of an output.
enum Place {
    /// A new file gets it, and takes the place of one that has it.
    New(PathBuf),
    /// It stays what it is, such as a pipe.
    There(PathBuf),
}

impl Place {
    fn of(path: &Path) -> io::Result<Self> {
        // A symbolic link stays one; what it leads to is replaced.
        match fs::canonicalize(path) {
            Ok(path) => {
                let kind = fs::metadata(&path)?.file_type();
                if kind.is_dir() {
                    Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a directory"))
                } else if kind.is_block_device() {
                    Err(io::Error::new(io::ErrorKind::InvalidInput, "it is a block device"))
                } else {
                    Ok(if kind.is_file() { Self::New(path) } else { Self::There(path) })
                }
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Err(_) => {
                let path = end_of_links(path)?;
                if is_among_devices(&path)? {
                    return Err(io::Error::new(io::ErrorKind::NotFound, "there is no such device"));
                }
                Ok(Self::New(path))
            }
        }
    }
}

/// Where a file named `path`, which is not there yet, would come to be: where its symbolic links lead to.
fn end_of_links(path: &Path) -> io::Result<PathBuf> {
    /// How many the kernel follows (path_resolution(7)).
    const LINKS: usize = 40;
    let mut end = path.to_owned();
    for _ in 0..LINKS {
        match fs::read_link(&end) {
            Ok(target) => end = folder_of(&end).join(target),
            Err(_) => return Ok(end),
        }
    }
    Err(Errno::ELOOP.into())
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// `standard output`, or the file's name.
impl fmt::Display for Output<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("standard output"),
            Self::File(path) => write!(f, "'{}'", path.display()),
        }
    }
}

fn emit_to(out: &mut dyn Write, emit: Emit<'_>) -> io::Result<()> {
    let mut out = BufWriter::new(out);
    emit(&mut out)?;
    out.flush()
}

/// Puts a new file in the place of `path`. Until it is complete it has no name, so that nothing is left of it if the
/// program is killed; file systems without such files get a named temporary instead.
fn replace(path: &Path, signals: &Signals, emit: Emit<'_>) -> io::Result<()> {
    let temporary = temporary_name(path);
    let unnamed = OpenOptions::new().write(true).custom_flags(libc::O_TMPFILE).mode(0o666).open(folder_of(path));
    let written = match unnamed {
        Ok(mut file) => {
            write_whole(&mut file, path, emit)?;
            signals.defer();
            give_name(&file, &temporary)?;
            Ok(())
        }
        Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EISDIR)) => {
            signals.defer();
            let mut file = OpenOptions::new().write(true).create_new(true).open(&temporary)?;
            write_whole(&mut file, path, emit)
        }
        Err(error) => return Err(error),
    };
    let go_on = || signals.received().map_or(Ok(()), |_| Err(io::ErrorKind::Interrupted.into()));
    written.and_then(|()| go_on()).and_then(|()| fs::rename(&temporary, path)).inspect_err(|_| {
        let _ = fs::remove_file(&temporary);
    })
}

fn write_whole(file: &mut File, replaced: &Path, emit: Emit<'_>) -> io::Result<()> {
    if let Ok(metadata) = fs::metadata(replaced) {
        file.set_permissions(fs::Permissions::from_mode(metadata.permissions().mode() & 0o777))?;
    }
    emit_to(file, emit)?;
    file.sync_all()
}

/// Links a file that was opened with O_TMPFILE to a name, in the way that open(2) describes.
fn give_name(file: &File, name: &Path) -> io::Result<()> {
    let descriptor = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    match linkat(AT_FDCWD, &descriptor, AT_FDCWD, name, AtFlags::AT_SYMLINK_FOLLOW) {
        // Without /proc only root can do it.
        Err(Errno::ENOENT) => linkat(file, c"", AT_FDCWD, name, AtFlags::AT_EMPTY_PATH)?,
        linked => linked?,
    }
    Ok(())
}

/// A name beside `path` that nobody else uses.
fn temporary_name(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.tmp", std::process::id()));
    path.with_file_name(name)
}
