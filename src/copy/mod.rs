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
mod pace;
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
use crate::source::{ForwardRead, Skipping};
use crate::sys::pool::Supply;
use crate::sys::threads;
use boot_region::BootRegion;
use compare::Held;
use drain::Drain;
use fingerprints::Purpose;
use pace::{Pace, Pulse, UntilGivenUp};
use pipeline::{Keep, Open};
use plan::Reopen;
use queue::{Closer, queue};
use read_back::MediumCheck;
use relocation::Relocation;
use retry::{Asking, Passes};
use supervisor::{Supervisor, Told, Worker, WorkerState};
use writer::{Found, Writer};

/// How long a target may do nothing while all the others wait for it.
pub const STALL: Duration = Duration::from_secs(60);

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
    /// How long a sink may be held up while all the others wait for it; then it is given up. Its thread stays where it
    /// is: the process may not end before the kernel lets go of it.
    pub stall: Duration,
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
        Self { image, sinks, stall: STALL, write: Write::All, read_back, observer, cancel: Cancel::default() }
    }

    /// Copies the image. The verdicts are in the order of the sinks.
    ///
    /// A copy fails where the source or the target does, a checksum does not match, the source does not end where it
    /// must, what is read back stays wrong, or it is asked to stop.
    pub fn run(self) -> Vec<Verdict> {
        let Self {
            image: Image { plan, reader, reopen, pipe, gpt_sectors, .. },
            mut sinks,
            stall,
            write,
            read_back,
            observer,
            cancel,
        } = self;
        // Before the targets are even compared, which may take long.
        if let Err(error) = sinks.iter().try_for_each(|sink| Relocation::of(&plan, &sink.info()).map(drop)) {
            return give_up(sinks, error, &*observer);
        }
        tell_sector_sizes(gpt_sectors, &sinks, &*observer);
        let reopen = reopen.map(Arc::new);
        let (drain, drained) = drain::drain(pipe);
        let started = match write {
            Write::All => Ok((plan, whole(reader))),
            Write::Changed => leave_out_right(plan, reader, reopen.as_ref(), &mut sinks, &cancel, &*observer),
        }
        .and_then(|(plan, open)| {
            let (plan, pace) = (Arc::new(plan), Pace::new(sinks.len(), stall));
            let started = start(&plan, open, drain, &mut sinks, write, read_back, &pace, &*observer)?;
            Ok((plan, pace, started))
        });
        let (plan, pace, Started { work, inbox, supply }) = match started {
            Ok(started) => started,
            Err(error) => return give_up(sinks, error, &*observer),
        };
        let begin = |(index, (work, sink)): (usize, (Idle, Box<dyn Sink>))| {
            let Idle { boot_region, held, read_back, to_thread, thread, queue, passes } = work;
            let (id, plan, info) = (TargetId(index), Arc::clone(&plan), sink.info());
            let (kind, restore, pulse) = (info.kind, sink.restore(), Pulse::new(&pace, id));
            let observer = Arc::new(UntilGivenUp { observer: Arc::clone(&observer), pulse: pulse.clone() });
            let (found, cancel) = (Found::Unchanged, cancel.of_target(pulse.clone()));
            let writer = Writer { id, plan, sink, info, boot_region, held, found, read_back, observer, cancel, pulse };
            let _ = to_thread.send(writer); // it waits for just that
            Worker { kind, thread, queue, passes: Some(passes), restore, state: WorkerState::Works }
        };
        let workers = work.into_iter().zip(sinks).enumerate().map(begin).collect();
        let reopen = reopen.filter(|_| read_back == ReadBack::Yes);
        let told = Arc::clone(&observer);
        let verdicts = Supervisor { workers, inbox, pace, supply, reopen, observer: told }.run();
        if verdicts.iter().any(Result::is_ok) {
            drained.wait(&cancel, &*observer);
        }
        verdicts
    }
}

/// What is ready for the first write.
struct Started {
    work: Vec<Idle>,
    /// What the writers tell.
    inbox: Receiver<(TargetId, Told)>,
    supply: Supply,
}

/// A thread that waits for its sink, and what it needs beside it.
struct Idle {
    boot_region: BootRegion,
    held: Option<Held>,
    read_back: Option<MediumCheck>,
    to_thread: SyncSender<Writer>,
    thread: JoinHandle<()>,
    queue: Closer,
    passes: Passes,
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
#[expect(clippy::too_many_arguments, reason = "all of a copy")]
fn start(
    plan: &Arc<Plan>,
    open: Open,
    drain: Drain,
    sinks: &mut [Box<dyn Sink>],
    write: Write,
    read_back: ReadBack,
    pace: &Arc<Pace>,
    observer: &dyn Observer,
) -> Result<Started, Error> {
    let pool = pipeline::buffers()?;
    let supply = pool.supply();
    let mut work = Vec::new();
    let mut queues = Vec::new();
    let count = sinks.len();
    // Each asks for a few passes and ends.
    let (told, inbox) = sync_channel(count * (retry::RETRIES + 2));
    for (index, sink) in sinks.iter_mut().enumerate() {
        let relocation = Relocation::of(plan, &sink.info())?;
        let boot_region = BootRegion::read(&mut **sink, TargetId(index), plan, observer)?.with(relocation);
        let held = match write {
            Write::All => None,
            Write::Changed => Some(Held::start(plan, &**sink, count)?),
        };
        let read_back = match read_back {
            ReadBack::Yes => Some(MediumCheck::new(plan, count)?),
            ReadBack::No => None,
        };
        let (sender, chunks) = queue(count);
        let closer = chunks.closer();
        let (to_thread, inbox) = sync_channel::<Writer>(1);
        let id = TargetId(index);
        let (asking, passes) = Asking::new(id, told.clone(), Pulse::new(pace, id));
        let told = told.clone();
        let run = move || {
            let Ok(writer) = inbox.recv() else { return };
            let ended = catch_unwind(AssertUnwindSafe(|| writer.run(chunks, asking)));
            let _ = told.send((id, Told::Ended(ended))); // fails where the target was given up and no one waits
        };
        let thread = threads::start("writer", run).map_err(Error::Thread)?;
        queues.push(sender);
        work.push(Idle { boot_region, held, read_back, to_thread, thread, queue: closer, passes });
    }
    let keep = match read_back {
        ReadBack::Yes if plan.has_checksums() => Keep::Fingerprints(Purpose::Locate, None),
        ReadBack::Yes => Keep::Fingerprints(Purpose::Compare, None),
        ReadBack::No => Keep::Nothing,
    };
    pipeline::start(plan, open, drain, pool, keep, queues, pace)?;
    Ok(Started { work, inbox, supply })
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
