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
mod error;
mod fingerprints;
mod first_pass;
mod pace;
mod pass;
mod pipeline;
mod plan;
mod queue;
mod read_back;
mod relocation;
mod retry;
mod supervisor;
mod survey;
#[cfg(test)]
mod tests;
mod verdict;
mod writer;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

pub use cancel::Cancel;
pub use damage::{Damage, Digests, Extent, Looks, Place};
pub use error::Error;
pub use plan::{BackupGpt, Image, Plan, Unmapped, Verify};
pub use verdict::{Failure, Summary, Verdict};

use crate::event::{Event, Notice, Observer, Outcome, Silent, TargetId};
pub use crate::sink::ReadBack;
use crate::sink::Sink;
use crate::source::{Skipping, drain};
use crate::sys::aligned::AlignedBuf;
use crate::sys::pool::Pool;
use crate::sys::threads;
use boot_region::BootRegion;
use compare::Held;
use fingerprints::Purpose;
use first_pass::FirstPass;
use pace::{Pace, Pulse, UntilGivenUp};
use pipeline::Keep;
use read_back::MediumCheck;
use relocation::Relocation;
use retry::{Asking, Passes};
use supervisor::{Supervisor, Told, Worker, WorkerState};
use survey::Survey;
use writer::{Found, Writer};

/// How long a target may do nothing while all the others wait for it.
pub const STALL: Duration = Duration::from_secs(60);

/// Which bytes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WritePolicy {
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
    /// How long a sink may be held up while all the others wait for it; then it is given up. Its thread stays where it
    /// is: the process may not end before the kernel lets go of it.
    pub stall: Duration,
    /// Which bytes are written.
    pub write: WritePolicy,
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
        Self { image, sinks, stall: STALL, write: WritePolicy::All, read_back, observer, cancel: Cancel::default() }
    }

    /// Copies the image. The verdicts are in the order of the sinks.
    ///
    /// A copy fails where the source or the target does, a checksum does not match, the source does not end where it
    /// must, what is read back stays wrong, or it is asked to stop.
    pub fn run(self) -> Vec<Verdict> {
        let Self {
            image: Image { plan, reader, reopen, pipe, gpt_sectors, .. },
            sinks,
            stall,
            write,
            read_back,
            observer,
            cancel,
        } = self;
        let (plan, reopen, pace) = (Arc::new(plan), reopen.map(Arc::new), Pace::new(sinks.len(), stall));
        let skipping = reopen.as_ref().map_or(Skipping::Reads, |_| reader.skipping());
        let started = start(&plan, &sinks, write, read_back, skipping, &pace);
        let Started { work, inbox, pool } = match started {
            Ok(started) => started,
            Err(error) => return give_up(sinks, error, &*observer),
        };
        tell_sector_sizes(gpt_sectors, &sinks, &*observer);
        let begin = |(work, sink): (Idle, Box<dyn Sink>)| {
            let Idle { to_thread, thread, passes } = work;
            let (kind, restore) = (sink.info().kind, sink.restore());
            let _ = to_thread.send((sink, Arc::clone(&observer), cancel.clone())); // it waits for just that
            Worker { kind, thread, queue: None, passes: Some(passes), restore, state: WorkerState::Works }
        };
        let workers = work.into_iter().zip(sinks).map(begin).collect();
        let (drain, drained) = drain(pipe);
        let (supply, keep) = (pool.supply(), keep(&plan, read_back));
        let first = Some(FirstPass { reader, reopen: reopen.clone(), drain, keep, pool });
        let reopen = reopen.filter(|_| read_back == ReadBack::Yes);
        let (told, stop) = (Arc::clone(&observer), cancel.clone());
        let verdicts = Supervisor { workers, inbox, pace, first, supply, reopen, observer: told, cancel: stop }.run();
        if verdicts.iter().any(Result::is_ok) {
            drained.wait(|| cancel.reason().is_some(), &*observer);
        }
        verdicts
    }
}

/// What is ready for the first write.
struct Started {
    work: Vec<Idle>,
    /// What the writers tell.
    inbox: Receiver<(TargetId, Told)>,
    /// The buffers of the first pass.
    pool: Pool,
}

/// What a thread that has all the rest waits for.
type Begin = (Box<dyn Sink>, Arc<dyn Observer>, Cancel);

/// A thread that waits for its sink.
struct Idle {
    to_thread: SyncSender<Begin>,
    thread: JoinHandle<()>,
    passes: Passes,
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

/// Takes all memory and starts all threads before anything changes on a target, for these are what may be short. (Those of
/// the pipeline are started before that, too: no writer has chunks without them.)
fn start(
    plan: &Arc<Plan>,
    sinks: &[Box<dyn Sink>],
    write: WritePolicy,
    read_back: ReadBack,
    skipping: Skipping,
    pace: &Arc<Pace>,
) -> Result<Started, Error> {
    let pool = pipeline::buffers()?;
    let mut work = Vec::new();
    let count = sinks.len();
    let largest = sinks.iter().map(|sink| sink.info().boot_region).max().unwrap_or(0);
    let zeroes = Arc::new(AlignedBuf::zeroed(largest as usize).map_err(Error::Memory)?);
    // Each asks for a few passes and ends.
    let (told, inbox) = sync_channel(count * (retry::RETRIES + 3));
    for (index, info) in sinks.iter().map(|sink| sink.info()).enumerate() {
        let target = TargetId(index);
        let pulse = Pulse::new(pace, target);
        let boot_region = BootRegion::new(info.boot_region, &zeroes, Relocation::of(plan, &info)?, pulse.clone())?;
        let buffers = match (write, read_back) {
            (WritePolicy::All, ReadBack::No) => None,
            _ => Some(compare::buffers(count)?),
        };
        let held = buffers.clone().filter(|_| write == WritePolicy::Changed).map(Held::start).transpose()?;
        let survey = buffers.clone().filter(|_| (write, skipping) == (WritePolicy::Changed, Skipping::LeavesOut));
        let survey = survey.map(|pool| Survey { target, sinks: count, pool });
        let read_back = buffers.filter(|_| read_back == ReadBack::Yes);
        let read_back = read_back.map(|pool| MediumCheck::new(plan, count, pool)).transpose()?;
        let (to_thread, inbox) = sync_channel::<Begin>(1);
        let (asking, passes) = Asking::new(target, told.clone(), pulse.clone());
        let (plan, told) = (Arc::clone(plan), told.clone());
        let run = move || {
            let Ok((sink, observer, cancel)) = inbox.recv() else { return };
            let (id, info, found, cancel) = (target, sink.info(), Found::Unchanged, cancel.of_target(pulse.clone()));
            let observer = Arc::new(UntilGivenUp { observer, pulse: pulse.clone() });
            let writer =
                Writer { id, plan, sink, info, boot_region, survey, held, found, read_back, observer, cancel, pulse };
            let ended = catch_unwind(AssertUnwindSafe(|| writer.run(asking)));
            let _ = told.send((target, Told::Ended(ended))); // fails where the target was given up and no one waits
        };
        let thread = threads::start("writer", run).map_err(Error::Thread)?;
        work.push(Idle { to_thread, thread, passes });
    }
    Ok(Started { work, inbox, pool })
}

/// What is kept of the first pass.
fn keep(plan: &Plan, read_back: ReadBack) -> Keep {
    match read_back {
        ReadBack::Yes if plan.has_checksums() => Keep::Fingerprints(Purpose::Locate, None),
        ReadBack::Yes => Keep::Fingerprints(Purpose::Compare, None),
        ReadBack::No => Keep::Nothing,
    }
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
