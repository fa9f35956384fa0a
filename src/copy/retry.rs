//! Further passes over the image, for what was read back wrong.
//!
//! A pass is read once, for all the writers that need it: it has what any of them needs, and each takes its own.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};

use super::cancel::Cancel;
use super::drain;
use super::error::Error;
use super::fingerprints::{Fingerprints, Purpose};
use super::pace::{Pace, Pulse};
use super::pipeline::{self, Keep, Message, Open, ToWriter};
use super::plan::{Plan, Reopen};
use super::queue::{Closer, Incoming, queue};
use super::supervisor::Told;
use super::writer::POLL_INTERVAL;
use crate::event::TargetId;
use crate::sys::pool::Supply;

/// How often wrong bytes are written again. A card that is still wrong then is not worth more.
pub(super) const RETRIES: usize = 2;

/// A pass over the image: what is read of it, and how it comes.
pub(super) struct Pass {
    pub(super) plan: Arc<Plan>,
    pub(super) chunks: Incoming,
}

/// What a writer needs once more.
pub(super) struct Wanted {
    /// The plan of a further pass.
    pub(super) plan: Plan,
    /// What was written in the first.
    pub(super) written: Arc<Fingerprints>,
}

/// Where a writer gets further passes from.
pub(super) struct Asking {
    target: TargetId,
    told: SyncSender<(TargetId, Told)>,
    passes: Receiver<Pass>,
    pulse: Pulse,
}

/// Where further passes are handed to a writer.
pub(super) type Passes = SyncSender<Pass>;

impl Asking {
    /// For the writer of `target`, who tells the supervisor through `told`.
    pub(super) fn new(target: TargetId, told: SyncSender<(TargetId, Told)>, pulse: Pulse) -> (Self, Passes) {
        let (passes, taken) = sync_channel(1);
        (Self { target, told, passes: taken, pulse }, passes)
    }

    /// Waits for a further pass; `None` where there is none, because the image can be read only once, or too many were.
    pub(super) fn ask(&self, wanted: Wanted, cancel: &Cancel) -> Result<Option<Pass>, Error> {
        self.pulse.waits_for_pass();
        if self.told.send((self.target, Told::Wants(wanted))).is_err() {
            return Ok(None);
        }
        loop {
            cancel.check_waiting()?;
            match self.passes.recv_timeout(POLL_INTERVAL) {
                Ok(pass) => return Ok(Some(pass)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
            }
        }
    }
}

/// Reads the image again for writers that ask for it, of a copy to so many `sinks`: each has a queue, which is replaced,
/// and gets the pass. Returns what adds buffers to those of the pass.
pub(super) fn serve<'a>(
    wanted: &[Wanted],
    writers: impl Iterator<Item = (&'a mut Closer, Option<&'a Passes>)>,
    reopen: &Arc<Reopen>,
    sinks: usize,
    pace: &Arc<Pace>,
) -> Option<Supply> {
    let plan = Arc::new(Plan::union(wanted.iter().map(|wanted| &wanted.plan))?);
    let keep = match &wanted[0].written {
        written if written.purpose == Purpose::Compare => {
            Keep::Fingerprints(Purpose::Compare, Some(Arc::clone(written)))
        }
        _ => Keep::Nothing, // the checksums tell
    };
    let mut queues = Vec::new();
    for (closer, passes) in writers {
        let (sender, chunks) = queue(sinks);
        *closer = chunks.closer();
        if let Some(passes) = passes {
            // A writer that was told to stop has gone.
            let _ = passes.send(Pass { plan: Arc::clone(&plan), chunks });
        }
        queues.push(sender);
    }
    start(&plan, reopen, keep, queues, pace)
}

fn start(
    plan: &Arc<Plan>,
    reopen: &Arc<Reopen>,
    keep: Keep,
    queues: Vec<SyncSender<ToWriter>>,
    pace: &Arc<Pace>,
) -> Option<Supply> {
    let (again, reopen) = (Arc::clone(plan), Arc::clone(reopen));
    let open: Open = Box::new(move || reopen(&again).map_err(Error::Reopen));
    let started = pipeline::buffers().and_then(|pool| {
        let supply = pool.supply();
        pipeline::start(plan, open, drain::drain(None).0, pool, keep, queues.clone(), pace).map(|()| supply)
    });
    match started {
        Ok(supply) => Some(supply),
        Err(error) => {
            let error = Arc::new(error);
            for queue in queues {
                let _ = queue.send(Message::Failed(Arc::clone(&error)));
            }
            None
        }
    }
}
