//! Waits for the writers: serves those that need a pass over the image, and gives up a target that holds up all the
//! others.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::cancel::Cancel;
use super::first_pass::FirstPass;
use super::pace::Pace;
use super::plan::{Plan, Reopen};
use super::queue::{Closer, queue};
use super::retry::{self, Pass, Passes, RETRIES, Wanted};
use super::verdict::Verdict;
use super::writer::POLL_INTERVAL;
use crate::event::{Event, Observer, Outcome, TargetId};
use crate::sink::{Kind, Restore};
use crate::sys::pool::Supply;

/// How long a target may do nothing after a signal.
const LIMIT_AFTER_SIGNAL: Duration = Duration::from_secs(5);

/// What a writer tells.
pub(super) enum Told {
    /// It needs the image, or some of it once more.
    Wants(Wanted),
    /// It has ended, perhaps in a panic.
    Ended(thread::Result<Verdict>),
}

/// A writer, seen from outside.
pub(super) struct Worker {
    pub(super) kind: Kind,
    pub(super) thread: JoinHandle<()>,
    /// Closes the queue of its present pass.
    pub(super) queue: Option<Closer>,
    /// Where a pass is handed to it; `None` where there is none any more.
    pub(super) passes: Option<Passes>,
    /// Puts back the settings of its target.
    pub(super) restore: Option<Restore>,
    pub(super) state: WorkerState,
}

/// How far a writer is.
pub(super) enum WorkerState {
    Works,
    /// It waits for a pass.
    Wants(Wanted),
    Ended(thread::Result<Verdict>),
    /// Its thread is held up in its target, and not waited for.
    GivenUp(Verdict),
}

pub(super) struct Supervisor {
    pub(super) workers: Vec<Worker>,
    pub(super) inbox: Receiver<(TargetId, Told)>,
    pub(super) pace: Arc<Pace>,
    /// Until it is begun.
    pub(super) first: Option<FirstPass>,
    /// Replaces the chunks of the present pass that are lost with a target.
    pub(super) supply: Supply,
    /// Opens the image for a further pass, where it can be read again and is read back at all.
    pub(super) reopen: Option<Arc<Reopen>>,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) cancel: Cancel,
}

impl Supervisor {
    /// Waits until all targets have a verdict.
    pub(super) fn run(mut self) -> Vec<Verdict> {
        let (mut passes_left, mut last_look) = (1 + self.reopen.iter().len() * RETRIES, Instant::now());
        while self.workers.iter().any(|worker| !worker.state.is_over()) {
            match self.inbox.recv_timeout(POLL_INTERVAL) {
                Ok((target, told)) => self.note(target, told),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => unreachable!("a writer tells when it ends"),
            }
            // After the process was stopped for a while, that does not count.
            self.pace.advance(last_look.elapsed().min(2 * POLL_INTERVAL));
            last_look = Instant::now();
            if self.cancel.reason().is_some() {
                self.pace.stop_within(LIMIT_AFTER_SIGNAL);
            }
            self.give_up_stalled();
            if passes_left > 0 && self.all_want_a_pass() {
                self.serve();
                passes_left -= 1;
                if passes_left == 0 {
                    self.end_passes();
                }
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
            worker.queue.iter().for_each(Closer::close);
            // The chunk that it holds may never come back. Without memory, the others have one less.
            let _ = self.supply.add();
            if let Some(restore) = worker.restore.take() {
                restore();
            }
            let verdict = self.pace.verdict_of(target, worker.kind);
            let outcome = if verdict.is_ok() { Outcome::Complete } else { Outcome::Failed };
            worker.state = WorkerState::GivenUp(verdict);
            self.observer.event(Event::Target(target, outcome));
        }
    }

    /// Whether each writer that has not ended waits for a pass, and there is one.
    fn all_want_a_pass(&self) -> bool {
        let mut open = self.workers.iter().filter(|worker| !worker.state.is_over()).peekable();
        open.peek().is_some() && open.all(|worker| matches!(worker.state, WorkerState::Wants(_)))
    }

    /// Reads the image for those that wait for it: all of it, or what they need once more.
    fn serve(&mut self) {
        let sinks = self.workers.len();
        let (mut wanted, mut served, mut queues) = (Vec::new(), Vec::new(), Vec::new());
        for worker in &mut self.workers {
            if let WorkerState::Wants(_) = &worker.state
                && let WorkerState::Wants(one) = std::mem::replace(&mut worker.state, WorkerState::Works)
            {
                let (sender, chunks) = queue(sinks);
                worker.queue = Some(chunks.closer());
                wanted.push(one);
                queues.push(sender);
                served.push((worker.passes.as_ref(), chunks));
            }
        }
        let Some(plan) = Plan::union(wanted.iter().map(|wanted| &wanted.plan)).map(Arc::new) else { return };
        let started = match (self.first.take(), &self.reopen) {
            (Some(first), _) => first.start(&plan, queues, &self.pace),
            (None, Some(reopen)) => {
                retry::start(&wanted, &plan, reopen, queues, &self.pace).map(|supply| self.supply = supply)
            }
            (None, None) => unreachable!("there is one pass only"),
        };
        let started = started.map_err(Arc::new);
        for (passes, chunks) in served {
            let pass = started.as_ref().map(|()| Pass { plan: Arc::clone(&plan), chunks }).map_err(Arc::clone);
            // A writer that was told to stop has gone.
            let _ = passes.map(|passes| passes.send(pass));
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
            WorkerState::GivenUp(verdict) => verdict,
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
