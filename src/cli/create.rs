//! `bmaptool create`.

use std::fs::{self, File};
use std::path::Path;

use bmaptool::create::{self as engine, Checksum};
use bmaptool::digest::ChecksumKind;
use bmaptool::file_id::FileId;
use bmaptool::magic::{Format, PREFIX_LEN};
use bmaptool::sink;
use bmaptool::size::human;
use bmaptool::source::{Foreign, read_full};

use super::args::Create;
use super::error::Error;
use super::output::Output;
use super::process::Signals;

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

    if let Err(error) = sink::settle(path, id) {
        log::debug!("{error}"); // it is not going to be written to
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
    let mut prefix = [0; PREFIX_LEN];
    let length = read_full(&mut &*image, &mut prefix).map_err(|source| engine::Error::Read {
        path: path.to_owned(),
        offset: 0,
        source,
    })?;
    let prefix = prefix.get(..length).unwrap_or_default();
    match (Format::of(prefix), Foreign::of(prefix)) {
        // The image may be what stands in the place of the output.
        (_, Some(what @ (Foreign::Xml | Foreign::Signed))) => Err(Error::NoImage { path: path.to_owned(), what }),
        (None | Some(Format::Tar), _) => Ok(()),
        (Some(format), _) => Err(Error::Packed { path: path.to_owned(), format }),
    }
}
