//! The first pass over the image. It begins once all targets have been looked at.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use super::error::Error;
use super::pace::Pace;
use super::pipeline::{self, Keep, Open, ToWriter};
use super::plan::{Plan, Reopen};
use crate::source::{Drain, ForwardRead};
use crate::sys::pool::Pool;

/// What the first pass is read with: all there is of it before anything is written.
pub(super) struct FirstPass {
    pub(super) reader: Box<dyn ForwardRead>,
    /// Opens the image again, where a plan leaves something out of it.
    pub(super) reopen: Option<Arc<Reopen>>,
    pub(super) drain: Drain,
    pub(super) keep: Keep,
    pub(super) pool: Pool,
}

impl FirstPass {
    /// Begins to read what `plan` writes.
    pub(super) fn start(
        self,
        plan: &Arc<Plan>,
        queues: Vec<SyncSender<ToWriter>>,
        pace: &Arc<Pace>,
    ) -> Result<(), Error> {
        let Self { reader, reopen, drain, keep, pool } = self;
        let saves = |_: &_| plan.left_out() > 0 && plan.writes().next().is_some();
        let open: Open = match reopen.filter(saves) {
            None => Box::new(move || Ok(reader)),
            Some(reopen) => {
                // What was opened has begun to fetch and decompress everything.
                drop(reader);
                let plan = Arc::clone(plan);
                Box::new(move || reopen(&plan).map_err(Error::Reopen))
            }
        };
        pipeline::start(plan, open, drain, pool, keep, queues, pace)
    }
}
