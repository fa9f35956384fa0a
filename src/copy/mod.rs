//! The engine: moves an image from a source to its targets, each byte once.
//!
//! A [`Plan`] says what becomes of every byte. One thread reads, one verifies, and a thread for each target writes;
//! chunks go from one to the next through bounded channels. The engine knows no file, no format and no terminal.

mod boot_region;
mod cancel;
mod capacity;
mod compare;
mod damage;
mod discarded;
mod drain;
mod error;
mod fingerprints;
mod pipeline;
mod plan;
mod read_back;
mod retry;
mod survey;
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
use crate::source::{ForwardRead, Skipping};
use crate::sys::threads;
use boot_region::BootRegion;
use compare::Held;
use drain::Drain;
use fingerprints::Purpose;
use pipeline::{CHUNKS, Keep, Open};
use plan::Reopen;
use read_back::MediumCheck;
use retry::{Asked, Asking};
use writer::{Found, Writer};

/// Which bytes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// All of them, whatever the targets hold.
    All,
    /// Those that a target does not hold already. The result is the same.
    Changed,
}

/// A copy of one image to some targets.
pub struct Copy {
    /// What is copied.
    pub image: Image,
    /// Where it goes. A sink that fails is given up; the others go on.
    pub sinks: Vec<Box<dyn Sink>>,
    /// Which bytes are written.
    pub write: Write,
    /// Whether what was written is read back.
    pub read_back: ReadBack,
    /// Is told what happens.
    pub observer: Arc<dyn Observer>,
    /// Asks the copy to stop.
    pub cancel: Cancel,
}

impl Copy {
    /// A copy of all bytes, without an observer, which cannot be stopped and reads nothing back.
    pub fn new(image: Image, sinks: Vec<Box<dyn Sink>>) -> Self {
        let (read_back, observer) = (ReadBack::No, Arc::new(Silent));
        Self { image, sinks, write: Write::All, read_back, observer, cancel: Cancel::default() }
    }

    /// Copies the image. The verdicts are in the order of the sinks.
    ///
    /// A copy fails where the source or the target does, a checksum does not match, the source does not end where it
    /// must, what is read back stays wrong, or it is asked to stop.
    pub fn run(self) -> Vec<Verdict> {
        let Self {
            image: Image { plan, reader, reopen, pipe, gpt_sectors, .. },
            mut sinks,
            write,
            read_back,
            observer,
            cancel,
        } = self;
        tell_sector_sizes(gpt_sectors, &sinks, &*observer);
        let reopen = reopen.map(Arc::new);
        let (drain, drained) = drain::drain(pipe);
        let started = match write {
            Write::All => Ok((plan, whole(reader))),
            Write::Changed => leave_out_right(plan, reader, reopen.as_ref(), &mut sinks, &cancel, &*observer),
        }
        .and_then(|(plan, open)| {
            let plan = Arc::new(plan);
            let work = start(&plan, open, drain, &mut sinks, write, read_back, &*observer)?;
            Ok((plan, work))
        });
        let (plan, work) = match started {
            Ok(started) => started,
            Err(error) => return give_up(sinks, error, &*observer),
        };
        let begin = |(index, (work, sink)): (usize, (Idle, Box<dyn Sink>))| {
            let Idle { boot_region, held, read_back, to_thread, thread, asked } = work;
            let (id, plan, info) = (TargetId(index), Arc::clone(&plan), sink.info());
            let (found, observer, cancel) = (Found::Unchanged, Arc::clone(&observer), cancel.clone());
            let writer = Writer { id, plan, sink, info, boot_region, held, found, read_back, observer, cancel };
            let _ = to_thread.send(writer); // it waits for just that
            (thread, asked)
        };
        let (threads, lines): (Vec<_>, Vec<_>) = work.into_iter().zip(sinks).enumerate().map(begin).unzip();
        match reopen.filter(|_| read_back == ReadBack::Yes) {
            Some(reopen) => retry::serve(lines, &reopen),
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
    held: Option<Held>,
    read_back: Option<MediumCheck>,
    to_thread: SyncSender<Writer>,
    thread: JoinHandle<Option<Verdict>>,
    asked: Asked,
}

/// Opens `reader`, which is open.
fn whole(reader: Box<dyn ForwardRead>) -> Open {
    Box::new(move || Ok(reader))
}

/// The plan without the ranges that all `sinks` hold already, where the image can do without them, and what opens the
/// image for it. Nothing is written.
fn leave_out_right(
    plan: Plan,
    reader: Box<dyn ForwardRead>,
    reopen: Option<&Arc<Reopen>>,
    sinks: &mut [Box<dyn Sink>],
    cancel: &Cancel,
    observer: &dyn Observer,
) -> Result<(Plan, Open), Error> {
    let Some(reopen) = reopen.filter(|_| reader.skipping() == Skipping::LeavesOut) else {
        return Ok((plan, whole(reader)));
    };
    let right = survey::right_ranges(&plan, sinks, cancel, observer)?;
    let plan = plan.without(right);
    if plan.left_out() == 0 || plan.writes().next().is_none() {
        return Ok((plan, whole(reader)));
    }
    // What was opened has begun to fetch and decompress everything.
    drop(reader);
    let (again, reopen) = (plan.clone(), Arc::clone(reopen));
    Ok((plan, Box::new(move || reopen(&again).map_err(Error::Reopen))))
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
    open: Open,
    drain: Drain,
    sinks: &mut [Box<dyn Sink>],
    write: Write,
    read_back: ReadBack,
    observer: &dyn Observer,
) -> Result<Vec<Idle>, Error> {
    let pool = pipeline::buffers()?;
    let mut work = Vec::new();
    let mut queues = Vec::new();
    let count = sinks.len();
    for (index, sink) in sinks.iter_mut().enumerate() {
        let boot_region = BootRegion::read(&mut **sink, TargetId(index), plan, observer)?;
        let held = match write {
            Write::All => None,
            Write::Changed => Some(Held::start(plan, &**sink, count)?),
        };
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
        work.push(Idle { boot_region, held, read_back, to_thread, thread, asked });
    }
    let keep = match read_back {
        ReadBack::Yes if plan.has_checksums() => Keep::Fingerprints(Purpose::Locate, None),
        ReadBack::Yes => Keep::Fingerprints(Purpose::Compare, None),
        ReadBack::No => Keep::Nothing,
    };
    pipeline::start(plan, open, drain, pool, keep, queues)?;
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
