//! `bmaptool create`.

use std::fs::File;
use std::path::Path;

use bmaptool::create::{self as engine, Checksum};
use bmaptool::digest::ChecksumKind;
use bmaptool::file_id::FileId;
use bmaptool::magic::{Format, PREFIX_LEN};
use bmaptool::size::human;
use bmaptool::source::read_full;

use super::Error;
use super::args::Create;
use super::output::Output;
use super::signals::Signals;

pub fn run(arguments: &Create) -> Result<(), Error> {
    Signals::handle().map_err(Error::Signals)?;
    let path = &arguments.image;
    let image = File::open(path).map_err(|source| Error::OpenImage { path: path.clone(), source })?;
    let output = Output::new(arguments.output.as_deref());
    refuse_output(&image, path, &output)?;
    refuse_packed(&image, path)?;
    let output_error = |source| Error::Output { output: output.to_string(), source };
    output.check().map_err(output_error)?;

    let checksum = if arguments.no_checksum { Checksum::None } else { Checksum::Of(ChecksumKind::Sha256) };
    let map = engine::create(&image, path, checksum)?;
    if map.mapped_blocks() == map.blocks() {
        log::warn!("all {} are mapped, no holes in '{}'", human(map.image_size()), path.display());
        log::warn!(
            "if the image once had holes, something has filled them: map it where it was built, before it is moved"
        );
    }
    output.write(&|out| map.emit(out)).map_err(output_error)
}

fn refuse_output(image: &File, path: &Path, output: &Output<'_>) -> Result<(), Error> {
    let id = image.metadata().map_err(|source| Error::OpenImage { path: path.to_owned(), source })?;
    match output.id() {
        Some(other) if other == FileId::of(&id) => Err(Error::OutputIsImage { output: output.to_string() }),
        _ => Ok(()),
    }
}

fn refuse_packed(image: &File, path: &Path) -> Result<(), Error> {
    let mut prefix = [0; PREFIX_LEN];
    // What cannot be read is reported where it is mapped.
    let length = read_full(&mut &*image, &mut prefix).unwrap_or(0);
    match Format::of(prefix.get(..length).unwrap_or_default()) {
        None | Some(Format::Tar) => Ok(()),
        Some(format) => Err(Error::Packed { path: path.to_owned(), format }),
    }
}
