//! The engine: moves an image from a source to its targets, each byte once.
//!
//! A [`Plan`] says what becomes of every byte. One thread reads, one verifies, and a thread for each target writes;
//! chunks go from one to the next through bounded channels. The engine knows no file, no format and no terminal.

mod boot_region;
mod cancel;
mod drain;
mod error;
mod pipeline;
mod plan;
#[cfg(test)]
mod tests;
mod verdict;
mod writer;

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

pub use cancel::Cancel;
pub use error::Error;
pub use plan::{Image, Plan, Unmapped, Verify};
pub use verdict::{Failure, Summary, Verdict};

use crate::event::{Event, Observer, Outcome, Silent, TargetId};
use crate::sink::Sink;
use crate::source::ForwardRead;
use crate::sys::threads;
use boot_region::BootRegion;
use drain::Drain;
use pipeline::{CHUNKS, Pool};
use writer::Writer;

/// A copy of one image to some targets.
pub struct Copy {
    /// What is copied.
    pub image: Image,
    /// Where it goes. A sink that fails is given up; the others go on.
    pub sinks: Vec<Box<dyn Sink>>,
    /// Is told what happens.
    pub observer: Arc<dyn Observer>,
    /// Asks the copy to stop.
    pub cancel: Cancel,
}

impl Copy {
    /// A copy without an observer, which cannot be stopped.
    pub fn new(image: Image, sinks: Vec<Box<dyn Sink>>) -> Self {
        Self { image, sinks, observer: Arc::new(Silent), cancel: Cancel::default() }
    }

    /// Copies the image. The verdicts are in the order of the sinks.
    ///
    /// A copy fails where the source or the target does, a checksum does not match, the source does not end where it
    /// must, or it is asked to stop.
    pub fn run(self) -> Vec<Verdict> {
        let Self { image: Image { plan, reader, pipe, .. }, mut sinks, observer, cancel } = self;
        let plan = Arc::new(plan);
        let (drain, drained) = drain::drain(pipe);
        let work = match start(&plan, reader, drain, &mut sinks, &*observer) {
            Ok(work) => work,
            Err(error) => return give_up(sinks, error, &*observer),
        };
        let begin = |(index, (work, sink)): (usize, (Idle, Box<dyn Sink>))| {
            let Idle { boot_region, to_thread, thread } = work;
            let (plan, observer, cancel) = (Arc::clone(&plan), Arc::clone(&observer), cancel.clone());
            let info = sink.info();
            let writer = Writer { id: TargetId(index), plan, sink, info, boot_region, observer, cancel };
            let _ = to_thread.send(writer); // it waits for just that
            thread
        };
        let threads: Vec<_> = work.into_iter().zip(sinks).enumerate().map(begin).collect();
        // All of them are complete before a panic of one goes on.
        let ended: Vec<_> = threads.into_iter().map(JoinHandle::join).collect();
        let unwrap = |ended: thread::Result<_>| ended.unwrap_or_else(|panic| resume_unwind(panic));
        let verdicts: Vec<Verdict> = ended.into_iter().filter_map(unwrap).collect();
        if verdicts.iter().any(Result::is_ok) {
            drained.wait(&cancel, &*observer);
        }
        verdicts
    }
}

/// A thread that waits for its sink, and what it needs beside it.
struct Idle {
    boot_region: BootRegion,
    to_thread: SyncSender<Writer>,
    thread: JoinHandle<Option<Verdict>>,
}

/// Takes all memory and starts all threads before anything changes on a target, for these are what may be short.
fn start(
    plan: &Arc<Plan>,
    reader: Box<dyn ForwardRead>,
    drain: Drain,
    sinks: &mut [Box<dyn Sink>],
    observer: &dyn Observer,
) -> Result<Vec<Idle>, Error> {
    let pool = Pool::new()?;
    let mut work = Vec::new();
    let mut queues = Vec::new();
    for (index, sink) in sinks.iter_mut().enumerate() {
        let boot_region = BootRegion::read(&mut **sink, TargetId(index), plan.unmapped(), observer)?;
        let (queue, chunks) = sync_channel(CHUNKS);
        let (to_thread, inbox) = sync_channel::<Writer>(1);
        let thread = threads::start("writer", move || Some(inbox.recv().ok()?.run(chunks))).map_err(Error::Thread)?;
        queues.push(queue);
        work.push(Idle { boot_region, to_thread, thread });
    }
    pipeline::start(plan, reader, drain, pool, queues)?;
    Ok(work)
}

/// The verdicts where no sink was written to.
fn give_up(sinks: Vec<Box<dyn Sink>>, error: Error, observer: &dyn Observer) -> Vec<Verdict> {
    let error = Arc::new(error);
    let fail = |(index, sink): (usize, Box<dyn Sink>)| {
        let state = sink.finish(Outcome::Failed);
        observer.event(Event::Target(TargetId(index), Outcome::Failed));
        Err(Failure { error: Arc::clone(&error), state })
    };
    sinks.into_iter().enumerate().map(fail).collect()
}
