//! Waits for the writers: serves those that need a further pass over the image, and gives up a target that holds up all
//! the others.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use super::error::Error;
use super::pace::Pace;
use super::plan::Reopen;
use super::queue::Closer;
use super::retry::{self, Passes, RETRIES, Wanted};
use super::verdict::{Failure, Verdict};
use super::writer::POLL_INTERVAL;
use crate::event::{Event, Observer, Outcome, TargetId};
use crate::sink::{Kind, Restore};
use crate::sys::pool::Supply;

/// What a writer tells.
pub(super) enum Told {
    /// It needs some of the image once more.
    Wants(Wanted),
    /// It has ended, perhaps in a panic.
    Ended(thread::Result<Verdict>),
}

/// A writer, seen from outside.
pub(super) struct Worker {
    pub(super) kind: Kind,
    pub(super) thread: JoinHandle<()>,
    /// Closes the queue of its present pass.
    pub(super) queue: Closer,
    /// Where a further pass is handed to it; `None` where there is none any more.
    pub(super) passes: Option<Passes>,
    /// Puts back the settings of its target.
    pub(super) restore: Option<Restore>,
    pub(super) state: WorkerState,
}

/// How far a writer is.
pub(super) enum WorkerState {
    Works,
    /// It waits for a further pass.
    Wants(Wanted),
    Ended(thread::Result<Verdict>),
    /// Its thread is held up in its target, and not waited for.
    GivenUp(Failure),
}

pub(super) struct Supervisor {
    pub(super) workers: Vec<Worker>,
    pub(super) inbox: Receiver<(TargetId, Told)>,
    pub(super) pace: Arc<Pace>,
    /// Replaces the chunks of the present pass that are lost with a target.
    pub(super) supply: Supply,
    /// Opens the image for a further pass, where it can be read again and is read back at all.
    pub(super) reopen: Option<Arc<Reopen>>,
    pub(super) observer: Arc<dyn Observer>,
}

impl Supervisor {
    /// Waits until all targets have a verdict.
    pub(super) fn run(mut self) -> Vec<Verdict> {
        if self.reopen.is_none() {
            self.end_passes();
        }
        let (mut passes, mut last_look) = (0, Instant::now());
        while self.workers.iter().any(|worker| !worker.state.is_over()) {
            match self.inbox.recv_timeout(POLL_INTERVAL) {
                Ok((target, told)) => self.note(target, told),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => unreachable!("a writer tells when it ends"),
            }
            // After the process was stopped for a while, that does not count.
            self.pace.advance(last_look.elapsed().min(2 * POLL_INTERVAL));
            last_look = Instant::now();
            self.give_up_stalled();
            if self.all_want_a_pass() {
                passes += 1;
                if passes <= RETRIES { self.serve() } else { self.end_passes() }
            }
        }
        self.conclude()
    }

    fn note(&mut self, target: TargetId, told: Told) {
        let state = &mut self.workers[target.0].state;
        if matches!(state, WorkerState::GivenUp(_)) {
            return;
        }
        *state = match told {
            Told::Wants(wanted) => WorkerState::Wants(wanted),
            Told::Ended(ended) => {
                self.pace.end(target);
                WorkerState::Ended(ended)
            }
        };
    }

    fn give_up_stalled(&mut self) {
        for target in self.pace.give_up_stalled() {
            let worker = &mut self.workers[target.0];
            worker.queue.close();
            // The chunk that it holds may never come back. Without memory, the others have one less.
            let _ = self.supply.add();
            if let Some(restore) = worker.restore.take() {
                restore();
            }
            let error = Arc::new(Error::Stalled { limit: self.pace.limit() });
            let state = self.pace.state_of(target, worker.kind);
            worker.state = WorkerState::GivenUp(Failure { error, state });
            self.observer.event(Event::Target(target, Outcome::Failed));
        }
    }

    /// Whether each writer that has not ended waits for a further pass, and there is one.
    fn all_want_a_pass(&self) -> bool {
        let mut open = self.workers.iter().filter(|worker| !worker.state.is_over()).peekable();
        open.peek().is_some() && open.all(|worker| matches!(worker.state, WorkerState::Wants(_)))
    }

    /// Reads the image again for those that wait for it.
    fn serve(&mut self) {
        let Some(reopen) = &self.reopen else { return };
        let sinks = self.workers.len();
        let (mut wanted, mut served) = (Vec::new(), Vec::new());
        for worker in &mut self.workers {
            if let WorkerState::Wants(_) = &worker.state
                && let WorkerState::Wants(one) = std::mem::replace(&mut worker.state, WorkerState::Works)
            {
                wanted.push(one);
                served.push(worker);
            }
        }
        let lines = served.iter_mut().map(|worker| (&mut worker.queue, worker.passes.as_ref()));
        if let Some(supply) = retry::serve(&wanted, lines, reopen, sinks, &self.pace) {
            self.supply = supply;
        }
    }

    /// Has those that ask for a further pass learn that there is none.
    fn end_passes(&mut self) {
        for worker in &mut self.workers {
            worker.passes = None;
        }
    }

    fn conclude(self) -> Vec<Verdict> {
        // All of them are complete before a panic of one goes on.
        let verdict = |worker: Worker| match worker.state {
            WorkerState::Ended(ended) => {
                // It has told how it ended, and has nothing left to do.
                let _ = worker.thread.join();
                ended.unwrap_or_else(|panic| resume_unwind(panic))
            }
            WorkerState::GivenUp(failure) => Err(failure),
            WorkerState::Works | WorkerState::Wants(_) => unreachable!("it has not ended"),
        };
        self.workers.into_iter().map(verdict).collect()
    }
}

impl WorkerState {
    fn is_over(&self) -> bool {
        matches!(self, Self::Ended(_) | Self::GivenUp(_))
    }
}
