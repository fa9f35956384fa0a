//! Where `create` writes the bmap.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Seek, Write};
use std::mem;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use bmaptool::device::{devtmpfs, is_mount_point};
use bmaptool::sys::file_id::FileId;
use bmaptool::sys::paths::{parent_dir, resolve_symlinks};
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{AccessFlags, access, linkat};

use super::process::{self, Signals};

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
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Fails where it is certain that nothing can be written, before work is spent on what is to be written.
    pub fn check(&self) -> io::Result<()> {
        match self {
            Self::Stdout => process::stdout().map(drop),
            Self::File(path) => {
                process::refuse_closed(path)?;
                match Place::of(path)? {
                    Place::Replaced(path) => check_directory(parent_dir(&path)),
                    Place::Overwritten(path) => Ok(access(&path, AccessFlags::W_OK)?),
                }
            }
        }
    }

    /// Writes the output.
    ///
    /// A signal that comes while there is something to take away makes it fail as interrupted, with nothing left.
    pub fn write(&self, signals: &Signals, emit: Emit<'_>) -> io::Result<()> {
        match self {
            Self::Stdout => {
                emit_to(&mut io::stdout().lock(), emit)?;
                close(io::stdout().as_fd().try_clone_to_owned()?)
            }
            Self::File(path) => match Place::of(path)? {
                Place::Replaced(path) => replace(&path, signals, emit),
                Place::Overwritten(path) => overwrite(&path, emit),
            },
        }
    }
}

/// What becomes of the name of an output.
enum Place {
    /// A new file gets it, and takes the place of one that has it.
    Replaced(PathBuf),
    /// What has it is written to as it is, such as a pipe.
    Overwritten(PathBuf),
}

impl Place {
    fn of(path: &Path) -> io::Result<Self> {
        let refuse = |kind, what| Err(io::Error::new(kind, what));
        // What /dev/fd/3 leads to may have no other name: a pipe, or a file that has been removed.
        match fs::metadata(path).map(|metadata| metadata.file_type()) {
            Ok(kind) if kind.is_dir() => refuse(ErrorKind::IsADirectory, "it is a directory"),
            Ok(kind) if kind.is_block_device() => refuse(ErrorKind::InvalidInput, "it is a block device"),
            Ok(kind) if kind.is_file() => {
                // A symbolic link stays one; what it leads to is replaced.
                let place = resolve_symlinks(path)?;
                match fs::metadata(&place) {
                    Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::Overwritten(path.to_owned())),
                    Err(error) => Err(error),
                    // As a file is that a container was given: it cannot be replaced.
                    Ok(_) if is_mount_point(&place) => Ok(Self::Overwritten(place)),
                    Ok(_) => Ok(Self::Replaced(place)),
                }
            }
            Ok(_) => Ok(Self::Overwritten(path.to_owned())),
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            Err(_) if devtmpfs::contains(&resolve_symlinks(path)?)? => {
                refuse(ErrorKind::NotFound, "there is no such device")
            }
            Err(_) if path.as_os_str().as_encoded_bytes().ends_with(b"/") => {
                refuse(ErrorKind::NotFound, "there is no such directory, and no file's name ends with a slash")
            }
            Err(_) => Ok(Self::Replaced(resolve_symlinks(path)?)),
        }
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

/// Fails where no file can be made in `directory`.
fn check_directory(directory: &Path) -> io::Result<()> {
    access(directory, AccessFlags::W_OK).map_err(|error| {
        let words = format!("no file can be made in the directory '{}': {}", directory.display(), error.desc());
        io::Error::new(io::Error::from(error).kind(), words)
    })
}

/// Closes a descriptor: network file systems tell only now that they could not store what was written.
fn close(descriptor: OwnedFd) -> io::Result<()> {
    Ok(nix::unistd::close(descriptor)?)
}

/// Writes to what is at `path` as it is.
fn overwrite(path: &Path, emit: Emit<'_>) -> io::Result<()> {
    // Not emptied before it is written to: what cannot be written at all shall not cost what is there.
    let mut file = OpenOptions::new().write(true).open(path)?;
    emit_to(&mut file, emit)?;
    if file.metadata()?.is_file() {
        let end = file.stream_position()?;
        file.set_len(end)?;
        file.sync_all()?;
    }
    close(file.into())
}

fn emit_to(out: &mut dyn Write, emit: Emit<'_>) -> io::Result<()> {
    let mut out = BufWriter::new(out);
    emit(&mut out)?;
    out.flush()
}

/// Puts a new file in the place of `path`.
fn replace(path: &Path, signals: &Signals, emit: Emit<'_>) -> io::Result<()> {
    let temporary = match unnamed(path, signals, emit) {
        Ok(None) => return Ok(()),
        Ok(Some(temporary)) => temporary,
        // The file system has no such files, or they cannot be named: /proc is not mounted.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EISDIR | libc::ENOENT)) => {
            named(path, signals, emit)?
        }
        Err(error) => return Err(error),
    };
    if signals.received().is_some() {
        return Err(ErrorKind::Interrupted.into());
    }
    match temporary.rename(path) {
        // Without /proc it shows only now that something is mounted there.
        Err(error) if error.kind() == ErrorKind::ResourceBusy => overwrite(path, emit),
        renamed => renamed,
    }
}

/// Makes a file that gets a name only when it is complete, so that nothing is left of it if the program is killed. The name is
/// `path` itself where that is free; a file that has it can be replaced only by one that has a name of its own.
fn unnamed(path: &Path, signals: &Signals, emit: Emit<'_>) -> io::Result<Option<Temporary>> {
    let directory = parent_dir(path);
    let mut file = OpenOptions::new().write(true).custom_flags(libc::O_TMPFILE).mode(0o666).open(directory)?;
    write_whole(&mut file, path, emit)?;
    signals.defer();
    if signals.received().is_some() {
        return Err(ErrorKind::Interrupted.into());
    }
    match give_name(&file, path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            Ok(Some(Temporary::make(directory, |name| give_name(&file, name))?.0))
        }
        named => named.map(|()| None),
    }
}

/// Makes a file that has a name from the start.
fn named(path: &Path, signals: &Signals, emit: Emit<'_>) -> io::Result<Temporary> {
    signals.defer();
    let create = |name: &Path| OpenOptions::new().write(true).create_new(true).open(name);
    let (temporary, mut file) = Temporary::make(parent_dir(path), create)?;
    write_whole(&mut file, path, emit)?;
    Ok(temporary)
}

/// A file with a name that nobody else uses, which is removed as this is dropped.
struct Temporary {
    path: PathBuf,
}

impl Temporary {
    /// Has `make` make the file, in `directory`. Its name is as relative as that one: the directories above may be closed to us.
    fn make<T>(directory: &Path, make: impl Fn(&Path) -> io::Result<T>) -> io::Result<(Self, T)> {
        let names = (0..100).map(|number| directory.join(format!(".bmaptool.{}.{number}.tmp", std::process::id())));
        for path in names {
            match make(&path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                made => return made.map(|made| (Self { path }, made)),
            }
        }
        Err(ErrorKind::AlreadyExists.into())
    }

    /// Gives it the name `path`, whatever has that now.
    fn rename(self, path: &Path) -> io::Result<()> {
        fs::rename(&self.path, path)?;
        // The other name is free again, for others.
        mem::forget(self);
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn write_whole(file: &mut File, replaced: &Path, emit: Emit<'_>) -> io::Result<()> {
    if let Ok(metadata) = fs::metadata(replaced) {
        file.set_permissions(fs::Permissions::from_mode(metadata.permissions().mode() & 0o777))?;
        // Only root can give a file away, and may have no right to change it after that.
        let _ = fchown(&*file, Some(metadata.uid()), Some(metadata.gid()));
    }
    emit_to(file, emit)?;
    file.sync_all()
}

/// Links a file that was opened with O_TMPFILE to a name, in the way that open(2) describes.
fn give_name(file: &File, name: &Path) -> io::Result<()> {
    let descriptor = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(linkat(AT_FDCWD, descriptor.as_str(), AT_FDCWD, name, AtFlags::AT_SYMLINK_FOLLOW)?)
}
