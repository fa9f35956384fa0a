//! Loads the bmap of an image: finds it, verifies its signatures, and parses what was signed.

use crate::bmap::{self, Bmap, ParseError};
use crate::discover::{self, Open};
use crate::event::{Notice, Observer};
use crate::sink::InputFile;
use crate::source::{self, Location, Source, Stored};
use crate::trust::{self, Authentic, Keys, Policy, Requirements, Signatures};

/// How bmaps are loaded.
#[derive(Clone, Copy)]
pub struct Loader<'a> {
    /// The signatures that they must have.
    pub policy: &'a Policy,
    /// Opens the bmap and its signature.
    pub open: &'a Open<'a>,
    /// Is told what is found, as soon as it is.
    pub observer: &'a dyn Observer,
}

/// A bmap that may be used.
pub struct LoadedBmap {
    /// Where it was.
    pub location: Location,
    /// What it says.
    pub bmap: Bmap,
    /// What was found out about its signatures; the policy is content with it.
    pub signatures: Signatures,
    /// The files of this machine that it was read from and verified with: whoever writes must spare them.
    pub inputs: Vec<InputFile>,
}

/// Why there is no bmap that may be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be opened or read.
    #[error(transparent)]
    Source(#[from] source::Error),
    /// None is named, and none lies beside the image.
    #[error("bmap file not found for '{image}'")]
    NotFound {
        /// The image.
        image: Location,
    },
    /// It is the image itself.
    #[error("{}: the image cannot be its own bmap", both_are(.image, .bmap))]
    IsImage {
        /// The image.
        image: Location,
        /// The bmap, perhaps by another name.
        bmap: Location,
    },
    /// Its signatures are not what the policy asks for.
    #[error(transparent)]
    Trust(#[from] trust::Error),
    /// It is no valid bmap.
    #[error("bmap file '{bmap}' cannot be used")]
    Invalid {
        /// Where it is.
        bmap: Location,
        /// What is wrong with it.
        source: ParseError,
    },
}

fn both_are(image: &Location, bmap: &Location) -> String {
    if image == bmap {
        format!("the image and the bmap are the same file, '{image}'")
    } else {
        format!("'{image}' and '{bmap}' are the same file")
    }
}

impl Loader<'_> {
    /// Loads the bmap of `image`: the `given` one, or the one that lies beside it.
    ///
    /// # Errors
    ///
    /// Where there is none, its signatures are not what the policy asks for, or it is not valid.
    pub fn load_for(&self, image: &Source, given: Option<&Location>) -> Result<LoadedBmap, Error> {
        let file = match given {
            Some(given) => (self.open)(given)?,
            None => discover::bmap(image.location(), self.open, self.observer)?
                .ok_or_else(|| Error::NotFound { image: image.location().clone() })?,
        };
        if file.location() == image.location() || (file.id().is_some() && file.id() == image.id()) {
            return Err(Error::IsImage { image: image.location().clone(), bmap: file.location().clone() });
        }
        self.load(file)
    }

    /// Loads the bmap in `file`. Nothing of it is parsed before its signatures have been verified.
    fn load(&self, file: Source) -> Result<LoadedBmap, Error> {
        let (location, id) = (file.location().clone(), file.id());
        let stored = file.read_stored("bmap", bmap::MAX_FILE_SIZE)?;
        let signature = self.signature(&location)?;
        let Authentic { text, signatures } = trust::authenticate(stored, signature.as_ref(), self.policy)?;
        self.tell(&location, &signatures);
        let bmap = Bmap::parse(&text).map_err(|source| Error::Invalid { bmap: location.clone(), source })?;

        let keyring = match self.policy {
            Policy::Verify(Requirements { keys: Keys::In(keyring), .. }) => Some(keyring.id()),
            Policy::Verify(Requirements { keys: Keys::OfUser, .. }) | Policy::Skip => None,
        };
        let signature = signature.and_then(|signature| signature.id());
        let inputs = [("signature", signature), ("keyring", keyring), ("bmap file", id)];
        let inputs = inputs.into_iter().filter_map(|(role, id)| Some(InputFile { role, id: id? })).collect();
        Ok(LoadedBmap { location, bmap, signatures, inputs })
    }

    /// The detached signature of the bmap at `bmap`, if there is one and it is asked for.
    fn signature(&self, bmap: &Location) -> Result<Option<Stored>, source::Error> {
        match self.policy {
            Policy::Skip => Ok(None),
            Policy::Verify(Requirements { signature: Some(given), .. }) => {
                discover::read_signature((self.open)(given)?).map(Some)
            }
            Policy::Verify(Requirements { signature: None, .. }) => discover::signature(bmap, self.open, self.observer),
        }
    }

    fn tell(&self, bmap: &Location, signatures: &Signatures) {
        match signatures {
            Signatures::Good(signers) => {
                for signer in signers {
                    self.observer.notice(Notice::BmapSignedBy { bmap, signer });
                }
            }
            Signatures::None => self.observer.notice(Notice::BmapNotSigned { bmap }),
            Signatures::Unverified => self.observer.notice(Notice::SignatureNotVerified { bmap }),
            Signatures::Unknown => {}
        }
    }
}
