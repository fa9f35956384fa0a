//! `bmaptool copy`.

use std::fs;
use std::iter;
use std::path::PathBuf;
use std::sync::Arc;

use bmaptool::copy::{
    self as engine, BackupGpt, Failure, Image, Plan, ReadBack, Summary, Unmapped, Verdict, Verify, WritePolicy,
};
use bmaptool::event::{Notice, Observer, Unverified};
use bmaptool::load::LoadedBmap;
use bmaptool::sink::{self, Accept, Access, Claimed, Discard, InputFile, Request};
use bmaptool::source::{FirstRequest, Location, OpenOptions, Source, TransferStats};
use bmaptool::sys::file_id::FileId;
use bmaptool::trust::Signatures;

use super::args::{self, Copy, Verbosity};
use super::error::Error;
use super::output::refuse_stdout;
use super::process::{self, Signals};
use super::report::{Assurance, Ended, Readers, Report, Start, UsedBmap};
use super::{bmap, network};

pub fn run(arguments: &Copy, verbosity: &Verbosity) -> Result<(), Error> {
    let signals = Signals::handle().map_err(Error::Signals)?;
    let readers = Readers { psplash: arguments.psplash_pipe.as_deref(), json: arguments.json };
    let report = Report::new(arguments.targets.clone(), readers);
    let files = iter::once(&arguments.image).chain(arguments.bmap.files());
    let options = network::options(&arguments.network, files, report.clone())?;

    let location = Location::parse(&arguments.image)?;
    if location == Location::Stdin && process::stdin_was_closed() {
        return Err(Error::StdinClosed);
    }
    let source =
        Source::open_with(&location, &OpenOptions { first_request: first_request(arguments), ..options.clone() })?;
    check_name(&source, arguments, &*report)?;
    let stats = source.transfer_stats();
    let bmap = if arguments.nobmap { None } else { Some(load_bmap(&source, arguments, &options)?) };
    let (plan, bmap) = plan(bmap, arguments);
    let image = plan.open(source)?;
    if image.size() == Some(0) && bmap.is_none() && is_stream(&location) {
        return Err(Error::NothingCame { image: location });
    }

    // What exists is only looked at, perhaps for long. A file that is created must be removed after a signal.
    let before_creating = || {
        signals.defer();
    };
    let claimed = claim(arguments, &image, bmap.as_ref(), &report, &before_creating)?;
    // From here on, a signal must clean up.
    let cancel = signals.defer().clone();
    announce(&location, arguments, &claimed, &image, bmap.as_ref(), &report);
    let assurance = Assurance::of(image.plan().map(), arguments.no_verify);
    if !verbosity.quiet {
        report.show_progress();
    }
    let read_back = if arguments.read_back { ReadBack::Yes } else { ReadBack::No };
    let sinks = claimed.into_iter().map(|claimed| claimed.sink).collect();
    let write = write(arguments);
    let observer = report.clone();
    let copy = engine::Copy { write, read_back, observer, cancel, ..engine::Copy::new(image, sinks) };
    let verdicts = copy.run();
    let results = results(&location, &arguments.targets, signals.received(), verdicts);
    // With a bmap, the end of the image is known. Compressed data may be cut off between two members.
    let has_unmarked_end = arguments.nobmap && stats.as_ref().is_some_and(TransferStats::has_unmarked_end);
    if has_unmarked_end && results.iter().any(Result::is_ok) {
        report.notice(Notice::EndUnknown { image: &location });
    }
    report.ended(&Ended { results: &results, write, assurance, stats: stats.as_ref() });
    conclude(results)
}

fn load_bmap(image: &Source, arguments: &Copy, options: &OpenOptions) -> Result<LoadedBmap, Error> {
    let loaded = bmap::load(image, &arguments.bmap, options)?;
    let location = || image.location().clone();
    loaded.ok_or_else(|| match image.id() {
        Some(FileId::BlockDevice { .. }) => {
            Error::NoBmapOfDevice { device: location(), target: arguments.targets[0].clone() }
        }
        _ => Error::NoBmap { image: location() },
    })
}

/// Where a bmap came from, and the files that it was read from and verified with.
struct Origin {
    location: Location,
    signatures: Signatures,
    inputs: Vec<InputFile>,
}

fn plan(bmap: Option<LoadedBmap>, arguments: &Copy) -> (Plan, Option<Origin>) {
    let verify = if arguments.no_verify { Verify::Skip } else { Verify::Checksums };
    let backup_gpt = if arguments.relocate_gpt { BackupGpt::AtDeviceEnd } else { BackupGpt::AsInImage };
    let (plan, origin) = match bmap {
        Some(LoadedBmap { location, bmap, signatures, inputs }) => {
            (Plan::mapped(bmap, verify, unmapped(arguments)), Some(Origin { location, signatures, inputs }))
        }
        None => (Plan::whole(), None),
    };
    (plan.with_backup_gpt(backup_gpt), origin)
}

fn write(arguments: &Copy) -> WritePolicy {
    if arguments.only_changed { WritePolicy::Changed } else { WritePolicy::All }
}

fn first_request(arguments: &Copy) -> FirstRequest {
    if arguments.only_changed { FirstRequest::Head } else { FirstRequest::Whole }
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
fn check_name(source: &Source, arguments: &Copy, observer: &dyn Observer) -> Result<(), Error> {
    let location = source.location();
    match (location.named_format(), source.format()) {
        (Some(named), Some(found)) if named != found => {
            observer.notice(Notice::NameDiffers { image: location, named: &named, found: Some(&found) });
        }
        (Some(named), None) if arguments.nobmap => {
            return Err(Error::NotCompressed { image: location.clone(), named });
        }
        (Some(named), None) => {
            observer.notice(Notice::NameDiffers { image: location, named: &named, found: None });
        }
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

/// Claims all targets, before anything is written to any.
fn claim(
    arguments: &Copy,
    image: &Image,
    bmap: Option<&Origin>,
    report: &Arc<Report>,
    before_creating: &dyn Fn(),
) -> Result<Vec<Claimed>, Error> {
    let mut inputs = image.inputs();
    inputs.extend(bmap.iter().flat_map(|bmap| bmap.inputs.iter().cloned()));
    let mut requests = Vec::new();
    for path in &arguments.targets {
        let closed = |source| sink::Error::Access { path: path.clone(), action: "write to", source };
        process::refuse_closed(path).map_err(closed)?;
        if arguments.json {
            refuse_stdout(path)?;
        }
        requests.push(Request {
            path,
            size: image.size(),
            inputs: inputs.clone(),
            access: if arguments.read_back || arguments.only_changed { Access::ReadAndWrite } else { Access::Write },
            discard: if arguments.unmapped == args::Unmapped::Discard { Discard::Yes } else { Discard::No },
            accept: accept(arguments),
            observer: report.clone(),
        });
    }
    Ok(sink::claim_all(&requests, before_creating)?)
}

fn accept(arguments: &Copy) -> Accept {
    match arguments {
        Copy { removable_device: true, .. } => Accept::Removable,
        Copy { relocate_gpt: true, .. } => Accept::BlockDevice,
        _ => Accept::Any,
    }
}

/// Tells what will be copied.
fn announce(
    location: &Location,
    arguments: &Copy,
    claimed: &[Claimed],
    image: &Image,
    bmap: Option<&Origin>,
    report: &Report,
) {
    let map = image.plan().map();
    let used = bmap.zip(map).map(|(origin, map)| {
        let Origin { location: file, signatures, .. } = origin;
        UsedBmap { file, map, signatures }
    });
    let targets = claimed.iter().map(|claimed| Some(claimed.sink.info())).collect();
    report.started(&Start { command: "copy", image: location, image_size: image.size(), bmap: used, targets });
    let Some(map) = map else { return };
    if arguments.no_verify {
        report.notice(Notice::NotVerified(Unverified::NotWanted));
    } else if map.checksum_kind().is_none() && map.mapped_blocks() > 0 {
        report.notice(Notice::NotVerified(Unverified::NoChecksums));
    }
}

/// The verdicts, with the errors as users know them; `signal` is the one that asked to stop.
fn results(
    image: &Location,
    targets: &[PathBuf],
    signal: Option<i32>,
    verdicts: Vec<Verdict>,
) -> Vec<Result<Summary, Error>> {
    let result = |(target, verdict): (&PathBuf, Verdict)| {
        let (image, target) = (image.clone(), target.clone());
        verdict.map_err(|Failure { error: source, state }| Error::Copy { image, target, state, signal, source })
    };
    targets.iter().zip(verdicts).map(result).collect()
}

/// The error of a single target, or of those of several that have failed.
fn conclude(results: Vec<Result<Summary, Error>>) -> Result<(), Error> {
    let of = results.len();
    let mut failed: Vec<_> = results.into_iter().filter_map(Result::err).collect();
    match failed.len() {
        0 => Ok(()),
        1 if of == 1 => Err(failed.remove(0)),
        _ => Err(Error::Targets { failed, of }),
    }
}
