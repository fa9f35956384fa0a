//! Where `create` writes the bmap, and what other commands print.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Seek, Write};
use std::mem;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use bmaptool::device::{devtmpfs, is_alias, is_mount_point};
use bmaptool::sys::durable::{check_close, sync_directory};
use bmaptool::sys::file_id::FileId;
use bmaptool::sys::paths::{parent_dir, resolve_symlinks};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{AccessFlags, access, linkat};

use super::error::Error;
use super::json::stream::{self, Closing};
use super::process::{self, Signals};

/// Writes the contents of an output.
pub type Emit<'a> = &'a dyn Fn(&mut dyn Write) -> io::Result<()>;

pub enum Output {
    Stdout,
    /// A new file gets this name, and replaces one that has it: it appears whole or not at all.
    New(PathBuf),
    /// The file at this path is written to as it is, such as a pipe: it cannot be replaced.
    Existing(PathBuf),
}

impl Output {
    /// The output at `path`, else standard output. Fails where it is certain that nothing can be written there.
    pub fn find(path: Option<&Path>) -> io::Result<Self> {
        let Some(path) = path else { return process::stdout().map(|_| Self::Stdout) };
        process::refuse_closed(path)?;
        let refuse = |reason: &str| Err(io::Error::other(reason));
        // A symbolic link stays one; what it leads to is replaced.
        let place = resolve_symlinks(path)?;
        match fs::metadata(path).map(|metadata| metadata.file_type()) {
            Ok(kind) if kind.is_dir() => refuse("it is a directory"),
            Ok(kind) if kind.is_block_device() => refuse("it is a block device"),
            // What /dev/fd/3 leads to may have no other name, and a file that a container was given is a mount point.
            Ok(kind) if !kind.is_file() || !place.exists() || is_mount_point(&place) => {
                access(path, AccessFlags::W_OK)?;
                Ok(Self::Existing(path.to_owned()))
            }
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            Err(_) if devtmpfs::contains(&place)? => refuse("there is no such device"),
            Err(_) if path.as_os_str().as_encoded_bytes().ends_with(b"/") => {
                refuse("there is no such directory, and no file's name ends with a slash")
            }
            _ => {
                check_directory(parent_dir(&place))?;
                Ok(Self::New(place))
            }
        }
    }

    /// Whether it is the file `image`, which lies at `path`, or seems to be.
    pub fn is(&self, image: FileId, path: &Path) -> io::Result<bool> {
        let output = match self {
            Self::Stdout => Path::new("/dev/stdout"),
            Self::New(path) | Self::Existing(path) => path,
        };
        let metadata = match self {
            Self::Stdout => File::from(io::stdout().as_fd().try_clone_to_owned()?).metadata(),
            Self::New(path) | Self::Existing(path) => fs::metadata(path),
        };
        match metadata {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            metadata => Ok(FileId::of(&metadata?) == image || is_alias(output, path)?),
        }
    }

    /// Writes the output. After a signal it fails as interrupted, with nothing left.
    pub fn write(&self, signals: &Signals, emit: Emit<'_>) -> io::Result<()> {
        match self {
            Self::Stdout => {
                emit_to(&mut io::stdout().lock(), emit)?;
                check_close(io::stdout())
            }
            Self::New(path) => replace(path, signals, emit),
            Self::Existing(path) => overwrite(path, signals, emit),
        }
    }
}

/// Refuses an output to which the events of `--json` would be added: standard output by another name. A character
/// device, such as /dev/null or a terminal, keeps neither.
pub fn refuse_stdout(path: &Path) -> Result<(), Error> {
    let Ok(stdout) = File::from(io::stdout().as_fd().try_clone_to_owned().map_err(Error::Stdout)?).metadata() else {
        return Ok(());
    };
    let is_kept = !stdout.file_type().is_char_device();
    match fs::metadata(path) {
        Ok(output) if is_kept && FileId::of(&output) == FileId::of(&stdout) => {
            Err(Error::OutputIsStdout { path: path.to_owned() })
        }
        _ => Ok(()),
    }
}

/// Fails where no file can be created in `directory`.
fn check_directory(directory: &Path) -> io::Result<()> {
    access(directory, AccessFlags::W_OK).map_err(|error| {
        let directory = directory.display();
        io::Error::other(format!("no file can be created in the directory '{directory}': {}", error.desc()))
    })
}

/// Prints what was asked for to standard output.
pub fn answer(text: &str) -> Result<(), Error> {
    let print = |mut out: io::Stdout| out.write_all(text.as_bytes()).and_then(|()| out.flush());
    process::stdout().and_then(print).and_then(|()| check_close(io::stdout())).map_err(Error::Stdout)
}

/// Prints what was asked for as an object, in a `line`.
pub fn answer_json(line: String) -> Result<(), Error> {
    match stream::close_with(line) {
        Closing::Written(written) => written.map_err(Error::Stdout),
        // A signal ends the program.
        Closing::TooLate => Ok(()),
    }
}

fn emit_to(out: &mut dyn Write, emit: Emit<'_>) -> io::Result<()> {
    let mut out = BufWriter::new(out);
    emit(&mut out)?;
    out.flush()
}

/// Writes to what is at `path`. A file does not change at once, but no signal comes between: only where writing fails,
/// some of it may have changed.
fn overwrite(path: &Path, signals: &Signals, emit: Emit<'_>) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    let is_file = file.metadata()?.is_file();
    if is_file {
        signals.defer();
        signals.check()?;
    }
    emit_to(&mut file, emit)?;
    if is_file {
        // Last: if nothing can be written, the old contents stay.
        let end = file.stream_position()?;
        file.set_len(end)?;
        file.sync_all()?;
    }
    check_close(&file)
}

/// Puts a new file at `path`. It gets a name only when it is complete, so that nothing is left of it if the program is
/// killed: `path` itself if that is free, else a temporary name, as only a file with a name can replace another.
fn replace(path: &Path, signals: &Signals, emit: Emit<'_>) -> io::Result<()> {
    let directory = parent_dir(path);
    let temporary = match unnamed(path, signals, emit) {
        // The file system has no unnamed files, or they cannot be linked because /proc is not mounted.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EISDIR | libc::ENOENT)) => {
            Some(named(path, signals, emit)?)
        }
        linked => linked?,
    };
    if let Some((temporary, file)) = temporary {
        inherit(&file, path)?;
        signals.check()?;
        match temporary.rename(path) {
            // Without /proc it shows only now that something is mounted there.
            Err(error) if error.kind() == ErrorKind::ResourceBusy => return overwrite(path, signals, emit),
            renamed => renamed?,
        }
    }
    sync_directory(directory)
}

/// Writes a file without a name, and links it to `path`, else to a temporary name.
fn unnamed(path: &Path, signals: &Signals, emit: Emit<'_>) -> io::Result<Option<(Temporary, File)>> {
    let directory = parent_dir(path);
    let file = new_file(path).custom_flags(libc::O_TMPFILE).open(directory)?;
    write_whole(&file, emit)?;
    signals.defer();
    signals.check()?;
    match give_name(&file, path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let (temporary, ()) = Temporary::create(directory, |name| give_name(&file, name))?;
            Ok(Some((temporary, file)))
        }
        linked => linked.map(|()| None),
    }
}

/// Writes a file that has a temporary name from the start.
fn named(path: &Path, signals: &Signals, emit: Emit<'_>) -> io::Result<(Temporary, File)> {
    signals.defer();
    let (temporary, file) = Temporary::create(parent_dir(path), |name| new_file(path).create_new(true).open(name))?;
    write_whole(&file, emit)?;
    Ok((temporary, file))
}

/// The options for the new file at `path`: its mode gives no access that the file there now does not give.
fn new_file(path: &Path) -> OpenOptions {
    let mode = replaced(path).map_or(0o666, |metadata| metadata.mode() & 0o666);
    let mut options = OpenOptions::new();
    options.write(true).mode(mode);
    options
}

/// Links a file that was opened with O_TMPFILE to a name, in the ways that open(2) describes. Without /proc, that takes
/// the rights of root.
fn give_name(file: &File, name: &Path) -> io::Result<()> {
    let descriptor = format!("/proc/self/fd/{}", file.as_raw_fd());
    let linked = match linkat(AT_FDCWD, descriptor.as_str(), AT_FDCWD, name, AtFlags::AT_SYMLINK_FOLLOW) {
        // pseudo fails here with EFAULT.
        Err(Errno::ENOENT) => linkat(file, "", AT_FDCWD, name, AtFlags::AT_EMPTY_PATH)
            .map_err(|error| if error == Errno::EFAULT { Errno::ENOENT } else { error }),
        linked => linked,
    };
    Ok(linked?)
}

fn write_whole(mut file: &File, emit: Emit<'_>) -> io::Result<()> {
    emit_to(&mut file, emit)?;
    file.sync_all()?;
    check_close(file)
}

/// Gives a file the permissions and the owner of the one that it is to replace at `path`. It has a name by then:
/// pseudo, under which Yocto runs image tasks, takes what is set on a file without one for a corrupt database, and
/// aborts.
fn inherit(file: &File, path: &Path) -> io::Result<()> {
    let Some(metadata) = replaced(path) else { return Ok(()) };
    file.set_permissions(fs::Permissions::from_mode(metadata.mode() & 0o777))?;
    // Only root can give a file away, and may have no right to change it after that.
    let _ = fchown(file, Some(metadata.uid()), Some(metadata.gid()));
    Ok(())
}

/// The regular file at `path`, if there is one.
fn replaced(path: &Path) -> Option<Metadata> {
    fs::symlink_metadata(path).ok().filter(Metadata::is_file)
}

/// A file with a name of its own, which is removed on drop.
struct Temporary(PathBuf);

impl Temporary {
    /// Creates the file in `directory` by `create`. Its path stays relative: parent directories may not be searchable.
    fn create<T>(directory: &Path, create: impl Fn(&Path) -> io::Result<T>) -> io::Result<(Self, T)> {
        for number in 0..100 {
            let path = directory.join(format!(".bmaptool.{}.{number}.tmp", std::process::id()));
            match create(&path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                created => return Ok((Self(path), created?)),
            }
        }
        Err(ErrorKind::AlreadyExists.into())
    }

    fn rename(self, path: &Path) -> io::Result<()> {
        fs::rename(&self.0, path)?;
        // The temporary name is gone.
        mem::forget(self);
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
