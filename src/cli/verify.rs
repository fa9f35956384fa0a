//! `bmaptool verify`.

use std::iter;
use std::path::Path;

use bmaptool::copy::Cancel;
use bmaptool::load::LoadedBmap;
use bmaptool::sink::{Kind, SinkInfo};
use bmaptool::source::{Location, Source};
use bmaptool::verify::{self as engine, BackupState, Unfinished};

use super::args::{Verbosity, Verify};
use super::error::Error;
use super::process::{self, Signals};
use super::report::{Readers, Report, Start, UsedBmap, console};
use super::{bmap, network};

pub fn run(arguments: &Verify, verbosity: &Verbosity) -> Result<(), Error> {
    // Nothing is written, so that a signal may end the program at any time.
    let signals = Signals::handle().map_err(Error::Signals)?;
    let readers = Readers { json: arguments.json, ..Readers::default() };
    let report = Report::new(vec![arguments.file.clone().into()], readers);
    let files = iter::once(&arguments.file).chain(arguments.bmap.files());
    let options = network::options(&arguments.network, files, report.clone())?;

    let location = Location::parse(&arguments.file)?;
    if location == Location::Stdin && process::stdin_was_closed() {
        return Err(Error::StdinClosed);
    }
    let source = Source::open_to_compare(&location, &options)?;
    let loaded = bmap::load(&source, &arguments.bmap, &options)?;
    let LoadedBmap { location: file, bmap: map, signatures, .. } =
        loaded.ok_or_else(|| Error::NothingToCompare { file: location.clone() })?;
    let failed = |source| Error::Verify { file: location.clone(), source };
    let is_file = location.as_path().is_some_and(Path::is_file);
    let verify = engine::Verify::open(map, source, &*report).map_err(failed)?;
    let target = match verify.device() {
        Some(device) => Some(SinkInfo::of_device(device)),
        None => is_file.then(|| SinkInfo::of(Kind::RegularFile)),
    };
    report.started(&Start {
        command: "verify",
        image: &location,
        image_size: Some(verify.map().image_size()),
        bmap: Some(UsedBmap { file: &file, map: verify.map(), signatures: &signatures }),
        targets: vec![target],
    });
    if !verbosity.quiet {
        console::print_in_background(&Cancel::default());
        report.show_progress();
    }
    let kind = verify.checksum_kind();
    let outcome = verify.run(&*report).map_err(|Unfinished { differences, error }| {
        report.differs(kind, &differences);
        failed(error)
    })?;
    report.verified(&location, kind, &outcome);
    match (outcome.wrong(), outcome.unreadable()) {
        (0, 0) if outcome.relocated == Some(BackupState::Damaged) => Err(Error::BackupGpt { device: location }),
        (0, 0) => {
            // That is the verdict, whatever a signal leaves in the pipe.
            let cancel = signals.defer();
            verify.drain_pipe(|| cancel.reason().is_some(), &*report);
            Ok(())
        }
        (wrong, unreadable) => Err(Error::Differs { file: location, wrong, unreadable, ranges: outcome.ranges }),
    }
}
