//! Loads the bmap of an image: finds it, verifies its signatures, and parses what was signed.

use crate::bmap::{self, Bmap, ParseError};
use crate::discover::{self, Open};
use crate::event::{Notice, Observer};
use crate::sink::InputFile;
use crate::source::{self, Location, SmallFile, Source, StandIn};
use crate::trust::{self, Authentic, Keys, Policy, Requirements, Signatures};

/// How bmaps are loaded.
#[derive(Clone, Copy)]
pub struct Loader<'a> {
    /// The signatures that they must have.
    pub policy: &'a Policy,
    /// Opens the bmap and its signature.
    pub open: &'a Open<'a>,
    /// Receives notices of what is found.
    pub observer: &'a dyn Observer,
}

/// A bmap that may be used.
pub struct LoadedBmap {
    /// Where it was.
    pub location: Location,
    /// Its contents.
    pub bmap: Bmap,
    /// The result of verification, which the policy accepts.
    pub signatures: Signatures,
    /// The local files that it was read from and verified with: they must not be the target.
    pub inputs: Vec<InputFile>,
}

/// A bmap as it is, whether it may be used or not.
pub struct ExaminedBmap {
    /// Where it was.
    pub location: Location,
    /// Its contents.
    pub bmap: Result<Bmap, Error>,
    /// The result of verification, or why the policy does not accept it.
    pub signatures: Result<Signatures, Error>,
}

/// Why there is no bmap that may be used.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the variants say what their fields are")]
pub enum Error {
    /// It cannot be opened or read.
    #[error(transparent)]
    Source(#[from] source::Error),
    /// None is named, and there is none beside the image.
    #[error("bmap file not found for '{image}'")]
    NotFound { image: Location },
    /// A server sends something else for a name that was given.
    #[error("'{location}' is no {sought} but {what}")]
    StandIn { location: Location, sought: &'static str, what: StandIn },
    /// It is the image itself, perhaps by another name.
    #[error("{}: the image cannot be its own bmap", same_file(.image, .bmap))]
    IsImage { image: Location, bmap: Location },
    /// Its signatures are not what the policy asks for.
    #[error(transparent)]
    Trust(#[from] trust::Error),
    /// It is not a valid bmap.
    #[error("bmap file '{bmap}' cannot be used")]
    Invalid { bmap: Location, source: ParseError },
}

fn same_file(image: &Location, bmap: &Location) -> String {
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
        self.load(self.find(image, given)?)
    }

    /// Opens the bmap of `image`: the `given` one, or the one that lies beside it.
    ///
    /// # Errors
    ///
    /// Where there is none, or it cannot be opened.
    pub fn find(&self, image: &Source, given: Option<&Location>) -> Result<Source, Error> {
        let file = match given {
            Some(given) => self.open_bmap(given)?,
            None => discover::bmap(image.location(), self.open, self.observer)?
                .ok_or_else(|| Error::NotFound { image: image.location().clone() })?,
        };
        if file.location() == image.location() || (file.id().is_some() && file.id() == image.id()) {
            return Err(Error::IsImage { image: image.location().clone(), bmap: file.location().clone() });
        }
        Ok(file)
    }

    /// Opens the `given` bmap, of an image or a device.
    ///
    /// # Errors
    ///
    /// Where it cannot be opened, or a server sends something else.
    pub fn open_bmap(&self, given: &Location) -> Result<Source, Error> {
        self.open_given(given, "bmap", StandIn::for_bmap)
    }

    /// Reads the bmap in `file` to tell what it is, not to use it: it is parsed also where its signatures are not good.
    ///
    /// # Errors
    ///
    /// Where it cannot be read or decompressed.
    pub fn examine(&self, file: Source) -> Result<ExaminedBmap, Error> {
        let location = file.location().clone();
        let stored = file.read_small("bmap", bmap::MAX_FILE_SIZE)?;
        let authentic = self
            .signature(&location)
            .and_then(|signature| Ok(trust::authenticate(stored.clone(), signature.as_ref(), self.policy)?));
        let (text, signatures) = match authentic {
            Ok(Authentic { text, signatures }) => (text, Ok(signatures)),
            Err(refused) => (trust::authenticate(stored, None, &Policy::Skip)?.text, Err(refused)),
        };
        let bmap = Bmap::parse(&text).map_err(|source| Error::Invalid { bmap: location.clone(), source });
        Ok(ExaminedBmap { location, bmap, signatures })
    }

    /// Loads the bmap in `file`. Nothing of it is parsed before its signatures have been verified.
    fn load(&self, file: Source) -> Result<LoadedBmap, Error> {
        let (location, id) = (file.location().clone(), file.id());
        let stored = file.read_small("bmap", bmap::MAX_FILE_SIZE)?;
        let signature = self.signature(&location)?;
        let Authentic { text, signatures } = trust::authenticate(stored, signature.as_ref(), self.policy)?;
        self.tell(&location, &signatures);
        let bmap = Bmap::parse(&text).map_err(|source| Error::Invalid { bmap: location.clone(), source })?;
        if bmap.has_empty_checksums() {
            self.observer.notice(Notice::EmptyChecksums { bmap: &location });
        }

        let keyring = match self.policy {
            Policy::Verify(Requirements { keys: Keys::In(keyring), .. }) => Some(keyring),
            Policy::Verify(Requirements { keys: Keys::OfUser, .. }) | Policy::Skip => None,
        };
        let inputs = [
            signature.as_ref().and_then(|file| Some(("signature", file.id()?, file.location().local_path()?))),
            keyring.map(|keyring| ("keyring", keyring.id(), keyring.path())),
            id.and_then(|id| Some(("bmap file", id, location.local_path()?))),
        ];
        let inputs = inputs.into_iter().flatten();
        let inputs = inputs.map(|(role, id, path)| InputFile { role, id, path: path.to_owned() }).collect();
        Ok(LoadedBmap { location, bmap, signatures, inputs })
    }

    /// The detached signature of the bmap at `bmap`, if there is one and it is asked for.
    fn signature(&self, bmap: &Location) -> Result<Option<SmallFile>, Error> {
        match self.policy {
            Policy::Skip => Ok(None),
            Policy::Verify(Requirements { signature: Some(given), .. }) => {
                let signature = self.open_given(given, "signature", StandIn::for_signature)?;
                Ok(Some(discover::read_signature(signature)?))
            }
            Policy::Verify(Requirements { signature: None, .. }) => {
                Ok(discover::signature(bmap, self.open, self.observer)?)
            }
        }
    }

    /// Opens the file at `given`, which is what is `sought` unless `stand_in` knows better.
    fn open_given(
        &self,
        given: &Location,
        sought: &'static str,
        stand_in: impl Fn(&Source) -> Option<StandIn>,
    ) -> Result<Source, Error> {
        let file = (self.open)(given)?;
        match stand_in(&file) {
            Some(what) => Err(Error::StandIn { location: given.clone(), sought, what }),
            None => Ok(file),
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;
    use std::sync::Mutex;

    use super::*;
    use crate::event::Event;
    use crate::sys::file_id::FileId;

    const BMAP: &str = "<bmap version=\"2.0\"><ImageSize>4</ImageSize><BlockSize>4</BlockSize>\
                        <BlocksCount>1</BlocksCount><MappedBlocksCount>1</MappedBlocksCount>\
                        <BlockMap><Range>0</Range></BlockMap></bmap>\n";

    /// Keeps the names of what it is told.
    #[derive(Default)]
    struct Told(Mutex<Vec<&'static str>>);

    impl Observer for Told {
        fn event(&self, event: Event<'_>) {
            self.0.lock().unwrap().push(match event {
                Event::Notice(Notice::BmapFound { .. }) => "found",
                Event::Notice(Notice::BmapNotSigned { .. }) => "not signed",
                Event::Notice(Notice::SignatureNotVerified { .. }) => "not verified",
                other => panic!("{other:?}"),
            });
        }
    }

    /// A directory with an image.
    struct Directory(tempfile::TempDir);

    impl Directory {
        fn new() -> Self {
            let directory = Self(tempfile::tempdir().unwrap());
            fs::write(directory.path("disk.img"), "data").unwrap();
            directory
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn location(&self, name: &str) -> Location {
            Location::Path(self.path(name))
        }

        fn load(&self, policy: &Policy, given: Option<&str>, told: &Told) -> Result<LoadedBmap, Error> {
            let image = Source::open(&self.location("disk.img")).unwrap();
            let loader = Loader { policy, open: &Source::open, observer: told };
            loader.load_for(&image, given.map(|name| self.location(name)).as_ref())
        }
    }

    fn any_user() -> Policy {
        Policy::Verify(Requirements { keys: Keys::OfUser, fingerprint: None, signature: None })
    }

    #[test]
    fn the_bmap_beside_the_image_is_loaded() {
        let (directory, told) = (Directory::new(), Told::default());
        fs::write(directory.path("disk.bmap"), BMAP).unwrap();
        let loaded = directory.load(&any_user(), None, &told).unwrap();
        assert_eq!((loaded.location, loaded.bmap.image_size()), (directory.location("disk.bmap"), 4));
        assert_eq!(loaded.signatures, Signatures::None);
        let inputs: Vec<_> = loaded.inputs.iter().map(|input| (input.role, input.id)).collect();
        let id = FileId::of(&fs::metadata(directory.path("disk.bmap")).unwrap());
        assert_eq!(inputs, [("bmap file", id)]);
        assert_eq!(*told.0.lock().unwrap(), ["found", "not signed"]);
    }

    /// With [`Policy::Skip`] a signature beside the bmap is not even opened, and one in it is taken off.
    #[test]
    fn signatures_can_be_left_unverified() {
        let (directory, told) = (Directory::new(), Told::default());
        fs::create_dir(directory.path("disk.bmap.asc")).unwrap();
        fs::write(directory.path("disk.bmap"), BMAP).unwrap();
        let load = || directory.load(&Policy::Skip, Some("disk.bmap"), &told).map(|loaded| loaded.signatures);
        assert_eq!(load().unwrap(), Signatures::Unknown);
        let signed = format!(
            "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n{BMAP}\
             -----BEGIN PGP SIGNATURE-----\n\niHUE\n-----END PGP SIGNATURE-----\n"
        );
        fs::write(directory.path("disk.bmap"), signed).unwrap();
        assert_eq!(load().unwrap(), Signatures::Unverified);
        assert_eq!(*told.0.lock().unwrap(), ["not verified"]);
        assert!(matches!(directory.load(&any_user(), Some("disk.bmap"), &told), Err(Error::Source(_))));
    }

    #[test]
    fn a_missing_bmap_the_image_itself_and_an_invalid_one_are_told_apart() {
        let (directory, told) = (Directory::new(), Told::default());
        let load = |given| directory.load(&Policy::Skip, given, &told);
        assert!(matches!(load(None), Err(Error::NotFound { .. })));
        fs::hard_link(directory.path("disk.img"), directory.path("disk.img.bmap")).unwrap();
        for given in [None, Some("disk.img"), Some("disk.img.bmap")] {
            assert!(matches!(load(given), Err(Error::IsImage { .. })), "{given:?}");
        }
        fs::write(directory.path("other.bmap"), "data").unwrap();
        assert!(matches!(load(Some("other.bmap")), Err(Error::Invalid { .. })));
    }
}
