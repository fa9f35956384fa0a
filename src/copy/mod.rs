//! The engine: moves an image from a source to its targets, each byte once.
//!
//! A [`Plan`] says what becomes of every byte. One thread reads, one verifies, and a thread for each target writes;
//! chunks go from one to the next through bounded channels. The engine knows no file, no format and no terminal.

mod boot_region;
mod cancel;
mod capacity;
mod damage;
mod discarded;
mod drain;
mod error;
mod fingerprints;
mod pipeline;
mod plan;
mod read_back;
mod retry;
#[cfg(test)]
mod tests;
mod verdict;
mod writer;

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

pub use cancel::Cancel;
pub use damage::{Damage, Digests, Extent, Looks, Place};
pub use error::Error;
pub use plan::{Image, Plan, Unmapped, Verify};
pub use verdict::{Failure, Summary, Verdict};

use crate::event::{Event, Notice, Observer, Outcome, Silent, TargetId};
pub use crate::sink::ReadBack;
use crate::sink::Sink;
use crate::source::ForwardRead;
use crate::sys::threads;
use boot_region::BootRegion;
use drain::Drain;
use fingerprints::Purpose;
use pipeline::{CHUNKS, Keep};
use read_back::MediumCheck;
use retry::{Asked, Asking};
use writer::Writer;

/// A copy of one image to some targets.
pub struct Copy {
    /// What is copied.
    pub image: Image,
    /// Where it goes. A sink that fails is given up; the others go on.
    pub sinks: Vec<Box<dyn Sink>>,
    /// Whether what was written is read back.
    pub read_back: ReadBack,
    /// Is told what happens.
    pub observer: Arc<dyn Observer>,
    /// Asks the copy to stop.
    pub cancel: Cancel,
}

impl Copy {
    /// A copy without an observer, which cannot be stopped and reads nothing back.
    pub fn new(image: Image, sinks: Vec<Box<dyn Sink>>) -> Self {
        let (read_back, observer) = (ReadBack::No, Arc::new(Silent));
        Self { image, sinks, read_back, observer, cancel: Cancel::default() }
    }

    /// Copies the image. The verdicts are in the order of the sinks.
    ///
    /// A copy fails where the source or the target does, a checksum does not match, the source does not end where it
    /// must, what is read back stays wrong, or it is asked to stop.
    pub fn run(self) -> Vec<Verdict> {
        let Self {
            image: Image { plan, reader, reopen, pipe, gpt_sectors, .. },
            mut sinks,
            read_back,
            observer,
            cancel,
        } = self;
        tell_sector_sizes(gpt_sectors, &sinks, &*observer);
        let plan = Arc::new(plan);
        let (drain, drained) = drain::drain(pipe);
        let work = match start(&plan, reader, drain, &mut sinks, read_back, &*observer) {
            Ok(work) => work,
            Err(error) => return give_up(sinks, error, &*observer),
        };
        let begin = |(index, (work, sink)): (usize, (Idle, Box<dyn Sink>))| {
            let Idle { boot_region, read_back, to_thread, thread, asked } = work;
            let (id, plan, info) = (TargetId(index), Arc::clone(&plan), sink.info());
            let (observer, cancel) = (Arc::clone(&observer), cancel.clone());
            let writer = Writer { id, plan, sink, info, boot_region, read_back, observer, cancel };
            let _ = to_thread.send(writer); // it waits for just that
            (thread, asked)
        };
        let (threads, lines): (Vec<_>, Vec<_>) = work.into_iter().zip(sinks).enumerate().map(begin).unzip();
        match reopen.filter(|_| read_back == ReadBack::Yes) {
            Some(reopen) => retry::serve(lines, reopen),
            None => drop(lines), // there is one pass
        }
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
    read_back: Option<MediumCheck>,
    to_thread: SyncSender<Writer>,
    thread: JoinHandle<Option<Verdict>>,
    asked: Asked,
}

/// Tells of each device that has other sectors than the GPT of the image was made for.
fn tell_sector_sizes(gpt_sectors: Option<u32>, sinks: &[Box<dyn Sink>], observer: &dyn Observer) {
    let Some(image) = gpt_sectors else { return };
    for (index, sink) in sinks.iter().enumerate() {
        if let Some(device) = sink.info().sector_size.filter(|&device| device != image) {
            observer.notice(Notice::GptSectorSize { target: TargetId(index), image, device });
        }
    }
}

/// Takes all memory and starts all threads before anything changes on a target, for these are what may be short.
fn start(
    plan: &Arc<Plan>,
    reader: Box<dyn ForwardRead>,
    drain: Drain,
    sinks: &mut [Box<dyn Sink>],
    read_back: ReadBack,
    observer: &dyn Observer,
) -> Result<Vec<Idle>, Error> {
    let pool = pipeline::buffers()?;
    let mut work = Vec::new();
    let mut queues = Vec::new();
    let count = sinks.len();
    for (index, sink) in sinks.iter_mut().enumerate() {
        let boot_region = BootRegion::read(&mut **sink, TargetId(index), plan.unmapped(), observer)?;
        let read_back = match read_back {
            ReadBack::Yes => Some(MediumCheck::new(plan, count)?),
            ReadBack::No => None,
        };
        let (queue, chunks) = sync_channel(CHUNKS);
        let (to_thread, inbox) = sync_channel::<Writer>(1);
        let (asking, asked): (Asking, Asked) = retry::line();
        let run = move || Some(inbox.recv().ok()?.run(chunks, asking));
        let thread = threads::start("writer", run).map_err(Error::Thread)?;
        queues.push(queue);
        work.push(Idle { boot_region, read_back, to_thread, thread, asked });
    }
    let keep = match read_back {
        ReadBack::Yes if plan.has_checksums() => Keep::Fingerprints(Purpose::Locate, None),
        ReadBack::Yes => Keep::Fingerprints(Purpose::Compare, None),
        ReadBack::No => Keep::Nothing,
    };
    pipeline::start(plan, Box::new(move || Ok(reader)), drain, pool, keep, queues)?;
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
