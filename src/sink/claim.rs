//! Inspects a target, refuses it if it may not be written to, and opens it exclusively.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::slice;
use std::sync::Arc;

use super::block_device::BlockDevice;
use super::character_device::CharacterDevice;
use super::regular_file::RegularFile;
use super::tuning::Tunings;
use super::{Access, Discard, Error, Kind, Sink};
use crate::device::{SharedStorage, Sharing, StorageStack, Topology, devtmpfs, is_alias, source_overlap};
use crate::event::{Observer, Silent};
use crate::sys::file_id::FileId;
use crate::sys::missing::ok_if_missing;
use crate::sys::paths::resolve_symlinks;

/// Which devices may be a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accept {
    /// All of them, and regular files.
    Any,
    /// Only a block device.
    BlockDevice,
    /// Only a block device that the kernel calls removable.
    Removable,
}

/// A file that is read during the copy and must not be its target.
#[derive(Clone, Debug)]
pub struct InputFile {
    /// What it is to the user, as in `image`.
    pub role: &'static str,
    /// Which file it is.
    pub id: FileId,
    /// Its path, by which it is seen whether the target is the same file on another file system.
    pub path: PathBuf,
}

/// What is asked of a target.
pub struct Request<'a> {
    /// Its path.
    pub path: &'a Path,
    /// How many bytes it must hold, where that is known.
    pub size: Option<u64>,
    /// What it must not be, nor share bytes with.
    pub inputs: Vec<InputFile>,
    /// Which devices it may be.
    pub accept: Accept,
    /// What it is opened for.
    pub access: Access,
    /// Whether something in it is discarded.
    pub discard: Discard,
    /// Receives notices, as long as the target is claimed.
    pub observer: Arc<dyn Observer>,
}

impl<'a> Request<'a> {
    /// Asks for the target at `path`, any that is free, for an image of `size` bytes that is read from `inputs`.
    pub fn new(path: &'a Path, size: Option<u64>, inputs: Vec<InputFile>) -> Self {
        let (accept, access, discard) = (Accept::Any, Access::Write, Discard::No);
        Self { path, size, inputs, accept, access, discard, observer: Arc::new(Silent) }
    }
}

/// A target that is claimed.
pub struct Claimed {
    /// A file, or which kind of device.
    pub kind: Kind,
    /// Writes to it.
    pub sink: Box<dyn Sink>,
}

/// Checks that the target can take the image and opens it exclusively. Nothing in it changes yet; but a file that does
/// not exist is created.
///
/// # Errors
///
/// Where the target is not one, is in use, is read-only, shares bytes with a source of the copy, is too small, or is
/// not what the request accepts.
pub fn claim(request: &Request<'_>) -> Result<Claimed, Error> {
    Claiming::of(slice::from_ref(request)).claim(request)
}

/// Claims all targets of a copy, as [`claim`] does one; no two of them may share bytes, and of several, a file must be
/// new or empty. If one is refused, the others are released as they were.
///
/// What exists comes first, as its file system may not answer. `before_creating` is called before each file that is
/// created: a program that is ended after that leaves the file behind.
///
/// # Errors
///
/// Those of [`claim`], for the first target that is refused.
pub fn claim_all(requests: &[Request<'_>], before_creating: &dyn Fn()) -> Result<Vec<Claimed>, Error> {
    let mut claiming = Claiming { before_creating, ..Claiming::of(requests) };
    let mut order: Vec<_> = requests.iter().enumerate().collect();
    order.sort_by_cached_key(|(_, request)| matches!(ok_if_missing(fs::metadata(request.path)), Ok(None)));
    let claim = |(index, request)| claiming.claim(request).map(|claimed| (index, claimed));
    let claimed: BTreeMap<usize, Claimed> = order.into_iter().map(claim).collect::<Result<_, _>>()?;
    let claimed: Vec<_> = claimed.into_values().collect();
    if requests.len() > 1 {
        refuse_data(requests, &claimed)?;
    }
    Ok(claimed)
}

/// Refuses files with data among several targets: a pattern of the shell, as in `*.img /dev/sdb`, makes targets of all
/// images but the first.
fn refuse_data(requests: &[Request<'_>], claimed: &[Claimed]) -> Result<(), Error> {
    for (request, _) in requests.iter().zip(claimed).filter(|(_, claimed)| claimed.kind == Kind::RegularFile) {
        let path = request.path.to_owned();
        match fs::metadata(&path) {
            Ok(metadata) if metadata.len() == 0 => {}
            Ok(_) => return Err(Error::HasData { path }),
            Err(source) => return Err(Error::Access { path, action: "inspect", source }),
        }
    }
    Ok(())
}

/// What the targets of a copy have in common while they are claimed.
struct Claiming<'a> {
    requests: &'a [Request<'a>],
    before_creating: &'a dyn Fn(),
    /// Read once: answers from two moments may contradict each other.
    topology: Option<Topology>,
    /// The targets that are claimed already.
    taken: Vec<(&'a Path, FileId)>,
    tunings: Tunings,
}

impl<'a> Claiming<'a> {
    fn of(requests: &'a [Request<'a>]) -> Self {
        Self { requests, before_creating: &|| {}, topology: None, taken: Vec::new(), tunings: Tunings::default() }
    }

    fn claim(&mut self, request: &'a Request<'a>) -> Result<Claimed, Error> {
        let path = request.path;
        let access = |source| Error::Access { path: path.to_owned(), action: "inspect", source };
        let (kind, sink): (_, Box<dyn Sink>) = match ok_if_missing(fs::metadata(path)).map_err(access)? {
            Some(metadata) => self.claim_existing(request, &metadata)?,
            None => (Kind::RegularFile, Box::new(create(request, self.before_creating)?)),
        };
        let capacity = sink.info().capacity;
        if let Some((size, capacity)) = request.size.zip(capacity).filter(|(size, capacity)| size > capacity) {
            return Err(Error::TooSmall { path: path.to_owned(), size, capacity });
        }
        self.taken.push((path, FileId::of(&fs::metadata(path).map_err(access)?)));
        Ok(Claimed { kind, sink })
    }

    fn claim_existing(&mut self, request: &Request<'_>, metadata: &Metadata) -> Result<(Kind, Box<dyn Sink>), Error> {
        let path = request.path;
        let kind = kind_of(metadata, path)?;
        if kind != Kind::BlockDevice {
            refuse_other_than_device(request, "it is not a block device")?;
        }
        let topology = match &mut self.topology {
            Some(topology) => topology,
            none => {
                let read = inspect(self.requests);
                none.insert(read.map_err(|source| Error::Unclear { path: path.to_owned(), source })?)
            }
        };
        let context = Context { topology, taken: &self.taken, tunings: &self.tunings };
        let opened = match open(request, kind, metadata, &context) {
            // An overlay file system gives a file another identity the first time that it is opened for writing.
            Err(error @ Error::Replaced { .. }) if kind == Kind::RegularFile => {
                log::debug!("{error}");
                match fs::metadata(path) {
                    Ok(metadata) if metadata.is_file() => open(request, kind, &metadata, &context),
                    _ => Err(error),
                }
            }
            opened => opened,
        };
        Ok((kind, opened?))
    }
}

/// Refuses what is no block device, `why`, where only a device is accepted.
fn refuse_other_than_device(request: &Request<'_>, why: &'static str) -> Result<(), Error> {
    let path = request.path.to_owned();
    match request.accept {
        Accept::Any => Ok(()),
        Accept::BlockDevice => Err(Error::NotBlockDevice { path, why }),
        Accept::Removable => Err(Error::NotRemovable { path, why }),
    }
}

/// Learns what the targets and the inputs share bytes with.
fn inspect(requests: &[Request<'_>]) -> io::Result<Topology> {
    let mut topology = Topology::read()?;
    for request in requests {
        let target = ok_if_missing(fs::metadata(request.path))?.map(|target| (request.path, FileId::of(&target)));
        let inputs = request.inputs.iter().map(|input| (input.path.as_path(), input.id));
        for (path, id) in target.into_iter().chain(inputs) {
            if let Ok(name) = fs::canonicalize(path) {
                topology.name(id, &name);
            }
        }
    }
    if let Some(request) = requests.first() {
        topology.tell(&*request.observer);
    }
    Ok(topology)
}

/// Creates a file for the image.
fn create(request: &Request<'_>, before_creating: &dyn Fn()) -> Result<RegularFile, Error> {
    let path = request.path.to_owned();
    refuse_other_than_device(request, "it does not exist")?;
    let create_error = |source| Error::Access { path: path.clone(), action: "create", source };
    let resolved = resolve_symlinks(&path).map_err(create_error)?;
    if devtmpfs::contains(&resolved).map_err(create_error)? {
        return Err(Error::NoDevice { path });
    }
    before_creating();
    RegularFile::create(&resolved)
}

/// What is known when a target is opened.
struct Context<'a> {
    topology: &'a Topology,
    /// The targets that are claimed already.
    taken: &'a [(&'a Path, FileId)],
    tunings: &'a Tunings,
}

/// Opens what exists, if it may be written to, and shares no bytes with the targets that are taken.
fn open(
    request: &Request<'_>,
    kind: Kind,
    metadata: &Metadata,
    &Context { topology, taken, tunings }: &Context<'_>,
) -> Result<Box<dyn Sink>, Error> {
    let path = request.path;
    let id = FileId::of(metadata);
    if !topology.knows(id) && topology.has_devices() {
        return Err(Error::UnknownDevice { path: path.to_owned() });
    }
    let is_hidden = !topology.knows(id) || request.inputs.iter().any(|input| !topology.knows(input.id));
    if is_hidden || (kind != Kind::CharacterDevice && topology.hides_loop_devices()) {
        return Err(Error::NoSysfs { path: path.to_owned() });
    }
    let unclear = |source| Error::Unclear { path: path.to_owned(), source };
    let stack = StorageStack::of(id, topology);
    let below_inputs = request.inputs.iter().map(|input| StorageStack::of(input.id, topology));
    if let Some(device) = below_inputs.chain([stack.clone()]).find_map(|stack| stack.silent_device(topology)) {
        let error = format!("the file of '{}' does not answer", device.node().display());
        return Err(unclear(io::Error::new(io::ErrorKind::TimedOut, error)));
    }
    let sharing = |other: &Path, other_id| match source_overlap(id, &stack, other_id, topology) {
        None if is_shown_twice((other, other_id), (path, &stack), topology)? => Ok(Some(Sharing::Alias)),
        sharing => Ok(sharing),
    };
    for input in &request.inputs {
        if let Some(sharing) = sharing(&input.path, input.id).map_err(unclear)? {
            return Err(Error::Source { path: path.to_owned(), role: input.role, sharing });
        }
    }
    for &(other, other_id) in taken {
        if let Some(sharing) = sharing(other, other_id).map_err(unclear)? {
            return Err(Error::SharesTarget { path: path.to_owned(), other: other.to_owned(), sharing });
        }
    }
    let shared = SharedStorage::find(path, &stack, topology);
    Ok(match kind {
        Kind::RegularFile => Box::new(open_file(request, metadata, &shared)?),
        Kind::BlockDevice => Box::new(BlockDevice::open(request, metadata.rdev(), &shared, topology, tunings)?),
        Kind::CharacterDevice if request.access == Access::ReadAndWrite => {
            return Err(Error::KeepsNothing { path: path.to_owned() });
        }
        Kind::CharacterDevice => Box::new(CharacterDevice::open(path, id)?),
    })
}

/// Whether the target, or what it lies in, seems to be `other`, or what that lies in, on another file system.
fn is_shown_twice(
    (other, other_id): (&Path, FileId),
    (target, stack): (&Path, &StorageStack),
    topology: &Topology,
) -> io::Result<bool> {
    let below = StorageStack::of(other_id, topology);
    for one in below.backing_files(topology).chain([other]) {
        for other in stack.backing_files(topology).chain([target]) {
            if is_alias(one, other)? {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

fn open_file(request: &Request<'_>, metadata: &Metadata, shared: &SharedStorage<'_>) -> Result<RegularFile, Error> {
    let path = request.path;
    if devtmpfs::contains(path).map_err(|source| Error::Unclear { path: path.to_owned(), source })? {
        return Err(Error::FileAmongDevices { path: path.to_owned() });
    }
    // The arguments in the wrong order would cost the image.
    if metadata.len() > 0 && request.inputs.iter().any(|input| matches!(input.id, FileId::BlockDevice { .. })) {
        return Err(Error::Swapped { path: path.to_owned() });
    }
    let mut file = RegularFile::open(path, FileId::of(metadata), request.access)?;
    // Loop devices over it change with it.
    shared.refuse_used()?;
    file.keep(shared.claim(&*request.observer)?);
    Ok(file)
}

/// Why a file or character device at `path` cannot be opened without waiting.
pub(super) fn open_error(path: &Path, source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::WouldBlock => Error::Locked { path: path.to_owned() },
        _ => Error::Access { path: path.to_owned(), action: "open", source },
    }
}

/// Refuses what was opened at `path` if that is no longer what has been inspected.
pub(super) fn refuse_replaced(path: &Path, inspected: FileId, opened: &File) -> Result<(), Error> {
    match opened.metadata() {
        Ok(metadata) if FileId::of(&metadata) == inspected => Ok(()),
        Ok(_) => Err(Error::Replaced { path: path.to_owned() }),
        Err(source) => Err(Error::Access { path: path.to_owned(), action: "inspect", source }),
    }
}

fn kind_of(metadata: &Metadata, path: &Path) -> Result<Kind, Error> {
    let kind = metadata.file_type();
    let what = match () {
        () if kind.is_file() => return Ok(Kind::RegularFile),
        () if kind.is_block_device() => return Ok(Kind::BlockDevice),
        () if kind.is_char_device() => return character_device(metadata.rdev(), path),
        () if kind.is_dir() => "a directory",
        () if kind.is_fifo() => "a pipe (FIFO)",
        () if kind.is_socket() => "a socket",
        () => "of an unknown kind",
    };
    Err(Error::WrongKind { path: path.to_owned(), what })
}

/// The kind of the character device `number`: /dev/null, /dev/zero and /dev/full take everything and keep nothing.
/// Others do something with it (Documentation/admin-guide/devices.txt), and are not even opened: a tape would rewind.
fn character_device(number: u64, path: &Path) -> Result<Kind, Error> {
    const MEMORY_MAJOR: u32 = 1;
    const MTD_MAJOR: u32 = 90;
    match (libc::major(number), libc::minor(number)) {
        (MEMORY_MAJOR, 3 | 5 | 7) => Ok(Kind::CharacterDevice),
        (MTD_MAJOR, _) => Err(Error::RawFlash { path: path.to_owned() }),
        _ => Err(Error::WrongKind { path: path.to_owned(), what: "a character device, other than /dev/null" }),
    }
}
