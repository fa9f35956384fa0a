//! Who works and who waits. A target that is held up, so that all the others wait for it, is found out here.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::error::Error;
use super::verdict::{Failure, Summary, Verdict};
use crate::event::{Event, Observer, TargetId};
use crate::sink::{Kind, TargetState};

/// What is known of all targets of a copy and of the reader.
pub(super) struct Pace {
    state: Mutex<State>,
}

struct State {
    /// How long a target may be held up while the others wait.
    limit: Duration,
    /// When the copy was asked to stop.
    asked_to_stop: Option<Duration>,
    targets: Vec<Target>,
    /// Since when the reader has been waiting for a buffer.
    starves: Option<Duration>,
    /// The time of this copy. It stands still while the process is stopped.
    now: Duration,
}

struct Target {
    activity: Activity,
    /// When it began, or, for work, when there was the last sign of life.
    since: Duration,
    holds: Holds,
    /// How long it has waited for chunks, on the clock of the machine.
    waited: Duration,
    /// Since when it has been waiting, on that clock.
    waits_since: Option<Instant>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Activity {
    Works,
    /// For a chunk, which the source or slower targets hold up.
    WaitsForChunk,
    /// For a pass, for which all others must have ended or wait too.
    WaitsForPass,
    Ended,
    GivenUp,
}

/// What is on a target: its writer may be held up, and tells that beforehand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    /// What it held before.
    AsFound,
    /// The same, but perhaps for some marks, which are going to be put back.
    Marked,
    /// Something else, which may look valid: its boot region may not be zero.
    Misleading,
    /// Something else, which does not look valid: its boot region, if it has one, is zero.
    Invalid,
    /// The image, durable, and read back if that was wanted.
    Image(Summary),
}

impl Pace {
    pub(super) fn new(targets: usize, limit: Duration) -> Arc<Self> {
        let target = || Target {
            activity: Activity::Works,
            since: Duration::ZERO,
            holds: Holds::AsFound,
            waited: Duration::ZERO,
            waits_since: None,
        };
        let targets = (0..targets).map(|_| target()).collect();
        let state = State { limit, asked_to_stop: None, targets, starves: None, now: Duration::ZERO };
        Arc::new(Self { state: Mutex::new(state) })
    }

    /// The copy was asked to stop. From here on, no target may be held up for longer than this, even if no other waits
    /// for it.
    pub(super) fn stop_within(&self, limit: Duration) {
        let mut state = self.state();
        state.limit = state.limit.min(limit);
        let now = state.now;
        state.asked_to_stop.get_or_insert(now);
    }

    /// Takes note that the copy has gone on for so long.
    pub(super) fn advance(&self, time: Duration) {
        self.state().now += time;
    }

    /// Takes note that the reader waits for a buffer, or no longer.
    pub(super) fn set_starving(&self, starves: bool) {
        let mut state = self.state();
        let now = state.now;
        state.starves = starves.then_some(now);
    }

    /// Takes note that the work on a target has ended.
    pub(super) fn end(&self, target: TargetId) {
        self.enter(target, Activity::Ended);
    }

    /// The targets that have shown no sign of life for too long, while each other has ended or waits for them, or since
    /// the copy was asked to stop. They count as given up from here on.
    pub(super) fn give_up_stalled(&self) -> Vec<TargetId> {
        let mut state = self.state();
        let Some(latest) = state.now.checked_sub(state.limit) else { return Vec::new() };
        if state.asked_to_stop.is_some_and(|since| since > latest) {
            return Vec::new();
        }
        let is_starving = state.starves.is_some_and(|since| since <= latest);
        let mut stalled = Vec::new();
        // A copy that was asked to stop is waited for by the user.
        let mut is_awaited = state.asked_to_stop.is_some();
        for (index, target) in state.targets.iter().enumerate() {
            match target.activity {
                Activity::GivenUp => {}
                _ if target.since > latest => return Vec::new(),
                Activity::Works => stalled.push(TargetId(index)),
                // The source holds up all of them.
                Activity::WaitsForChunk if !is_starving => return Vec::new(),
                Activity::WaitsForChunk | Activity::WaitsForPass | Activity::Ended => is_awaited = true,
            }
        }
        if !is_awaited {
            return Vec::new();
        }
        for target in &stalled {
            state.targets[target.0].activity = Activity::GivenUp;
        }
        stalled
    }

    /// How the copy to a target ended that was given up.
    pub(super) fn verdict_of(&self, target: TargetId, kind: Kind) -> Verdict {
        let state = self.state();
        let left = match (kind, state.targets[target.0].holds) {
            (_, Holds::Image(summary)) => return Ok(summary),
            (Kind::CharacterDevice, _) => TargetState::NotApplicable,
            (_, Holds::AsFound) => TargetState::Untouched,
            (Kind::RegularFile, _) => TargetState::Incomplete,
            (Kind::BlockDevice, Holds::Invalid) => TargetState::BootRegionZero,
            (Kind::BlockDevice, Holds::Marked | Holds::Misleading) => TargetState::MaybeBootable,
        };
        Err(Failure { error: Arc::new(state.stalled()), state: left })
    }

    /// Does nothing for one that was given up.
    fn enter(&self, id: TargetId, activity: Activity) {
        let mut state = self.state();
        let now = state.now;
        let target = &mut state.targets[id.0];
        if target.activity == Activity::GivenUp {
            return;
        }
        (target.activity, target.since) = (activity, now);
        target.waited += target.waits_since.take().map_or(Duration::ZERO, |since| since.elapsed());
        if matches!(activity, Activity::WaitsForChunk | Activity::WaitsForPass) {
            target.waits_since = Some(Instant::now());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Why a target is given up.
    fn stalled(&self) -> Error {
        let limit = self.limit;
        self.asked_to_stop.map_or(Error::Stalled { limit }, |_| Error::HeldUp { limit })
    }
}

/// By which a writer tells what it does.
#[derive(Clone)]
pub(super) struct Pulse {
    pace: Arc<Pace>,
    target: TargetId,
}

impl Pulse {
    pub(super) fn new(pace: &Arc<Pace>, target: TargetId) -> Self {
        Self { pace: Arc::clone(pace), target }
    }

    /// A sign of life. Fails where the target has been given up.
    pub(super) fn beat(&self) -> Result<(), Error> {
        self.pace.enter(self.target, Activity::Works);
        self.check()
    }

    /// Fails where the target has been given up.
    pub(super) fn check(&self) -> Result<(), Error> {
        let state = self.pace.state();
        if state.targets[self.target.0].activity == Activity::GivenUp { Err(state.stalled()) } else { Ok(()) }
    }

    fn is_given_up(&self) -> bool {
        self.check().is_err()
    }

    pub(super) fn waits_for_chunk(&self) {
        self.pace.enter(self.target, Activity::WaitsForChunk);
    }

    pub(super) fn waits_for_pass(&self) {
        self.pace.enter(self.target, Activity::WaitsForPass);
    }

    /// Takes note of what the target is going to hold.
    pub(super) fn set_holds(&self, holds: Holds) {
        self.pace.state().targets[self.target.0].holds = holds;
    }

    pub(super) fn holds(&self) -> Holds {
        self.pace.state().targets[self.target.0].holds
    }

    /// Takes note that the target holds the image. Fails where it has been given up: then it was reported to have none.
    pub(super) fn complete(&self, summary: Summary) -> Result<(), Error> {
        let mut state = self.pace.state();
        let target = &mut state.targets[self.target.0];
        if target.activity == Activity::GivenUp {
            return Err(state.stalled());
        }
        target.holds = Holds::Image(summary);
        Ok(())
    }

    /// How long the target has waited for others, and for the source.
    pub(super) fn waited(&self) -> Duration {
        self.pace.state().targets[self.target.0].waited
    }
}

impl fmt::Debug for Pulse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pulse({:?})", self.target)
    }
}

/// An observer of one target: after that has been given up, its events are dropped.
pub(super) struct UntilGivenUp {
    pub(super) observer: Arc<dyn Observer>,
    pub(super) pulse: Pulse,
}

impl Observer for UntilGivenUp {
    fn event(&self, event: Event<'_>) {
        if !self.pulse.is_given_up() {
            self.observer.event(event);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Three targets, of which the last is held up from the start, and a clock.
    fn three() -> (Arc<Pace>, [Pulse; 3]) {
        let pace = Pace::new(3, 60 * SECOND);
        let pulses = [0, 1, 2].map(|index| Pulse::new(&pace, TargetId(index)));
        (pace, pulses)
    }

    fn stalled(pace: &Pace, after: Duration) -> Vec<usize> {
        pace.advance(after);
        pace.give_up_stalled().into_iter().map(|target| target.0).collect()
    }

    #[test]
    fn one_that_holds_up_the_others_is_given_up() {
        let (pace, [one, two, three]) = three();
        one.waits_for_chunk();
        two.waits_for_pass();
        pace.set_starving(true);
        assert_eq!(stalled(&pace, 59 * SECOND), [0; 0]);
        assert!(three.check().is_ok());
        assert_eq!(stalled(&pace, SECOND), [2]);
        assert!(matches!(three.beat(), Err(Error::Stalled { .. })));
        // Once.
        assert_eq!(stalled(&pace, 60 * SECOND), [0; 0]);
    }

    #[test]
    fn a_sign_of_life_begins_the_time_again() {
        let (pace, [one, two, three]) = three();
        one.waits_for_chunk();
        two.waits_for_chunk();
        pace.set_starving(true);
        assert_eq!(stalled(&pace, 59 * SECOND), [0; 0]);
        three.beat().unwrap();
        assert_eq!(stalled(&pace, 59 * SECOND), [0; 0]);
        assert_eq!(stalled(&pace, SECOND), [2]);
    }

    #[test]
    fn nobody_is_given_up_while_the_source_holds_up_the_others_or_one_of_them_works() {
        let (pace, [one, two, _]) = three();
        one.waits_for_chunk();
        two.waits_for_chunk();
        assert_eq!(stalled(&pace, 100 * SECOND), [0; 0]);
        pace.set_starving(true);
        two.beat().unwrap();
        assert_eq!(stalled(&pace, 59 * SECOND), [0; 0]);
        two.waits_for_chunk();
        assert_eq!(stalled(&pace, 59 * SECOND), [0; 0]);
        assert_eq!(stalled(&pace, SECOND), [2]);
    }

    #[test]
    fn those_that_have_ended_wait_too_but_a_single_one_is_awaited_by_nobody() {
        let (pace, [one, _, _]) = three();
        assert_eq!(stalled(&pace, 100 * SECOND), [0; 0]);
        pace.end(TargetId(0));
        assert_eq!(stalled(&pace, 59 * SECOND), [0; 0]);
        assert_eq!(stalled(&pace, SECOND), [1, 2]);
        drop(one);
        let single = Pace::new(1, SECOND);
        assert_eq!(stalled(&single, 100 * SECOND), [0; 0]);
    }

    #[test]
    fn after_a_signal_the_time_begins_again_and_nobody_else_need_wait() {
        let single = Pace::new(1, 60 * SECOND);
        let pulse = Pulse::new(&single, TargetId(0));
        assert_eq!(stalled(&single, 100 * SECOND), [0; 0]);
        single.stop_within(5 * SECOND);
        assert_eq!(stalled(&single, 4 * SECOND), [0; 0]);
        single.stop_within(5 * SECOND);
        assert_eq!(stalled(&single, SECOND), [0]);
        assert!(matches!(pulse.beat(), Err(Error::HeldUp { limit }) if limit == 5 * SECOND));
    }

    #[test]
    fn what_a_stalled_target_holds_is_told() {
        let (pace, [one, ..]) = three();
        let state = |kind| pace.verdict_of(TargetId(0), kind).unwrap_err().state;
        assert_eq!(state(Kind::BlockDevice), TargetState::Untouched);
        for (holds, of_device) in [
            (Holds::Marked, TargetState::MaybeBootable),
            (Holds::Misleading, TargetState::MaybeBootable),
            (Holds::Invalid, TargetState::BootRegionZero),
        ] {
            one.set_holds(holds);
            assert_eq!(state(Kind::BlockDevice), of_device);
            assert_eq!(state(Kind::RegularFile), TargetState::Incomplete);
            assert_eq!(state(Kind::CharacterDevice), TargetState::NotApplicable);
        }
        let summary = Summary { bytes: 7, ..Summary::default() };
        one.complete(summary).unwrap();
        assert_eq!(pace.verdict_of(TargetId(0), Kind::BlockDevice).unwrap(), summary);
    }

    #[test]
    fn one_that_was_given_up_is_not_complete() {
        let single = Pace::new(1, SECOND);
        single.stop_within(SECOND);
        assert_eq!(stalled(&single, SECOND), [0]);
        assert!(Pulse::new(&single, TargetId(0)).complete(Summary::default()).is_err());
        assert!(single.verdict_of(TargetId(0), Kind::BlockDevice).is_err());
    }
}
