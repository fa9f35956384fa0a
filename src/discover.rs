//! Finds the bmap beside an image, and the signature beside a bmap.
//!
//! Both go by names alone, on this machine as on a server. A name where there is no file is passed over, and so is what
//! a server sends in its place; any other failure ends the search, so that a broken connection does not cost the user a
//! bmap or a signature.

use crate::event::{Notice, Observer};
use crate::source::{self, Location, SmallFile, Source, StandIn};

/// Opens a file, with the caller's options for the network.
pub type Open<'a> = dyn Fn(&Location) -> Result<Source, source::Error> + 'a;

/// The endings of detached signatures: armoured, and binary.
const SIGNATURE_ENDINGS: [&str; 2] = [".asc", ".sig"];

/// The largest file that is read as a detached signature, in bytes.
const MAX_SIGNATURE_SIZE: u64 = 1 << 20;

/// The bmap beside the image at `image`: the first of [`Location::bmap_candidates`] that there is, or `None`.
///
/// # Errors
///
/// Where one cannot be opened for another reason than that it is missing. Where a server denies access to a name, which
/// some do for missing files, the other names are tried first.
pub fn bmap(image: &Location, open: &Open<'_>, observer: &dyn Observer) -> Result<Option<Source>, source::Error> {
    let mut denied = None;
    for candidate in image.bmap_candidates() {
        match open(&candidate) {
            Err(error) if error.is_not_found() => {}
            Err(error) if error.is_access_denied() => {
                observer.notice(Notice::BmapAccessDenied { error: &error });
                denied.get_or_insert(error);
            }
            opened => {
                let bmap = opened?;
                if let Some(what) = StandIn::for_bmap(&bmap) {
                    observer.notice(Notice::StandIn { url: &candidate, sought: "bmap", what: &what });
                    continue;
                }
                observer.notice(Notice::BmapFound { bmap: &candidate });
                return Ok(Some(bmap));
            }
        }
    }
    denied.map_or(Ok(None), Err)
}

/// The detached signature beside the bmap at `bmap`, or `None`.
///
/// # Errors
///
/// Where one cannot be opened for another reason than that it is missing, or cannot be read.
pub fn signature(
    bmap: &Location,
    open: &Open<'_>,
    observer: &dyn Observer,
) -> Result<Option<SmallFile>, source::Error> {
    for candidate in SIGNATURE_ENDINGS.into_iter().filter_map(|ending| bmap.with_ending(ending)) {
        match open(&candidate) {
            Err(error) if error.is_not_found() => {}
            opened => {
                let signature = opened?;
                if let Some(what) = StandIn::for_signature(&signature) {
                    observer.notice(Notice::StandIn { url: &candidate, sought: "signature", what: &what });
                    continue;
                }
                observer.notice(Notice::SignatureFound { signature: &candidate });
                return read_signature(signature).map(Some);
            }
        }
    }
    Ok(None)
}

/// Reads `file` as a detached signature.
pub(crate) fn read_signature(file: Source) -> Result<SmallFile, source::Error> {
    file.read_small("signature", MAX_SIGNATURE_SIZE)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::ffi::OsStr;
    use std::fs;
    use std::io;
    use std::sync::Mutex;

    use super::*;
    use crate::event::Event;

    /// The contents of a file, or why it cannot be opened.
    type There = Result<&'static str, io::ErrorKind>;

    /// Says of each location what is there, and keeps the ones it is asked for.
    struct Stage {
        files: Vec<(&'static str, There)>,
        asked: RefCell<Vec<String>>,
        directory: tempfile::TempDir,
    }

    impl Stage {
        fn new<const N: usize>(files: [(&'static str, There); N]) -> Self {
            Self { files: files.into(), asked: RefCell::default(), directory: tempfile::tempdir().unwrap() }
        }

        fn open(&self, location: &Location) -> Result<Source, source::Error> {
            let name = location.to_string();
            let there = self.files.iter().find(|(file, _)| *file == name).map(|(_, there)| *there);
            self.asked.borrow_mut().push(name);
            match there.unwrap_or(Err(io::ErrorKind::NotFound)) {
                Ok(contents) => {
                    let path = self.directory.path().join("file");
                    fs::write(&path, contents).unwrap();
                    Source::open(&Location::Path(path))
                }
                Err(kind) => Err(source::Error::Open { location: location.clone(), source: kind.into() }),
            }
        }
    }

    /// Keeps what it is told.
    #[derive(Default)]
    struct Told(Mutex<Vec<String>>);

    impl Observer for Told {
        fn event(&self, event: Event<'_>) {
            self.0.lock().unwrap().push(match event {
                Event::Notice(Notice::BmapFound { bmap }) => format!("bmap {bmap}"),
                Event::Notice(Notice::SignatureFound { signature }) => format!("signature {signature}"),
                other => panic!("{other:?}"),
            });
        }
    }

    fn location(argument: &str) -> Location {
        Location::parse(OsStr::new(argument)).unwrap()
    }

    #[test]
    fn the_first_bmap_that_there_is_is_taken() {
        let stage = Stage::new([("a/disk.img.bmap", Ok("near")), ("a/disk.bmap", Ok("far"))]);
        let told = Told::default();
        let found = bmap(&location("a/disk.img.gz"), &|at| stage.open(at), &told).unwrap().unwrap();
        assert_eq!(found.read_small("bmap", 100).unwrap().bytes(), b"near");
        assert_eq!(*stage.asked.borrow(), ["a/disk.img.gz.bmap", "a/disk.img.bmap"]);
        assert_eq!(*told.0.lock().unwrap(), ["bmap a/disk.img.bmap"]);
    }

    #[test]
    fn there_need_be_no_bmap() {
        let stage = Stage::new([]);
        for image in ["https://h/disk.img?t", "-"] {
            assert!(bmap(&location(image), &|at| stage.open(at), &Told::default()).unwrap().is_none());
        }
        assert_eq!(*stage.asked.borrow(), ["https://h/disk.img.bmap?t", "https://h/disk.bmap?t"]);
    }

    #[test]
    fn what_cannot_be_opened_is_not_taken_for_absent() {
        let denied = Err(io::ErrorKind::PermissionDenied);
        let stage = Stage::new([("disk.img.bmap", denied), ("disk.bmap", Ok("")), ("disk.bmap.asc", denied)]);
        assert!(bmap(&location("disk.img"), &|at| stage.open(at), &Told::default()).is_err());
        assert!(signature(&location("disk.bmap"), &|at| stage.open(at), &Told::default()).is_err());
        assert_eq!(*stage.asked.borrow(), ["disk.img.bmap", "disk.bmap.asc"]);
    }
}
