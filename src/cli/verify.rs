//! `bmaptool verify`.

use std::iter;

use bmaptool::copy::Cancel;
use bmaptool::load::LoadedBmap;
use bmaptool::source::{Location, Source};
use bmaptool::verify::{self as engine, BackupState};

use super::args::{Verbosity, Verify};
use super::error::Error;
use super::process::{self, Signals};
use super::report::{Readers, Report, Start, UsedBmap, console};
use super::{bmap, network};

pub fn run(arguments: &Verify, verbosity: &Verbosity) -> Result<(), Error> {
    // Nothing is written, so that a signal may end the program at any time.
    Signals::handle().map_err(Error::Signals)?;
    let readers = Readers { json: arguments.json, ..Readers::default() };
    let report = Report::new(vec![arguments.file.clone().into()], readers);
    let files = iter::once(&arguments.file).chain(arguments.bmap.files());
    let options = network::options(&arguments.network, files, report.clone())?;

    let location = Location::parse(&arguments.file)?;
    if location == Location::Stdin && process::stdin_was_closed() {
        return Err(Error::StdinClosed);
    }
    let source = Source::open_with(&location, &options)?;
    let loaded = bmap::load(&source, &arguments.bmap, &options)?;
    let LoadedBmap { location: file, bmap: map, signatures, .. } =
        loaded.ok_or_else(|| Error::NothingToCompare { file: location.clone() })?;
    let failed = |source| Error::Verify { file: location.clone(), source };
    let verify = engine::Verify::open(map, source, &*report).map_err(failed)?;
    report.started(&Start {
        command: "verify",
        image: &location,
        image_size: Some(verify.map().image_size()),
        bmap: Some(UsedBmap { file: &file, map: verify.map(), signatures: &signatures }),
        targets: vec![None],
    });
    if !verbosity.quiet {
        console::print_in_background(&Cancel::default());
        report.show_progress();
    }
    let kind = verify.checksum_kind();
    let outcome = verify.run(&*report).map_err(failed)?;
    report.verified(&location, kind, &outcome);
    match outcome.differences.iter().map(|difference| difference.ranges).sum() {
        0 if outcome.relocated == Some(BackupState::Damaged) => Err(Error::BackupGpt { device: location }),
        0 => Ok(()),
        wrong => Err(Error::Differs { file: location, wrong, ranges: outcome.ranges }),
    }
}
