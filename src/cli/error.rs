//! What can go wrong, put into words, and the exit status that it has.

use std::error::Error as _;
use std::io;
use std::path::PathBuf;

use bmaptool::bmap::ParseError;
use bmaptool::copy;
use bmaptool::create;
use bmaptool::magic::Format;
use bmaptool::source::{self, Location};
use bmaptool::target::{self, Remains};

use super::signals;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot open image '{path}'")]
    OpenImage { path: PathBuf, source: io::Error },
    #[error("'{path}' is compressed ({format}), and create maps a raw image; decompress it first")]
    Packed { path: PathBuf, format: Format },
    #[error("{output} is the image itself; choose another output")]
    OutputIsImage { output: String },
    #[error(transparent)]
    Create(#[from] create::Error),
    #[error("cannot write the bmap to {output}")]
    Output { output: String, source: io::Error },
    #[error("{flag} is not available yet")]
    NotAvailable { flag: &'static str },
    #[error(transparent)]
    Source(#[from] source::Error),
    #[error("bmap file not found for '{image}', please use '--nobmap' to copy the image without a bmap")]
    NoBmap { image: Location },
    #[error("'{image}' and '{bmap}' are the same file: the image cannot be its own bmap")]
    SameFile { image: Location, bmap: Location },
    #[error("bmap file '{bmap}' is signed ({signature}), and verifying signatures is not available yet")]
    Signed { bmap: Location, signature: String },
    #[error("bmap file '{bmap}' cannot be used")]
    Bmap { bmap: Location, source: ParseError },
    #[error(transparent)]
    Target(#[from] target::Error),
    #[error("copying image '{image}' to '{target}' failed")]
    Copy { image: Location, target: PathBuf, remains: Remains, signal: Option<i32>, source: copy::Error },
    #[error("cannot handle signals")]
    Signals(#[source] io::Error),
}

impl Error {
    /// Prints what happened, and what state it leaves behind.
    pub fn report(&self) {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            // Some errors repeat their cause in their own words.
            let words = error.to_string();
            if !text.ends_with(&words) {
                text = format!("{text}: {words}");
            }
            cause = error.source();
        }
        log::error!("{text}");
        if let Self::Copy { target, remains, .. } = self {
            let target = target.display();
            match remains {
                Remains::Removed => log::info!("the incomplete file '{target}' has been removed"),
                Remains::Incomplete => log::error!("'{target}' is incomplete"),
                Remains::Invalid => log::error!("'{target}' holds no valid image now; copy again before using it"),
                Remains::Nothing => {}
            }
        }
    }

    /// The status that the program exits with.
    pub fn status(&self) -> i32 {
        match self {
            Self::Copy { source: copy::Error::Cancelled, signal: Some(signal), .. } => signals::status(*signal),
            _ => 1,
        }
    }
}
