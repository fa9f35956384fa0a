//! `bmaptool copy`.

use std::fs;
use std::io;
use std::iter;
use std::path::Path;
use std::sync::Arc;

use bmaptool::copy::{self as engine, BackupGpt, Image, Plan, ReadBack, Unmapped, Verdict, Verify, Write};
use bmaptool::load::LoadedBmap;
use bmaptool::sink::{self, Accept, Access, Claimed, Discard, InputFile, Kind, Request};
use bmaptool::size::{human_time, rate_in_mib};
use bmaptool::source::{Location, OpenOptions, Source, TransferStats};
use bmaptool::sys::file_id::FileId;

use super::args::{self, Copy, Verbosity};
use super::error::Error;
use super::process::{self, Signals};
use super::report::Report;
use super::summary::{self, Assurance};
use super::{bmap, network};

pub fn run(arguments: &Copy, verbosity: &Verbosity) -> Result<(), Error> {
    let signals = Signals::handle().map_err(Error::Signals)?;
    let report = Report::new(vec![arguments.target.clone()], arguments.psplash_pipe.as_deref());
    let files = iter::once(&arguments.image).chain(arguments.bmap.files());
    let options = network::options(&arguments.network, files, report.clone())?;

    let location = Location::parse(&arguments.image)?;
    if location == Location::Stdin && process::stdin_was_closed() {
        return Err(Error::StdinClosed);
    }
    let source = Source::open_with(&location, &options)?;
    check_name(&source, arguments)?;
    let stats = source.transfer_stats();
    let bmap = if arguments.nobmap { None } else { Some(load_bmap(&source, arguments, &options)?) };
    let (plan, bmap) = plan(bmap, arguments);
    let image = plan.open(source)?;
    if image.size() == Some(0) && bmap.is_none() && is_stream(&location) {
        return Err(Error::NothingCame { image: location });
    }

    // What exists is only looked at, perhaps for long. A file that is created must be removed after a signal.
    if is_missing(&arguments.target) {
        signals.defer();
    }
    let Claimed { kind, sink } = claim(arguments, &image, bmap.as_ref(), &report)?;
    // From here on, a signal must clean up.
    let cancel = signals.defer().clone();
    if kind == Kind::BlockDevice {
        log::info!("{}", summary::device(&arguments.target, &sink.info()));
    }
    announce(&location, arguments, kind, &image, bmap.as_ref());
    let assurance = Assurance::of(image.plan().map(), arguments.no_verify);
    if !verbosity.quiet {
        report.show_progress();
    }
    let read_back = if arguments.read_back { ReadBack::Yes } else { ReadBack::No };
    let write = write(arguments);
    let verdicts = engine::Copy { image, sinks: vec![sink], write, read_back, observer: report, cancel }.run();
    for verdict in verdicts {
        conclude(verdict, &location, arguments, assurance, &signals, stats.as_ref())?;
    }
    Ok(())
}

fn load_bmap(image: &Source, arguments: &Copy, options: &OpenOptions) -> Result<LoadedBmap, Error> {
    let loaded = bmap::load(image, &arguments.bmap, options)?;
    let location = || image.location().clone();
    loaded.ok_or_else(|| match image.id() {
        Some(FileId::BlockDevice { .. }) => {
            Error::NoBmapOfDevice { device: location(), target: arguments.target.clone() }
        }
        _ => Error::NoBmap { image: location() },
    })
}

/// Where a bmap came from, and the files that it was read from and verified with.
struct Origin {
    location: Location,
    inputs: Vec<InputFile>,
}

fn plan(bmap: Option<LoadedBmap>, arguments: &Copy) -> (Plan, Option<Origin>) {
    let verify = if arguments.no_verify { Verify::Skip } else { Verify::Checksums };
    let backup_gpt = if arguments.relocate_gpt { BackupGpt::AtDeviceEnd } else { BackupGpt::AsInImage };
    let (plan, origin) = match bmap {
        Some(LoadedBmap { location, bmap, inputs, .. }) => {
            (Plan::mapped(bmap, verify, unmapped(arguments)), Some(Origin { location, inputs }))
        }
        None => (Plan::whole(), None),
    };
    (plan.with_backup_gpt(backup_gpt), origin)
}

fn write(arguments: &Copy) -> Write {
    if arguments.only_changed { Write::Changed } else { Write::All }
}

fn unmapped(arguments: &Copy) -> Unmapped {
    match arguments.unmapped {
        args::Unmapped::Keep => Unmapped::Keep,
        args::Unmapped::Zero => Unmapped::Zero,
        args::Unmapped::Discard => Unmapped::Discard,
    }
}

/// Compares the format that the name says with the contents. With a bmap, size and checksums tell whether this is the
/// image; without one, a damaged file or a server's page would be taken for it.
fn check_name(source: &Source, arguments: &Copy) -> Result<(), Error> {
    let location = source.location();
    match (location.named_format(), source.format()) {
        (Some(named), Some(found)) if named != found => {
            log::warn!("the name of '{location}' says {named}, but it is {found}");
        }
        (Some(named), None) if arguments.nobmap => {
            return Err(Error::NotCompressed { image: location.clone(), named });
        }
        (Some(named), None) => log::warn!("the name of '{location}' says {named}, but it is not compressed"),
        _ => {}
    }
    Ok(())
}

/// Whether the image is a stream, whose writer may have died before its first byte.
fn is_stream(image: &Location) -> bool {
    match image.as_path() {
        Some(path) => !fs::metadata(path).is_ok_and(|metadata| metadata.is_file()),
        None => *image == Location::Stdin,
    }
}

fn is_missing(target: &Path) -> bool {
    fs::metadata(target).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

fn claim(arguments: &Copy, image: &Image, bmap: Option<&Origin>, report: &Arc<Report>) -> Result<Claimed, Error> {
    let target = &arguments.target;
    let closed = |source| sink::Error::Access { path: target.clone(), action: "write to", source };
    process::refuse_closed(target).map_err(closed)?;
    let mut inputs = image.inputs();
    inputs.extend(bmap.iter().flat_map(|bmap| bmap.inputs.iter().cloned()));
    let request = Request {
        path: target,
        size: image.size(),
        inputs,
        access: if arguments.read_back || arguments.only_changed { Access::ReadAndWrite } else { Access::Write },
        discard: if arguments.unmapped == args::Unmapped::Discard { Discard::Yes } else { Discard::No },
        accept: match arguments {
            Copy { removable_device: true, .. } => Accept::Removable,
            Copy { relocate_gpt: true, .. } => Accept::BlockDevice,
            _ => Accept::Any,
        },
        observer: report.clone(),
    };
    Ok(sink::claim(&request)?)
}

/// Prints what will be copied.
fn announce(location: &Location, arguments: &Copy, kind: Kind, image: &Image, bmap: Option<&Origin>) {
    let target = arguments.target.display();
    let (Some(origin), Some(map)) = (bmap, image.plan().map()) else {
        log::info!("no bmap given, copy entire image to '{target}'");
        return;
    };
    log::info!("block map format version {}", map.version());
    log::info!("{}", summary::mapped(map));
    // Scripts match these messages, in which all but devices are named without their directories.
    let (kind, name) = match kind {
        Kind::BlockDevice => ("block device", None),
        Kind::RegularFile | Kind::CharacterDevice => ("file", arguments.target.file_name()),
    };
    let target = name.map_or(target, |name| Path::new(name).display());
    log::info!(
        "copying image '{}' to {kind} '{target}' using bmap file '{}'",
        location.short_name(),
        origin.location.short_name()
    );
    if arguments.no_verify {
        log::warn!("the image is not verified (--no-verify)");
    } else if map.checksum_kind().is_none() && map.mapped_blocks() > 0 {
        log::warn!("the image is not verified: its bmap has no checksums");
    }
}

/// Prints the result for a target.
fn conclude(
    verdict: Verdict,
    image: &Location,
    arguments: &Copy,
    assurance: Assurance,
    signals: &Signals,
    stats: Option<&TransferStats>,
) -> Result<(), Error> {
    let done = verdict.map_err(|failure| Error::Copy {
        image: image.clone(),
        target: arguments.target.clone(),
        state: failure.state,
        signal: signals.received(),
        source: failure.error,
    })?;
    if write(arguments) == Write::Changed {
        log::info!("{}", summary::changed(&done, stats.map(network::fetched)));
    }
    if let Some(stats) = stats {
        if write(arguments) == Write::All {
            log::info!("fetched {}", network::amount(stats));
        }
        // With a bmap, the end of the image is known. Compressed data may be cut off between two members.
        if arguments.nobmap && stats.has_unmarked_end() {
            log::warn!("the server does not say where '{image}' ends: if it is cut off, that cannot be noticed");
        }
    }
    log::info!("{}", assurance.done(&arguments.target, write(arguments), &done));
    // The last line, and always in this unit: programs of test laboratories read it.
    log::info!("copying time: {}, copying speed {}/sec", human_time(done.time), rate_in_mib(done.bytes, done.time));
    Ok(())
}
