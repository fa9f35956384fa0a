//! `bmaptool verify`.

use std::iter;

use bmaptool::copy::Cancel;
use bmaptool::digest::ChecksumKind;
use bmaptool::sink::ReadPath;
use bmaptool::size::{counted, human, human_time, rate_in_mib};
use bmaptool::source::{Location, Source};
use bmaptool::verify::{self as engine, BackupState, Difference, Report};

use super::args::{Verbosity, Verify};
use super::error::{Error, in_quotes};
use super::process::{self, Signals};
use super::report::{self, console};
use super::{bmap, network};

pub fn run(arguments: &Verify, verbosity: &Verbosity) -> Result<(), Error> {
    // Nothing is written, so that a signal may end the program at any time.
    Signals::handle().map_err(Error::Signals)?;
    let report = report::Report::new(vec![arguments.file.clone().into()], None);
    let files = iter::once(&arguments.file).chain(arguments.bmap.files());
    let options = network::options(&arguments.network, files, report.clone())?;

    let location = Location::parse(&arguments.file)?;
    if location == Location::Stdin && process::stdin_was_closed() {
        return Err(Error::StdinClosed);
    }
    let source = Source::open_with(&location, &options)?;
    let loaded = bmap::load(&source, &arguments.bmap, &options)?;
    let map = loaded.ok_or_else(|| Error::NothingToCompare { file: location.clone() })?.bmap;
    let failed = |source| Error::Verify { file: location.clone(), source };
    let verify = engine::Verify::open(map, source, &*report).map_err(failed)?;
    if !verbosity.quiet {
        console::print_in_background(&Cancel::default());
        report.show_progress();
    }
    let kind = verify.checksum_kind();
    let Report { bytes, ranges, differences, relocated, path, time } = verify.run(&*report).map_err(failed)?;
    differences.iter().for_each(|difference| log::error!("{}", in_words(difference, kind)));
    match relocated {
        Some(BackupState::Right) => {
            log::info!("its GPT was relocated to the device's end: '{location}' is compared as the image has it");
        }
        Some(BackupState::Damaged) => {
            log::error!("its GPT was relocated to the device's end, but the backup there is damaged");
        }
        None => {}
    }
    if path == Some(ReadPath::AfterDrop) {
        log::info!("'{location}' does not take O_DIRECT: the page cache was dropped before it was read");
    }
    log::info!("verifying time: {}, verifying speed {}/sec", human_time(time), rate_in_mib(bytes, time));
    match differences.iter().map(|difference| difference.ranges).sum() {
        0 if relocated == Some(BackupState::Damaged) => Err(Error::BackupGpt { device: location }),
        0 => {
            let (amount, ranges) = (human(bytes), counted(ranges as u64, "range"));
            log::info!("{} is what its bmap says: {amount} in {ranges}", in_quotes(&location));
            Ok(())
        }
        wrong => Err(Error::Differs { file: location, wrong, ranges }),
    }
}

fn in_words(Difference { bytes, blocks, digests, .. }: &Difference, kind: ChecksumKind) -> String {
    let digests = digests.as_ref().map(|(expected, found)| format!(": the {kind} is {found}, not {expected}"));
    format!("bytes {}-{} (blocks {blocks}) differ{}", bytes.start, bytes.end - 1, digests.unwrap_or_default())
}
