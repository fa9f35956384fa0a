//! `bmaptool info`.

mod json;
mod words;

use std::iter;
use std::sync::Arc;

use bmaptool::event::{Event, Notice, Observer};
use bmaptool::info::Info;
use bmaptool::load::Loader;
use bmaptool::source::{Location, Source};

use super::args;
use super::error::Error;
use super::process::{self, Signals};
use super::report::{Readers, Report};
use super::{bmap, network, output};

pub fn run(arguments: &args::Info) -> Result<(), Error> {
    // Nothing is written, so that a signal may end the program at any time.
    Signals::handle().map_err(Error::Signals)?;
    let observer = Arc::new(Rest(Report::new(vec![arguments.file.clone().into()], Readers::default())));
    let files = iter::once(&arguments.file).chain(arguments.bmap.files());
    let options = network::options(&arguments.network, files, observer.clone())?;
    let location = Location::parse(&arguments.file)?;
    if location == Location::Stdin && process::stdin_was_closed() {
        return Err(Error::StdinClosed);
    }
    let given = arguments.bmap.bmap.as_deref().map(Location::parse).transpose()?;
    let policy = bmap::policy(&arguments.bmap.signature)?;
    let open = |location: &Location| Source::open_with(location, &options);
    let info = Info::of(&location, given.as_ref(), &Loader { policy: &policy, open: &open, observer: &*observer });
    if arguments.json { output::answer_json(json::line(&info)) } else { output::answer(&words::text(&info)) }?;
    let mut problems = info.problems.into_iter().map(Error::from).peekable();
    while let Some(problem) = problems.next() {
        // The caller reports the last one.
        if problems.peek().is_none() {
            return Err(problem);
        }
        problem.report();
    }
    Ok(())
}

/// Is told all that is not said anyway.
struct Rest(Arc<Report>);

impl Observer for Rest {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Notice(
                Notice::ReadsMember { .. }
                | Notice::BmapFound { .. }
                | Notice::SignatureFound { .. }
                | Notice::BmapSignedBy { .. }
                | Notice::BmapNotSigned { .. }
                | Notice::SignatureNotVerified { .. },
            ) => {}
            event => self.0.event(event),
        }
    }
}
