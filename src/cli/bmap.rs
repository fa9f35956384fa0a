//! The bmap that the arguments ask for, and the signatures that it must have.

use bmaptool::load::{self, LoadedBmap, Loader};
use bmaptool::source::{Location, OpenOptions, Source};
use bmaptool::trust::{Keyring, Keys, Policy, Requirements};

use super::args;
use super::error::Error;

/// Loads the bmap of `image`; `None` where it is looked for and there is none.
pub fn load(image: &Source, arguments: &args::Bmap, options: &OpenOptions) -> Result<Option<LoadedBmap>, Error> {
    let given = arguments.bmap.as_deref().map(Location::parse).transpose()?;
    let open = |location: &Location| Source::open_with(location, options);
    let loader = Loader { policy: &policy(&arguments.signature)?, open: &open, observer: &*options.observer };
    match loader.load_for(image, given.as_ref()) {
        Err(load::Error::NotFound { .. }) => Ok(None),
        loaded => Ok(Some(loaded?)),
    }
}

/// The signatures that a bmap must have.
pub fn policy(arguments: &args::Signature) -> Result<Policy, Error> {
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
