//! The bmap that the arguments ask for, and the signatures that it must have.

use bmaptool::load::{self, LoadedBmap, Loader};
use bmaptool::source::{Location, OpenOptions, Source};
use bmaptool::sys::file_id::FileId;
use bmaptool::trust::{Keyring, Keys, Policy, Requirements};

use super::args::Copy;
use super::error::Error;

/// Loads the bmap of `image`.
pub fn load(image: &Source, arguments: &Copy, options: &OpenOptions) -> Result<LoadedBmap, Error> {
    let given = arguments.bmap.as_deref().map(Location::parse).transpose()?;
    let open = |location: &Location| Source::open_with(location, options);
    let loader = Loader { policy: &policy(arguments)?, open: &open, observer: &*options.observer };
    loader.load_for(image, given.as_ref()).map_err(|error| match (error, image.id()) {
        (load::Error::NotFound { image: device }, Some(FileId::BlockDevice { .. })) => {
            Error::NoBmapOfDevice { device, target: arguments.target.clone() }
        }
        (load::Error::NotFound { image }, _) => Error::NoBmap { image },
        (error, _) => error.into(),
    })
}

fn policy(arguments: &Copy) -> Result<Policy, Error> {
    if arguments.no_sig_verify {
        return Ok(Policy::Skip);
    }
    let keys = match &arguments.keyring {
        Some(path) => Keys::In(Keyring::read(path)?),
        None => Keys::OfUser,
    };
    let signature = arguments.bmap_sig.as_deref().map(Location::parse).transpose()?;
    Ok(Policy::Verify(Requirements { keys, fingerprint: arguments.fingerprint.clone(), signature }))
}
