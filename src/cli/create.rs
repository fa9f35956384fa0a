//! `bmaptool create`.

use std::fs::{self, File};
use std::path::Path;

use bmaptool::create::{self as engine, Checksum};
use bmaptool::device::flush_loop_devices;
use bmaptool::digest::ChecksumKind;
use bmaptool::size::human;
use bmaptool::source::{Format, HEAD_LEN, Kind, NotAnImage, detect, read_full};
use bmaptool::sys::file_id::FileId;

use super::args::Create;
use super::error::Error;
use super::output::Output;
use super::process::Signals;
use super::report::Report;

pub fn run(arguments: &Create) -> Result<(), Error> {
    let signals = Signals::handle().map_err(Error::Signals)?;
    let path = &arguments.image;
    let open_error = |source| Error::OpenImage { path: path.clone(), source };
    engine::check_kind(fs::metadata(path).map_err(open_error)?.file_type(), path)?;
    let image = File::open(path).map_err(open_error)?;
    let output = Output::new(arguments.output.as_deref());
    let id = FileId::of(&image.metadata().map_err(open_error)?);
    refuse_output(id, &output)?;
    refuse_packed(&image, path)?;
    let output_error = |source| Error::Output { output: output.to_string(), signal: signals.received(), source };
    output.check().map_err(output_error)?;

    if let Err(error) = flush_loop_devices(path, id, &**Report::new(Vec::new(), None).observer()) {
        // The image is not going to be written to.
        log::debug!("cannot tell which loop devices are attached to '{}': {error}", path.display());
    }
    let checksum = if arguments.no_checksum { Checksum::None } else { Checksum::Of(ChecksumKind::Sha256) };
    let map = engine::create(&image, path, checksum)?;
    if map.mapped_blocks() == map.blocks() {
        log::warn!("all {} are mapped, no holes in '{}'", human(map.image_size()), path.display());
        log::warn!(
            "if the image once had holes, something has filled them: map it where it was built, before it is moved"
        );
    }
    output.write(&signals, &|out| map.emit(out)).map_err(output_error)
}

fn refuse_output(image: FileId, output: &Output<'_>) -> Result<(), Error> {
    let output_error = |source| Error::Output { output: output.to_string(), signal: None, source };
    match output.id().map_err(output_error)? {
        Some(other) if other == image => Err(Error::OutputIsImage { output: output.to_string() }),
        _ => Ok(()),
    }
}

fn refuse_packed(image: &File, path: &Path) -> Result<(), Error> {
    let mut head = [0; HEAD_LEN];
    let length = read_full(&mut &*image, &mut head).map_err(|source| engine::Error::Read {
        path: path.to_owned(),
        offset: 0,
        source,
    })?;
    match detect(head.split_at(length).0) {
        // The image may be what stands in the place of the output.
        Kind::NotAnImage(what @ (NotAnImage::Xml | NotAnImage::Signed)) => {
            Err(Error::NoImage { path: path.to_owned(), what })
        }
        Kind::NotAnImage(_) | Kind::Raw | Kind::Encoded(Format::Tar) => Ok(()),
        Kind::Encoded(format) => Err(Error::Packed { path: path.to_owned(), format }),
    }
}
