//! `bmaptool copy`.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use bmaptool::bmap::{self, Bmap};
use bmaptool::copy::{self as engine, Extents, Failure, Progress, Verify};
use bmaptool::file_id::FileId;
use bmaptool::sink::{self, Accept, InputFile, Kind, Request};
use bmaptool::size::{human, human_time, percent, rate};
use bmaptool::source::{Gaps, Location, Source};

use super::args::{Copy, Verbosity};
use super::error::{Error, in_one_line};
use super::network;
use super::process::{self, Signals};
use super::report::Report;
use super::signature::{self, Authentic};

/// A bmap, and where it came from.
struct Map {
    location: Location,
    bmap: Bmap,
    /// The files that it was read from, and verified with.
    read: Vec<InputFile>,
}

pub fn run(arguments: &Copy, verbosity: &Verbosity) -> Result<(), Error> {
    let signals = Signals::handle().map_err(Error::Signals)?;

    let image = Location::parse(&arguments.image)?;
    if image == Location::Stdin && process::stdin_was_closed() {
        return Err(Error::StdinClosed);
    }
    let source = network::open(&image)?;
    let traffic = source.traffic();
    check_name(&source, arguments)?;
    let map = match (&arguments.bmap, arguments.nobmap) {
        (Some(given), _) => Some(load(network::open(&Location::parse(given)?)?, &source, arguments)?),
        (None, true) => None,
        (None, false) => Some(load(discover(&source, arguments)?, &source, arguments)?),
    };
    let inputs = inputs(&source, map.as_ref());
    let verify = if arguments.no_verify { Verify::Skip } else { Verify::Checksums };
    let gaps = match &map {
        Some(Map { bmap, .. }) if verify.covers(bmap) => {
            Gaps::MayJump { wanted: bmap.ranges().map(|range| range.bytes).collect() }
        }
        _ => Gaps::MustRead,
    };
    let unpacked = source.unpack(map.as_ref().map(|map| map.bmap.image_size()), gaps)?;
    if unpacked.size == Some(0) && map.is_none() && is_stream(&image) {
        return Err(Error::NothingCame { image });
    }
    process::refuse_closed(&arguments.target)
        .map_err(|source| Error::Closed { target: arguments.target.clone(), source })?;
    // From here on there is something to clean up.
    let cancel = signals.defer();
    let report = Report::new(vec![arguments.target.clone()], arguments.psplash_pipe.as_deref());
    let claimed = sink::claim(&Request {
        path: &arguments.target,
        size: map.as_ref().map(|map| map.bmap.image_size()).or(unpacked.size),
        inputs: &inputs,
        accept: if arguments.removable_device { Accept::Removable } else { Accept::Any },
        observer: report.observer(),
    })?;

    announce(&image, arguments, claimed.kind, map.as_ref());
    // A bmap tells where the image ends; what is packed may end between two of its members.
    let ends_anywhere = map.is_none();
    let extents = match map {
        Some(map) => Extents::Mapped(map.bmap),
        None => Extents::Whole { size: unpacked.size },
    };
    let progress = Progress::new(Arc::clone(report.observer()), extents.total());
    let display = report.show_progress(verbosity);
    let started = Instant::now();
    let of_copy = |failure: Failure| Error::Copy {
        image: image.clone(),
        target: arguments.target.clone(),
        remains: failure.remains,
        signal: signals.received(),
        source: failure.error,
    };

    let transferred = engine::transfer(extents, verify, unpacked.reader, claimed.sink, &progress, cancel);
    let transferred = transferred.map_err(of_copy)?;
    log::info!("synchronizing '{}'", arguments.target.display());
    let bytes = transferred.commit(&progress, cancel).map_err(of_copy)?;
    let time = started.elapsed();
    drop(display);
    if let Some(traffic) = traffic {
        log::info!("fetched {}", network::amount(&traffic));
        if ends_anywhere && traffic.has_unmarked_end() {
            log::warn!("the server does not say where '{image}' ends: if it is cut off, that cannot be noticed");
        }
    }
    log::info!("copying time: {}, copying speed {}/sec", human_time(time), rate(bytes, time));
    Ok(())
}

/// Compares what the name says with what is there. With a bmap, the size and the checksums tell whether that is the image; without
/// one, a damaged file or a server's page would be taken for it.
fn check_name(source: &Source, arguments: &Copy) -> Result<(), Error> {
    let location = source.location();
    match (location.named_format(), source.format()) {
        (Some(named), Some(found)) if named != found => {
            log::warn!("the name of '{location}' says {named}, but it is {found}");
        }
        (Some(named), None) if arguments.nobmap => {
            return Err(Error::NotPacked { image: location.clone(), named });
        }
        (Some(named), None) => log::warn!("the name of '{location}' says {named}, but it is not compressed"),
        _ => {}
    }
    Ok(())
}

/// Whether what feeds us may have failed before the first byte: a pipe, by whatever name.
fn is_stream(image: &Location) -> bool {
    match image.as_path() {
        // What has lost its name was no file that is there to stay.
        Some(path) => !fs::metadata(path).is_ok_and(|metadata| metadata.is_file()),
        None => *image == Location::Stdin,
    }
}

/// Looks for the bmap beside the image.
fn discover(image: &Source, arguments: &Copy) -> Result<Source, Error> {
    let mut withheld = None;
    for candidate in image.location().bmap_candidates() {
        match network::open(&candidate) {
            Err(error) if error.is_not_found() => {}
            Err(error) if error.is_withheld() => {
                log::info!("{}", in_one_line(&error));
                withheld.get_or_insert(error);
            }
            result => {
                let bmap = result?;
                log::info!("discovered bmap file '{candidate}'");
                return Ok(bmap);
            }
        }
    }
    if let Some(error) = withheld {
        return Err(error.into());
    }
    let location = image.location().clone();
    Err(match image.id() {
        Some(FileId::BlockDevice { .. }) => {
            Error::NoBmapOfDevice { device: location, target: arguments.target.clone() }
        }
        _ => Error::NoBmap { image: location },
    })
}

/// Reads a bmap, once its signature has been verified.
fn load(file: Source, image: &Source, arguments: &Copy) -> Result<Map, Error> {
    let (location, id) = (file.location().clone(), file.id());
    if location == *image.location() || (id.is_some() && id == image.id()) {
        return Err(Error::SameFile { image: image.location().clone(), bmap: location });
    }
    let stored = file.read_stored("bmap", bmap::MAX_FILE_SIZE)?;
    let Authentic { text, mut read } = signature::authenticate(stored, arguments)?;
    let bmap = Bmap::parse(&text).map_err(|source| Error::Bmap { bmap: location.clone(), source })?;
    read.extend(id.map(|id| InputFile { role: "bmap file", id }));
    Ok(Map { location, bmap, read })
}

/// The files that the copy reads.
fn inputs(source: &Source, map: Option<&Map>) -> Vec<InputFile> {
    let image = source.id().map(|id| InputFile { role: "image", id });
    image.into_iter().chain(map.into_iter().flat_map(|map| map.read.iter().copied())).collect()
}

/// Says what is going to be done.
fn announce(image: &Location, arguments: &Copy, kind: Kind, map: Option<&Map>) {
    let target = arguments.target.display();
    let Some(Map { location, bmap, .. }) = map else {
        log::info!("no bmap given, copy entire image to '{target}'");
        return;
    };
    log::info!("block map format version {}", bmap.version());
    log::info!(
        "{} blocks of size {} ({}), mapped {} blocks ({} or {})",
        bmap.blocks(),
        bmap.block_size().bytes(),
        human(bmap.image_size()),
        bmap.mapped_blocks(),
        human(bmap.mapped_bytes()),
        percent(bmap.mapped_blocks(), bmap.blocks()),
    );
    // Scripts know these two, and that all but devices are named without their directories.
    let (kind, name) = match kind {
        Kind::BlockDevice => ("block device", None),
        Kind::RegularFile | Kind::CharacterDevice => ("file", arguments.target.file_name()),
    };
    let target = name.map_or(target, |name| Path::new(name).display());
    log::info!(
        "copying image '{}' to {kind} '{target}' using bmap file '{}'",
        image.short_name(),
        location.short_name()
    );
    if arguments.no_verify {
        log::warn!("the image is not verified, as '--no-verify' asks for");
    } else if bmap.checksum_kind().is_none() && bmap.mapped_blocks() > 0 {
        log::warn!("the image is not verified, for its bmap has no checksums");
    }
}
