//! One target's way from the first byte to the verdict.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::WritePolicy;
use super::boot_region::{BootRegion, Last};
use super::cancel::Cancel;
use super::capacity;
use super::compare::Held;
use super::damage::Extent;
use super::discarded;
use super::error::Error;
use super::fingerprints::Fingerprints;
use super::pace::{Holds, Pulse};
use super::pass::{Amount, Written};
use super::plan::Plan;
use super::queue::Incoming;
use super::read_back::{MediumCheck, Wrong};
use super::retry::{Asking, Pass, RETRIES, Wanted};
use super::survey::Survey;
use super::verdict::{Failure, Summary, Verdict};
use crate::event::{Event, Notice, Observer, Outcome, Phase, TargetId};
use crate::sink::{Kind, Sink, SinkInfo};

/// How long the writer waits for a chunk before it looks whether it shall stop.
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Writes to one sink.
pub(super) struct Writer {
    pub(super) id: TargetId,
    pub(super) plan: Arc<Plan>,
    pub(super) sink: Box<dyn Sink>,
    pub(super) info: SinkInfo,
    pub(super) boot_region: BootRegion,
    /// Finds out which ranges need not be read, where the image can do without them.
    pub(super) survey: Option<Survey>,
    /// What the target holds, where only what differs is written.
    pub(super) held: Option<Held>,
    pub(super) found: Found,
    /// Where what was written is read back.
    pub(super) read_back: Option<MediumCheck>,
    pub(super) observer: Arc<dyn Observer>,
    /// That of this target.
    pub(super) cancel: Cancel,
    pub(super) pulse: Pulse,
}

/// Whether the target is as it was found.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Unchanged,
    /// It has been written to, or that was begun.
    Changed,
}

impl Writer {
    /// Asks for the image, writes it, makes it durable, then bootable. What is read back wrong is asked for again.
    pub(super) fn run(mut self, asking: Asking) -> Verdict {
        let started = Instant::now();
        match self.copy(asking).and_then(|amount| self.complete(amount, started)) {
            Ok(summary) => {
                self.tell_ends();
                self.sink.finish(Outcome::Complete);
                self.observer.event(Event::Target(self.id, Outcome::Complete));
                Ok(summary)
            }
            Err(error) => {
                if matches!(*error, Error::Medium(_)) && self.is_device() {
                    // What was zeroed there may be anything, as on a device that wraps around.
                    self.boot_region.distrust();
                }
                let left = self.boot_region.revoke(&mut *self.sink);
                let state = self.sink.finish(Outcome::Failed);
                self.observer.event(Event::Target(self.id, Outcome::Failed));
                Err(Failure { error, state: left.unwrap_or(state) })
            }
        }
    }

    /// Takes note that the target is complete, whatever holds it up from here on.
    fn complete(&self, amount: Amount, started: Instant) -> Result<Summary, Arc<Error>> {
        let Amount { bytes, written, zeroed, discarded, read_back, .. } = amount;
        let (left_out, waited) = (self.plan.left_out(), self.pulse.waited());
        let (bytes, time) = (bytes + left_out, started.elapsed());
        let summary = Summary { bytes, written, left_out, zeroed, discarded, read_back, time, waited };
        self.pulse.complete(summary)?;
        Ok(summary)
    }

    /// Tells what is on the target besides the image.
    fn tell_ends(&mut self) {
        let (backup, offset) = self.boot_region.last(Last::BackupGpt);
        if !backup.is_empty() {
            self.observer.notice(Notice::GptRelocated { target: self.id, offset });
        }
        let rest = self.boot_region.rest();
        discarded::tell_contents(&self.plan, &mut *self.sink, rest, self.id, &*self.observer);
    }

    /// Returns what has come of the image.
    fn copy(&mut self, asking: Asking) -> Result<Amount, Arc<Error>> {
        let chunks = self.look(&asking)?;
        let discarded = self.prepare()?;
        let plan = self.first_plan();
        let Written { mut amount, fingerprints } = self.write_first(&plan, chunks)?;
        amount.discarded = discarded;
        // In any case: what a copy wrote that was interrupted may be in the cache of the device only.
        self.sync()?;
        self.boot_region.settle()?;
        // What comes in a further pass was wrong, and is not compared.
        let (compared, buf) = self.held.take().map(Held::end).unzip();
        if let Some(mut buf) = buf.filter(|_| self.found == Found::Unchanged)
            && self.boot_region.is_right(&mut *self.sink, &mut buf)
        {
            if let Some(path) = compared.flatten().filter(|_| self.read_back.is_some()) {
                // All of it has been read, some by the sink and most by its second handle, and nothing was written.
                amount.read_back = Some(self.sink.read_path().max(path));
                self.tell_read_back(&amount, &plan);
            }
            return Ok(amount);
        }
        self.begin()?; // perhaps only the boot region differs
        amount.written += amount.held_back + plan.left_out_before(self.info.boot_region);
        let Some((mut read_back, fingerprints)) = self.read_back.take().zip(fingerprints) else {
            self.commit(None)?;
            return Ok(amount);
        };
        // The size is known in any case now.
        let plan = Plan::clone(&plan).of_size(Some(amount.bytes));
        self.verify(&plan, &mut read_back, &fingerprints, asking)?;
        self.commit(Some(&read_back))?;
        amount.read_back = Some(self.sink.read_path());
        self.tell_read_back(&amount, &plan);
        Ok(amount)
    }

    /// Reads what the target holds, as far as that must be known before the image is read, and waits for the first pass
    /// over it. Nothing is written.
    fn look(&mut self, asking: &Asking) -> Result<Incoming, Arc<Error>> {
        self.cancel.check()?;
        let (sink, observer) = (&mut *self.sink, &*self.observer);
        self.boot_region.read(sink, self.id, &self.plan, observer);
        let mut plan = Plan::clone(&self.plan);
        if let Some(survey) = self.survey.take() {
            let right = survey.right_ranges(&plan, sink, &self.boot_region, &self.cancel, observer)?;
            plan = plan.without(right);
        }
        let wanted = Wanted { plan, written: None };
        let Some(Pass { plan, chunks }) = asking.ask(wanted, &self.cancel)? else { return Err(Error::NoResult.into()) };
        self.plan = plan;
        Ok(chunks)
    }

    /// The plan of the first pass. A file that was not emptied may have data where the image has holes.
    fn first_plan(&self) -> Arc<Plan> {
        match self.held {
            Some(_) if !self.is_device() => Arc::new(self.plan.zeroing_holes()),
            _ => Arc::clone(&self.plan),
        }
    }

    /// Writes what comes through `chunks`, or what of it differs from what the target holds.
    fn write_first(&mut self, plan: &Plan, chunks: Incoming) -> Result<Written, Arc<Error>> {
        let written = self.write(plan, plan, chunks)?;
        if self.held.is_some() && plan.image_size().is_none() {
            self.sink.set_size(written.amount.bytes).map_err(Error::Prepare)?;
        }
        Ok(written)
    }

    /// Says how all that `plan` has written was read back.
    fn tell_read_back(&self, amount: &Amount, plan: &Plan) {
        let (target, bytes) = (self.id, amount.bytes + plan.left_out());
        match amount.read_back {
            Some(path) if path.is_from_medium() => self.observer.event(Event::ReadBack { target, bytes, path }),
            Some(path) => self.observer.notice(Notice::MediumNotRead { target, bytes, path }),
            None => {}
        }
    }

    /// Reads back what `plan` has written, until all of it is right. It is always all, also what the target held already:
    /// on a device that wraps around, what is written overwrites something else.
    fn verify(
        &mut self,
        plan: &Plan,
        read_back: &mut MediumCheck,
        written: &Arc<Fingerprints>,
        asking: Asking,
    ) -> Result<(), Arc<Error>> {
        while let Some(Wrong { damage, again }) = self.check(plan, read_back, written)? {
            if damage.extent == Extent::Part {
                return Err(Error::Medium(damage).into());
            }
            let again = plan.with_all().only(again);
            let wanted = Wanted { plan: again.clone(), written: Some(Arc::clone(written)) };
            let Some(pass) = asking.ask(wanted, &self.cancel)? else { return Err(Error::Medium(damage).into()) };
            self.observer.event(Event::Retry { target: self.id, bytes: damage.bytes });
            self.write(&pass.plan, &again, pass.chunks)?;
            self.sync()?;
        }
        Ok(())
    }

    fn check(
        &mut self,
        plan: &Plan,
        read_back: &mut MediumCheck,
        written: &Fingerprints,
    ) -> Result<Option<Wrong>, Error> {
        let (target, observer) = (self.id, &self.observer);
        observer.event(Event::Phase(target, Phase::Verifying));
        let progress = |done, total| observer.event(Event::Progress { target, done, total: Some(total) });
        read_back.check(plan, written, &mut *self.sink, &self.boot_region, &self.cancel, progress)
    }

    /// Writes what is written last until it is read back right, if it is read back. It is in memory, so that no source is
    /// needed.
    fn commit(&mut self, read_back: Option<&MediumCheck>) -> Result<(), Error> {
        for last in [Last::BackupGpt, Last::BootRegion] {
            if let Some(read_back) = read_back {
                self.check_still_zero(last, read_back)?;
            }
            for attempt in 0.. {
                self.commit_part(last)?;
                let Some(read_back) = read_back else { break };
                let (expected, offset) = self.boot_region.last(last);
                match read_back.check_last(&mut *self.sink, expected, offset)? {
                    None => break,
                    Some(damage) if attempt == RETRIES => return Err(Error::Medium(damage)),
                    Some(damage) => {
                        self.observer.event(Event::Retry { target: self.id, bytes: damage.bytes });
                        self.boot_region.distrust();
                    }
                }
            }
        }
        Ok(())
    }

    /// Checks that the place of what is written last is as [`Self::clear`] left it. On a device that wraps around,
    /// something else may have been written there, which was read back right, and would be lost.
    fn check_still_zero(&mut self, last: Last, read_back: &MediumCheck) -> Result<(), Error> {
        let (contents, offset) = self.boot_region.last(last);
        let zeroes = &self.boot_region.zeroes()[..contents.len()];
        read_back.check_last(&mut *self.sink, zeroes, offset)?.map_or(Ok(()), |damage| Err(Error::Medium(damage)))
    }

    fn commit_part(&mut self, last: Last) -> Result<(), Error> {
        self.boot_region.commit(last, &mut *self.sink, &self.cancel)?;
        // One that was given up meanwhile has been reported as no image, and must not be one.
        self.pulse.beat()
    }

    fn sync(&mut self) -> Result<(), Error> {
        self.observer.event(Event::Phase(self.id, Phase::Synchronizing));
        self.cancel.check()?;
        self.sink.sync().map_err(Error::Sync)
    }

    /// Makes the target ready, and returns how many bytes of it were discarded.
    fn prepare(&mut self) -> Result<u64, Error> {
        self.cancel.check()?;
        if self.is_device() && self.plan.image_size() == Some(0) {
            return Err(Error::Empty);
        }
        let reader = self.held.as_ref().map(|_| self.sink.reader()).transpose().map_err(Error::ReadTarget)?;
        let begins_at_once = self.held.is_none() || (self.is_device() && self.plan.discards().next().is_some());
        if begins_at_once {
            self.check_capacity()?;
        }
        // Before the boot region is zeroed: a device that cannot discard is left as it was.
        let discarded = discarded::discard(&self.plan, &mut *self.sink, &self.boot_region, &self.cancel)?;
        if self.info.kind == Kind::RegularFile {
            self.pulse.set_holds(Holds::Invalid);
        }
        let size = self.plan.image_size();
        let prepared = if self.held.is_some() { self.sink.prepare_in_place(size) } else { self.sink.prepare(size) };
        prepared.map_err(Error::Prepare)?;
        if begins_at_once {
            self.clear(WritePolicy::All)?;
        }
        self.held.iter_mut().zip(reader).for_each(|(held, reader)| held.begin(Arc::clone(&self.plan), reader));
        Ok(discarded)
    }

    /// Makes the target ready for its first write.
    pub(super) fn begin(&mut self) -> Result<(), Error> {
        if self.found == Found::Unchanged {
            self.check_capacity()?;
            self.clear(WritePolicy::Changed)?;
        }
        Ok(())
    }

    fn check_capacity(&mut self) -> Result<(), Error> {
        if self.read_back.is_some() && self.is_device() {
            self.pulse.set_holds(Holds::Marked);
            capacity::check(&mut *self.sink, self.id, &*self.observer, &self.cancel)?;
            self.pulse.set_holds(Holds::AsFound);
        }
        Ok(())
    }

    fn clear(&mut self, write: WritePolicy) -> Result<(), Error> {
        self.found = Found::Changed;
        self.boot_region.clear(&mut *self.sink, write)?;
        // After the boot region: without its backup, a GPT still looks valid.
        if self.read_back.is_some() {
            self.boot_region.clear_backup(&mut *self.sink)?;
        }
        Ok(())
    }

    pub(super) fn is_device(&self) -> bool {
        self.info.kind == Kind::BlockDevice
    }
}
