//! Passes over the image: how writers ask for them, and how further ones are read, for what was read back wrong.
//!
//! A pass is read once, for all the writers that need it: it has what any of them needs, and each takes its own.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};

use super::cancel::Cancel;
use super::error::Error;
use super::fingerprints::{Fingerprints, Purpose};
use super::pace::{Pace, Pulse};
use super::pipeline::{self, Keep, Open, ToWriter};
use super::plan::{Plan, Reopen};
use super::queue::Incoming;
use super::supervisor::Told;
use super::writer::POLL_INTERVAL;
use crate::event::TargetId;
use crate::source::drain;
use crate::sys::pool::Supply;

/// How often wrong bytes are written again. A card that is still wrong then is not worth more.
pub(super) const RETRIES: usize = 2;

/// A pass over the image: what is read of it, and how it comes.
pub(super) struct Pass {
    pub(super) plan: Arc<Plan>,
    pub(super) chunks: Incoming,
}

/// What a writer needs of the image.
pub(super) struct Wanted {
    /// The plan of a pass.
    pub(super) plan: Plan,
    /// What was written in the first, if that has been.
    pub(super) written: Option<Arc<Fingerprints>>,
}

/// Where a writer gets passes from.
pub(super) struct Asking {
    target: TargetId,
    told: SyncSender<(TargetId, Told)>,
    passes: Receiver<Result<Pass, Arc<Error>>>,
    pulse: Pulse,
}

/// Where passes are handed to a writer, or why there is none.
pub(super) type Passes = SyncSender<Result<Pass, Arc<Error>>>;

impl Asking {
    /// For the writer of `target`, who tells the supervisor through `told`.
    pub(super) fn new(target: TargetId, told: SyncSender<(TargetId, Told)>, pulse: Pulse) -> (Self, Passes) {
        let (passes, taken) = sync_channel(1);
        (Self { target, told, passes: taken, pulse }, passes)
    }

    /// Waits for a pass; `None` where there is no further one, because the image can be read only once, or too many were.
    pub(super) fn ask(&self, wanted: Wanted, cancel: &Cancel) -> Result<Option<Pass>, Arc<Error>> {
        self.pulse.waits_for_pass();
        if self.told.send((self.target, Told::Wants(wanted))).is_err() {
            return Ok(None);
        }
        loop {
            cancel.check_waiting()?;
            match self.passes.recv_timeout(POLL_INTERVAL) {
                Ok(pass) => return pass.map(Some),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
            }
        }
    }
}

/// Reads the image again for writers that ask for `wanted`, by `plan`. Returns what adds buffers to those of the pass.
pub(super) fn start(
    wanted: &[Wanted],
    plan: &Arc<Plan>,
    reopen: &Arc<Reopen>,
    queues: Vec<SyncSender<ToWriter>>,
    pace: &Arc<Pace>,
) -> Result<Supply, Error> {
    let keep = match &wanted[0].written {
        Some(written) if written.purpose == Purpose::Compare => {
            Keep::Fingerprints(Purpose::Compare, Some(Arc::clone(written)))
        }
        _ => Keep::Nothing, // the checksums tell
    };
    let (again, reopen) = (Arc::clone(plan), Arc::clone(reopen));
    let open: Open = Box::new(move || reopen(&again).map_err(Error::Reopen));
    let pool = pipeline::buffers()?;
    let supply = pool.supply();
    pipeline::start(plan, open, drain(None).0, pool, keep, queues, pace)?;
    Ok(supply)
}
