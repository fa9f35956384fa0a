//! Further passes over the image, for what was read back wrong.
//!
//! A pass is read once, for all the writers that need it: it has what any of them needs, and each takes its own.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};

use super::cancel::Cancel;
use super::drain;
use super::error::Error;
use super::fingerprints::{Fingerprints, Purpose};
use super::pipeline::{self, CHUNKS, Keep, Message, Open, ToWriter};
use super::plan::{Plan, Reopen};
use super::writer::POLL_INTERVAL;

/// How often wrong bytes are written again. A card that is still wrong then is not worth more.
pub(super) const RETRIES: usize = 2;

/// A pass over the image: what is read of it, and how it comes.
pub(super) struct Pass {
    pub(super) plan: Arc<Plan>,
    pub(super) chunks: Receiver<ToWriter>,
}

/// What a writer needs once more.
pub(super) struct Wanted {
    /// The plan of a further pass.
    pub(super) plan: Plan,
    /// What was written in the first.
    pub(super) written: Arc<Fingerprints>,
}

/// A writer's end of the line on which it asks for further passes. Dropped, it asks for none.
pub(super) struct Asking {
    wanted: SyncSender<Wanted>,
    passes: Receiver<Pass>,
}

/// The other end.
pub(super) struct Asked {
    wanted: Receiver<Wanted>,
    passes: SyncSender<Pass>,
}

/// A line for one writer.
pub(super) fn line() -> (Asking, Asked) {
    let (wanted, asked) = sync_channel(1);
    let (passes, taken) = sync_channel(1);
    (Asking { wanted, passes: taken }, Asked { wanted: asked, passes })
}

impl Asking {
    /// Waits for a further pass; `None` where there is none, because the image can be read only once, or too many were.
    pub(super) fn ask(&self, wanted: Wanted, cancel: &Cancel) -> Result<Option<Pass>, Error> {
        if self.wanted.send(wanted).is_err() {
            return Ok(None);
        }
        loop {
            cancel.check()?;
            match self.passes.recv_timeout(POLL_INTERVAL) {
                Ok(pass) => return Ok(Some(pass)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
            }
        }
    }
}

/// Reads the image again for the writers that ask for it, until none does.
pub(super) fn serve(mut lines: Vec<Asked>, reopen: &Arc<Reopen>) {
    for _ in 0..RETRIES {
        // Each asks, or hangs up, in its own time.
        let asking = |line: Asked| line.wanted.recv().ok().map(|wanted| (wanted, line));
        let (wanted, asked): (Vec<_>, Vec<_>) = lines.into_iter().filter_map(asking).unzip();
        lines = asked;
        let Some(plan) = Plan::union(wanted.iter().map(|wanted| &wanted.plan)) else { return };
        let keep = match &wanted[0].written {
            written if written.purpose == Purpose::Compare => {
                Keep::Fingerprints(Purpose::Compare, Some(Arc::clone(written)))
            }
            _ => Keep::Nothing, // the checksums tell
        };
        start(&Arc::new(plan), reopen, keep, &lines);
    }
}

fn start(plan: &Arc<Plan>, reopen: &Arc<Reopen>, keep: Keep, lines: &[Asked]) {
    let mut queues = Vec::new();
    for line in lines {
        let (queue, chunks) = sync_channel(CHUNKS);
        let _ = line.passes.send(Pass { plan: Arc::clone(plan), chunks }); // a writer that was told to stop has gone
        queues.push(queue);
    }
    let (again, reopen) = (Arc::clone(plan), Arc::clone(reopen));
    let open: Open = Box::new(move || reopen(&again).map_err(Error::Reopen));
    let started = pipeline::buffers()
        .and_then(|pool| pipeline::start(plan, open, drain::drain(None).0, pool, keep, queues.clone()));
    if let Err(error) = started {
        let error = Arc::new(error);
        for queue in queues {
            let _ = queue.send(Message::Failed(Arc::clone(&error)));
        }
    }
}
