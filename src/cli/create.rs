//! `bmaptool create`.

use std::fs::{self, File};
use std::num::NonZeroU64;
use std::path::Path;

use bmaptool::create::{self as engine, Mapping, Request};
use bmaptool::device::flush_loop_devices;
use bmaptool::digest::ChecksumKind;
use bmaptool::event::{Notice, Observer};
use bmaptool::sink::{self, SinkInfo};
use bmaptool::source::{Format, HEAD_LEN, Kind, Location, NotAnImage, detect, read_full};
use bmaptool::sys::file_id::FileId;

use super::args::{Create, Verbosity};
use super::error::Error;
use super::output::{Output, refuse_stdout};
use super::process::Signals;
use super::report::{Readers, Report, Start, console};

pub fn run(arguments: &Create, verbosity: &Verbosity) -> Result<(), Error> {
    let signals = Signals::handle().map_err(Error::Signals)?;
    let path = &arguments.image;
    let open_error = |source| Error::OpenImage { path: path.clone(), source };
    let name = arguments.output.as_ref().map_or("standard output".to_owned(), |path| format!("'{}'", path.display()));
    let output_error = |source| Error::Output { output: name.clone(), signal: signals.received(), source };

    engine::check_kind(fs::metadata(path).map_err(open_error)?.file_type(), path)?;
    let image = File::open(path).map_err(open_error)?;
    let id = FileId::of(&image.metadata().map_err(open_error)?);
    let output = Output::find(arguments.output.as_deref()).map_err(output_error)?;
    if output.is(id, path).map_err(output_error)? {
        return Err(Error::OutputIsImage { output: name });
    }
    if arguments.json {
        arguments.output.as_deref().map_or(Ok(()), refuse_stdout)?;
    }
    let report = Report::new(vec![path.clone()], Readers { json: arguments.json, ..Readers::default() });
    inspect(&image, path, &*report)?;

    if let Err(error) = flush_loop_devices(path, id, &*report) {
        // That is not fatal: nothing is written to the image.
        log::debug!("cannot tell which loop devices are attached to '{}': {error}", path.display());
    }
    // Elsewhere standard error may go where the bmap goes.
    if console::is_terminal() && !verbosity.quiet {
        signals.print_in_background();
        report.show_progress();
    }
    let mapping = Mapping::of(&image, path, &request(arguments))?;
    report.started(&Start {
        command: "create",
        image: &Location::Path(path.clone()),
        image_size: Some(mapping.image_size()),
        bmap: None,
        targets: vec![Some(SinkInfo::of(sink::Kind::RegularFile))],
    });
    let map = mapping.finish(&*report)?;
    // The bmap may go to the same terminal.
    console::finish();
    if map.mapped_blocks() == map.blocks() {
        report.notice(Notice::NoHoles { image: path, size: map.image_size() });
    }
    output.write(&signals, &|out| map.emit(out)).map_err(output_error)?;
    report.mapped(&map);
    Ok(())
}

fn request(arguments: &Create) -> Request {
    Request {
        checksums: (!arguments.no_checksum).then_some(ChecksumKind::Sha256),
        range_size: arguments.range_size.map(NonZeroU64::get),
        include: arguments.map.clone(),
    }
}

/// Refuses what may be an output that was mixed up with the image, and warns of what looks compressed: build systems
/// map partitions whatever they hold, but a user may have meant what is inside.
fn inspect(image: &File, path: &Path, observer: &dyn Observer) -> Result<(), Error> {
    let mut head = [0; HEAD_LEN];
    let length = read_full(&mut &*image, &mut head).map_err(|source| engine::Error::Read {
        path: path.to_owned(),
        offset: 0,
        source,
    })?;
    let format = match detect(head.split_at(length).0) {
        Kind::NotAnImage(what @ (NotAnImage::Xml | NotAnImage::Signed)) => {
            return Err(Error::NoImage { path: path.to_owned(), what });
        }
        Kind::NotAnImage(NotAnImage::Compressed(name)) => name.to_owned(),
        Kind::Encoded(format) if format != Format::Tar => format.to_string(),
        _ => return Ok(()),
    };
    observer.notice(Notice::ImageCompressed { image: path, format: &format });
    Ok(())
}
